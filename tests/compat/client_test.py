#!/usr/bin/env python3
"""A client written from ebb-protocol(7) alone does everything that the page tells of, with the real ebbd."""

import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).parent.absolute()
sys.path[:0] = [str(HERE), str(HERE.parent / "mount")]

import harness
import tls
import wire
from client import Client, Refused, attributes, place, session_hash
from harness import noise, until
from wire import ROOT


def page_example(title):
    """The lines of the example that ebb-protocol(7) has under a sentence that begins so."""
    page = (harness.TOP / "man/ebb-protocol.7").read_text().split(".Sh EXAMPLES", 1)[1]
    return page.split(title, 1)[1].split(".Bd -literal\n", 1)[1].split("\n.Ed", 1)[0].splitlines()


class Case(harness.MountCase):
    """A server over a small tree."""

    packet_max, agreed = wire.PACKET_MAX, None

    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "folder/deeper").mkdir(parents=True)
        (self.root / "empty").write_bytes(b"")
        (self.root / "letter").write_bytes(b"hello world\n")
        (self.root / "folder/film").write_bytes(noise(300_000, "film"))
        (self.root / "folder/deeper/note").write_bytes(b"deep")
        (self.root / "pointer").symlink_to("folder/film")
        os.link(self.root / "letter", self.root / "folder/letter too")
        os.setxattr(self.root / "letter", "user.colour", b"red")
        os.utime(self.root / "letter", ns=(1, 1_234_567_890_123_456_789))
        os.chmod(self.root / "letter", 0o640)
        self.serve()
        self.client = self.connect()

    def connect(self, **more):
        client = self.new_client(**({"packet_max": self.packet_max} | more))
        self.addCleanup(client.close)
        return client

    def content(self, path):
        return (self.root / path).read_bytes()

    def refused(self, code):
        case = self

        class Expectation:
            def __enter__(self):
                return self

            def __exit__(self, kind, error, _):
                case.assertIs(kind, Refused, f"{code} was expected, not {error!r}")
                case.assertEqual(code, error.code, str(error))
                return True
        return Expectation()


class ListPullPush(Case):
    """What every transport is tried with."""

    def test_the_whole_tree_is_listed(self):
        found = self.client.walk()
        self.assertEqual({"empty", "letter", "folder", "pointer", "folder/film", "folder/letter too", "folder/deeper",
                          "folder/deeper/note"}, set(found))
        letter, info = found["letter"], os.stat(self.root / "letter")
        self.assertEqual((wire.FILE, 12, 2), (letter.kind, letter.size, letter.links))
        self.assertEqual((0o640, info.st_uid, info.st_gid, info.st_mtime_ns),
                         (letter.attributes.mode, letter.attributes.uid, letter.attributes.gid, letter.attributes.mtime))
        self.assertEqual({"user.colour": b"red"}, letter.attributes.xattrs)
        self.assertEqual(letter.id, found["folder/letter too"].id)
        self.assertEqual((wire.SYMLINK, "folder/film"), (found["pointer"].kind, found["pointer"].target))
        self.assertEqual(wire.FOLDER, found["folder"].kind)

    def test_every_file_is_pulled(self):
        for path, entry in self.client.walk().items():
            if entry.kind == wire.FILE:
                _, content = self.client.pull(entry.id, entry.content_version)
                self.assertEqual(self.content(path), content, path)

    def test_what_is_pushed_is_there_with_its_attributes(self):
        content = noise(200_000, "new")
        receipt = self.client.push(content, where=place(ROOT, "new"), bits=wire.MODE | wire.MTIME | wire.XATTRS, mode=0o600,
                                   mtime=1_500_000_000_000_000_001, xattrs={"user.kind": b"test"})
        self.assertEqual(content, self.content("new"))
        info = os.stat(self.root / "new")
        self.assertEqual((0o600, 1_500_000_000_000_000_001), (info.st_mode & 0o7777, info.st_mtime_ns))
        self.assertEqual(b"test", os.getxattr(self.root / "new", "user.kind"))
        entry = self.client.stat(receipt.entry)
        self.assertEqual((receipt.content_version, receipt.attributes_version),
                         (entry.content_version, entry.attributes_version))
        self.assertEqual(receipt.hash, session_hash(len(content), [(0, len(content))], lambda b, e: content[b:e]))

    def test_no_packet_is_longer_than_agreed_on(self):
        film = self.client.list(self.client.list()["folder"].id)["film"]
        self.client.pull(film.id, film.content_version)
        self.assertLessEqual(self.client.packets.longest, min(self.packet_max, wire.DATA_PACKET_MAX))
        self.assertEqual(self.agreed or self.packet_max, self.client.server.packet_max)


class Everything(ListPullPush):
    def test_a_session_is_as_the_page_shows_it(self):
        client = self.connect()
        letter = client.list()["letter"]
        client.pull(letter.id, letter.content_version)
        client.push(b"an answer", where=place(ROOT, "answer"))
        capture = [f"{who}  {session}  {type_name.title().replace('_', '')}" for who, session, type_name in client.seen]
        print("", *capture, sep="\n", file=sys.stderr)
        self.assertEqual(page_example("A small file is pulled, and another one pushed"), capture)

    # ---- the handshake

    def test_the_handshake_tells_where_the_tree_stands(self):
        server = self.client.server
        self.assertNotEqual(bytes(16), server.tree)
        self.assertEqual((1, 1, 1), (server.lowest, server.version, server.highest))
        self.assertFalse(server.continues)
        again = self.connect(tree=server.tree, epoch=server.epoch, sequence=server.sequence)
        self.assertTrue(again.server.continues)
        self.assertFalse(self.connect(tree=server.tree, epoch=server.epoch + 1, sequence=1).server.continues)

    def test_another_tree_is_refused(self):
        with self.refused("other_tree"):
            self.connect(tree=bytes(range(16)))

    def test_no_common_version_is_refused_with_both_ranges(self):
        with self.assertRaises(Refused) as caught:
            self.connect(versions=(7, 9))
        self.assertEqual("no_common_version", caught.exception.code)
        self.assertRegex(caught.exception.sentence, r"1 to 1.*7 to 9")

    def test_a_folder_can_be_the_root(self):
        part = self.connect(subtree="folder")
        self.assertEqual(wire.SUBTREES, part.server.capabilities)
        self.assertNotEqual(self.client.server.tree, part.server.tree)
        self.assertEqual({"film", "letter too", "deeper", "deeper/note"}, set(part.walk()))
        watch = part.watch(part.server.epoch, part.server.sequence)
        self.client.push(b"unseen", where=place(ROOT, "outside"))
        mine = part.push(b"seen", where=place(ROOT, "inside"))
        self.assertEqual(b"seen", self.content("folder/inside"))
        told = [part.expect(watch.session, "change")]
        while told[-1].place.name != "inside":  # a name of "letter" came to be known by listing it
            told.append(part.expect(watch.session, "change"))
        self.assertEqual((place(ROOT, "inside"), mine.entry), (told[-1].place, told[-1].entry.id))
        self.assertNotIn("outside", [change.place.name for change in told])
        outside = self.client.list()["empty"]
        with self.refused("not_found"):
            part.pull(outside.id, outside.content_version)
        with self.refused("not_found"):
            self.connect(subtree="letter")

    # ---- pulls

    def test_ranges_are_pulled_without_what_lies_between(self):
        film = self.client.list(self.client.list()["folder"].id)["film"]
        ranges = [(10, 20), (4000, 9000), (299_999, 300_000)]
        init, content = self.client.pull(film.id, film.content_version, ranges)
        self.assertEqual(ranges, init.ranges)
        for begin, end in ranges:
            self.assertEqual(self.content("folder/film")[begin:end], content[begin:end])

    def test_holes_are_named_and_not_sent(self):
        with open(self.root / "sparse", "wb") as file:
            file.truncate(50_000_000)
            file.seek(20_000_000)
            file.write(b"island")
        sparse = self.client.list()["sparse"]
        init, content = self.client.pull(sparse.id, sparse.content_version, holes=True)
        self.assertTrue(init.holes)
        self.assertLess(sum(end - begin for begin, end in init.ranges), 1 << 20)
        self.assertEqual(b"island", content[20_000_000:20_000_006])
        self.assertEqual(50_000_000, len(content))

    def test_a_version_that_is_no_more_is_not_mixed_with_the_next(self):
        letter = self.client.list()["letter"]
        with self.refused("moved_on"):
            self.client.pull(letter.id, letter.content_version + 1000)
        with self.refused("not_found"):
            self.client.pull(letter.id + 123_456, letter.content_version)

    def test_a_pull_is_ended_early(self):
        film = self.client.list(self.client.list()["folder"].id)["film"]
        session = self.client.session()
        self.client.send(session, "pull", entry=film.id, content_version=film.content_version, priority=1)
        self.client.send(session, "cancel")
        self.assertEqual(b"hello world\n", self.client.pull(*self.seen("letter"))[1])

    def seen(self, name):
        entry = self.client.list()[name]
        return entry.id, entry.content_version

    # ---- pushes

    def test_a_push_is_the_six_packets_in_their_order(self):
        client, content = self.client, noise(10_000, "six")
        session = client.session()
        client.send(session, "file_sync_init", operation=client.next_operation(), place=place(ROOT, "six"), size=10_000,
                    ranges=[(0, 10_000)])
        self.assertEqual(0, client.expect(session, "file_sync_init_response").resume_at)
        for at in range(0, 10_000, 2500):
            client.send(session, "file_sync_data", offset=at, bytes=content[at:at + 2500])
        client.send(session, "file_sync_check_hash", hash=session_hash(10_000, [(0, 10_000)], lambda b, e: content[b:e]))
        receipt = client.expect(session, "file_sync_check_hash_response")
        self.assertEqual("ok", receipt.code)
        client.send(session, "file_sync_finish")
        self.assertEqual(content, self.content("six"))

    def test_many_small_files_travel_in_one_breath(self):
        client, breath, sessions = self.client, b"", []
        names = [f"small {n}" for n in range(60)]
        for name in names:
            sessions.append(client.session())
            breath += client.push_bytes(sessions[-1], name.encode(), where=place(ROOT, name))
        client.link.sendall(breath)
        for session in sessions:
            client.receipt(session)
        for name in names:
            self.assertEqual(name.encode(), self.content(name))

    def test_an_edit_sends_what_changed(self):
        folder = self.client.list()["folder"].id
        film = self.client.list(folder)["film"]
        edited = bytearray(self.content("folder/film")[:250_000])
        edited[100:105] = b"FIVE!"
        self.client.push(edited, ranges=[(100, 105)], seen=film)
        self.assertEqual(edited, self.content("folder/film"))

    def test_holes_travel_as_holes(self):
        content = bytearray(8 << 20)
        content[-5:] = b"shore"
        self.client.push(content, ranges=[((8 << 20) - 5, 8 << 20)], holes=[(0, (8 << 20) - 5)], where=place(ROOT, "sparse"))
        self.assertEqual(content, self.content("sparse"))
        self.assertLess(os.stat(self.root / "sparse").st_blocks * 512, 1 << 20)

    def test_an_empty_file_is_pushed(self):
        self.client.push(b"", where=place(ROOT, "nothing"))
        self.assertEqual(b"", self.content("nothing"))

    def test_a_push_onto_an_old_version_changes_nothing(self):
        letter = self.client.list()["letter"]
        self.client.push(b"the second", seen=letter)
        with self.refused("moved_on"):
            self.client.push(b"onto the first", seen=letter)
        self.assertEqual(b"the second", self.content("letter"))
        with self.refused("exists"):
            self.client.push(b"another", where=place(ROOT, "letter"))
        self.assertEqual(b"the second", self.content("letter"))

    def test_what_no_attribute_bit_names_stays(self):
        letter = self.client.list()["letter"]
        self.client.push(b"other words", seen=letter, mode=0o777, mtime=7)
        info = os.stat(self.root / "letter")
        self.assertEqual(0o640, info.st_mode & 0o7777)
        self.assertEqual(b"red", os.getxattr(self.root / "letter", "user.colour"))
        self.assertGreater(info.st_mtime_ns, 1_600_000_000_000_000_000)
        self.client.push(b"new", where=place(ROOT, "new"))
        mask = os.umask(0o022)
        os.umask(mask)
        self.assertEqual(0o644 & ~mask, os.stat(self.root / "new").st_mode & 0o7777)

    def test_equal_content_is_no_conflict(self):
        letter = self.client.list()["letter"]
        receipt = self.client.push(b"hello world\n", where=place(ROOT, "letter"))
        self.assertEqual((letter.id, letter.content_version), (receipt.entry, receipt.content_version))

    def test_a_wrong_hash_is_never_kept(self):
        with self.refused("wrong_hash"):
            self.client.push(b"damaged", where=place(ROOT, "damaged"), hash=1)
        self.assertFalse((self.root / "damaged").exists())

    def test_the_same_operation_gets_the_same_answer(self):
        operation = wire.OPERATION.make(id=900)
        first = self.client.push(b"once", where=place(ROOT, "once"), operation=operation)
        other = self.connect(client=self.client.client)
        self.assertEqual(first, other.push(b"once", where=place(ROOT, "once"), operation=operation))
        made = self.client.mutate("make_folder", wire.OPERATION.make(id=901), place=place(ROOT, "made once"),
                                  attributes=attributes(mode=0o755))
        self.assertEqual(made, other.mutate("make_folder", wire.OPERATION.make(id=901), place=place(ROOT, "made once"),
                                            attributes=attributes(mode=0o755)))

    def test_a_broken_push_goes_on_where_it_was(self):
        content, operation = noise(1_000_000, "resumed"), wire.OPERATION.make(id=77)
        whole = self.client.push_bytes(1, content, where=place(ROOT, "resumed"), operation=operation)
        self.client.link.sendall(whole[:700_000])
        self.client.expect(1, "file_sync_init_response")
        self.client.close()

        def resumed():
            """Where the server says that it has something; it works on the broken one for a moment."""
            again = self.connect(client=self.client.client)
            again.send(1, "file_sync_init", operation=operation, place=place(ROOT, "resumed"), size=len(content),
                       ranges=[(0, len(content))], attributes=attributes())
            answer = again.expect(1, "file_sync_init_response")
            return answer.code == "ok" and answer.resume_at and (again, answer.resume_at)
        again, at = until(resumed, "the broken push is resumed")
        self.assertLessEqual(at, 700_000)
        most = again.packet_max - 28 if again.packet_max < wire.DATA_PACKET_MAX else 200_000
        for begin in range(at, len(content), most):
            again.send(1, "file_sync_data", offset=begin, bytes=content[begin:begin + most])
        again.send(1, "file_sync_check_hash", hash=session_hash(len(content), [(0, len(content))], lambda b, e: content[b:e]))
        self.assertEqual("ok", again.expect(1, "file_sync_check_hash_response").code)
        self.assertEqual(content, self.content("resumed"))

    # ---- the other mutations

    def test_folders_links_names_and_removals(self):
        client = self.client
        made = client.mutate("make_folder", place=place(ROOT, "box"), attribute_bits=wire.MODE,
                             attributes=attributes(mode=0o750))
        self.assertEqual(0o750, os.stat(self.root / "box").st_mode & 0o7777)
        client.mutate("make_symlink", place=place(made.entry, "arrow"), target="../letter")
        self.assertEqual("../letter", os.readlink(self.root / "box/arrow"))
        letter = client.list()["letter"]
        client.mutate("link", entry=letter.id, place=place(made.entry, "third"))
        self.assertEqual(3, os.stat(self.root / "letter").st_nlink)
        client.mutate("rename", entry=letter.id, from_=place(made.entry, "third"), place=place(ROOT, "moved"))
        self.assertFalse((self.root / "box/third").exists())
        empty = client.list()["empty"]
        client.mutate("exchange", entry=letter.id, other=empty.id, from_=place(ROOT, "moved"), place=place(ROOT, "empty"))
        self.assertEqual((b"", b"hello world\n"), (self.content("moved"), self.content("empty")))
        with self.refused("not_empty"):
            client.mutate("remove", entry=made.entry, from_=place(ROOT, "box"))
        arrow = client.list(made.entry)["arrow"]
        client.mutate("remove", entry=arrow.id, from_=place(made.entry, "arrow"), content_version=arrow.content_version)
        client.mutate("remove", entry=made.entry, from_=place(ROOT, "box"))
        self.assertFalse((self.root / "box").exists())

    def test_attributes_are_set_bit_by_bit(self):
        letter = self.client.list()["letter"]
        self.client.mutate("set_attributes", entry=letter.id, attributes_version=letter.attributes_version,
                           attribute_bits=wire.MODE, attributes=attributes(mode=0o600, mtime=5))
        info = os.stat(self.root / "letter")
        self.assertEqual((0o600, 1_234_567_890_123_456_789), (info.st_mode & 0o7777, info.st_mtime_ns))
        now = self.client.stat(letter.id)
        self.assertEqual(letter.content_version, now.content_version)
        self.client.mutate("set_attributes", entry=letter.id, attributes_version=now.attributes_version,
                           attribute_bits=wire.MTIME | wire.XATTRS, attributes=attributes(mtime=5, xattrs={"user.a": b"1"}))
        self.assertEqual(5, os.stat(self.root / "letter").st_mtime_ns)
        self.assertEqual(["user.a"], os.listxattr(self.root / "letter"))

    def test_mutations_onto_what_is_otherwise_are_refused_by_name(self):
        client = self.client
        letter, folder = client.list()["letter"], client.list()["folder"]
        deeper = client.list(folder.id)["deeper"]
        with self.refused("exists"):
            client.mutate("make_folder", place=place(ROOT, "letter"))
        with self.refused("exists"):
            client.mutate("rename", entry=letter.id, from_=place(ROOT, "letter"), place=place(ROOT, "empty"))
        with self.refused("not_folder"):
            client.mutate("make_folder", place=place(letter.id, "x"))
        with self.refused("moved_on"):
            client.mutate("remove", entry=letter.id, from_=place(ROOT, "empty"))
        with self.refused("would_cycle"):
            client.mutate("rename", entry=folder.id, from_=place(ROOT, "folder"), place=place(deeper.id, "loop"))
        with self.refused("moved_on"):
            client.mutate("remove", entry=letter.id, from_=place(ROOT, "letter"), content_version=letter.content_version + 9)
        self.assertEqual(b"hello world\n", self.content("letter"))

    # ---- the rest

    def test_changes_are_told_and_told_again_from_where_one_was(self):
        watcher = self.connect()
        watch = watcher.watch(watcher.server.epoch, watcher.server.sequence)
        self.assertTrue(watch.answer.complete)
        receipt = self.client.push(b"news", where=place(ROOT, "news"))
        change = watcher.expect(watch.session, "change")
        self.assertEqual((wire.NAME_SET, place(ROOT, "news"), receipt.entry, self.client.client),
                         (change.kind, change.place, change.entry.id, change.by))
        self.client.mutate("remove", entry=receipt.entry, from_=place(ROOT, "news"), content_version=receipt.content_version)
        gone = watcher.expect(watch.session, "change")
        self.assertEqual((wire.NAME_GONE, receipt.entry), (gone.kind, gone.entry.id))
        late = self.connect()
        again = late.watch(watcher.server.epoch, watcher.server.sequence)
        self.assertEqual(gone, late.expect(again.session, "change"))  # of what is gone no more is told
        self.assertFalse(late.watch(late.server.epoch + 1, 1).answer.complete)

    def test_a_subtree_is_listed_unasked_within_the_budget(self):
        pages = list(self.client.pages(budget=1000))
        names = {item.name for page in pages for item in page.entries}
        self.assertLessEqual({"letter", "film", "note"}, names)
        self.assertTrue(pages[0].first and pages[0].folder == ROOT)
        self.assertEqual([False] * (len(pages) - 1) + [True], [page.end for page in pages])

    def test_former_contents_are_told_and_brought_back(self):
        letter = self.client.list()["letter"]
        self.client.push(b"overwritten", seen=letter)
        kept = self.client.history(path="letter")
        self.assertEqual([(letter.content_version, 12, False)], [(k.version, k.size, k.deleted) for k in kept])
        self.assertEqual("python", kept[0].client_name)
        answer = self.client.restore(path="letter", version=letter.content_version)
        self.assertEqual(b"hello world\n", self.content("letter"))
        self.assertEqual(answer.content_version, self.client.list()["letter"].content_version)

    def test_room_is_told(self):
        room, real = self.client.ask("stat_fs", "stat_fs_response"), os.statvfs(self.root)
        self.assertEqual(real.f_blocks * real.f_frsize, room.bytes)
        self.assertLessEqual(room.bytes_available, room.bytes_free)

    # ---- the stream

    def test_any_cut_of_the_stream_is_the_same_stream(self):
        whole = self.client.push_bytes(5, noise(3000, "cut"), where=place(ROOT, "cut"))
        for at in range(len(whole)):
            self.client.link.sendall(whole[at:at + 1])
        self.client.receipt(5)
        self.assertEqual(noise(3000, "cut"), self.content("cut"))

    def test_what_is_unknown_is_refused_by_name_and_the_connection_goes_on(self):
        self.client.link.sendall(b"".join(wire.packets(9, 200, b"from the future", self.client.packet_max)))
        with self.refused("unknown_type"):
            self.client.next(9)
        newer = bytearray(next(wire.packets(11, 42, wire.message("stat", entry=ROOT), 4096)))
        newer[6], newer[7] = 3, 2  # a layout of version 3, for readers of 2 and above
        self.client.link.sendall(newer)
        with self.refused("unknown_type"):
            self.client.next(11)
        self.assertIn("letter", self.client.list())

    def test_fields_of_a_newer_peer_are_skipped(self):
        body = wire.message("stat", entry=ROOT) + b"more than this version knows"
        self.client.link.sendall(b"".join(wire.packets(13, 42, body, self.client.packet_max)))
        self.assertEqual(ROOT, self.client.expect(13, "stat_response").entry.id)

    def test_a_ping_is_answered(self):
        self.client.send(0, "ping", nonce=42)
        self.assertEqual(42, self.client.expect(0, "pong").nonce)


class UnixSocket(Everything):
    def serve(self):
        self.ebbd = self.server(self.root)

    def new_client(self, **more):
        return Client.unix(self.ebbd.peer[1], **more)


class PlainTcpHeldAt4096(Everything):
    packet_max = 4096

    def serve(self):
        self.ebbd = self.server(self.root, tcp=True)

    def new_client(self, **more):
        return Client.tcp(*self.ebbd.peer[1], **more)


class ServerHeldAt4096(Everything):
    agreed = 4096

    def serve(self):
        self.ebbd = self.server(self.root, options=["--packet-max", 4096])

    def new_client(self, **more):
        return Client.unix(self.ebbd.peer[1], **more)


@unittest.skipUnless(tls.openssl(), "no openssl command to make a key with")
class Tls(ListPullPush):
    def serve(self):
        self.listen = f"127.0.0.1:{harness.free_port()}"
        self.socket = self.dir / "socket"
        ebbd = self.daemon([harness.BIN / "ebbd", "serve", self.root, "--listen", self.listen, "--listen", f"unix:{self.socket}"],
                           "ebbd")
        until(lambda: "serving" in ebbd.text(), "ebbd listens")
        self.link = tls.Link(self.expect_run("ebbd", "invite", self.root).strip())
        self.key = tls.make_key(self.dir / "python")

    def new_client(self, proof=None, key=None, **more):
        link = tls.connect(self.link, key or self.key)
        return Client(link, proof=self.link.secret if proof is None else proof, **more)

    def test_a_key_is_enrolled_once_and_then_known(self):
        self.assertIn("letter", self.connect(proof=b"").list())
        with self.refused("not_enrolled"):
            self.connect(key=tls.make_key(self.dir / "thief"))

    def test_an_id_of_the_unix_socket_is_nobody_elses(self):
        """Whose receipts an enrolled client may ask for, and let the server forget: its own."""
        Client.unix(self.socket, client=77, name="local").close()
        with self.refused("not_enrolled"):
            self.connect(proof=b"", client=77)
        self.connect(proof=b"", client=78)
        # A machine that has changed from the socket to TLS goes on under its own name.
        Client.unix(self.socket, client=79).close()
        self.connect(proof=b"", client=79)

    def test_another_server_key_is_not_spoken_to(self):
        self.link.fingerprint = "0" * 64
        with self.assertRaises(tls.OtherKey):
            self.connect()


def load_tests(loader, _tests, _pattern):
    """The classes that have a transport."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) 
                              for case in (UnixSocket, PlainTcpHeldAt4096, ServerHeldAt4096, Tls))


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/env python3
"""Peers that do not behave, with the real ebbd: each is cut or held back, by name where a word still reaches it, costs
bounded memory, and keeps nobody else from being served."""

import contextlib
import pathlib
import selectors
import socket
import struct
import sys
import threading
import time
import unittest

HERE = pathlib.Path(__file__).parent.absolute()
sys.path[:0] = [str(HERE), str(HERE.parent / "mount")]

import harness
import tls
import wire
from client import Client, Refused, place
from harness import MIB, noise, until
from wire import ROOT

MEMORY_MAX = 128 * MIB  # the program, and what one peer may make it keep


def header(size=None, number=42, flags=0, version=1, oldest=1, session=1, reserved=0, body=b""):
    size = 16 + len(body) if size is None else size
    return struct.pack("<IBBBBII", size, number, flags, version, oldest, session, reserved) + body


class Hostile(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "letter").write_bytes(b"hello")
        (self.root / "big").write_bytes(noise(20 * MIB, "big"))
        self.path = self.dir / "ebbd.sock"
        self.listen = f"127.0.0.1:{harness.free_port()}"
        self.ebbd = self.daemon([harness.BIN / "ebbd", "serve", self.root, "--listen", f"unix:{self.path}",
                                 "--listen", self.listen], "ebbd")
        until(lambda: self.ebbd.text().count("serving") == 2, "ebbd listens")

    def raw(self):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(link.close)
        link.connect(str(self.path))
        return link

    def raw_tcp(self):
        host, port = self.listen.split(":")
        link = socket.create_connection((host, int(port)), harness.LIMIT_S)
        self.addCleanup(link.close)
        return link

    def client(self, **more):
        client = Client.unix(self.path, **more)
        self.addCleanup(client.close)
        return client

    def invite(self):
        return tls.Link(self.expect_run("ebbd", "invite", self.root).strip())

    def memory(self):
        with open(f"/proc/{self.ebbd.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))

    def expect_well(self):
        """Everybody else is served, and the server has not grown."""
        client = self.client()
        letter = client.list()["letter"]
        self.assertEqual(b"hello", client.pull(letter.id, letter.content_version)[1])
        client.close()
        if b"__asan_init" not in (harness.BIN / "ebbd").read_bytes():
            self.assertLess(self.memory(), MEMORY_MAX)

    # ---- those who say little

    @unittest.skipUnless(tls.openssl(), "no openssl command to make a key with")
    def test_silent_slow_and_half_open_peers_are_cut(self):
        hello = b"".join(wire.packets(0, 10, wire.message("version_handshake", magic=wire.MAGIC, lowest=1, highest=1,
                                                          packet_max=4096, client=5, client_name="slow"), 4096))
        key, link = tls.make_key(self.dir / "stranger"), self.invite()
        tls_hello = bytes.fromhex("1603010200010001fc0303") + bytes(505)
        half = self.raw()
        half.shutdown(socket.SHUT_WR)
        begun = self.client().link  # shook hands, and answers no ping
        drips = {self.raw(): hello, self.raw_tcp(): tls_hello, tls.connect(link, key): hello}
        silent = {self.raw(), self.raw_tcp(), tls.connect(link, key), half, begun}
        watched = selectors.DefaultSelector()
        for peer in silent | set(drips):
            self.addCleanup(peer.close)
            peer.setblocking(False)
            watched.register(peer, selectors.EVENT_READ)
        sent, end = 0, time.monotonic() + 90
        while watched.get_map():
            self.assertLess(time.monotonic(), end, f"{len(watched.get_map())} peers are still connected")
            for key_, _ in watched.select(0.3):
                with contextlib.suppress(BlockingIOError, socket.timeout, tls.ssl.SSLWantReadError):
                    try:
                        gone = not key_.fileobj.recv(65536)
                    except OSError as error:
                        if isinstance(error, (BlockingIOError, tls.ssl.SSLWantReadError)):
                            raise
                        gone = True
                    if gone:
                        watched.unregister(key_.fileobj)
            for peer, words in drips.items():
                with contextlib.suppress(OSError):
                    peer.send(words[sent:sent + 1])
            sent = min(sent + 1, len(hello) - 2)
        self.expect_well()

    @unittest.skipUnless(tls.openssl(), "no openssl command to make a key with")
    def test_a_crowd_of_strangers_keeps_nobody_out(self):
        link = self.invite()
        known, stranger = tls.make_key(self.dir / "known"), tls.make_key(self.dir / "stranger")
        early = Client(tls.connect(link, known), proof=link.secret)
        self.addCleanup(early.close)
        for _ in range(200):
            self.addCleanup(tls.connect(link, stranger).close)
        for _ in range(200):
            self.raw_tcp()
        status = self.expect_run("ebbd", "status", self.root, "--json")
        peers = harness.json.loads(status)["peers"]
        self.assertLessEqual(len(peers), 64 + 1)
        self.assertIn("letter", early.list())
        late = Client(tls.connect(link, known))
        self.addCleanup(late.close)
        self.assertIn("letter", late.list())
        self.expect_well()

    # ---- those who say much

    def flood(self, client, stream, most, patience_s=1):
        """Sends without reading anything: "cut", or "held back" where nothing goes any more, or all of `most` bytes."""
        client.link.settimeout(patience_s)
        sent = 0
        try:
            while sent < most:
                piece = next(stream)
                client.link.sendall(piece)
                sent += len(piece)
        except socket.timeout:
            return "held back"
        except OSError:
            return "cut"
        return "all"

    def test_floods_of_requests_are_cut_and_cost_bounded_memory(self):
        client = self.client()
        big, letter = client.list()["big"], client.list()["letter"]
        floods = {
            "ping": {"nonce": 7},
            "list": {"folder": ROOT, "budget": 1000},
            "stat": {"entry": letter.id},
            "pull": {"entry": big.id, "content_version": big.content_version, "priority": 2},
            "history": {"path": "letter"},
            "stat_fs": {},
            "mutate": {"kind": 6, "entry": letter.id, "operation": wire.OPERATION.make(id=1)},
        }
        for type_name, fields in floods.items():
            with self.subTest(type_name):
                peer = self.client()

                def requests():
                    body, number = wire.message(type_name, **fields), wire.MESSAGES[type_name][0]
                    while True:
                        some = [next(wire.packets(0 if type_name == "ping" else peer.session(), number, body, 4096))
                                for _ in range(1000)]
                        yield b"".join(some)
                if type_name == "ping":
                    self.assertEqual("cut", self.flood(peer, requests(), 500 * MIB, harness.LIMIT_S))
                else:
                    self.flood(peer, requests(), 2 * MIB)
                self.expect_well()
                peer.close()

    def test_much_data_goes_to_the_disk_and_not_to_memory(self):
        peer, block = self.client(), bytes(200_000)

        def data():
            yield peer.bytes_of(1, "file_sync_init", operation=peer.next_operation(), place=place(ROOT, "much"), size=1 << 40,
                                ranges=[(0, 1 << 40)])
            for at in range(0, 1 << 40, len(block)):
                yield peer.bytes_of(1, "file_sync_data", offset=at, bytes=block)
        self.assertNotEqual("cut", self.flood(peer, data(), 150 * MIB))
        self.expect_well()
        peer.close()
        self.expect_well()

    def test_unfinished_messages_are_bounded(self):
        client = self.client()
        with self.assertRaises((Refused, OSError, EOFError)) as caught:
            for session in range(1, 100):
                client.link.sendall(header(flags=wire.MORE, session=session, body=bytes(1_000_000)))
            client.next(0)
        if isinstance(caught.exception, Refused):
            self.assertEqual("too_much", caught.exception.code)
        self.expect_well()

    # ---- those who break a rule

    def test_every_broken_rule_of_a_packet_has_its_name(self):
        stat = wire.message("stat", entry=ROOT)
        hello = wire.message("version_handshake", magic=wire.MAGIC, lowest=1, highest=1, packet_max=4096, client=5)
        long_name = struct.pack("<QH", ROOT, 256) + b"n" * 256
        rules = {
            "a size below the header's": (header(size=15), "bad_packet"),
            "a size above what was agreed": (header(size=1 << 31), "bad_packet"),
            "an unknown flag": (header(flags=2, body=stat), "bad_packet"),
            "a reserved field": (header(reserved=1, body=stat), "bad_packet"),
            "no oldest reader": (header(oldest=0, body=stat), "bad_packet"),
            "an oldest reader above the version": (header(oldest=2, body=stat), "bad_packet"),
            "a message that is cut short": (header(body=stat[:7]), "bad_packet"),
            "two messages in one": (header(flags=1, body=stat[:4]) + header(number=35, body=stat), "bad_packet"),
            "a part without a byte": (header(flags=1), "bad_packet"),
            "a second handshake": (header(number=10, session=0, body=hello), "bad_packet"),
            "a request on the connection's session": (header(session=0, body=stat), "bad_packet"),
            "a ping on another session": (header(number=1, session=4, body=bytes(8)), "bad_packet"),
            "a name that is too long": (header(number=48, body=long_name), "bad_packet"),
            "a path with a way up": (header(number=46, body=wire.message("history", path="../etc")), "bad_packet"),
            "a name with a slash": (header(number=37, body=wire.message("mutate", kind=1, place=place(ROOT, "a/b"))), "bad_packet"),
            "a name that is a way up": (header(number=37, body=wire.message("mutate", kind=1, place=place(ROOT, ".."))), "bad_packet"),
            "a place without a name": (header(number=37, body=wire.message("mutate", kind=1, place=place(ROOT, ""))), "bad_packet"),
            "an unknown mutation": (header(number=37, body=wire.message("mutate", kind=8)), "bad_packet"),
            "unknown attribute bits": (header(number=37, body=wire.message("mutate", kind=7, attribute_bits=16)), "bad_packet"),
            "a mode of other bits": (header(number=37, body=wire.message("mutate", kind=7, attributes=wire.ATTRIBUTES.make(mode=0o10000))),
                                     "bad_packet"),
            "ranges out of order": (header(number=33, body=wire.message("pull", entry=1, ranges=[(5, 6), (1, 2)])), "bad_packet"),
            "an empty range": (header(number=33, body=wire.message("pull", entry=1, ranges=[(5, 5)])), "bad_packet"),
            "a range past the size": (header(number=3, body=wire.message("file_sync_init", size=3, ranges=[(0, 4)])), "bad_packet"),
            "a hole past the size": (header(number=3, body=wire.message("file_sync_init", size=3, holes=[(0, 4)])), "bad_packet"),
            "a size that is negative": (header(number=3, body=wire.message("file_sync_init", size=1 << 63)), "bad_packet"),
            "a count that cannot be": (header(number=33, body=bytes(16) + b"\xff\xff\xff\xff"), "bad_packet"),
            "a flag of 2": (header(number=33, body=wire.message("pull", entry=1)[:-1] + b"\2"), "bad_packet"),
            "a server's message": (header(number=36, body=wire.message("list_page")), "bad_request"),
        }
        for what, (broken, code) in rules.items():
            with self.subTest(what):
                client = self.client()
                client.link.sendall(broken)
                with self.assertRaises(Refused) as caught:
                    client.next(1)
                self.assertEqual(code, caught.exception.code, caught.exception.sentence)
                if code == "bad_packet":
                    self.assertRaises(EOFError, client.next, 0)
                client.close()
        self.expect_well()

    def test_nothing_comes_before_the_handshake(self):
        for first in (header(body=wire.message("stat", entry=ROOT)), header(number=1, session=0, body=bytes(8)),
                      header(number=200), header(number=10, session=0, body=b"HTTP/1.1" + bytes(80)), b"GET / HTTP/1.1\r\n\r\n"):
            with self.subTest(first[:8]):
                link = self.raw()
                link.settimeout(harness.LIMIT_S)
                link.sendall(first)
                packets, answers = wire.Packets(), []
                while received := link.recv(4096):
                    answers += [wire.parse(name, body).code for _, name, body in packets.feed(received)]
                self.assertEqual(["bad_packet"], answers)
        self.expect_well()

    def test_a_push_out_of_order_is_refused_and_leaves_nothing(self):
        def init(client, session, name, size=10, ranges=((0, 10),)):
            client.send(session, "file_sync_init", operation=client.next_operation(), place=place(ROOT, name), size=size,
                        ranges=ranges)
            return client.expect(session, "file_sync_init_response")
        cases = {
            "a gap": [("file_sync_data", {"offset": 5, "bytes": b"x"})],
            "twice the same": [("file_sync_data", {"offset": 0, "bytes": b"xx"}), ("file_sync_data", {"offset": 0, "bytes": b"xx"})],
            "past the end": [("file_sync_data", {"offset": 0, "bytes": bytes(11)})],
            "too little": [("file_sync_data", {"offset": 0, "bytes": bytes(9)}), ("file_sync_check_hash", {"hash": 0})],
            "no data": [("file_sync_check_hash", {"hash": 0})],
        }
        for what, messages in cases.items():
            with self.subTest(what):
                client = self.client()
                self.assertEqual("ok", init(client, 1, "broken").code)
                for type_name, fields in messages:
                    client.send(1, type_name, **fields)
                type_name, answer = self.outcome(client, 1)
                self.assertIn(answer.code, ("bad_request", "wrong_hash"), what)
                client.close()
        client = self.client()
        self.assertEqual("ok", init(client, 1, "used").code)
        client.send(1, "list", folder=ROOT)
        with self.assertRaises(Refused) as caught:
            client.next(1)
        self.assertEqual("bad_request", caught.exception.code)
        self.assertEqual({".ebbd", "letter", "big"}, {entry.name for entry in self.root.iterdir()})
        self.expect_well()

    def outcome(self, client, session):
        try:
            return client.next(session)
        except Refused as refusal:
            return "error", refusal

    # ---- those who stand in between

    @unittest.skipUnless(tls.openssl(), "no openssl command to make a key with")
    def test_tls_that_is_replayed_cut_or_altered_does_nothing(self):
        link, key = self.invite(), tls.make_key(self.dir / "honest")
        Client(tls.connect(link, key), proof=link.secret).close()

        def through(between, name):
            """Pushes a file through somebody in between; what the client has sent, and whether it got there."""
            proxy = Proxy(self.listen, between)
            self.addCleanup(proxy.close)
            via = tls.Link(f"ebb://{proxy.address}/#{link.fingerprint}.{link.secret.decode()}")
            try:
                with Client(tls.connect(via, key)) as client:
                    client.link.settimeout(harness.LIMIT_S)
                    client.push(noise(50_000, name), where=place(ROOT, name))
                    return proxy.sent, True
            except (OSError, EOFError):
                return proxy.sent, False
        sent, arrived = through(lambda data, _: data, "whole")
        self.assertTrue(arrived)
        (self.root / "whole").unlink()
        replay = self.raw_tcp()
        replay.settimeout(harness.LIMIT_S)
        with contextlib.suppress(OSError):
            replay.sendall(sent)
            while replay.recv(65536):
                pass
        self.assertFalse((self.root / "whole").exists(), "a session is good once")

        size = len(sent)
        for at in (300, size // 4, size // 2, size - 1000):
            _, arrived = through(lambda data, before: data[:max(0, at - before)] if before + len(data) > at else data, f"cut {at}")
            self.assertFalse(arrived)
            self.assertFalse((self.root / f"cut {at}").exists())

            def altered(data, before):
                if not before <= at < before + len(data):
                    return data
                return data[:at - before] + bytes([data[at - before] ^ 1]) + data[at - before + 1:]
            _, arrived = through(altered, f"altered {at}")
            self.assertFalse(arrived)
            self.assertFalse((self.root / f"altered {at}").exists())
        self.expect_well()


class Proxy:
    """Between one client and the server.  `between(data, before)` is what goes on of what the client sends; less is the end."""

    def __init__(self, server, between):
        self.between, self.sent, self.server = between, b"", server
        self.door = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.door.getsockname()[1]
        self.links = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            client, _ = self.door.accept()
            host, port = self.server.split(":")
            server = socket.create_connection((host, int(port)))
            self.links = [client, server]
            threading.Thread(target=self.back, args=(server, client), daemon=True).start()
            while data := client.recv(65536):
                passed = self.between(data, len(self.sent))
                self.sent += data
                server.sendall(passed)
                if len(passed) < len(data):
                    break
            self.close()

    def back(self, server, client):
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def close(self):
        for link in [self.door, *self.links]:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/env python3
"""The words of every file and folder, and what may be made of them."""

import errno
import json
import os
import stat
import time

import harness
from harness import MIB, ebb, progress, set_status, state, status, until, version, xxh3


class StatusCase(harness.MountCase):
    root_status = "syncmore"
    options = ()

    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "folder").mkdir()
        self.content = harness.noise(3 * MIB, "content")
        (self.root / "file").write_bytes(self.content)
        (self.root / "folder/inner").write_text("inner\n")
        os.symlink("file", self.root / "link")
        self.ebbd = self.server(self.root)
        self.at = self.mount(self.ebbd, options=[f"root={self.root_status}", *self.options])

    def pulled(self, name="file"):
        (self.at / name).read_bytes()
        until(lambda: status(self.at / name) == "sync", f"{name} was read whole")
        return self.at / name

    def words(self, path):
        return {word: ebb(path, word) for word in ("status", "state", "progress", "version", "hash", "pin")}

    def expect_refused(self, path, word, *numbers):
        """Refused with one of these errnos, and nothing has changed: neither words nor what is on either side."""
        before = self.words(path), os.lstat(path).st_mtime_ns, self.server_side()
        with self.errno_is(*numbers):
            os.setxattr(path, "user.ebb.status", word if isinstance(word, bytes) else word.encode())
        self.assertEqual(before, (self.words(path), os.lstat(path).st_mtime_ns, self.server_side()))

    def server_side(self):
        return harness.picture(self.root)


class Words(StatusCase):
    def test_a_file_that_is_not_here(self):
        path = self.at / "file"
        self.assertEqual("remote", status(path))
        self.assertEqual("clean", ebb(path, "state"))
        self.assertEqual((0, len(self.content)), progress(path))
        self.assertIn(ebb(path, "hash"), ("", xxh3(self.content)))
        self.assertEqual("inherit", ebb(path, "pin"))

    def test_a_file_that_is_here(self):
        path = self.pulled()
        until(lambda: state(path) == "clean", "clean")
        self.assertEqual((len(self.content),) * 2, progress(path))
        self.assertGreater(version(path), 0)
        self.assertEqual(xxh3(self.content), ebb(path, "hash"))

    def test_a_new_file(self):
        path = self.at / "new"
        path.write_text("12345")
        self.assertEqual("sync", status(path))
        self.assertEqual((5, 5), progress(path))
        self.at.wait(path)
        self.assertEqual("clean", ebb(path, "state"))
        self.assertEqual(xxh3(b"12345"), ebb(path, "hash"))

    def test_folders(self):
        self.assertEqual("syncmore", status(self.at.path))
        self.assertEqual("remote", status(self.at / "folder"))
        self.assertEqual("clean", state(self.at / "folder"))
        os.mkdir(self.at / "made")
        self.assertEqual("syncmore", status(self.at / "made"))
        self.pulled("folder/inner")
        until(lambda: status(self.at / "folder") == "syncmore", "a folder in which something is pulled")
        here, whole = progress(self.at / "folder")
        self.assertLessEqual(here, whole)
        for word in ("version", "hash", "pin"):
            ebb(self.at / "folder", word)

    def test_a_folder_shows_the_state_beneath(self):
        os.makedirs(self.at / "a/b")
        self.at.wait()
        self.assertEqual("clean", state(self.at / "a"))
        (self.at / "a/b/file").write_text("x")
        self.assertIn(state(self.at / "a"), ("waiting", "pushing"))
        self.assertIn(state(self.at.path), ("waiting", "pushing"))
        self.at.wait()
        self.assertEqual("clean", state(self.at / "a"))
        self.assertEqual("clean", state(self.at.path))

    def test_a_value_ends_without_newline_or_nul(self):
        self.assertEqual(b"remote", os.getxattr(self.at / "file", "user.ebb.status"))

    def test_unknown_words_of_ours_are_no_attributes(self):
        with self.errno_is(errno.ENODATA):
            os.getxattr(self.at / "file", "user.ebb.nothing")
        with self.errno_is(errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP):
            os.setxattr(self.at / "file", "user.ebb.nothing", b"x")

    def test_they_are_not_listed(self):
        self.assertEqual([], os.listxattr(self.at / "file"))
        self.assertEqual([], os.listxattr(self.at / "folder"))
        os.setxattr(self.at / "file", "user.other", b"x")
        self.assertEqual(["user.other"], os.listxattr(self.at / "file"))

    def test_other_namespaces_are_refused(self):
        names = ["user_ebb.status"]
        if os.getuid() == 0:
            names += ["trusted.ebb", "security.ebb"]
        for name in names:
            with self.subTest(name=name), self.errno_is(errno.EOPNOTSUPP):
                os.setxattr(self.at / "file", name, b"x")

    def test_a_copy_has_a_status_of_its_own(self):
        self.expect_run("cp", "-a", self.at / "file", self.at / "copy")
        self.assertEqual("sync", status(self.at / "copy"))
        self.at.wait()
        self.assertEqual(self.content, (self.root / "copy").read_bytes())
        self.assertEqual([], os.listxattr(self.root / "copy"))


class Listed(StatusCase):
    options = ("list_xattrs",)

    def test_they_are_listed_where_that_is_asked_for(self):
        for name in ("file", "folder"):
            listed = os.listxattr(self.at / name)
            for word in ("status", "state", "progress", "version", "hash", "pin"):
                self.assertIn(f"user.ebb.{word}", listed)


class Refusals(StatusCase):
    def test_words_that_do_not_exist(self):
        for word in ("", "Sync", "synced", "remote ", " remote", "remote\n\n", "x" * 5000, b"\xff", b"remote\0\0"):
            with self.subTest(word=word[:20]):
                self.expect_refused(self.at / "file", word, errno.EINVAL)
                self.expect_refused(self.at / "folder", word, errno.EINVAL)

    def test_a_folders_word_on_a_file_and_the_reverse(self):
        for word in ("syncless", "syncmore"):
            self.expect_refused(self.at / "file", word, errno.EINVAL)
        self.expect_refused(self.at / "folder", "sync", errno.EINVAL)

    def test_what_is_told_and_not_set(self):
        path = self.pulled()
        for word, value in (("state", b"clean"), ("progress", b"0/0"), ("version", b"1"), ("hash", b"0" * 16)):
            with self.subTest(word=word), self.errno_is(errno.EPERM):
                os.setxattr(path, f"user.ebb.{word}", value)
            with self.subTest(removed=word), self.assertRaises(OSError):
                os.removexattr(path, f"user.ebb.{word}")
        with self.assertRaises(OSError):
            os.removexattr(path, "user.ebb.status")

    def test_remote_to_local(self):
        self.expect_refused(self.at / "file", "local", errno.EPERM)

    def test_remote_while_it_is_open_for_writing(self):
        path = self.pulled()
        with open(path, "r+b"):
            began = time.monotonic()
            self.expect_refused(path, "remote", errno.EBUSY)
            self.assertLess(time.monotonic() - began, 10)
        set_status(path, "remote")
        self.assertEqual("remote", status(path))

    def test_remote_while_the_server_is_away(self):
        path = self.pulled()
        self.ebbd.stop()
        path.write_text("only here")
        self.expect_refused(path, "remote", errno.EHOSTDOWN)
        self.assertEqual("only here", path.read_text())


class Transitions(StatusCase):
    def test_one_trailing_newline_or_nul_is_forgiven(self):
        for end in (b"\n", b"\0", b""):
            path = self.pulled()
            set_status(path, "remote") if not end else os.setxattr(path, "user.ebb.status", b"remote" + end)
            until(lambda: status(path) == "remote", "remote")

    def test_sync_to_remote_drops_the_content(self):
        path = self.pulled()
        set_status(path, "remote")
        self.assertEqual("remote", status(path))
        self.assertEqual((0, len(self.content)), progress(path))
        self.assertEqual(len(self.content), os.stat(path).st_size)
        self.assertEqual(self.content, path.read_bytes())

    def test_sync_to_remote_pushes_first(self):
        path = self.pulled()
        path.write_text("changed here\n")
        set_status(path, "remote")
        until(lambda: progress(path)[0] == 0, "dropped")
        self.assertEqual("changed here\n", (self.root / "file").read_text())
        self.assertEqual("changed here\n", path.read_text())

    def test_sync_to_remote_gives_back_the_space(self):
        path = self.pulled()
        used = lambda: int(self.expect_run("du", "-s", "-B1", self.at.state).split()[0])
        before = used()
        set_status(path, "remote")
        until(lambda: used() < before - 2 * MIB, "the state folder shrinks")

    def test_remote_to_sync_pulls(self):
        path = self.at / "file"
        set_status(path, "sync")
        self.at.wait(path)
        self.assertEqual("sync", status(path))
        until(lambda: progress(path) == (len(self.content),) * 2, "all is here")
        self.ebbd.stop()
        self.assertEqual(self.content, path.read_bytes(), "read without the server")

    def test_remote_to_remote_drops_what_is_cached(self):
        path = self.at / "file"
        with open(path, "rb", buffering=0) as file:
            os.pread(file.fileno(), 4096, 2 * MIB)
        self.assertGreater(progress(path)[0], 0)
        set_status(path, "remote")
        until(lambda: progress(path)[0] == 0, "dropped")

    def test_sync_to_local_keeps_the_servers_copy(self):
        path = self.pulled()
        set_status(path, "local")
        self.assertEqual("local", status(path))
        path.write_text("mine alone\n")
        self.at.wait()
        self.assertEqual(self.content, (self.root / "file").read_bytes())
        self.assertEqual("mine alone\n", path.read_text())
        self.expect_refused(path, "remote", errno.EPERM)

    def test_sync_to_local_pulls_what_is_missing(self):
        path = self.at / "file"
        set_status(path, "sync")
        set_status(path, "local")
        self.ebbd.stop()
        self.assertEqual(self.content, path.read_bytes())

    def test_local_to_sync_with_equal_content_is_adopted(self):
        path = self.pulled()
        set_status(path, "local")
        set_status(path, "sync")
        self.at.wait(path)
        self.assertEqual(("sync", "clean"), (status(path), state(path)))
        self.assertEqual(["file", "folder", "link"], sorted(os.listdir(self.at.path)))

    def test_local_to_sync_with_other_content_is_a_conflict(self):
        path = self.pulled()
        set_status(path, "local")
        path.write_text("mine\n")
        set_status(path, "sync")
        self.at.wait(path)
        here = {entry.read_bytes() for entry in self.at.path.iterdir() if entry.is_file() and not entry.is_symlink()}
        there = {entry.read_bytes() for entry in self.root.iterdir() if entry.is_file()}
        self.assertIn(b"mine\n", here)
        self.assertIn(self.content, there)

    def test_every_status_to_itself_is_nothing(self):
        path = self.pulled()
        for word in ("sync", "local", "local"):
            set_status(path, word)
            before = self.words(path)
            set_status(path, word)
            self.assertEqual(before, self.words(path))

    def test_a_read_through_an_open_handle_goes_on_over_a_drop(self):
        path = self.pulled()
        with open(path, "rb", buffering=0) as file:
            set_status(path, "remote")
            self.assertEqual(self.content[MIB:MIB + 9], os.pread(file.fileno(), 9, MIB))


class Syncless(StatusCase):
    root_status = "syncless"

    def test_what_is_new_is_local(self):
        (self.at / "new").write_text("new")
        os.mkdir(self.at / "made")
        (self.at / "made/inner").write_text("inner")
        self.assertEqual(["syncless", "local", "local", "local"],
                         [status(path) for path in (self.at.path, self.at / "new", self.at / "made", self.at / "made/inner")])
        self.at.wait()
        self.assertEqual("clean", state(self.at.path))
        self.assertEqual(0, version(self.at / "new"))
        self.assertFalse((self.root / "new").exists())
        self.expect_refused(self.at / "new", "remote", errno.EPERM)

    def test_local_to_sync_pushes(self):
        path = self.at / "new"
        path.write_text("new")
        set_status(path, "sync")
        self.at.wait(path)
        self.assertEqual("new", (self.root / "new").read_text())
        self.assertEqual(("sync", "clean"), (status(path), state(path)))
        self.assertGreater(version(path), 0)

    def test_a_copy_of_a_sync_file_is_local(self):
        self.pulled()
        self.expect_run("cp", "-a", self.at / "file", self.at / "copy")
        self.assertEqual("local", status(self.at / "copy"))

    def test_a_sync_file_is_not_renamed_into_a_local_folder(self):
        self.pulled()
        os.mkdir(self.at / "mine")
        with self.errno_is(errno.EXDEV):
            os.rename(self.at / "file", self.at / "mine/file")
        self.expect_run("mv", self.at / "file", self.at / "mine/file")
        self.assertEqual("local", status(self.at / "mine/file"))
        self.assertEqual(self.content, (self.at / "mine/file").read_bytes())

    def test_fifos_and_sockets_stay_here(self):
        os.mkfifo(self.at / "fifo")
        self.assertTrue(stat.S_ISFIFO(os.stat(self.at / "fifo").st_mode))
        self.at.wait()
        self.assertFalse(os.path.lexists(self.root / "fifo"))


class Commands(StatusCase):
    def test_status_has_its_fields(self):
        path = self.pulled()
        until(lambda: state(path) == "clean", "clean")
        shown = self.at.status_of("file")
        size = len(self.content)
        want = {"kind": "file", "status": "sync", "state": "clean", "size": size, "bytes_here": size,
                "version": version(path), "pin": "inherit"}
        self.assertEqual(want, {key: shown.get(key) for key in want})
        self.assertTrue(str(shown["path"]).endswith("file"))

    def test_status_of_several_kinds(self):
        out = self.expect_run("ebb", "status", "--json", self.at / "file", self.at / "folder", self.at / "link")
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(["file", "folder", "symlink"], [row["kind"] for row in rows])
        self.assertEqual("remote", rows[0]["status"])
        text = self.expect_run("ebb", "status", self.at / "file")
        self.assertIn("remote", text)
        self.assertIn("file", text)

    def test_status_to(self):
        self.expect_run("ebb", "status", "--to", "sync", self.at / "file")
        self.assertEqual(("sync", (len(self.content),) * 2), (status(self.at / "file"), progress(self.at / "file")))
        self.expect_run("ebb", "status", "--to", "remote", self.at / "file")
        self.assertEqual(("remote", 0), (status(self.at / "file"), progress(self.at / "file")[0]))
        self.expect_refusal("ebb", "status", "--to", "local", self.at / "file")
        self.expect_refusal("ebb", "status", "--to", "nonsense", self.at / "file", code=2)
        self.expect_refusal("ebb", "status", "--to", "sync", self.at / "missing")

    def test_wait(self):
        (self.at / "new").write_text("new")
        self.expect_run("ebb", "wait", self.at / "new")
        self.assertEqual("new", (self.root / "new").read_text())
        self.expect_run("ebb", "wait", self.at.path)

    def test_wait_has_a_limit(self):
        os.listdir(self.at.path)
        self.ebbd.stop()
        (self.at / "new").write_text("new")
        said = self.expect_refusal("ebb", "wait", "--timeout", 1, self.at / "new")
        self.assertIn("new", said)

    def test_the_servers_status(self):
        self.assertTrue(self.expect_run("ebbd", "status", self.root).strip())
        for line in self.expect_run("ebbd", "status", "--json", self.root).splitlines():
            json.loads(line)

    def test_outside_of_a_mount(self):
        self.expect_refusal("ebb", "status", self.root / "file")
        self.expect_refusal("ebb", "wait", self.root)


if __name__ == "__main__":
    harness.main()

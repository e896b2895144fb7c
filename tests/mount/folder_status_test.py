#!/usr/bin/env python3
"""What becomes of folders with all that is in them, of what is hidden, and of saved files: on a real mount."""

import errno
import json
import os
import pty
import threading
import time

import harness
from harness import ebb, progress, set_status, state, status, until


class FolderCase(harness.MountCase):
    root_status = "syncless"

    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "served/deep").mkdir(parents=True)
        (self.root / "served/empty").touch()
        (self.root / "served/file").write_text("file of the server\n")
        (self.root / "served/deep/inner").write_text("inner of the server\n")
        self.ebbd = self.server(self.root)
        self.at = self.mount(self.ebbd, options=[f"root={self.root_status}"])

    def fill(self, top):
        """A small tree; its words in the order of words()."""
        (top / "sub/deep").mkdir(parents=True)
        (top / "x").write_text("x")
        (top / "sub/y").write_text("y")
        (top / "sub/deep/z").write_text("z")
        os.symlink("x", top / "link")
        return top

    def words(self, top):
        return [status(top / name) for name in ("", "x", "sub", "sub/y", "sub/deep", "sub/deep/z")]

    def becomes(self, path, word):
        set_status(path, word)
        until(lambda: not ebb(path, "state").startswith("waiting becoming"), f"{path} is {word} with all that is in it")

    def refused(self, path, word, number):
        before = self.words(path)
        with self.errno_is(number):
            os.setxattr(path, "user.ebb.status", word.encode())
        self.assertEqual(before, self.words(path))


class Folders(FolderCase):
    def test_local_to_syncmore_and_on_to_remote_and_back(self):
        mine = self.fill(self.at / "mine")
        self.assertEqual(["local"] * 6, self.words(mine))
        self.becomes(mine, "syncmore")
        self.assertEqual(["syncmore", "sync", "syncmore", "sync", "syncmore", "sync"], self.words(mine))
        self.at.wait(mine)
        self.assert_same_tree(mine, self.root / "mine")
        self.becomes(mine, "syncless")
        self.assertEqual(["syncless", "sync", "syncmore", "sync", "syncmore", "sync"], self.words(mine))
        (mine / "sub/y").write_text("changed")
        self.becomes(mine, "remote")
        self.assertEqual(["remote"] * 6, self.words(mine))
        self.assertEqual((0, 7), progress(mine / "sub/y"))
        self.assertEqual("changed", (self.root / "mine/sub/y").read_text())
        self.becomes(mine, "syncmore")
        self.ebbd.stop()
        self.assertEqual("z", (mine / "sub/deep/z").read_text())
        self.assertEqual("sync", status(mine / "sub/deep/z"))

    def test_what_is_refused_changes_nothing(self):
        mine = self.fill(self.at / "mine")
        self.refused(mine, "remote", errno.EPERM)
        self.refused(mine, "sync", errno.EINVAL)
        self.becomes(mine, "syncmore")
        self.at.wait(mine)
        (mine / "sub/deep/own").write_text("own")
        set_status(mine / "sub/deep/own", "local")
        self.refused(mine, "remote", errno.EPERM)
        os.unlink(mine / "sub/deep/own")
        set_status(mine / "sub/y", "remote")
        self.refused(mine, "local", errno.EPERM)
        with open(mine / "sub/deep/z", "r+"):
            self.refused(mine, "remote", errno.EBUSY)
        for word in ("local", "remote"):
            with self.errno_is(errno.EPERM):
                os.setxattr(self.at.path, "user.ebb.status", word.encode())

    def test_remote_folders(self):
        served = self.at / "served"
        with self.errno_is(errno.EPERM):
            os.setxattr(served, "user.ebb.status", b"local")
        self.becomes(served, "syncless")
        self.assertEqual(["syncless", "remote", "remote"], [status(served / name) for name in ("", "file", "deep")])
        (served / "deep/new").write_text("new")
        self.assertEqual(("syncless", "local"), (status(served / "deep"), status(served / "deep/new")))
        self.becomes(served, "syncmore")
        self.assertEqual(["syncmore", "remote", "syncmore", "sync", "remote"],
                         [status(served / name) for name in ("", "file", "deep", "deep/new", "deep/inner")])

    def test_local_folders_keep_the_servers_copy_hidden(self):
        mine = self.fill(self.at / "mine")
        self.becomes(mine, "syncmore")
        self.at.wait(mine)
        before = harness.picture(self.root)
        self.becomes(mine, "local")
        self.assertEqual(["local"] * 6, self.words(mine))
        self.assertTrue(self.at.status_of("mine")["hides"])
        (mine / "x").write_text("mine alone")
        self.expect_run("rm", "-r", mine / "sub")
        self.at.wait()
        self.assertEqual(before, harness.picture(self.root))
        self.expect_run("rm", "-r", mine)
        self.assertNotIn("mine", os.listdir(self.at.path))
        self.assertEqual(1, self.at.status_of("")["absent"])
        self.at.remount()
        self.at.wait()
        self.assertNotIn("mine", os.listdir(self.at.path))
        self.assertEqual(before, harness.picture(self.root))

    def test_a_wide_and_deep_one_goes_on_after_a_kill(self):
        wide = self.at / "wide"
        deep = wide
        for _ in range(60):
            deep = deep / "d"
        deep.mkdir(parents=True)
        count = 3000
        for number in range(count):
            os.close(os.open(wide / f"f{number}", os.O_CREAT | os.O_WRONLY))
        (deep / "last").write_text("last")
        began = time.monotonic()
        try:
            os.setxattr(wide, "user.ebb.status", b"syncmore")
        except OSError as error:
            self.assertEqual(errno.EINPROGRESS, error.errno)
        self.assertLess(time.monotonic() - began, 10)
        self.at.kill9()
        self.at.start()
        self.at.wait(self.at / "wide", limit_s=120)
        self.assertEqual("sync", status(deep / "last"))
        self.assertEqual(count + 1, len(os.listdir(self.root / "wide")))
        self.assertEqual("last", (self.root / deep.relative_to(self.at.path) / "last").read_text())

    def test_nobody_hangs_behind_one_that_goes_on(self):
        self.becomes(self.at / "served", "syncless")
        os.listdir(self.at / "served")
        self.ebbd.daemon.process.send_signal(harness.signal.SIGSTOP)
        self.addCleanup(self.ebbd.daemon.process.send_signal, harness.signal.SIGCONT)
        os.mkdir(self.at / "own")
        answers = []

        def ask():
            try:
                os.setxattr(self.at / "served", "user.ebb.status", b"syncmore")
                os.setxattr(self.at / "served/deep", "user.ebb.status", b"syncmore")
                answers.append(0)
            except OSError as error:
                answers.append(error.errno)

        asking = threading.Thread(target=ask)
        asking.start()
        for number in range(20):
            os.listdir(self.at.path)
            (self.at / f"own/{number}").write_text("x")
            status(self.at / "own")
        asking.join(harness.LIMIT_S)
        self.assertEqual([errno.EINPROGRESS], answers)
        self.assertIn(state(self.at / "served/deep"), ("waiting", "pulling"))
        self.ebbd.daemon.process.send_signal(harness.signal.SIGCONT)
        self.at.wait(self.at / "served")
        self.assertEqual("sync", status(self.at / "served/deep/inner"))


class Hidden(FolderCase):
    def test_a_local_name_hides_the_servers_until_it_goes(self):
        self.becomes(self.at / "served", "syncless")
        os.listdir(self.at / "served")
        for name in ("one", "two"):
            (self.at / "served" / name).write_text("mine")
        other = self.mount(self.ebbd, name="other")
        for name in ("one", "two"):
            (other / "served" / name).write_text("theirs, from another client")
        other.wait()
        until(lambda: self.at.status_of("served/two")["hides"], "the server's is known to be hidden")
        self.assertEqual(("local", "mine"), (status(self.at / "served/one"), (self.at / "served/one").read_text()))
        self.assertIn("hides", self.expect_run("ebb", "status", self.at / "served/one"))
        os.unlink(self.at / "served/one")
        os.rename(self.at / "served/two", self.at / "served/three")
        for name in ("one", "two"):
            until(lambda: status(self.at / "served" / name) == "remote", "the server's is shown again")
            self.assertEqual("theirs, from another client", (self.at / "served" / name).read_text())
        self.assertEqual(("local", "mine"), (status(self.at / "served/three"), (self.at / "served/three").read_text()))
        self.at.wait()
        self.assertFalse((self.root / "served/three").exists())


class Saving(FolderCase):
    """A saved file does not fall out of sync, however it is saved."""

    def saved(self, name, save):
        path = self.at / name
        path.write_text("first")
        set_status(path, "sync")
        self.at.wait(path)
        save(path)
        self.assertEqual("sync", status(path))
        self.at.wait(path)
        self.assertEqual("second", (self.root / name).read_text())

    def test_renamed_over(self):
        def save(path):
            (self.at / "new").write_text("second")
            os.rename(self.at / "new", path)
        self.saved("doc", save)

    def test_moved_away_and_made_anew(self):
        def save(path):
            os.rename(path, f"{path}~")
            path.write_text("second")
        self.saved("doc", save)
        self.assertEqual("first", (self.at / "doc~").read_text())

    def test_deleted_and_made_anew(self):
        def save(path):
            os.unlink(path)
            path.write_text("second")
        self.saved("doc", save)

    def test_moved_away_and_a_new_one_moved_there(self):
        def save(path):
            (self.at / "new").write_text("second")
            os.rename(path, f"{path}~")
            os.rename(self.at / "new", path)
        self.saved("doc", save)

    def test_what_mixes_statuses_is_another_device(self):
        (self.at / "doc").write_text("doc")
        set_status(self.at / "doc", "sync")
        (self.at / "mine").mkdir()
        for call in (os.rename, os.link):
            with self.errno_is(errno.EXDEV):
                call(self.at / "doc", self.at / "mine/doc")
        (self.at / "private").write_text("private")
        os.rename(self.at / "private", self.at / "served/private")
        self.assertEqual("local", status(self.at / "served/private"))
        self.at.wait()
        self.assertFalse((self.root / "served/private").exists())

    def test_an_empty_remote_file_is_sync_once_it_was_opened(self):
        self.assertEqual("remote", status(self.at / "served/empty"))
        open(self.at / "served/empty").close()
        until(lambda: status(self.at / "served/empty") == "sync", "it was opened")


class Commands(FolderCase):
    def test_sync_of_a_folder(self):
        mine = self.fill(self.at / "mine")
        said = self.expect_refusal("ebb", "sync", mine, code=2)
        self.assertIn("--as", said)
        self.assertEqual(["local"] * 6, self.words(mine))
        said = self.expect_run("ebb", "sync", "--as", "syncmore", mine / "sub")
        self.assertIn("mine: local, becomes syncless", said)
        self.assertIn("sub: local, becomes syncmore", said)
        self.assertEqual(["syncless", "local", "syncmore", "sync", "syncmore", "sync"], self.words(mine))
        self.assertEqual("z", (self.root / "mine/sub/deep/z").read_text())
        self.assertFalse((self.root / "mine/x").exists())
        (mine / "sub/y").write_text("again")
        self.expect_run("ebb", "sync", mine)
        self.assertEqual("again", (self.root / "mine/sub/y").read_text())
        self.assertIn("remote", self.expect_refusal("ebb", "sync", self.at / "served"))
        self.expect_refusal("ebb", "sync", "--as", "sync", mine, code=2)

    def test_sync_asks_a_person(self):
        mine = self.fill(self.at / "mine")
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(harness.BIN / "ebb", ["ebb", "sync", str(mine)])
        said = b""
        while b"syncless or syncmore?" not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, b"what\nsyncmore\n")
        with harness.contextlib.suppress(OSError):  # at its end a terminal is an error
            while True:
                said += os.read(terminal, 4096)
        self.assertEqual(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said)
        os.close(terminal)
        self.assertIn(b"becomes syncmore", said)
        self.assertEqual("z", (self.root / "mine/sub/deep/z").read_text())

    def test_free_drops_what_the_server_has(self):
        self.becomes(self.at / "served", "syncmore")
        self.at.wait()
        until(lambda: status(self.at / "served/deep/inner") == "sync", "pulled")
        mine = self.fill(self.at / "mine")
        self.ebbd.stop()
        (self.at / "served/file").write_text("only here")
        self.expect_run("ebb", "free", self.at.path)
        self.assertEqual("remote", status(self.at / "served/deep/inner"))
        self.assertEqual(("sync", "only here"), (status(self.at / "served/file"), (self.at / "served/file").read_text()))
        self.assertEqual(["local"] * 6, self.words(mine))
        self.expect_refusal("ebb", "free", self.at / "served/file")

    def test_pinned_content_comes_and_stays(self):
        served = self.at / "served"
        self.expect_run("ebb", "pin", served)
        until(lambda: status(served / "deep/inner") == "sync", "pulled")
        self.assertEqual("keep", ebb(served, "pin"))
        other = self.mount(self.ebbd, name="other")
        (other / "served/deep/later").write_text("later")
        other.wait()
        until(lambda: progress(served / "deep/later") == (5, 5), "what comes later is kept, too")
        self.expect_refusal("ebb", "free", served / "deep/inner")
        self.expect_run("ebb", "unpin", served / "deep/inner")
        self.assertEqual("auto", ebb(served / "deep/inner", "pin"))
        self.expect_run("ebb", "free", served)
        self.assertEqual(("remote", "sync"), (status(served / "deep/inner"), status(served / "file")))
        self.becomes(served, "remote")
        self.assertEqual("inherit", ebb(served, "pin"))
        with self.errno_is(errno.EINVAL):
            os.setxattr(served, "user.ebb.pin", b"always")

    def test_status_shows_the_tree_and_the_queue(self):
        mine = self.fill(self.at / "mine")
        shown = self.expect_run("ebb", "status", "-r", self.at.path)
        paths = [line.split("  ")[-1].strip() for line in shown.splitlines()]
        self.assertEqual(str(self.at.path), paths[0])
        self.assertIn(str(mine / "sub/deep/z"), paths)
        self.assertNotIn("\x1b", shown)
        rows = [json.loads(line) for line in
                self.expect_run("ebb", "status", "--json", "-r", self.at.path).splitlines()]
        fields = {"path", "kind", "status", "state", "size", "bytes_here", "version", "pin"}
        self.assertEqual(len(paths), len(rows))
        self.assertTrue(all(fields <= set(row) for row in rows))
        self.ebbd.stop()
        self.becomes(mine, "syncmore")
        self.assertEqual("waiting", state(mine))
        # Other mounts of this user may come and go meanwhile, and are told of, too.
        facts = [json.loads(line) for line in self.run_program("ebb", "status", "--json").stdout.splitlines()]
        queue = next(row["queue"] for row in facts if row["mountpoint"] == str(self.at.path))
        self.assertEqual("mine", queue[0]["path"], "a folder before what is in it")
        self.assertEqual(7, len(queue))
        self.assertIn("mine/sub/deep/z", self.run_program("ebb", "status").stdout)


if __name__ == "__main__":
    harness.main()

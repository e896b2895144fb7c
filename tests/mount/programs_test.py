#!/usr/bin/env python3
"""Programs that copy, save, lock and map, on files that are here, on placeholders, and while they are pulled."""

import mmap
import os
import shutil
import sqlite3
import unittest

import harness
from harness import MIB, set_status, status


class Programs(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        self.ebbd = self.server(self.root)
        self.at = self.mount(self.ebbd)

    def arrived(self):
        self.at.wait()
        self.assert_same_tree(self.at.path, self.root)

    def sample(self):
        top = self.folder("sample")
        (top / "a/b").mkdir(parents=True)
        for number in range(20):
            path = top / ("a/b" if number % 2 else "a") / f"file {number}"
            path.write_bytes(harness.noise(number * 40_000, number))
            os.chmod(path, (0o644, 0o600, 0o755, 0o444)[number % 4])
            os.utime(path, ns=(1_500_000_000_000_000_007, 1_600_000_000_000_000_000 + number))
            os.setxattr(path, "user.colour", b"%d" % number)
        os.symlink("a/file 0", top / "link")
        os.link(top / "a/file 2", top / "hard")
        return top

    def test_a_copy_does_not_copy_a_status(self):
        (self.at / "file").write_text("x")
        self.at.wait()
        set_status(self.at / "file", "local")
        os.setxattr(self.at / "file", "user.colour", b"red")
        for command in (["cp", "-a"], ["rsync", "-aX"]):
            if shutil.which(command[0]):
                self.expect_run(*command, self.at / "file", self.at / command[0])
                self.assertEqual(("sync", b"red"), (status(self.at / command[0]), os.getxattr(self.at / command[0], "user.colour")))
        self.expect_run("cp", "-a", self.at / "file", self.dir / "outside")
        self.assertEqual(["user.colour"], os.listxattr(self.dir / "outside"))

    @unittest.skipUnless(shutil.which("rsync"), "rsync is not installed")
    def test_rsync_with_everything(self):
        top = self.sample()
        for size in (10, 20):
            self.expect_run("rsync", "-aHAX", "--delete", f"{top}/", self.at / "copy", limit_s=60)
            self.assert_same_tree(top, self.at / "copy")
            (top / "a/file 3").unlink(missing_ok=True)
            (top / "a/file 4").write_bytes(b"x" * size)
        self.arrived()
        self.expect_run("rsync", "-aHAX", "--delete", f"{top}/", self.at / "copy", limit_s=60)
        self.at.wait()
        self.expect_run("rsync", "-aHX", f"{self.mount(self.ebbd).path}/copy/", self.dir / "back", limit_s=60)
        self.assert_same_tree(top, self.dir / "back")

    def test_tar_of_placeholders(self):
        top = self.sample()
        root = self.folder("placeholders")
        self.expect_run("cp", "-a", f"{top}/.", root)
        at = self.mount(self.server(root))
        self.assertEqual("remote", status(at / "a/file 8"))
        self.expect_run("tar", "-C", at.path, "--xattrs", "-cf", self.dir / "archive.tar", ".", limit_s=60)
        (self.dir / "out").mkdir()
        self.expect_run("tar", "-C", self.dir / "out", "--xattrs", "-xpf", self.dir / "archive.tar")
        self.assert_same_tree(top, self.dir / "out")

    def test_sqlite_with_a_write_ahead_log(self):
        path = self.at / "data.db"
        writer = sqlite3.connect(path, isolation_level=None)
        self.assertEqual(("wal",), writer.execute("pragma journal_mode=wal").fetchone())
        writer.execute("create table t (n integer primary key, text)")
        reader = sqlite3.connect(path, isolation_level=None)
        for number in range(100):
            writer.execute("insert into t values (?, ?)", (number, "x" * 2000))
            self.assertEqual((number + 1,), reader.execute("select count(*) from t").fetchone())
        reader.close()
        writer.close()
        self.at.wait()
        copy = sqlite3.connect(f"file:{self.root / 'data.db'}?immutable=1", uri=True)
        self.assertEqual([("ok",)], copy.execute("pragma integrity_check").fetchall())
        self.assertEqual((100,), copy.execute("select count(*) from t").fetchone())
        copy.close()

    def test_sqlite_on_a_placeholder(self):
        path = self.at / "data.db"
        base = sqlite3.connect(path, isolation_level=None)
        base.execute("create table t (n integer primary key, text)")
        base.executemany("insert into t values (?, ?)", ((number, "x" * 1000) for number in range(500)))
        base.close()
        self.at.wait()
        set_status(path, "remote")
        base = sqlite3.connect(path, isolation_level=None)
        self.assertEqual((500,), base.execute("select count(*) from t").fetchone())
        base.execute("delete from t where n % 2")
        base.close()
        self.at.wait()
        copy = sqlite3.connect(f"file:{self.root / 'data.db'}?immutable=1", uri=True)
        self.assertEqual([("ok",)], copy.execute("pragma integrity_check").fetchall())
        self.assertEqual((250,), copy.execute("select count(*) from t").fetchone())
        copy.close()

    def test_an_editor_that_saves_a_placeholder_by_renaming(self):
        (self.at / "note").write_text("first\n")
        self.at.wait()
        set_status(self.at / "note", "remote")
        before = os.stat(self.at / "note").st_mode
        (self.at / "note.new").write_text("second\n")
        os.chmod(self.at / "note.new", before)
        os.rename(self.at / "note.new", self.at / "note")
        self.assertEqual("sync", status(self.at / "note"))
        self.arrived()
        self.assertEqual("second\n", (self.root / "note").read_text())
        self.assertGreater(harness.version(self.at / "note"), 1)

    def test_writes_through_a_map_of_a_placeholder_are_seen_and_pushed(self):
        content = bytearray(harness.noise(MIB, "mapped"))
        (self.at / "mapped").write_bytes(content)
        self.at.wait()
        set_status(self.at / "mapped", "remote")
        with open(self.at / "mapped", "r+b", buffering=0) as file, mmap.mmap(file.fileno(), 0) as view:
            view[500_000:500_005] = content[500_000:500_005] = b"map 1"
            self.assertEqual(b"map 1", os.pread(file.fileno(), 5, 500_000))
            view.flush()
        self.assertEqual(bytes(content), (self.at / "mapped").read_bytes())
        self.at.wait()
        self.assertEqual(bytes(content), (self.root / "mapped").read_bytes())

    def test_cutting_a_file_under_a_map(self):
        (self.at / "mapped").write_bytes(b"x" * 20_000)
        with open(self.at / "mapped", "r+b", buffering=0) as file, mmap.mmap(file.fileno(), 0) as view:
            file.truncate(5000)
            self.assertEqual(b"x" * 5000 + bytes(3192), view[:8192])
            file.truncate(20_000)
            self.assertEqual(bytes(15_000), view[5000:])
            view[19_999:] = b"y"
            view.flush()
        self.assertEqual(b"x" * 5000 + bytes(14_999) + b"y", (self.at / "mapped").read_bytes())
        self.arrived()

    def test_a_deleted_placeholder_is_read_by_whoever_has_it_open(self):
        content = harness.noise(MIB, "deleted")
        (self.at / "file").write_bytes(content)
        self.at.wait()
        set_status(self.at / "file", "remote")
        with open(self.at / "file", "rb", buffering=0) as file:
            self.assertEqual(content[:100], os.pread(file.fileno(), 100, 0))
            os.rename(self.at / "file", self.at / "other")
            self.assertEqual(content[500_000:500_100], os.pread(file.fileno(), 100, 500_000))
        os.unlink(self.at / "other")
        self.arrived()


if __name__ == "__main__":
    harness.main()

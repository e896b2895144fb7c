#!/usr/bin/env python3
"""What is changed through the mount is there at once, and on the server after the delay."""

import os
import stat

import harness
from harness import MIB, ebb, state, status, until, version


class Changes(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "old").mkdir()
        for number in range(4):
            (self.root / "old" / f"file{number}").write_text(f"old {number}\n")
        self.at = self.mount(self.server(self.root))

    def arrived(self):
        """Everything is pushed, and both sides are equal."""
        self.at.wait()
        self.assert_same_tree(self.at.path, self.root)

    def test_new_files_and_folders(self):
        (self.at / "a/b/c").mkdir(parents=True)
        for size in (0, 1, 4095, 4096, 4097, 100_000, 3 * MIB + 7):
            (self.at / f"a/b/of{size}").write_bytes(harness.noise(size, size))
        self.assertEqual(100_000, len((self.at / "a/b/of100000").read_bytes()))
        self.arrived()
        self.assertEqual(harness.noise(3 * MIB + 7, 3 * MIB + 7), (self.root / f"a/b/of{3 * MIB + 7}").read_bytes())

    def test_many_small_files(self):
        (self.at / "many").mkdir()
        for number in range(1000):
            (self.at / f"many/{number}").write_text(f"{number}" * 50)
        self.arrived()

    def test_a_write_shows_its_way_to_the_server(self):
        path = self.at / "new"
        path.write_text("hello")
        self.assertEqual("sync", status(path))
        self.assertIn(state(path), ("waiting", "pushing", "clean"))
        self.at.wait(path)
        self.assertEqual("clean", state(path))
        self.assertGreater(version(path), 0)
        self.assertEqual(harness.xxh3(b"hello"), ebb(path, "hash"))
        self.assertEqual("hello", (self.root / "new").read_text())

    def test_a_change_of_what_is_there(self):
        (self.at / "old/file0").write_text("new content, longer than the old")
        with open(self.at / "old/file1", "a", encoding="utf-8") as file:
            file.write("appended\n")
        with open(self.at / "old/file2", "r+b") as file:
            file.write(b"OLD")
        self.arrived()
        self.assertEqual("old 1\nappended\n", (self.root / "old/file1").read_text())
        self.assertEqual("OLD 2\n", (self.root / "old/file2").read_text())
        self.assertEqual("sync", status(self.at / "old/file2"))

    def test_versions_grow(self):
        path, seen = self.at / "counted", [0]
        for text in ("one", "two", "three"):
            path.write_text(text)
            self.at.wait(path)
            seen.append(version(path))
        self.assertEqual(sorted(set(seen)), seen)

    def test_renames(self):
        os.rename(self.at / "old/file0", self.at / "old/renamed")
        os.rename(self.at / "old/file1", self.at / "moved")
        os.rename(self.at / "old/file2", self.at / "old/file3")
        (self.at / "folder").mkdir()
        os.rename(self.at / "moved", self.at / "folder/moved")
        self.assertEqual("old 2\n", (self.at / "old/file3").read_text())
        self.arrived()
        os.rename(self.at / "folder", self.at / "old/folder")
        self.assertEqual("old 1\n", (self.at / "old/folder/moved").read_text())
        self.arrived()
        self.assertEqual(["file3", "folder", "renamed"], sorted(os.listdir(self.root / "old")))

    def test_a_renamed_file_is_not_sent_again(self):
        (self.at / "big").write_bytes(harness.noise(4 * MIB, "big"))
        self.at.wait()
        before = os.stat(self.root / "big").st_ino
        os.rename(self.at / "big", self.at / "old/big")
        self.at.wait()
        self.assertEqual(before, os.stat(self.root / "old/big").st_ino, "the server's own file has moved")

    def test_two_names_change_places(self):
        os.rename(self.at / "old/file0", self.at / "old/between")
        os.rename(self.at / "old/file1", self.at / "old/file0")
        os.rename(self.at / "old/between", self.at / "old/file1")
        self.arrived()
        self.assertEqual("old 1\n", (self.root / "old/file0").read_text())
        self.assertEqual("old 0\n", (self.root / "old/file1").read_text())

    def test_deletions(self):
        os.unlink(self.at / "old/file0")
        self.assertFalse((self.at / "old/file0").exists())
        (self.at / "old/new").write_text("made and gone")
        os.unlink(self.at / "old/new")
        self.arrived()
        self.assertEqual(["file1", "file2", "file3"], sorted(os.listdir(self.root / "old")))
        for name in os.listdir(self.at / "old"):
            os.unlink(self.at / "old" / name)
        os.rmdir(self.at / "old")
        self.arrived()
        self.assertFalse((self.root / "old").exists())

    def test_a_folder_with_something_in_it_is_not_removed(self):
        with self.errno_is(harness.errno.ENOTEMPTY):
            os.rmdir(self.at / "old")
        with self.errno_is(harness.errno.ENOTDIR):
            os.rmdir(self.at / "old/file0")
        with self.errno_is(harness.errno.EISDIR, harness.errno.EPERM):
            os.unlink(self.at / "old")
        self.assertEqual(4, len(os.listdir(self.at / "old")))

    def test_symbolic_links(self):
        os.symlink("old/file0", self.at / "link")
        os.symlink("nowhere at all", self.at / "dangling")
        self.assertEqual("old 0\n", (self.at / "link").read_text())
        self.arrived()
        self.assertEqual("nowhere at all", os.readlink(self.root / "dangling"))

    def test_hard_links(self):
        os.link(self.at / "old/file0", self.at / "second")
        self.assertEqual(2, os.stat(self.at / "second").st_nlink)
        self.assertEqual(os.stat(self.at / "old/file0").st_ino, os.stat(self.at / "second").st_ino)
        self.arrived()
        self.assertEqual(os.stat(self.root / "old/file0").st_ino, os.stat(self.root / "second").st_ino)
        (self.at / "second").write_text("through one name")
        self.assertEqual("through one name", (self.at / "old/file0").read_text())
        self.arrived()
        self.assertEqual("through one name", (self.root / "old/file0").read_text())
        self.assertEqual("through one name", (self.root / "second").read_text())
        os.unlink(self.at / "old/file0")
        self.assertEqual(1, os.stat(self.at / "second").st_nlink)
        self.arrived()

    def test_modes_and_times(self):
        os.chmod(self.at / "old/file0", 0o640)
        os.chmod(self.at / "old", 0o710)
        os.utime(self.at / "old/file1", ns=(1_000_000_007, 1_234_567_890_123_456_789))
        os.utime(self.at / "old/file2", ns=(0, 0))
        self.arrived()
        self.assertEqual(0o640, stat.S_IMODE(os.stat(self.root / "old/file0").st_mode))
        self.assertEqual(1_234_567_890_123_456_789, os.stat(self.root / "old/file1").st_mtime_ns)
        self.assertEqual(0, os.stat(self.root / "old/file2").st_mtime_ns)

    def test_a_mode_alone_keeps_a_file_remote(self):
        os.chmod(self.at / "old/file3", 0o600)
        self.at.wait()
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.root / "old/file3").st_mode))
        self.assertEqual("old 3\n", (self.at / "old/file3").read_text())

    def test_truncation(self):
        (self.at / "long").write_bytes(harness.noise(2 * MIB, "long"))
        self.at.wait()
        os.truncate(self.at / "long", 5)
        os.truncate(self.at / "old/file0", 0)
        os.truncate(self.at / "old/file1", 100_000)
        self.arrived()
        self.assertEqual(harness.noise(2 * MIB, "long")[:5], (self.root / "long").read_bytes())
        self.assertEqual(b"old 1\n" + bytes(100_000 - 6), (self.root / "old/file1").read_bytes())

    def test_user_attributes(self):
        os.setxattr(self.at / "old/file0", "user.colour", b"green\0\xff")
        os.setxattr(self.at / "old", "user.note", b"of a folder")
        self.assertEqual(["user.colour"], os.listxattr(self.at / "old/file0"))
        self.at.wait()
        self.assertEqual(b"green\0\xff", os.getxattr(self.root / "old/file0", "user.colour"))
        self.assertEqual(b"of a folder", os.getxattr(self.root / "old", "user.note"))
        with self.errno_is(harness.errno.EEXIST):
            os.setxattr(self.at / "old/file0", "user.colour", b"red", os.XATTR_CREATE)
        with self.errno_is(harness.errno.ENODATA):
            os.setxattr(self.at / "old/file0", "user.other", b"red", os.XATTR_REPLACE)
        os.removexattr(self.at / "old/file0", "user.colour")
        self.at.wait()
        self.assertEqual([], os.listxattr(self.root / "old/file0"))

    def test_a_write_into_a_big_remote_file_keeps_the_rest(self):
        root, content = self.folder("big"), bytearray(harness.noise(24 * MIB, "remote"))
        (root / "remote").write_bytes(content)
        mount = self.mount(self.server(root))
        path = mount / "remote"
        with open(path, "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"changed here", 17 * MIB + 3)
            self.assertEqual("sync", status(path))
        content[17 * MIB + 3:17 * MIB + 15] = b"changed here"
        mount.wait()
        self.assertEqual(bytes(content), (root / "remote").read_bytes())
        self.assertEqual(bytes(content), path.read_bytes())

    def test_exclusive_and_exchanged(self):
        with self.errno_is(harness.errno.EEXIST):
            os.open(self.at / "old/file0", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        with self.errno_is(harness.errno.EEXIST):
            os.mkdir(self.at / "old")
        with self.errno_is(harness.errno.EEXIST):
            harness.renameat2(self.at / "old/file0", self.at / "old/file1", harness.RENAME_NOREPLACE)
        harness.renameat2(self.at / "old/file0", self.at / "old/file1", harness.RENAME_EXCHANGE)
        self.assertEqual("old 0\n", (self.at / "old/file1").read_text())
        self.arrived()
        self.assertEqual("old 1\n", (self.root / "old/file0").read_text())


class Editors(harness.MountCase):
    """Both ways in which editors save keep a file's status, in a syncless folder too."""

    def opened(self, root_status):
        self.root = self.folder(f"root-{root_status}")
        (self.root / "text").write_text("first\n")
        self.at = self.mount(self.server(self.root), options=[f"root={root_status}"])
        self.assertEqual("first\n", (self.at / "text").read_text())
        until(lambda: status(self.at / "text") == "sync", "what was read is sync")
        return self.at / "text"

    def saved(self, path, text):
        self.assertEqual("sync", status(path))
        self.at.wait()
        self.assertEqual(text, (self.root / "text").read_text())
        self.assertEqual("sync", status(path))
        self.assertEqual("clean", state(path))

    def test_a_new_file_renamed_over_the_old(self):
        for word in ("syncmore", "syncless"):
            with self.subTest(root=word):
                path = self.opened(word)
                (self.at / ".text.tmp").write_text("second\n")
                os.rename(self.at / ".text.tmp", path)
                self.saved(path, "second\n")

    def test_the_old_renamed_away_and_made_anew(self):
        for word in ("syncmore", "syncless"):
            with self.subTest(root=word):
                path = self.opened(word)
                os.rename(path, self.at / "text~")
                path.write_text("third\n")
                os.unlink(self.at / "text~")
                self.saved(path, "third\n")
                self.assertFalse((self.root / "text~").exists())

    def test_deleted_and_made_anew(self):
        path = self.opened("syncless")
        os.unlink(path)
        path.write_text("fourth\n")
        self.saved(path, "fourth\n")


class Delay(harness.MountCase):
    def test_nothing_is_pushed_before_the_delay_and_unmounting_loses_nothing(self):
        root = self.folder("root")
        (root / "old").write_text("old")
        server = self.server(root)
        mount = self.mount(server, delay=3600)
        (mount / "new").write_text("new")
        (mount / "old").write_text("changed")
        os.mkdir(mount / "folder")
        self.assertEqual("waiting", state(mount / "new"))
        self.assertEqual("waiting", state(mount.path))
        self.assertEqual("old", (root / "old").read_text())
        mount.unmount()
        mount.start()
        self.assertEqual("new", (mount / "new").read_text())
        self.assertEqual("changed", (mount / "old").read_text())
        mount.wait()
        self.assert_same_tree(mount.path, root)
        self.assertEqual("clean", state(mount.path))

    def test_a_delay_of_nothing_pushes_at_close(self):
        root = self.folder("root")
        mount = self.mount(self.server(root), delay=0)
        (mount / "file").write_text("at once")
        until(lambda: (root / "file").read_text() == "at once", "pushed at close", limit_s=10)


class Git(harness.MountCase):
    def git(self, *arguments, cwd):
        environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="a",
                           GIT_AUTHOR_EMAIL="a@a", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@a")
        return self.expect_run("git", "-c", f"safe.directory={cwd}", "-c", "gc.auto=0", *arguments, cwd=cwd, env=environment,
                               limit_s=120)

    def test_a_repository_in_the_mount_is_whole_on_the_server(self):
        root = self.folder("root")
        mount = self.mount(self.server(root))
        top = mount / "project"
        top.mkdir()
        self.git("init", "-q", cwd=top)
        for number in range(60):
            (top / f"dir{number % 6}").mkdir(exist_ok=True)
            (top / f"dir{number % 6}/file{number}").write_text(f"content {number}\n" * number)
        self.git("add", ".", cwd=top)
        self.git("commit", "-q", "-m", "first", cwd=top)
        (top / "dir1/file1").write_text("changed\n")
        self.git("commit", "-q", "-a", "-m", "second", cwd=top)
        self.git("fsck", "--strict", cwd=top)
        self.assertEqual("", self.git("status", "--porcelain", cwd=top))
        mount.wait()
        self.git("fsck", "--strict", cwd=root / "project")
        self.assertEqual("", self.git("status", "--porcelain", cwd=root / "project"))
        self.assertEqual(self.git("log", "--format=%H", cwd=top), self.git("log", "--format=%H", cwd=root / "project"))
        self.assertEqual("clean", state(mount.path))


if __name__ == "__main__":
    harness.main()

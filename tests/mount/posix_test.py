#!/usr/bin/env python3
"""What POSIX says of attributes, links and special files, where a filesystem of one's own is quick to differ."""

import os
import stat
import unittest

import harness

AS_ROOT = unittest.skipUnless(os.getuid() == 0, "only root may do this")


class Attributes(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        self.server_of_root = self.server(self.root)
        self.at = self.mount(self.server_of_root, options=["allow_other"] if os.getuid() == 0 else [])

    def info(self, name):
        return os.lstat(self.at / name)

    def test_access_times_are_kept_on_this_machine(self):
        path = self.at / "file"
        path.write_text("x")
        os.utime(path, ns=(1_000_000_001, 2_000_000_002))
        self.assertEqual((1_000_000_001, 2_000_000_002), (self.info("file").st_atime_ns, self.info("file").st_mtime_ns))
        self.expect_run("touch", "-m", "-d", "@3.5", path)
        self.assertEqual((1_000_000_001, 3_500_000_000), (self.info("file").st_atime_ns, self.info("file").st_mtime_ns))
        self.expect_run("touch", "-a", "-d", "@4.5", path)
        self.assertEqual((4_500_000_000, 3_500_000_000), (self.info("file").st_atime_ns, self.info("file").st_mtime_ns))
        self.at.remount()
        self.assertEqual((4_500_000_000, 3_500_000_000), (self.info("file").st_atime_ns, self.info("file").st_mtime_ns))
        os.unlink(path)
        path.write_text("made anew in the same record")
        self.assertEqual(self.info("file").st_atime_ns, self.info("file").st_mtime_ns)

    def test_the_modification_time_alone_leaves_the_access_time(self):
        path = self.at / "file"
        path.write_text("x")
        os.utime(path, ns=(5_000_000_000, 5_000_000_000))
        self.expect_run("touch", "-m", "-d", "@6", path)
        self.assertEqual((5_000_000_000, 6_000_000_000), (self.info("file").st_atime_ns, self.info("file").st_mtime_ns))

    def test_the_links_of_a_folder_count_the_folders_in_it(self):
        def links(name):
            return self.info(name).st_nlink
        os.makedirs(self.at / "a/b/c")
        os.mkdir(self.at / "a/d")
        (self.at / "a/file").touch()
        self.assertEqual([4, 3, 2, 3], [links("a"), links("a/b"), links("a/b/c"), os.stat(self.at.path).st_nlink])
        os.rename(self.at / "a/b/c", self.at / "a/d/c")
        self.assertEqual([2, 3], [links("a/b"), links("a/d")])
        os.rename(self.at / "a/b", self.at / "b")
        self.assertEqual([3, 4], [links("a"), os.stat(self.at.path).st_nlink])
        harness.renameat2(self.at / "b", self.at / "a/file", harness.RENAME_EXCHANGE)
        self.assertEqual([4, 3], [links("a"), os.stat(self.at.path).st_nlink])
        os.rmdir(self.at / "a/file")
        self.assertEqual(3, links("a"))
        self.at.remount()
        self.assertEqual([3, 3], [links("a"), os.stat(self.at.path).st_nlink])
        os.makedirs(self.mount(self.server_of_root) / "a/from/another")
        harness.until(lambda: links("a") == 4, "another client's folder is counted")
        harness.until(lambda: os.listdir(self.at / "a/from") and links("a/from") == 3, "and what is in it, once it is known")

    def test_a_removed_folder_that_is_open_has_no_links(self):
        os.mkdir(self.at / "gone")
        here = os.open(self.at / "gone", os.O_RDONLY)
        os.rmdir(self.at / "gone")
        self.assertEqual(0, os.fstat(here).st_nlink)
        os.close(here)

    def test_what_is_replaced_has_changed_where_another_name_is_left(self):
        for name in ("new", "old"):
            (self.at / name).write_text(name)
        os.link(self.at / "old", self.at / "other")
        before = self.info("other").st_ctime_ns
        os.rename(self.at / "new", self.at / "old")
        self.assertEqual(1, self.info("other").st_nlink)
        self.assertGreater(self.info("other").st_ctime_ns, before)

    @AS_ROOT
    def test_devices_stay_on_this_machine(self):
        for name, kind in (("null", stat.S_IFCHR), ("disk", stat.S_IFBLK)):
            os.mknod(self.at / name, kind | 0o640, os.makedev(300, 70_000))
            info = self.info(name)
            self.assertEqual((kind | 0o640, os.makedev(300, 70_000), 0), (info.st_mode, info.st_rdev, info.st_size))
            self.assertEqual("untracked", self.at.status_of(name)["status"])
        self.at.wait()
        self.assertEqual([harness.STATE_DIR], os.listdir(self.root))
        self.at.remount()
        self.assertEqual(os.makedev(300, 70_000), self.info("disk").st_rdev)
        os.rename(self.at / "null", self.at / "renamed")
        os.unlink(self.at / "renamed")

    @AS_ROOT
    def test_a_new_owner_takes_the_set_id_bits(self):
        os.mkfifo(self.at / "fifo")
        (self.at / "file").touch()
        os.mkdir(self.at / "folder")
        for name, left in (("fifo", 0o555), ("file", 0o555), ("folder", 0o6555)):
            os.chmod(self.at / name, 0o6555)
            os.chown(self.at / name, 1234, 5678)
            self.assertEqual((left, 1234, 5678), (stat.S_IMODE(self.info(name).st_mode), self.info(name).st_uid,
                                                  self.info(name).st_gid), name)

    @AS_ROOT
    def test_what_is_made_in_a_folder_of_a_group_belongs_to_the_group(self):
        os.mkdir(self.at / "shared")
        os.chown(self.at / "shared", 0, 4321)
        os.chmod(self.at / "shared", 0o2775)
        os.mkdir(self.at / "shared/folder")
        (self.at / "shared/folder/file").touch()
        self.assertEqual((4321, 0o2000), (self.info("shared/folder").st_gid, self.info("shared/folder").st_mode & 0o2000))
        self.assertEqual((4321, 0), (self.info("shared/folder/file").st_gid, self.info("shared/folder/file").st_mode & 0o2000))


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""A tree that is served can be read through the mount: all of it at once, its content when it is read."""

import os
import shutil
import subprocess
import tempfile

import harness
from harness import MIB, progress, state, status, until, version, xxh3

HEADERS = "/usr/include"


class WholeTree(harness.MountCase):
    """A copy of /usr/include, some 9,000 files, by each of the ways to reach it."""

    limit_s = 300

    @classmethod
    def setUpClass(cls):
        cls.kept = tempfile.mkdtemp(prefix="ebb-headers.")
        cls.addClassCleanup(shutil.rmtree, cls.kept, ignore_errors=True)
        cls.tree = os.path.join(cls.kept, "include")
        subprocess.run(["cp", "-a", HEADERS, cls.tree], check=True)

    def read_whole(self, source):
        mount = self.mount(source)
        self.assert_same_tree(self.tree, mount.path)
        self.assertEqual("clean", until(lambda: state(mount.path) == "clean" and state(mount.path), "all is clean"))
        mount.unmount()

    def test_equal_through_a_unix_socket(self):
        self.read_whole(self.server(self.tree))

    def test_equal_through_tcp(self):
        self.read_whole(self.server(self.tree, tcp=True))

    def test_equal_through_the_embedded_server(self):
        self.read_whole(self.tree)

    def test_listing_pulls_nothing(self):
        mount = self.mount(self.server(self.tree))
        self.expect_run("ls", "-lR", mount.path, limit_s=120)
        names = self.expect_run("find", mount.path, "-type", "f", limit_s=120).splitlines()
        self.assertGreater(len(names), 500)
        for name in names:
            self.assertEqual("remote", status(name), name)
            self.assertEqual((0, os.stat(name).st_size), progress(name), name)

    def test_a_placeholder_looks_like_the_file(self):
        mount = self.mount(self.server(self.tree))
        here, there = os.stat(mount / "stdio.h"), os.stat(os.path.join(self.tree, "stdio.h"))
        self.assertEqual((there.st_size, there.st_mtime_ns, there.st_mode), (here.st_size, here.st_mtime_ns, here.st_mode))
        self.assertGreaterEqual(here.st_blocks * 512, here.st_size, "cp and tar take a file with few blocks for sparse")
        self.assertEqual((os.getuid(), os.getgid()), (here.st_uid, here.st_gid))
        self.assertEqual("remote", status(mount / "stdio.h"))

    def test_a_c_program_compiles_inside_the_mount(self):
        mount = self.mount(self.server(self.tree))
        (mount / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("from the mount"); return 0; }\n')
        include = ["-isystem", mount.path, "-isystem", mount / "x86_64-linux-gnu"]
        used = self.expect_run("gcc", *include, "-M", mount / "hello.c")
        self.assertIn(str(mount / "stdio.h"), used)
        self.expect_run("gcc", *include, "-o", mount / "hello", mount / "hello.c")
        self.assertEqual("from the mount\n", self.expect_run(mount / "hello"))


class Content(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        self.content = harness.noise(64 * MIB, "film")
        (self.root / "film").write_bytes(self.content)

    def test_a_far_range_comes_without_what_lies_before_it(self):
        mount = self.mount(self.server(self.root))
        with open(mount / "film", "rb", buffering=0) as film:
            got = os.pread(film.fileno(), 4096, 40 * MIB)
        self.assertEqual(self.content[40 * MIB:40 * MIB + 4096], got)
        until(lambda: state(mount / "film") == "partial", "a file of which a part is here is partial")
        here, whole = progress(mount / "film")
        self.assertEqual(len(self.content), whole)
        self.assertGreaterEqual(here, 4096)
        self.assertLess(here, 8 * MIB)
        self.assertEqual("remote", status(mount / "film"))
        shown = mount.status_of("film")
        self.assertEqual(("remote", "partial", whole), (shown["status"], shown["state"], shown["size"]))
        self.assertLess(shown["bytes_here"], 8 * MIB)

    def test_the_first_bytes_are_answered_before_the_rest_is_here(self):
        mount = self.mount(self.server(self.root))
        with open(mount / "film", "rb", buffering=0) as film:
            self.assertEqual(self.content[:4096], film.read(4096))
            self.assertLess(progress(mount / "film")[0], len(self.content))

    def test_a_file_read_to_its_end_is_sync(self):
        mount = self.mount(self.server(self.root))
        self.assertEqual(self.content, (mount / "film").read_bytes())
        until(lambda: status(mount / "film") == "sync", "read whole is sync")
        until(lambda: state(mount / "film") == "clean", "and clean")
        self.assertEqual((len(self.content),) * 2, progress(mount / "film"))
        self.assertEqual(xxh3(self.content), harness.ebb(mount / "film", "hash"))
        self.assertGreater(version(mount / "film"), 0)

    def test_random_reads_of_a_cold_file_are_right(self):
        mount = self.mount(self.server(self.root))
        chance = harness.random.Random(harness.seed(11))
        with open(mount / "film", "rb", buffering=0) as film:
            for _ in range(300):
                offset, size = chance.randrange(len(self.content) + 5000), chance.randrange(1, 70000)
                self.assertEqual(self.content[offset:offset + size], os.pread(film.fileno(), size, offset), (offset, size))

    def test_an_empty_file_is_here_once_it_is_opened(self):
        (self.root / "empty").touch()
        mount = self.mount(self.server(self.root))
        self.assertEqual("remote", status(mount / "empty"))
        self.assertEqual(b"", (mount / "empty").read_bytes())
        until(lambda: status(mount / "empty") == "sync", "an empty file is here at open")

    def test_a_pull_is_no_change(self):
        server = self.server(self.root)
        mount = self.mount(server)
        before = os.stat(self.root / "film")
        (mount / "film").read_bytes()
        mount.wait()
        after = os.stat(self.root / "film")
        self.assertEqual((before.st_mtime_ns, before.st_ctime_ns, before.st_ino), (after.st_mtime_ns, after.st_ctime_ns, after.st_ino))
        self.assertEqual(before.st_mtime_ns, os.stat(mount / "film").st_mtime_ns)

    def test_odd_names_are_names(self):
        odd = [b"with space", b"new\nline", b"\xff\xfe not utf-8", b"-rf", "ş".encode() * 127 + b"x", b"#hash?&%00", b"a\\b", b"x" * 255]
        for name in odd:
            with open(os.path.join(os.fsencode(self.root), name), "wb") as file:
                file.write(name)
        mount = self.mount(self.server(self.root))
        top = os.fsencode(mount.path)
        self.assertEqual(sorted(odd + [b"film"]), sorted(os.listdir(top)))
        for name in odd:
            with open(os.path.join(top, name), "rb") as file:
                self.assertEqual(name, file.read())

    def test_the_servers_own_folder_is_no_part_of_the_tree(self):
        mount = self.mount(self.server(self.root))
        self.assertTrue((self.root / harness.STATE_DIR).is_dir())
        self.assertEqual(["film"], os.listdir(mount.path))
        with self.assertRaises(FileNotFoundError):
            os.stat(mount / harness.STATE_DIR)


class MountAndUnmount(harness.MountCase):
    def test_the_command_returns_when_the_mount_answers(self):
        root = self.folder("root")
        (root / "file").write_text("content")
        point, state_dir = self.folder("background.mnt"), self.dir / "background.state"
        self.expect_run("ebb", "mount", root, point, "-o", f"state={state_dir}")
        self.assertTrue(harness.is_mounted(point))
        self.assertEqual("content", (point / "file").read_text())
        pids = harness.pids_with(state_dir)
        self.assertEqual(1, len(pids), "one daemon is left behind, detached")
        self.expect_run("fusermount3", "-u", point)
        until(lambda: not harness.pids_with(state_dir), "the daemon ends when it is unmounted")
        self.assertFalse(harness.is_mounted(point))

    def test_mounted_again_all_is_as_it_was(self):
        root = self.folder("root")
        for name in ("read", "partly", "unread", "dropped"):
            (root / name).write_bytes(harness.noise(6 * MIB, name))
        server = self.server(root)
        mount = self.mount(server)
        (mount / "read").read_bytes()
        (mount / "dropped").read_bytes()
        harness.set_status(mount / "dropped", "remote")
        with open(mount / "partly", "rb", buffering=0) as file:
            os.pread(file.fileno(), 4096, 3 * MIB)
        (mount / "made").write_text("made")
        mount.wait(mount / "made")
        until(lambda: status(mount / "read") == "sync", "read is sync")

        def words():
            return {name: [harness.ebb(mount / name, word) for word in ("status", "progress", "version", "state")] +
                    [os.stat(mount / name).st_mtime_ns, os.stat(mount / name).st_mode]
                    for name in os.listdir(mount.path)}

        until(lambda: "pulling" not in str(words()), "nothing is on its way")
        before = words()
        mount.remount()
        self.assertEqual(before, words())


if __name__ == "__main__":
    harness.main()

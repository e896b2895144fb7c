#!/usr/bin/env python3
"""Without the server: the mount starts, lists what it knows, reads and writes what is here, and pushes when it is back."""

import os
import time

import harness
from harness import MIB, progress, state, status, until

AT_ONCE_S = 5        # "fails at once": far below the 30 s that a read waits for a silent server


class Offline(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "folder/deep").mkdir(parents=True)
        for name in ("here", "folder/here", "folder/deep/gone"):
            (self.root / name).write_text(f"{name}\n")
        self.film = harness.noise(8 * MIB, "film")
        (self.root / "film").write_bytes(self.film)
        self.ebbd = self.server(self.root)
        self.at = self.mount(self.ebbd)
        self.expect_run("ls", "-lR", self.at.path)
        for name in ("here", "folder/here"):
            (self.at / name).read_text()
            until(lambda: status(self.at / name) == "sync", f"{name} is here")
        with open(self.at / "film", "rb", buffering=0) as film:
            self.assertEqual(self.film[4 * MIB:4 * MIB + 4096], os.pread(film.fileno(), 4096, 4 * MIB))

    def away(self):
        self.at.unmount()
        self.ebbd.stop()
        self.at.start()

    def expect_host_down(self, path, offset=0):
        began = time.monotonic()
        with self.errno_is(harness.errno.EHOSTDOWN):
            with open(path, "rb", buffering=0) as file:
                os.pread(file.fileno(), 4096, offset)
        self.assertLess(time.monotonic() - began, AT_ONCE_S)

    def test_the_mount_starts_and_shows_what_it_knows(self):
        self.away()
        names = sorted(os.path.relpath(os.path.join(folder, name), self.at.path)
                       for folder, _, files in os.walk(self.at.path) for name in files)
        self.assertEqual(["film", "folder/deep/gone", "folder/here", "here"], names)
        self.assertEqual("folder/here\n", (self.at / "folder/here").read_text())
        self.assertEqual(len(self.film), os.stat(self.at / "film").st_size)
        self.assertEqual("remote", status(self.at / "film"))

    def test_a_read_of_what_is_not_here_fails_at_once(self):
        self.away()
        self.expect_host_down(self.at / "folder/deep/gone")
        self.expect_host_down(self.at / "film", 0)
        with open(self.at / "film", "rb", buffering=0) as film:
            self.assertEqual(self.film[4 * MIB:4 * MIB + 4096], os.pread(film.fileno(), 4096, 4 * MIB), "what is here is read")

    def test_status_is_answered(self):
        self.away()
        self.assertEqual("sync", self.at.status_of("here")["status"])
        self.expect_run("ebb", "status", self.at.path)

    def test_edits_are_pushed_when_it_is_back(self):
        self.away()
        (self.at / "here").write_text("edited offline\n")
        (self.at / "new").mkdir()
        (self.at / "new/file").write_text("made offline\n")
        os.rename(self.at / "folder/here", self.at / "new/moved")
        os.unlink(self.at / "folder/deep/gone")
        os.rmdir(self.at / "folder/deep")
        os.symlink("file", self.at / "new/link")
        self.assertEqual("waiting", state(self.at / "here"))
        self.assertEqual("here\n", (self.root / "here").read_text())
        refusal = self.run_program("ebb", "wait", "--timeout", 1, self.at.path)
        self.assertEqual(1, refusal.returncode)
        self.assertEqual(1, len(refusal.stderr.splitlines()), refusal.stderr)
        self.at.remount()
        self.assertEqual("made offline\n", (self.at / "new/file").read_text())
        self.ebbd.start()
        self.at.wait()
        self.assert_same_tree(self.at.path, self.root)
        self.assertEqual("edited offline\n", (self.root / "here").read_text())
        self.assertEqual("folder/here\n", (self.root / "new/moved").read_text())
        self.assertFalse((self.root / "folder/deep").exists())

    def test_a_server_that_goes_away_under_a_mount(self):
        self.ebbd.kill9()
        until(lambda: self.fails_at_once(self.at / "folder/deep/gone"), "the client knows that its server is away")
        self.assertEqual("here\n", (self.at / "here").read_text())
        (self.at / "here").write_text("meanwhile\n")
        self.ebbd.start()
        until(lambda: (self.at / "folder/deep/gone").read_text() == "folder/deep/gone\n", "it is back")
        self.assertEqual(self.film, (self.at / "film").read_bytes())
        self.at.wait()
        self.assertEqual("meanwhile\n", (self.root / "here").read_text())

    def fails_at_once(self, path):
        try:
            path.read_text()
        except OSError as error:
            return error.errno == harness.errno.EHOSTDOWN
        return False

    def test_what_is_not_on_the_server_is_not_dropped(self):
        self.away()
        (self.at / "here").write_text("only here\n")
        with self.errno_is(harness.errno.EHOSTDOWN):
            os.setxattr(self.at / "here", "user.ebb.status", b"remote")
        self.assertEqual("only here\n", (self.at / "here").read_text())
        self.assertEqual("sync", status(self.at / "here"))
        self.assertEqual((10, 10), progress(self.at / "here"))

    def test_the_first_mount_needs_the_server(self):
        self.ebbd.stop()
        point = self.folder("first.mnt")
        self.expect_refusal("ebb", "mount", self.ebbd.source, point, "-o", f"state={self.dir / 'first.state'}")
        self.assertFalse(harness.is_mounted(point))


if __name__ == "__main__":
    harness.main()

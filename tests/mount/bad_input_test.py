#!/usr/bin/env python3
"""Wrong uses and broken peers: one clear line or the right errno, and nothing is lost."""

import contextlib
import errno
import os
import pwd
import shutil
import socket
import struct
import threading
import time
import unittest

import harness
from harness import MIB, state, status, until

ROOT_ONLY = unittest.skipUnless(os.getuid() == 0, "needs root")


class Commands(harness.MountCase):
    """Wrong command lines and places."""

    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "file").write_text("content")
        self.point = self.folder("point.mnt")
        self.options = ("-o", f"state={self.dir / 'state'}")

    def refused(self, source, point, *options, code=1):
        before = harness.picture(self.root)
        said = self.expect_refusal("ebb", "mount", source, point, *(options or self.options), code=code)
        self.assertFalse(harness.is_mounted(point))
        self.assertEqual(before, harness.picture(self.root))
        return said

    def test_usage(self):
        for program, *arguments in [
                ("ebb", "no-such-command"), ("ebb", "mount"), ("ebb", "mount", self.root), ("ebb", "status", "--no-such-option"),
                ("ebb", "mount", self.root, self.point, "-o", "no_such_option"),
                ("ebb", "mount", self.root, self.point, "-o", "delay=soon"),
                ("ebb", "mount", self.root, self.point, "-o", "root=local"),
                ("ebb", "wait", "--timeout", "soon", self.point),
                ("ebbd", "serve"), ("ebbd", "no-such-command"), ("ebbd", "serve", self.root, "--listen", "nonsense"),
                ("ebbd", "serve", self.root, "--listen", "127.0.0.1:99999")]:
            with self.subTest(arguments=arguments):
                run = self.run_program(program, *arguments)
                self.assertEqual(2, run.returncode, run.stdout + run.stderr)
                self.assertTrue(run.stderr.strip())
                self.assertNotIn("terminate", run.stderr)

    def test_help_is_no_error(self):
        for program in ("ebb", "ebbd"):
            self.assertIn("Usage", self.expect_run(program, "--help"))
            self.expect_run(program, "--version")

    def test_a_mountpoint_that_does_not_exist(self):
        self.assertIn("missing", self.refused(self.root, self.dir / "missing"))
        self.assertFalse((self.dir / "missing").exists())

    def test_a_mountpoint_that_is_a_file(self):
        self.refused(self.root, self.root / "file")

    def test_a_mountpoint_that_is_not_empty(self):
        (self.point / "something").write_text("mine")
        self.refused(self.root, self.point)
        self.assertEqual("mine", (self.point / "something").read_text())

    def test_a_mountpoint_that_is_mounted_already(self):
        self.expect_run("ebb", "mount", self.root, self.point, *self.options)
        said = self.expect_refusal("ebb", "mount", self.root, self.point, "-o", f"state={self.dir / 'other-state'}")
        self.assertIn(str(self.point), said)
        self.assertEqual("content", (self.point / "file").read_text(), "the first mount goes on")

    def test_a_state_folder_that_another_mount_uses(self):
        self.expect_run("ebb", "mount", self.root, self.point, *self.options)
        other, tree = self.folder("other.mnt"), self.folder("other-root")
        self.refused(self.root, other)
        self.refused(tree, other)
        self.assertEqual("content", (self.point / "file").read_text(), "the first mount goes on")

    def test_a_state_folder_of_another_tree(self):
        self.expect_run("ebb", "mount", self.root, self.point, *self.options)
        (self.point / "new").write_text("unpushed")
        self.expect_run("fusermount3", "-u", self.point)
        until(lambda: not harness.pids_with(self.point), "unmounted")
        other = self.folder("other-root")
        (other / "file").write_text("of the other")
        self.refused(other, self.point)
        self.assertEqual("of the other", (other / "file").read_text())
        self.assertFalse((other / "new").exists())
        self.expect_run("ebb", "mount", self.root, self.point, *self.options)
        self.assertEqual("unpushed", (self.point / "new").read_text())

    def test_a_state_folder_full_of_garbage(self):
        self.expect_run("ebb", "mount", self.root, self.point, *self.options)
        self.expect_run("fusermount3", "-u", self.point)
        until(lambda: not harness.pids_with(self.point), "unmounted")
        for folder, _, files in os.walk(self.dir / "state"):
            for name in files:
                size = os.path.getsize(os.path.join(folder, name))
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(harness.noise(max(size, 64), name))
        self.refused(self.root, self.point)

    def test_a_state_that_is_a_file(self):
        (self.dir / "state").write_text("x")
        self.refused(self.root, self.point)

    def test_sources_that_do_not_answer(self):
        port = harness.free_port()
        for source, options in ((f"unix:{self.dir}/nobody.sock", []), (f"ebb://127.0.0.1:{port}/", ["insecure"]),
                                (f"unix:{self.root}/file", []), (self.dir / "nothing", []), (self.root / "file", [])):
            with self.subTest(source=source):
                self.refused(source, self.point, "-o", ",".join([f"state={self.dir / 'state'}", *options]))

    def test_sources_that_are_none(self):
        for source in ("ebb://", "ebb://127.0.0.1:nonsense/", "ebb://127.0.0.1:0/", "unix:", ""):
            with self.subTest(source=source):
                run = self.run_program("ebb", "mount", source, self.point, "-o", f"state={self.dir / 'state'},insecure")
                self.assertIn(run.returncode, (1, 2), run.stderr)
                self.assertEqual(1, len(run.stderr.splitlines()), run.stderr)
                self.assertFalse(harness.is_mounted(self.point))

    def test_plain_tcp_is_for_loopback_alone(self):
        said = self.expect_refusal("ebbd", "serve", self.root, "--listen", f"0.0.0.0:{harness.free_port()}", "--insecure")
        self.assertIn("insecure", said)

    def test_an_address_in_use(self):
        server = self.server(self.folder("busy"), tcp=True)
        self.expect_refusal("ebbd", "serve", self.root, "--listen", server.listen, "--insecure")

    def test_a_root_that_is_served_already(self):
        self.server(self.root)
        self.expect_refusal("ebbd", "serve", self.root, "--listen", f"unix:{self.dir / 'second.sock'}")

    def test_roots_that_are_none(self):
        for root in (self.dir / "missing", self.root / "file"):
            self.expect_refusal("ebbd", "serve", root, "--listen", f"unix:{self.dir / 'x.sock'}")

    def test_a_mountpoint_inside_the_served_tree(self):
        inside = self.root / "inside"
        inside.mkdir()
        self.refused(self.root, inside)
        self.refused(self.root, self.root)

    def test_state_and_root_inside_a_mount(self):
        self.expect_run("ebb", "mount", self.root, self.point, *self.options)
        (self.point / "folder").mkdir()
        other = self.folder("other.mnt")
        self.expect_refusal("ebb", "mount", self.folder("other-root"), other, "-o", f"state={self.point / 'folder/state'}")
        self.expect_refusal("ebbd", "serve", self.point / "folder", "--listen", f"unix:{self.dir / 'x.sock'}")
        self.assertEqual(["file", "folder"], sorted(os.listdir(self.point)))

    @ROOT_ONLY
    def test_a_directory_that_may_not_be_read(self):
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chmod(self.dir, 0o777)
        os.chmod(self.root, 0o700)
        log = self.folder("nobody")
        os.chown(log, nobody, -1)
        program = shutil.copy(harness.BIN / "ebbd", log / "ebbd")
        said = self.expect_refusal(program, "serve", self.root, "--listen", f"unix:{log}/x.sock", user=nobody)
        self.assertIn(str(self.root), said)


class Names(harness.MountCase):
    def test_names_that_are_too_long_or_none(self):
        root = self.folder("root")
        mount = self.mount(self.server(root))
        for name, number in ((b"x" * 256, errno.ENAMETOOLONG), (b"", errno.ENOENT), (b".", errno.EISDIR), (b"..", errno.EISDIR)):
            with self.subTest(name=name[:4]), self.errno_is(number):
                os.open(os.path.join(os.fsencode(mount.path), name) if name else b"", os.O_CREAT | os.O_WRONLY)
        with self.errno_is(errno.ENOTEMPTY, errno.EBUSY, errno.EINVAL):
            os.rmdir(os.fsencode(mount.path) + b"/..")
        with self.errno_is(errno.EINVAL):
            os.mkdir(mount / "a")
            os.rename(mount / "a", mount / "a/b")
        mount.wait()
        self.assertEqual(["a", harness.STATE_DIR][::-1], sorted(os.listdir(root)))


def packet(kind, size, body=b""):
    return struct.pack("<BH", kind, size) + body


class Peers(harness.MountCase):
    """A server met by garbage serves on; a client met by garbage says so and ends."""

    garbage = [
        b"", b"\0", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(10_000), b"\xff" * 10_000, b"\xff\xff\xff\xff" * 4,
        packet(10, 65535), packet(255, 8, b"12345678"), packet(3, 4000, bytes(100)), packet(10, 0),
        struct.pack("<IIQ", 0x7fffffff, 0, 1 << 62), struct.pack("<I", 16) + b"\xee" * 12,
    ] + [harness.noise(size, f"peer{size}") for size in (1, 3, 15, 16, 17, 100, 4096, 4097, 100_000)]

    def test_a_server_that_is_sent_garbage_serves_on(self):
        for tcp in (False, True):
            with self.subTest(tcp=tcp):
                root = self.folder(f"root{tcp}")
                (root / "file").write_text("content")
                server = self.server(root, tcp=tcp)
                mount = self.mount(server)
                for number, sent in enumerate(self.garbage):
                    self.throw(server, sent, hang_up=bool(number % 2))
                idle = [server.connect() for _ in range(50)]
                self.assertTrue(server.daemon.alive(), server.daemon.text())
                self.assertEqual("content", (mount / "file").read_text())
                (mount / "new").write_text("pushed")
                mount.wait()
                self.assertEqual("pushed", (root / "new").read_text())
                for link in idle:
                    link.close()

    def throw(self, server, sent, hang_up):
        with contextlib.suppress(ConnectionError, socket.timeout), server.connect() as link:
            link.sendall(sent)
            if not hang_up:
                link.shutdown(socket.SHUT_WR)
                link.settimeout(10)
                while link.recv(65536):
                    pass

    def test_a_client_that_is_answered_garbage_says_so(self):
        for number, answer in enumerate([*self.garbage, None]):
            with self.subTest(number=number), FakeServer(self.dir / f"fake{number}.sock", answer) as fake:
                point = self.folder("point.mnt")
                began = time.monotonic()
                self.expect_refusal("ebb", "mount", fake.source, point, "-o", f"state={self.dir / 'state'},timeout=2")
                self.assertLess(time.monotonic() - began, 20)
                self.assertFalse(harness.is_mounted(point))

    def test_a_client_that_loses_its_server_in_mid_packet_connects_again(self):
        """Through a door in between that cuts the connection after so many bytes."""
        root = self.folder("root")
        content = harness.noise(2 * MIB, "content")
        (root / "file").write_bytes(content)
        server = self.server(root)
        with Door(self.dir / "door.sock", server.peer[1]) as door:
            mount = self.mount(door.source)
            for number, cut in enumerate((1, 7, 100, 4095, 4097, 70_001, 1_000_000)):
                door.cut_after(cut)
                (mount / f"new{number}").write_bytes(content[:cut])
                mount.wait()
                self.assertEqual(content[:cut], (root / f"new{number}").read_bytes())
            door.cut_after(500_000)
            self.assertEqual(content, until(lambda: (mount / "file").read_bytes(), "read in spite of it"))


class FakeServer:
    """Listens, takes what it is sent, answers with `answer` and hangs up; with None it says nothing and stays."""

    def __init__(self, path, answer):
        self.source, self.answer, self.links = f"unix:{path}", answer, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                link, _ = self.listener.accept()
                self.links.append(link)
                if self.answer is not None:
                    with contextlib.suppress(OSError):
                        link.recv(65536)
                        link.sendall(self.answer)
                    link.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for link in self.links:
            link.close()


class Door:
    """Hands bytes on between clients and a server; on demand it cuts, once, after so many bytes have passed."""

    def __init__(self, path, target):
        self.source, self.target, self.left = f"unix:{path}", target, None
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def cut_after(self, count):
        with self.lock:
            self.left = count

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self.target)
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self.hand_on, args=(source, target), daemon=True).start()

    def hand_on(self, source, target):
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                allowed = self.allowed(len(block))
                target.sendall(block[:allowed])
                if allowed < len(block):
                    break
        for link in (source, target):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def allowed(self, count):
        with self.lock:
            if self.left is None:
                return count
            allowed = min(self.left, count)
            self.left = None if allowed < count else self.left - allowed
            return allowed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@ROOT_ONLY
class FullDisks(harness.MountCase):
    limit_s = 300

    def disk(self, name, size):
        """A filesystem of its own; unmounted with the test."""
        path = self.folder(name)
        self.expect_run("mount", "-t", "tmpfs", "-o", f"size={size}", "ebb-test", path)
        return path

    def test_the_clients_disk_is_full(self):
        root = self.folder("root")
        (root / "old").write_bytes(harness.noise(MIB, "old"))
        disk = self.disk("disk", 48 * MIB)
        mount = harness.Mount(self, self.server(root))
        mount.options = [option for option in mount.options if not option.startswith("state=")] + [f"state={disk}/state"]
        self.mounts.append(mount)
        mount.start()
        (mount / "old").read_bytes()
        whole = self.fill(mount.path, MIB)
        self.assertGreater(len(whole), 8)
        self.assertTrue(mount.daemon.alive())
        for name in whole:
            self.assertEqual(harness.noise(MIB, name), (mount / name).read_bytes())
        self.assertEqual(len(whole) + 1, len([name for name in os.listdir(mount.path) if name != "last"]))
        mount.wait(*[mount / name for name in whole])
        for name in whole:
            self.assertEqual(harness.noise(MIB, name), (root / name).read_bytes())
        for name in whole[:6]:
            harness.set_status(mount / name, "remote")
        until(lambda: self.can_write(mount / "again"), "there is room again")
        mount.wait(mount / "again")
        self.assertEqual(MIB, os.stat(root / "again").st_size)

    def fill(self, top, size):
        """Writes files until there is no room; the names of those that were written whole."""
        whole = []
        with self.errno_is(errno.ENOSPC):
            while len(whole) < 500:
                name = f"file{len(whole)}"
                with open(top / "last", "wb", buffering=0) as file:
                    data = memoryview(harness.noise(size, name))
                    while data:
                        data = data[file.write(data):]
                    os.fsync(file.fileno())
                os.rename(top / "last", top / name)
                whole.append(name)
        return whole

    def can_write(self, path):
        with open(path, "wb", buffering=0) as file:
            data = memoryview(harness.noise(MIB, "again"))
            while data:
                data = data[file.write(data):]
            os.fsync(file.fileno())
        return True

    def test_the_servers_disk_is_full(self):
        root = self.disk("root", 24 * MIB)
        (root / "old").write_bytes(b"old" * MIB)
        mount = self.mount(self.server(root), delay=0)
        big = harness.noise(32 * MIB, "big")
        (mount / "big").write_bytes(big)
        (mount / "old").write_bytes(big)
        until(lambda: state(mount / "big") in ("error", "waiting") and state(mount / "old") in ("error", "waiting"),
              "the client says that it cannot be pushed", 60)
        self.assertFalse((root / "big").exists(), "no half file")
        self.assertEqual(b"old" * MIB, (root / "old").read_bytes(), "the old file is whole")
        self.assertEqual(big, (mount / "big").read_bytes())
        self.assertEqual("sync", status(mount / "big"))
        (mount / "small").write_text("fits")
        until(lambda: (root / "small").exists() and (root / "small").read_text() == "fits", "what fits is pushed", 60)
        self.expect_run("mount", "-o", f"remount,size={256 * MIB}", root)
        until(lambda: (root / "big").exists() and harness.sha256(root / "big") == harness.sha256(mount / "big"),
              "pushed once there is room", 120)
        mount.wait()
        self.assertEqual(big, (root / "old").read_bytes())


if __name__ == "__main__":
    harness.main()

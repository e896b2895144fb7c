#!/usr/bin/env python3
"""Holes are holes: on the mount, on their way, and on the other side; and what fallocate(2) makes of a file."""

import ctypes
import errno
import os
import unittest

import harness
from harness import MIB, ebb, set_status, status

GIB = 1 << 30
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE = 1, 2, 8, 16


def fallocate(file, mode, offset, length):
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_int(file.fileno()), ctypes.c_int(mode), ctypes.c_int64(offset), ctypes.c_int64(length))
    if libc.fallocate64(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def data_of(path):
    """The parts that SEEK_DATA and SEEK_HOLE say are data."""
    parts = []
    with open(path, "rb", buffering=0) as file:
        at, size = 0, os.fstat(file.fileno()).st_size
        while at < size:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            parts.append((begin, at))
    return parts


def on_disk(path):
    return os.stat(path).st_blocks * 512


class Holes(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        self.server = self.server(self.root)
        self.at = self.mount(self.server)

    def make_sparse(self, path, size):
        """Data at its head, in its middle, and at its end; all else is a hole."""
        with open(path, "wb", buffering=0) as file:
            for offset in (0, size // 2, size - MIB):
                os.pwrite(file.fileno(), harness.noise(MIB, offset), offset)

    def expect_sparse(self, path, size):
        self.assertEqual(size, os.stat(path).st_size)
        self.assertLess(on_disk(path), 8 * MIB)
        with open(path, "rb", buffering=0) as file:
            for offset in (0, size // 2, size - MIB):
                self.assertEqual(harness.noise(MIB, offset), os.pread(file.fileno(), MIB, offset), offset)
            self.assertEqual(bytes(MIB), os.pread(file.fileno(), MIB, size // 4))

    def expect_map(self, path, size):
        parts = data_of(path)
        self.assertLess(sum(end - begin for begin, end in parts), 8 * MIB, parts)
        for offset in (0, size // 2, size - MIB):
            self.assertTrue(any(begin <= offset and offset + MIB <= end for begin, end in parts), parts)

    def test_a_large_sparse_file_goes_to_the_server_and_to_another_client_as_it_is(self):
        size = 8 * GIB
        self.make_sparse(self.at / "sparse", size)
        self.expect_sparse(self.at / "sparse", size)
        self.expect_map(self.at / "sparse", size)
        self.at.wait()
        self.expect_sparse(self.root / "sparse", size)
        other = self.mount(self.server)
        self.assertEqual("remote", status(other / "sparse"))
        self.assertGreaterEqual(on_disk(other / "sparse"), size, "all data while nothing is known")
        self.assertEqual([(0, size)], data_of(other / "sparse"))
        set_status(other / "sparse", "sync")
        harness.until(lambda: ebb(other / "sparse", "progress") == f"{size}/{size}", "all of it is here")
        self.expect_sparse(other / "sparse", size)
        self.expect_map(other / "sparse", size)
        other.remount()
        self.expect_map(other / "sparse", size)

    def test_a_hole_made_in_a_synced_file_is_one_on_the_server(self):
        content = bytearray(harness.noise(4 * MIB, "punched"))
        path = self.at / "file"
        path.write_bytes(content)
        self.at.wait()
        with open(path, "r+b", buffering=0) as file:
            fallocate(file, PUNCH_HOLE | KEEP_SIZE, MIB, 2 * MIB)
        content[MIB:3 * MIB] = bytes(2 * MIB)
        self.assertEqual([(0, MIB), (3 * MIB, 4 * MIB)], data_of(path))
        self.assertLess(on_disk(path), 3 * MIB)
        self.at.wait()
        self.assertEqual(bytes(content), (self.root / "file").read_bytes())
        self.assertLess(on_disk(self.root / "file"), 3 * MIB)

    def test_a_file_cut_and_stretched_does_not_show_what_it_had(self):
        path = self.at / "file"
        path.write_bytes(harness.noise(MIB, "cut"))
        self.at.wait()
        os.truncate(path, 100_000)
        os.truncate(path, 3 * MIB)
        self.at.wait()
        expected = harness.noise(MIB, "cut")[:100_000] + bytes(3 * MIB - 100_000)
        self.assertEqual(expected, (self.root / "file").read_bytes())
        self.assertEqual(expected, path.read_bytes())

    def test_an_empty_file_of_a_size_is_all_hole(self):
        with open(self.at / "blank", "wb") as file:
            file.truncate(2 * GIB)
        self.at.wait()
        self.assertEqual((2 * GIB, 0), (os.stat(self.root / "blank").st_size, on_disk(self.root / "blank")))
        other = self.mount(self.server) / "blank"
        set_status(other, "sync")
        harness.until(lambda: ebb(other, "progress") == f"{2 * GIB}/{2 * GIB}", "all of it is here")
        self.assertLess(on_disk(other), MIB)
        self.assertEqual([], data_of(other))

    def test_a_copy_of_a_sparse_file_is_sparse(self):
        self.make_sparse(self.at / "sparse", GIB)
        self.expect_run("cp", self.at / "sparse", self.dir / "copy")
        self.expect_sparse(self.dir / "copy", GIB)
        self.expect_run("cp", "--sparse=always", self.dir / "copy", self.at / "back")
        self.expect_sparse(self.at / "back", GIB)

    def check_fallocate(self, path, content):
        """Every mode, on a file that may be a placeholder; the same on plain bytes beside it."""
        shadow = bytearray(content)
        size = len(content)
        with open(path, "r+b", buffering=0) as file:
            fallocate(file, KEEP_SIZE, size - 1000, MIB)
            self.assertEqual(size, os.fstat(file.fileno()).st_size)
            fallocate(file, PUNCH_HOLE | KEEP_SIZE, 5000, 200_000)
            shadow[5000:205_000] = bytes(200_000)
            fallocate(file, ZERO_RANGE, 300_001, 99_999)
            shadow[300_001:400_000] = bytes(99_999)
            fallocate(file, ZERO_RANGE | KEEP_SIZE, size - 500, 100_000)
            shadow[size - 500:] = bytes(500)
            fallocate(file, ZERO_RANGE, size - 700, 50_000)
            shadow[size - 700:] = bytes(50_000)
            self.assertEqual(len(shadow), os.fstat(file.fileno()).st_size)
            fallocate(file, 0, len(shadow) - 10, 100_000)
            shadow += bytes(99_990)
            self.assertEqual(bytes(shadow), path.read_bytes())
            with self.errno_is(errno.EOPNOTSUPP):
                fallocate(file, COLLAPSE_RANGE, 0, 4096)
            with self.errno_is(errno.EINVAL):
                fallocate(file, 0, 0, 0)
            with self.errno_is(errno.ENOSPC):
                fallocate(file, 0, 0, 1 << 60)
            self.assertEqual(len(shadow), os.fstat(file.fileno()).st_size, "what was refused has changed nothing")
        self.at.wait()
        self.assertEqual(bytes(shadow), (self.root / path.name).read_bytes())
        self.assertEqual("clean", harness.state(path))

    def test_fallocate_of_what_is_here(self):
        content = harness.noise(MIB, "here")
        (self.at / "here").write_bytes(content)
        self.check_fallocate(self.at / "here", content)

    def test_fallocate_of_a_placeholder(self):
        content = harness.noise(MIB, "away")
        (self.at / "away").write_bytes(content)
        self.at.wait()
        set_status(self.at / "away", "remote")
        self.check_fallocate(self.at / "away", content)


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""Files of which a part is here: what is touched comes, what is written stays, and nothing turns into zeros."""

import errno
import os
import random

import harness
from harness import MIB, ebb, progress, set_status, status, until


class PartialContent(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        self.film = harness.noise(32 * MIB, "film")
        (self.root / "film").write_bytes(self.film)
        self.at = self.mount(self.server(self.root), options=["hydrate=range"])

    def read(self, offset, size, name="film"):
        with open(self.at / name, "rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)

    def test_random_reads_fetch_what_they_touch(self):
        places = random.Random(harness.seed(7)).sample(range(0, 32 * MIB, MIB), 12)
        for place in places:
            self.assertEqual(self.film[place:place + 4096], self.read(place, 4096))
        self.assertEqual("remote", status(self.at / "film"))
        self.assertLessEqual(progress(self.at / "film")[0], 12 * 256 * 1024, "with the kernel's own read-ahead")

    def write_parts(self):
        """Into a placeholder: over a part, over its end, and behind it; returns what it should be now."""
        expected = bytearray(self.film)
        with open(self.at / "film", "r+b", buffering=0) as file:
            for offset, size in ((5000, 100), (8 * MIB - 7, 100_000), (32 * MIB - 10, 30), (33 * MIB, 5)):
                data = harness.noise(size, offset)
                os.pwrite(file.fileno(), data, offset)
                expected[len(expected):offset] = bytes(max(0, offset - len(expected)))
                expected[offset:offset + size] = data
        return bytes(expected)

    def test_writes_into_a_placeholder_do_not_fetch_it_and_are_read_at_once(self):
        self.at.unmount()
        self.at.options.append("delay=3600")
        self.at.start()
        expected = self.write_parts()
        self.assertEqual("sync", status(self.at / "film"))
        self.assertLess(progress(self.at / "film")[0], 4 * MIB)
        for offset in (0, 4990, 8 * MIB - 100, 32 * MIB - 100, 32 * MIB + 5000, 33 * MIB - 3):
            self.assertEqual(expected[offset:offset + 300], self.read(offset, 300), offset)
        self.at.wait(limit_s=120)
        self.assertEqual(expected, (self.root / "film").read_bytes())
        self.assertLess(progress(self.at / "film")[0], 4 * MIB, "nor is it fetched for being pushed")
        self.assertEqual(expected, (self.at / "film").read_bytes())

    def test_more_parts_than_a_record_takes(self):
        expected = bytearray(self.film)
        with open(self.at / "film", "r+b", buffering=0) as file:
            for number in range(8500):
                offset = number * 3900 + number % 50
                os.pwrite(file.fileno(), b"%d" % number, offset)
                expected[offset:offset + len(b"%d" % number)] = b"%d" % number
        self.at.wait(limit_s=120)
        self.assertEqual(bytes(expected), (self.root / "film").read_bytes())
        self.assertEqual(bytes(expected), (self.at / "film").read_bytes())

    def test_what_is_here_survives_an_unmount_and_a_kill(self):
        self.at.unmount()
        self.at.options.append("delay=3600")
        self.at.start()
        self.read(20 * MIB, 2 * MIB)
        expected = self.write_parts()
        here = progress(self.at / "film")[0]
        self.at.kill9()
        self.at.start()
        self.assertGreaterEqual(progress(self.at / "film")[0], here - 2 * MIB, "what was checked")
        self.assertEqual(expected[8 * MIB - 100:8 * MIB + 200_000], self.read(8 * MIB - 100, 200_100))
        self.at.kill9()
        self.at.start()
        self.at.wait(limit_s=120)
        self.assertEqual(expected, (self.root / "film").read_bytes())
        self.assertEqual(expected, (self.at / "film").read_bytes())

    def test_cutting_a_file_while_it_is_pulled(self):
        set_status(self.at / "film", "sync")
        with open(self.at / "film", "r+b", buffering=0) as file:
            os.pread(file.fileno(), 4096, 30 * MIB)
            file.truncate(10 * MIB + 5)
            self.assertEqual(self.film[10 * MIB - 5:10 * MIB + 5], os.pread(file.fileno(), 100, 10 * MIB - 5))
            file.truncate(12 * MIB)
        expected = self.film[:10 * MIB + 5] + bytes(2 * MIB - 5)
        self.assertEqual(expected, (self.at / "film").read_bytes())
        self.at.wait(limit_s=120)
        self.assertEqual(expected, (self.root / "film").read_bytes())

    # --- content files that are lost on this machine's disk

    def content_files(self):
        return [path for path in (self.at.state / "content").rglob("*") if path.is_file()]

    def lose(self, change):
        self.at.unmount()
        files = self.content_files()
        self.assertTrue(files)
        for path in files:
            change(path)
        self.at.start()

    def test_a_lost_content_file_is_pulled_again(self):
        self.assertEqual(self.film, (self.at / "film").read_bytes())
        until(lambda: status(self.at / "film") == "sync", "all of it is here")
        for number, change in enumerate((os.unlink, lambda path: os.truncate(path, 1000))):
            with self.subTest(number=number):
                self.lose(change)
                self.assertEqual(self.film, (self.at / "film").read_bytes())
                until(lambda: ebb(self.at / "film", "state") == "clean" and status(self.at / "film") == "sync", "it is whole again")
        self.assertEqual(self.film, (self.root / "film").read_bytes())

    def test_a_part_of_a_placeholder_that_is_lost_is_pulled_again(self):
        self.read(4 * MIB, MIB)
        until(lambda: progress(self.at / "film")[0] >= MIB, "a part is here")
        self.lose(os.unlink)
        self.assertEqual(self.film[4 * MIB:5 * MIB], self.read(4 * MIB, MIB))
        self.assertEqual(self.film, (self.at / "film").read_bytes())

    def test_lost_content_that_is_nowhere_else_is_an_error_and_never_zeros(self):
        self.at.unmount()
        self.at.options += ["root=syncless", f"state={self.dir / 'syncless.state'}"]
        self.at.state = self.dir / "syncless.state"
        self.at.start()
        path = self.at / "mine"
        path.write_bytes(b"only here" * 1000)
        self.assertEqual("local", status(path))
        self.lose(os.unlink)
        with self.errno_is(errno.EIO):
            path.read_bytes()
        self.assertEqual("error", harness.state(path))
        self.assertIn("lost", ebb(path, "state"))
        path.write_bytes(b"written anew")
        self.assertEqual(b"written anew", path.read_bytes())
        self.assertEqual("clean", harness.state(path))


if __name__ == "__main__":
    harness.main()

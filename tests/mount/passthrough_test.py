#!/usr/bin/env python3
"""Files that the kernel reads and writes without the daemon: what is written is noticed, told and pushed all the same."""

import contextlib
import mmap
import os
import signal

import harness
from harness import MIB, state, until

REFUSED = "files are read and written through the daemon"


class Passthrough(harness.MountCase):
    """`delay` is short: each change is pushed by itself."""

    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "file").write_bytes(b"0" * 5000)
        self.served = self.server(self.root)
        self.client = self.mount(self.served, options=["passthrough=0"])
        self.path = self.client / "file"
        self.path.read_bytes()
        os.close(os.open(self.path, os.O_RDWR))
        if REFUSED in self.client.daemon.text() + self.log():
            self.skipTest("no passthrough here: it needs root, Linux 6.9 and libfuse 3.17")

    def log(self):
        kept = self.client.state / "ebb.log"
        return kept.read_text() if kept.exists() else ""

    @contextlib.contextmanager
    def opened(self, flags=os.O_RDWR):
        """A descriptor; closing it is refused when its daemon has died."""
        descriptor = os.open(self.path, flags)
        try:
            yield descriptor
        finally:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def stop(self, descriptor):
        """From here on nobody answers the kernel.  At the first write to a file the kernel asks for its capabilities."""
        first = b"" if os.fstat(descriptor).st_size == 0 else self.path.read_bytes()[:1]
        os.pwrite(descriptor, first, 0)
        self.client.daemon.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.client.daemon.process.send_signal(signal.SIGCONT)

    def start_again(self):
        self.client.kill9()
        self.client.start()

    def expect_pushed(self, content, name="file"):
        self.client.wait()
        until(lambda: (self.root / name).read_bytes() == content, f"{name} is on the server as it was written")

    # --- while it is open

    def test_reads_and_writes_need_no_daemon(self):
        with self.opened() as file:
            self.stop(file)
            os.pwrite(file, b"without", 0)
            self.assertEqual(b"without000", os.pread(file, 10, 0))
            self.go_on()
        self.expect_pushed(b"without" + b"0" * 4993)

    def test_size_and_time_are_told_at_once(self):
        with open(self.path, "r+b", buffering=0) as file:
            before = os.stat(self.path).st_mtime_ns
            file.seek(0, os.SEEK_END)
            file.write(b"end")
            self.assertEqual(5003, os.stat(self.path).st_size)
            self.assertEqual(5003, os.fstat(file.fileno()).st_size)
            self.assertGreater(os.stat(self.path).st_mtime_ns, before)
            self.assertEqual("waiting", state(self.path).split(" ")[0])

    def test_a_file_that_is_never_closed_is_pushed(self):
        with open(self.path, "r+b", buffering=0) as file:
            for number in range(3):
                os.pwrite(file.fileno(), b"%d" % number, 0)
                self.expect_pushed(b"%d" % number + b"0" * 4999)

    def test_cut_and_extended_while_open(self):
        with open(self.path, "r+b", buffering=0) as file:
            os.ftruncate(file.fileno(), 10)
            os.pwrite(file.fileno(), b"x", 19)
            self.assertEqual(20, os.stat(self.path).st_size)
            os.truncate(self.path, 30)
            self.assertEqual(30, os.fstat(file.fileno()).st_size)
        self.expect_pushed(b"0" * 10 + bytes(9) + b"x" + bytes(10))

    def test_readers_see_what_writers_wrote_in_every_order_of_opening(self):
        for content in (b"one", b"second", b"the third"):
            with open(self.path, "rb") as early:
                self.path.write_bytes(content)
                with open(self.path, "rb") as late:
                    self.assertEqual(content, late.read())
                self.assertEqual(content, early.read())
            self.assertEqual(content, self.path.read_bytes())

    def test_a_set_id_bit_goes_with_the_first_write_of_another(self):
        self.client.unmount()
        self.client.options.append("allow_other")
        self.dir.chmod(0o711)
        self.client.path.chmod(0o711)
        self.client.start()
        os.chmod(self.path, 0o6777)
        pid = os.fork()
        if pid == 0:
            os.setuid(65534)
            code = 1
            try:
                os.write(os.open(self.path, os.O_WRONLY), b"x")
                code = 0
            finally:
                os._exit(code)
        self.assertEqual(0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        self.assertEqual(0o777, os.stat(self.path).st_mode & 0o7777)

    # --- mappings

    def test_a_store_behind_the_last_close_is_pushed(self):
        with open(self.path, "r+b") as file:
            mapped = mmap.mmap(file.fileno(), 0)
        self.client.wait()
        mapped[0:6] = b"mapped"
        until(lambda: (self.root / "file").read_bytes()[:6] == b"mapped", "the store is on the server")
        self.assertEqual(b"mapped", self.path.read_bytes()[:6])
        mapped[0:6] = b"stored"
        mapped.close()
        until(lambda: (self.root / "file").read_bytes()[:6] == b"stored", "the last store is on the server")

    # --- crashes

    def test_what_was_written_without_a_daemon_before_it_died_is_pushed(self):
        self.path.write_bytes(b"1" * 5000)
        self.expect_pushed(b"1" * 5000)
        with self.opened() as file:
            self.stop(file)
            os.pwrite(file, b"unseen", 100)
            self.start_again()
        expected = b"1" * 100 + b"unseen" + b"1" * 4894
        self.assertEqual(expected, self.path.read_bytes())
        self.expect_pushed(expected)

    def test_an_appended_log_is_whole_after_the_daemon_died(self):
        with self.opened(os.O_WRONLY | os.O_APPEND) as file:
            os.write(file, b"seen\n")
            os.fsync(file)
            self.client.daemon.process.send_signal(signal.SIGSTOP)
            for number in range(50):
                os.write(file, b"line %d\n" % number)
            self.start_again()
        expected = b"0" * 5000 + b"seen\n" + b"".join(b"line %d\n" % number for number in range(50))
        self.assertEqual(len(expected), os.stat(self.path).st_size)
        self.expect_pushed(expected)

    def test_a_mapping_that_outlives_the_daemon_is_watched_by_the_next(self):
        with open(self.path, "r+b") as file:
            mapped = mmap.mmap(file.fileno(), 0)
        self.start_again()
        self.client.wait()
        mapped[0:5] = b"later"
        until(lambda: (self.root / "file").read_bytes()[:5] == b"later", "the store is on the server")
        mapped.close()

    # --- content that changes elsewhere

    def test_a_new_version_leaves_open_handles_the_old_one(self):
        old, new = harness.noise(2 * MIB, "old"), harness.noise(2 * MIB, "new")
        (self.client / "large").write_bytes(old)
        self.client.wait()
        other = self.mount(self.served, options=["passthrough=0"])
        self.assertEqual(old, (other / "large").read_bytes())
        with open(other / "large", "rb", buffering=0) as reader:
            (self.client / "large").write_bytes(new)
            until(lambda: (other / "large").read_bytes() == new, "the new version is here")
            self.assertEqual(old, reader.read())

    def test_unseen_changes_are_a_conflict_and_not_overwritten(self):
        other = self.mount(self.served, options=["passthrough=0"])
        self.assertEqual(b"0" * 5000, (other / "file").read_bytes())
        with self.opened() as file:
            self.stop(file)
            os.pwrite(file, b"mine", 0)
            (other / "file").write_bytes(b"theirs")
            until(lambda: (self.root / "file").read_bytes() == b"theirs", "the other's version is on the server")
            self.go_on()
            until(lambda: any(b"mine" in entry.read_bytes()[:4] for entry in self.client.path.iterdir()),
                  "what was written here has a name")
        until(lambda: any(entry.read_bytes() == b"theirs" for entry in self.root.iterdir() if entry.is_file()),
              "what was written there has one, too")
        until(lambda: any(entry.read_bytes()[:4] == b"mine" for entry in self.client.path.iterdir()),
              "what was written here still has one")

    def test_an_open_writer_keeps_its_content_here(self):
        with open(self.path, "r+b"):
            with self.errno_is(harness.errno.EBUSY):
                os.setxattr(self.path, "user.ebb.status", b"remote")
        os.setxattr(self.path, "user.ebb.status", b"remote")
        until(lambda: os.getxattr(self.path, "user.ebb.status") == b"remote", "it is remote")
        self.assertEqual(b"0" * 5000, self.path.read_bytes())


if __name__ == "__main__":
    if os.geteuid() != 0:
        harness.skip("passthrough needs root")
    harness.main()

#!/usr/bin/env python3
"""Nothing hangs: with a server that is frozen, cut off or gone, and after the daemon's own death."""

import errno
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import harness
from harness import MIB, status, until

SOON_S = 20  # far more than anything here needs, and far less than the mount's timeout
TIMEOUT_S = 120


LIST_PAGE = 36  # ebb-protocol(7)


class Relay:
    """Between a mount and its server; it can keep back what the server tells of folders."""

    def __init__(self, case, server):
        self.server, self.path = server, case.dir / "relay.sock"
        self.keeps, self.kept = False, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        case.addCleanup(self.listener.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = self.server.connect()
            server.settimeout(None)
            for task in (lambda: self.pass_on(client, server), lambda: self.tell(server, client)):
                threading.Thread(target=task, daemon=True).start()

    def pass_on(self, client, server):
        try:
            while some := client.recv(65536):
                server.sendall(some)
        except OSError:
            pass
        server.close()

    def tell(self, server, client):
        try:
            stream = server.makefile("rb")
            while head := stream.read(16):
                packet = head + stream.read(int.from_bytes(head[:4], "little") - 16)
                if self.keeps and packet[4] == LIST_PAGE:
                    self.kept += 1
                else:
                    client.sendall(packet)
        except OSError:
            pass
        client.close()


class NeverHang(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "folder").mkdir()
        for name in ("here", "folder/here"):
            (self.root / name).write_text(f"{name}\n")
        self.film = harness.noise(8 * MIB, "film")
        (self.root / "film").write_bytes(self.film)
        self.ebbd = self.server(self.root)

    def mounted(self, timeout=TIMEOUT_S):
        self.at = self.mount(self.ebbd, options=[f"timeout={timeout}"], delay=3600)
        self.expect_run("ls", "-lR", self.at.path)
        for name in ("here", "folder/here"):
            (self.at / name).read_text()
            until(lambda: status(self.at / name) == "sync", f"{name} is here")
        with open(self.at / "film", "rb", buffering=0) as film:
            os.pread(film.fileno(), 4096, 4 * MIB)

    def freeze(self):
        self.ebbd.daemon.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.ebbd.daemon.process.send_signal, signal.SIGCONT)

    def soon(self, program, *arguments):
        return self.expect_run(program, *arguments, limit_s=SOON_S)

    def expect_all_at_once(self):
        at = self.at
        self.soon("ls", "-lR", at.path)
        self.soon("stat", at / "film", at / "folder/here")
        self.soon("df", at.path)
        self.soon("getfattr", "--only-values", "-n", "user.ebb.state", at / "film")
        self.assertEqual("here\n", self.soon("cat", at / "here"))
        self.assertEqual(b"film", self.soon("sh", "-c", 'printf film > "$1"; cat "$1"', "sh", at / "new").encode())
        self.soon("mv", at / "new", at / "folder/moved")
        self.soon("sh", "-c", 'echo more >> "$1"', "sh", at / "folder/here")
        self.soon("rm", at / "folder/moved")
        self.soon("mkdir", at / "made")
        self.soon("dd", f"if={at / 'film'}", "of=/dev/null", "bs=4096", "count=1", "skip=1024", "status=none")
        self.soon("ebb", "status", at / "film")

    def reader(self, offset=0):
        """A process that waits for what is not here."""
        code = "import os,sys\nf=os.open(sys.argv[1],os.O_RDONLY)\nprint('open',flush=True)\n" \
               "try: print(len(os.pread(f,4096,int(sys.argv[2]))),flush=True)\nexcept OSError as e: print(e.errno,flush=True)\n"
        process = subprocess.Popen([sys.executable, "-c", code, self.at / "film", str(offset)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.assertEqual("open\n", process.stdout.readline())
        return process

    def answer_of(self, process):
        self.assertEqual(0, process.wait(SOON_S))
        return int(process.stdout.readline())

    def waits(self, process):
        """Sleeps in the kernel, in a request of ours."""
        with open(f"/proc/{process.pid}/syscall", encoding="ascii") as call:
            return call.read().split(" ")[0] in ("17", "67")  # pread64

    def test_with_a_frozen_server_everything_that_is_here_goes_on(self):
        self.mounted()
        self.freeze()
        self.expect_all_at_once()
        self.soon("fusermount3", "-u", self.at.path)
        self.assertEqual(0, self.at.daemon.end("the daemon, which pushes for some seconds", limit_s=60))

    def test_with_a_killed_server_everything_that_is_here_goes_on(self):
        self.mounted()
        self.ebbd.kill9()
        self.expect_all_at_once()
        self.soon("fusermount3", "-u", self.at.path)
        self.assertEqual(0, self.at.daemon.end("the daemon", limit_s=60))

    def signalled(self, number):
        self.mounted()
        self.freeze()
        reader = self.reader()
        until(lambda: self.waits(reader), "the reader waits")
        reader.send_signal(number)
        self.assertEqual(-number, reader.wait(SOON_S))

    def test_a_waiting_reader_can_be_killed(self):
        self.signalled(signal.SIGKILL)

    def test_a_waiting_reader_can_be_interrupted(self):
        self.signalled(signal.SIGTERM)

    def test_a_waiting_read_ends_when_its_time_is_up(self):
        self.mounted(timeout=2)
        self.freeze()
        self.assertEqual(errno.ETIMEDOUT, self.answer_of(self.reader()))

    def test_a_waiting_read_ends_when_the_server_is_known_to_be_gone(self):
        self.mounted()
        self.freeze()
        reader = self.reader()
        until(lambda: self.waits(reader), "the reader waits")
        self.ebbd.kill9()
        self.assertEqual(errno.EHOSTDOWN, self.answer_of(reader))

    def test_a_waiting_read_goes_on_when_the_server_does(self):
        self.mounted()
        self.freeze()
        reader = self.reader()
        until(lambda: self.waits(reader), "the reader waits")
        self.ebbd.daemon.process.send_signal(signal.SIGCONT)
        self.assertEqual(4096, self.answer_of(reader))

    def test_unmounting_ends_a_waiting_read(self):
        self.mounted()
        self.freeze()
        reader = self.reader()
        until(lambda: self.waits(reader), "the reader waits")
        self.soon("fusermount3", "-u", "-z", self.at.path)
        self.at.daemon.process.send_signal(signal.SIGTERM)
        self.assertNotEqual(4096, self.answer_of(reader))
        self.at.daemon.end("the daemon", limit_s=60)

    def test_the_daemons_death_leaves_nobody_hanging_and_the_next_mount_cleans_up(self):
        self.mounted()
        (self.at / "here").write_text("kept\n")
        os.stat(self.at.path)  # what the kernel has in its cache does not make it alive
        self.freeze()
        reader = self.reader()
        until(lambda: self.waits(reader), "the reader waits")
        self.at.daemon.kill9()
        self.assertNotEqual(4096, self.answer_of(reader))
        self.assertTrue(harness.is_mounted(self.at.path))
        self.ebbd.daemon.process.send_signal(signal.SIGCONT)
        said = self.expect_run("ebb", "mount", self.ebbd.source, self.at.path, "-o", ",".join(self.at.options), limit_s=60)
        self.assertEqual(1, len(said.splitlines()), said)
        self.assertIn("dead", said)
        self.assertEqual("kept\n", (self.at / "here").read_text())
        self.soon("fusermount3", "-u", self.at.path)
        self.assertFalse(harness.is_mounted(self.at.path))

    def test_a_daemon_killed_while_the_kernel_lets_it_wait_for_a_folder_leaves_nobody_hanging(self):
        relay = Relay(self, self.ebbd)
        at = self.mount(f"unix:{relay.path}", options=[f"timeout={TIMEOUT_S}"], delay=3600)
        self.expect_run("ls", "-lR", at.path)
        (self.root / "folder/new").mkdir()
        until((at / "folder/new").is_dir, "the new folder is shown")
        relay.keeps = True
        # What is in it has to be known first; the kernel holds the folder above meanwhile.
        remover = subprocess.Popen(["rmdir", at / "folder/new"], stderr=subprocess.PIPE, text=True)
        self.addCleanup(remover.stderr.close)
        until(lambda: relay.kept > 0, "the remover waits for the server")
        (self.root / "folder/other").write_text("other\n")
        daemon = at.daemon.process
        until(lambda: self.threads_held(daemon.pid) > 0, "the kernel lets the daemon wait")
        daemon.send_signal(signal.SIGKILL)
        self.assertNotEqual(0, remover.wait(SOON_S))
        at.daemon.end("the killed daemon", limit_s=SOON_S)
        with self.assertRaises(OSError) as dead:
            os.statvfs(at.path)
        self.assertEqual(errno.ENOTCONN, dead.exception.errno)

    def threads_held(self, pid):
        """How many threads of the process wait where no signal reaches them."""
        held = 0
        for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"):
            try:
                held += stat.read_text().rsplit(")", 1)[1].split()[0] == "D"
            except OSError:
                pass  # it has ended
        return held

    def test_a_mount_that_is_alive_is_not_taken_for_a_dead_one(self):
        self.mounted()
        self.freeze()
        self.expect_refusal("ebb", "mount", self.ebbd.source, self.at.path, "-o", f"state={self.dir / 'other.state'}")
        self.assertEqual("here\n", (self.at / "here").read_text())

    def test_a_change_made_elsewhere_leaves_a_shell_its_folder(self):
        self.mounted()
        code = "import os,sys\nos.chdir(sys.argv[1])\nprint('in',flush=True)\n" \
               "for line in sys.stdin: print(os.getcwd() + ' ' + ' '.join(sorted(os.listdir('.'))),flush=True)\n"
        shell = subprocess.Popen([sys.executable, "-c", code, self.at / "folder"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True, bufsize=1)
        self.addCleanup(shell.stdout.close)
        self.assertEqual("in\n", shell.stdout.readline())
        other = self.mount(self.ebbd, delay=0)
        os.rename(other / "folder", other / "renamed")
        (other / "renamed/later").write_text("x")
        other.wait()

        def answer():
            # Nobody else walks the path: that alone would bring a lost folder back.
            shell.stdin.write("\n")
            return shell.stdout.readline().split()

        def has_seen_it():
            where = answer()
            self.assertTrue(where, "the shell has lost its folder")
            return where[1:] == ["here", "later"]
        until(has_seen_it, "the change has come")
        self.assertEqual("x", (self.at / "renamed/later").read_text())
        self.assertEqual([str(self.at / "renamed"), "here", "later"], answer())
        shell.stdin.close()
        self.assertEqual(0, shell.wait(SOON_S))


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""What programs expect of a filesystem: copies, archives, databases, maps, odd handles, odd names."""

import errno
import fcntl
import mmap
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import unittest

import harness
from harness import MIB, state


class Ordinary(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        self.at = self.mount(self.server(self.root))

    def arrived(self):
        self.at.wait()
        self.assert_same_tree(self.at.path, self.root)

    def sample(self):
        top = self.folder("sample")
        (top / "a/b").mkdir(parents=True)
        for number in range(50):
            path = top / ("a/b" if number % 2 else "a") / f"file {number}"
            path.write_bytes(harness.noise(number * 997, number))
            os.chmod(path, (0o644, 0o600, 0o755, 0o444)[number % 4])
            os.utime(path, ns=(0, 1_600_000_000_000_000_000 + number))
        os.symlink("a/file 0", top / "link")
        os.link(top / "a/file 2", top / "hard")
        return top

    def test_cp(self):
        top = self.sample()
        self.expect_run("cp", "-a", top, self.at / "copy")
        self.assert_same_tree(top, self.at / "copy")
        self.arrived()
        self.expect_run("cp", "-a", self.at / "copy", self.dir / "back")
        self.assert_same_tree(top, self.dir / "back")

    def test_tar(self):
        top = self.sample()
        self.expect_run("tar", "-C", top, "--format=posix", "-cf", self.at / "archive.tar", ".")
        os.mkdir(self.at / "out")
        self.expect_run("tar", "-C", self.at / "out", "-xpf", self.at / "archive.tar")
        self.assert_same_tree(top, self.at / "out")
        self.arrived()

    @unittest.skipUnless(shutil.which("rsync"), "rsync is not installed")
    def test_rsync(self):
        top = self.sample()
        for _ in range(2):
            self.expect_run("rsync", "-aHX", "--delete", f"{top}/", self.at / "copy")
            self.assert_same_tree(top, self.at / "copy")
            (top / "a/file 3").unlink(missing_ok=True)
            (top / "a/file 4").write_text("changed")
        self.arrived()

    def test_mv_into_the_mount_and_out(self):
        top = self.sample()
        before = harness.picture(top)
        self.expect_run("mv", top, self.at / "moved")
        self.assertEqual(before, harness.picture(self.at / "moved"))
        self.arrived()
        self.expect_run("mv", self.at / "moved", self.dir / "out")
        self.assertEqual(before, harness.picture(self.dir / "out"))
        self.arrived()
        self.assertEqual([], os.listdir(self.at.path))

    def test_rm_of_a_whole_tree(self):
        self.expect_run("cp", "-a", self.sample(), self.at / "copy")
        self.at.wait()
        self.expect_run("rm", "-rf", self.at / "copy")
        self.arrived()
        self.assertEqual([harness.STATE_DIR], os.listdir(self.root))

    def test_sqlite(self):
        path = self.at / "data.db"
        base = sqlite3.connect(path, isolation_level=None)
        base.execute("pragma journal_mode=delete")
        base.execute("create table t (n integer primary key, text)")
        for number in range(60):
            base.execute("begin")
            base.execute("insert into t values (?, ?)", (number, "x" * 3000))
            base.execute("rollback" if number % 3 == 0 else "commit")
        other = sqlite3.connect(path, timeout=0)
        base.execute("begin exclusive")
        with self.assertRaises(sqlite3.OperationalError):
            other.execute("select count(*) from t").fetchone()
        base.execute("commit")
        self.assertEqual((40,), other.execute("select count(*) from t").fetchone())
        other.close()
        base.close()
        self.at.wait()
        copy = sqlite3.connect(f"file:{self.root / 'data.db'}?immutable=1", uri=True)
        self.assertEqual([("ok",)], copy.execute("pragma integrity_check").fetchall())
        self.assertEqual((40,), copy.execute("select count(*) from t").fetchone())
        copy.close()

    def test_shared_maps(self):
        path = self.at / "mapped"
        path.write_bytes(bytes(3 * MIB))
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            view[5:10] = b"map 1"
            view[2 * MIB:2 * MIB + 5] = b"map 2"
            self.assertEqual(b"map 1", os.pread(file.fileno(), 5, 5))
            os.pwrite(file.fileno(), b"pwrite", MIB)
            self.assertEqual(b"pwrite", view[MIB:MIB + 6])
            view.flush()
        self.assertEqual(b"map 2", path.read_bytes()[2 * MIB:2 * MIB + 5])
        self.arrived()

    def test_private_maps_of_a_cold_file(self):
        root, content = self.folder("cold-root"), harness.noise(4 * MIB, "cold")
        (root / "cold").write_bytes(content)
        cold = self.mount(self.server(root)) / "cold"
        with open(cold, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as view:
            self.assertEqual(content[3 * MIB:3 * MIB + 100], view[3 * MIB:3 * MIB + 100])
            self.assertEqual(content, view[:])

    def test_two_processes_append(self):
        path = self.at / "log"
        code = "import os,sys\nf=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND|os.O_CREAT)\n" \
               "for n in range(500): os.write(f, (sys.argv[2]+' %04d\\n' % n).encode())\n"
        writers = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in ("a", "b")]
        self.assertEqual([0, 0], [writer.wait(60) for writer in writers])
        lines = path.read_text().splitlines()
        self.assertEqual(1000, len(lines))
        for name in ("a", "b"):
            self.assertEqual([f"{name} {number:04d}" for number in range(500)], [line for line in lines if line[0] == name])
        self.arrived()

    def test_a_file_that_is_deleted_while_open(self):
        path = self.at / "gone"
        with open(path, "w+b", buffering=0) as file:
            file.write(b"before")
            os.unlink(path)
            self.assertFalse(path.exists())
            file.write(b" after")
            self.assertEqual(b"before after", os.pread(file.fileno(), 100, 0))
            self.assertEqual(0, os.fstat(file.fileno()).st_nlink)
            os.ftruncate(file.fileno(), 6)
            self.assertEqual(6, os.fstat(file.fileno()).st_size)
            path.write_text("another of that name")
            self.assertEqual(b"before", os.pread(file.fileno(), 100, 0))
        self.arrived()
        self.assertEqual("another of that name", (self.root / "gone").read_text())

    def test_a_file_that_is_replaced_while_open(self):
        path = self.at / "file"
        path.write_text("old")
        with open(path, "rb", buffering=0) as file:
            (self.at / "new").write_text("new")
            os.rename(self.at / "new", path)
            self.assertEqual(b"old", file.read())
            self.assertEqual("new", path.read_text())
        self.arrived()

    def test_a_temporary_file_without_a_name(self):
        try:
            handle = os.open(self.at.path, os.O_TMPFILE | os.O_RDWR, 0o600)
        except OSError as error:
            self.assertIn(error.errno, (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT), "or a clean refusal")
            return
        with os.fdopen(handle, "w+b", buffering=0) as file:
            file.write(b"nameless")
            self.assertEqual(b"nameless", os.pread(handle, 100, 0))
            self.assertEqual([], os.listdir(self.at.path))
            os.mkdir(self.at / "folder")
            # With a folder given it is linkat(2), which follows.
            folder = os.open(self.at / "folder", os.O_PATH)
            os.link(f"/proc/self/fd/{handle}", self.at / "folder/named", src_dir_fd=folder, follow_symlinks=True)
            os.close(folder)
            file.write(b" no more")
        self.assertEqual(b"nameless no more", (self.at / "folder/named").read_bytes())
        self.assertEqual("sync", harness.status(self.at / "folder/named"))
        self.arrived()
        with os.fdopen(os.open(self.at.path, os.O_TMPFILE | os.O_WRONLY, 0o600), "wb") as file:
            file.write(b"gone")
        self.at.remount()
        self.assertEqual(["folder"], os.listdir(self.at.path))

    def test_the_longest_names(self):
        for name in ("x" * 255, "ü" * 127):
            (self.at / name).write_text(name)
            os.rename(self.at / name, self.at / name[::-1])
            (self.at / f"{name[1:]}").mkdir(exist_ok=True)
        self.arrived()
        for make in (lambda path: open(path, "w"), os.mkdir, lambda path: os.symlink("x", path), os.mkfifo,
                     lambda path: os.link(self.at / ("x" * 255), path), os.stat):
            with self.errno_is(errno.ENAMETOOLONG):
                make(self.at / ("y" * 256))

    def test_deep_paths(self):
        here = os.open(self.at.path, os.O_RDONLY)
        for number in range(120):
            os.mkdir("d" * 60, dir_fd=here)
            deeper = os.open("d" * 60, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
        with os.fdopen(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here), "w") as file:
            file.write("deep")
        os.close(here)
        self.at.wait()
        self.assertEqual("1\n", self.expect_run("sh", "-c", "find . -name bottom | wc -l", cwd=self.root))
        self.expect_run("rm", "-rf", self.at / ("d" * 60))
        self.arrived()

    def test_sparse_files(self):
        path = self.at / "sparse"
        with open(path, "wb") as file:
            file.write(b"head")
            file.seek(256 * MIB)
            file.write(b"tail")
        self.assertLess(os.stat(path).st_blocks * 512, 16 * MIB)
        self.expect_holes(path)
        self.at.wait()
        self.expect_holes(path)
        self.assertLess(os.stat(self.root / "sparse").st_blocks * 512, 16 * MIB, "holes travel as holes")
        self.assertEqual(harness.sha256(path), harness.sha256(self.root / "sparse"))

    def expect_holes(self, path):
        with open(path, "rb", buffering=0) as file:
            hole = os.lseek(file.fileno(), 0, os.SEEK_HOLE)
            data = os.lseek(file.fileno(), hole, os.SEEK_DATA)
            self.assertTrue(4 <= hole <= MIB, hole)
            self.assertTrue(255 * MIB <= data <= 256 * MIB, data)
            with self.errno_is(errno.ENXIO):
                os.lseek(file.fileno(), 256 * MIB + 4, os.SEEK_DATA)

    def test_fallocate(self):
        with open(self.at / "space", "w+b", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, 2 * MIB)
            self.assertEqual(2 * MIB, os.fstat(file.fileno()).st_size)
            file.write(b"x")
        self.arrived()

    def test_offsets_beyond_4_gib(self):
        far = (5 << 30) + 1
        with open(self.at / "far", "w+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"far away", far)
            self.assertEqual(b"far away", os.pread(file.fileno(), 100, far))
            self.assertEqual(far + 8, os.fstat(file.fileno()).st_size)
            os.ftruncate(file.fileno(), 10)
        self.arrived()

    def test_locks(self):
        path = self.at / "locked"
        path.write_text("x" * 100)
        code = "import fcntl,sys\nf=open(sys.argv[1],'r+')\n" \
               "try: getattr(fcntl, sys.argv[2])(f, fcntl.LOCK_EX|fcntl.LOCK_NB)\nexcept OSError: sys.exit(9)\n"
        for kind in ("flock", "lockf"):
            with self.subTest(kind=kind), open(path, "r+", encoding="utf-8") as file:
                getattr(fcntl, kind)(file, fcntl.LOCK_EX)
                self.assertEqual(9, self.run_program(sys.executable, "-c", code, path, kind).returncode)
                getattr(fcntl, kind)(file, fcntl.LOCK_UN)
                self.assertEqual(0, self.run_program(sys.executable, "-c", code, path, kind).returncode)

    def test_a_wait_for_a_lock_can_be_interrupted(self):
        path = self.at / "locked"
        path.touch()
        with open(path, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            code = "import fcntl,sys\nf=open(sys.argv[1],'r+')\nprint('ready',flush=True)\nfcntl.flock(f, fcntl.LOCK_EX)\n"
            waiter = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
            self.assertEqual(b"ready\n", waiter.stdout.readline())
            waiter.send_signal(signal.SIGTERM)
            self.assertEqual(-signal.SIGTERM, waiter.wait(harness.LIMIT_S))
            waiter.stdout.close()

    def test_fifos_and_sockets(self):
        os.mkfifo(self.at / "fifo", 0o600)
        writer = subprocess.Popen(["sh", "-c", 'echo through > "$1"', "sh", self.at / "fifo"])
        self.assertEqual("through\n", (self.at / "fifo").read_text())
        self.assertEqual(0, writer.wait(harness.LIMIT_S))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.at / "socket"))
        self.assertTrue(stat.S_ISSOCK(os.stat(self.at / "socket").st_mode))
        self.at.wait()
        self.assertEqual([harness.STATE_DIR], os.listdir(self.root))
        self.at.remount()
        self.assertEqual(["fifo", "socket"], sorted(os.listdir(self.at.path)))

    def test_permissions_hold(self):
        (self.at / "secret").write_text("x")
        os.chmod(self.at / "secret", 0o000)
        self.assertFalse(os.access(self.at / "secret", os.R_OK) and os.getuid() != 0)
        os.chown(self.at / "secret", os.getuid(), os.getgid())
        with self.errno_is(errno.EPERM):
            os.chown(self.at / "secret", os.getuid() + 1, -1)
        os.chmod(self.at / "secret", 0o4755)
        self.assertEqual(0o4755, stat.S_IMODE(os.stat(self.at / "secret").st_mode))

    def test_statfs(self):
        info = os.statvfs(self.at.path)
        self.assertEqual(255, info.f_namemax)
        self.assertGreater(info.f_blocks, 0)
        self.assertGreaterEqual(info.f_blocks, info.f_bavail)

    def test_a_folder_with_many_entries_is_listed_whole(self):
        os.mkdir(self.at / "many")
        for number in range(3000):
            os.close(os.open(self.at / f"many/{number:05d}", os.O_CREAT | os.O_WRONLY))
        seen = [entry.name for entry in os.scandir(self.at / "many")]
        self.assertEqual([f"{number:05d}" for number in range(3000)], sorted(seen))
        with os.scandir(self.at / "many") as listing:
            first = [next(listing).name for _ in range(10)]
            for number in range(0, 3000, 2):
                os.unlink(self.at / f"many/{number:05d}")
            rest = [entry.name for entry in listing]
        self.assertEqual(len(first + rest), len(set(first + rest)), "nothing is listed twice")
        self.assertGreaterEqual(set(first + rest), {f"{number:05d}" for number in range(1, 3000, 2)}, "what stays is listed")
        self.arrived()
        self.assertEqual("clean", state(self.at.path))

    def test_many_threads_work_at_once(self):
        def work(number):
            for step in range(40):
                path = self.at / f"thread{number}.{step % 5}"
                path.write_bytes(bytes([number]) * (step * 1000))
                if path.read_bytes() != bytes([number]) * (step * 1000):
                    wrong.append((number, step))
                if step % 7 == 0:
                    os.rename(path, f"{path}.renamed")
        wrong = []
        threads = [harness.threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong)
        self.arrived()


if __name__ == "__main__":
    harness.main()

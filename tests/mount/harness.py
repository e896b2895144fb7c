"""What the tests of a real mount share: servers and mounts of their own, in a folder of their own, with limits.

Programs are taken from EBB_BIN_DIR (default: build/release/bin).  Nothing here waits for time: everything waits for a
condition, with a limit.  A watchdog ends a test that hangs, inside the kernel too, by killing this test's own daemons:
the kernel then answers everybody who waits.  On failure the daemons' logs are printed."""

import contextlib
import ctypes
import ctypes.util
import errno
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("EBB_BIN_DIR", TOP / "build/release/bin"))
# For every mount, so that the whole suite can be run with an option.
MOUNT_OPTIONS = os.environ.get("EBB_MOUNT_OPTIONS", "").split()
SERVE_OPTIONS = os.environ.get("EBB_SERVE_OPTIONS", "").split()  # for every server, likewise
SKIPPED = 77
MIB = 1 << 20
LIMIT_S = 30          # for one condition
TEST_LIMIT_S = 180    # for one test; a class may set its own `limit_s`
STATE_DIR = ".ebbd"   # the server's folder inside a served root
# What a sanitizer or a failed CHECK writes; a test in which a daemon said so has failed.
ALARM = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|CHECK failed|terminate called")


def until(condition, what, limit_s=LIMIT_S):
    """Waits until condition() is true and returns its value.  An OSError counts as not yet."""
    end, pause, last = time.monotonic() + limit_s, threading.Event(), None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except OSError as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"after {limit_s} s still not: {what} (last: {last!r})")
        pause.wait(0.02)


def seed(default=None):
    """A seed for random moments; printed, and repeated with EBB_SEED=N."""
    value = int(os.environ.get("EBB_SEED", default if default is not None else random.randrange(1 << 32)))
    print(f"seed {value}; repeat with EBB_SEED={value}", file=sys.stderr, flush=True)
    return value


def is_mounted(path):
    wanted = str(path).replace("\\", "\\134").replace(" ", "\\040")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.split(" ")[4] == wanted for line in table)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pids_with(word):
    """The processes that have `word` on their command line: ours, when the word is a path of the test's folder."""
    word, found = os.fsencode(word), []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as line:
                if word in line.read():
                    found.append(int(entry))
    return found


class Daemon:
    """A process of ours that runs in the foreground, its output in a log."""

    def __init__(self, command, log, **popen):
        self.command, self.log = [str(part) for part in command], pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **popen)

    def alive(self):
        return self.process.poll() is None

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def end(self, what, limit_s=LIMIT_S):
        """Waits for the end that somebody else asked for, and returns the exit code."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"after {limit_s} s still running: {what}") from None

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Server:
    """ebbd over `root`, on a Unix socket, or on a loopback port with tcp=True."""

    def __init__(self, case, root, tcp=False, options=()):
        self.case, self.root, self.options = case, pathlib.Path(root), list(options)
        case.counter += 1
        self.name = f"ebbd{case.counter}"
        if tcp:
            port = free_port()
            self.listen, self.source, self.mount_options = f"127.0.0.1:{port}", f"ebb://127.0.0.1:{port}/", ["insecure"]
            self.options.append("--insecure")
            self.peer = (socket.AF_INET, ("127.0.0.1", port))
        else:
            path = case.dir / f"{self.name}.sock"
            self.listen, self.source, self.mount_options = f"unix:{path}", f"unix:{path}", []
            self.peer = (socket.AF_UNIX, str(path))
        self.daemon = None

    def start(self):
        command = [BIN / "ebbd", "serve", self.root, "--listen", self.listen, *self.options, *SERVE_OPTIONS]
        self.daemon = self.case.daemon(command, self.name)
        until(self.answers, f"{self.name} listens on {self.listen}")
        return self

    def connect(self):
        link = socket.socket(self.peer[0], socket.SOCK_STREAM)
        link.settimeout(LIMIT_S)
        try:
            link.connect(self.peer[1])
        except OSError:
            link.close()
            raise
        return link

    def answers(self):
        if not self.daemon.alive():
            raise AssertionError(f"{self.name} ended with {self.daemon.process.returncode}:\n{self.daemon.text()}")
        self.connect().close()
        return True

    def stop(self):
        self.daemon.process.terminate()
        return self.daemon.end(f"{self.name} after SIGTERM")

    def kill9(self):
        self.daemon.kill9()


class Mount:
    """`ebb mount -f` of a source."""

    def __init__(self, case, source, options=(), delay=1, name=None):
        case.counter += 1
        self.case, self.name = case, name or f"ebb{case.counter}"
        self.source = source.source if isinstance(source, Server) else str(source)
        extra = source.mount_options if isinstance(source, Server) else []
        self.path, self.state = case.dir / f"{self.name}.mnt", case.dir / f"{self.name}.state"
        self.options = [f"delay={delay}", f"state={self.state}", *extra, *MOUNT_OPTIONS, *options]
        self.path.mkdir(exist_ok=True)
        self.prefix = []  # a program that runs the daemon
        self.daemon = None

    def start(self):
        command = [*self.prefix, BIN / "ebb", "mount", self.source, self.path, "-o", ",".join(self.options), "-f"]
        self.daemon = self.case.daemon(command, self.name)
        until(self.answers, f"{self.name} answers")
        return self

    def answers(self):
        if not self.daemon.alive():
            raise AssertionError(f"{self.name} ended with {self.daemon.process.returncode}:\n{self.daemon.text()}")
        return is_mounted(self.path) and os.stat(self.path)

    def unmount(self):
        """As a user does.  The daemon must end by itself, with 0."""
        subprocess.run(["fusermount3", "-u", str(self.path)], check=True, capture_output=True, timeout=LIMIT_S)
        code = self.daemon.end(f"{self.name} after fusermount3 -u")
        self.case.assertEqual(0, code, f"{self.name} ended with {code}:\n{self.daemon.text()}")

    def kill9(self):
        self.daemon.kill9()
        self.detach()

    def detach(self):
        if is_mounted(self.path):
            subprocess.run(["fusermount3", "-u", "-z", str(self.path)], capture_output=True, timeout=LIMIT_S)

    def remount(self):
        self.unmount()
        return self.start()

    def wait(self, *paths, limit_s=60):
        """Until everything (or `paths`) is on the server."""
        paths = paths or (self.path,)
        run = self.case.run_program("ebb", "wait", "--timeout", limit_s, *paths, limit_s=limit_s + 10)
        self.case.assertEqual(0, run.returncode, f"ebb wait: {run.stderr}")

    def status_of(self, name):
        """What `ebb status --json` says of one entry."""
        shown = self.case.expect_run("ebb", "status", "--json", self.path / name)
        return json.loads(shown.splitlines()[0])

    def __truediv__(self, name):
        return self.path / name


class MountCase(unittest.TestCase):
    """A test with a folder of its own (self.dir) and daemons that end with it."""

    limit_s = TEST_LIMIT_S
    maxDiff = 4000

    def setUp(self):
        self.counter, self.daemons, self.mounts, self.too_long = 0, [], [], False
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ebb-test."))
        self.watchdog = threading.Timer(self.limit_s, self.end_hanging)
        self.watchdog.daemon = True
        self.watchdog.start()
        self.addCleanup(self.clean_up)

    def end_hanging(self):
        self.too_long = True
        print(f"{self.id()}: over its limit of {self.limit_s} s, its daemons are killed", file=sys.stderr, flush=True)
        for daemon in self.daemons:
            if daemon.alive():
                daemon.process.kill()

    def daemon(self, command, name, **popen):
        daemon = Daemon(command, self.dir / f"{name}.log", **popen)
        self.daemons.append(daemon)
        return daemon

    def clean_up(self):
        self.watchdog.cancel()
        for mount in self.mounts:
            mount.detach()
        for daemon in self.daemons:
            if daemon.alive():
                daemon.process.terminate()
        for daemon in self.daemons:
            try:
                daemon.process.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill9()
        logs = {daemon.log: daemon.text() for daemon in self.daemons}
        alarms = [name.name for name, text in logs.items() if ALARM.search(text)]
        failed = alarms or self.too_long or self.failing()
        if failed:
            for name, text in logs.items():
                print(f"--- {name.name}\n{text[-6000:]}", file=sys.stderr, flush=True)
        for entry in sorted(self.dir.glob("*.mnt")):
            if is_mounted(entry):
                subprocess.run(["fusermount3", "-u", "-z", str(entry)], capture_output=True)
        for pid in pids_with(self.dir):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        for entry in reversed(self.private_mounts()):
            subprocess.run(["umount", "-l", entry], capture_output=True)
        if os.environ.get("EBB_KEEP") and failed:
            print(f"kept: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        self.assertFalse(self.too_long, "over its time limit")
        self.assertEqual([], alarms, "a daemon sounded an alarm, see its log")

    def failing(self):
        result = self._outcome.result
        return any(test is self or getattr(test, "test_case", None) is self
                   for test, _ in result.errors + result.failures) or not self._outcome.success

    def private_mounts(self):
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            return [line.split(" ")[4] for line in table if line.split(" ")[4].startswith(str(self.dir) + "/")]

    # --- what tests are made of

    def folder(self, name):
        path = self.dir / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def server(self, root, **options):
        return Server(self, root, **options).start()

    def mount(self, source, **options):
        mount = Mount(self, source, **options)
        self.mounts.append(mount)
        return mount.start()

    def run_program(self, program, *arguments, limit_s=LIMIT_S, **more):
        path = BIN / program if program in ("ebb", "ebbd") else program
        command = [str(path), *[str(argument) for argument in arguments]]
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, **more)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"after {limit_s} s still running: {' '.join(command)}") from None

    def expect_run(self, program, *arguments, **more):
        run = self.run_program(program, *arguments, **more)
        self.assertEqual(0, run.returncode, f"{program} {arguments}: {run.stdout}{run.stderr}")
        return run.stdout

    def expect_refusal(self, program, *arguments, code=1, **more):
        """The program ends with `code` and exactly one line on stderr, and says nothing else."""
        run = self.run_program(program, *arguments, **more)
        shown = f"{program} {' '.join(map(str, arguments))}: exit {run.returncode}\n{run.stdout}{run.stderr}"
        self.assertEqual(code, run.returncode, shown)
        self.assertEqual(1, len(run.stderr.splitlines()), shown)
        self.assertTrue(run.stderr.endswith("\n"), shown)
        self.assertGreater(len(run.stderr), 15, shown)
        self.assertEqual("", run.stdout, shown)
        return run.stderr

    @contextlib.contextmanager
    def errno_is(self, *numbers):
        with self.assertRaises(OSError) as caught:
            yield
        names = [errno.errorcode[number] for number in numbers]
        self.assertIn(caught.exception.errno, numbers,
                      f"expected {names}, got {errno.errorcode.get(caught.exception.errno)}")

    def assert_same_tree(self, expected, actual, owners=False):
        want, have = picture(expected, owners), picture(actual, owners)
        self.assertEqual(sorted(want), sorted(have))
        wrong = {name: (want[name], have[name]) for name in want if want[name] != have[name]}
        self.assertEqual({}, dict(list(wrong.items())[:10]), f"{len(wrong)} entries differ (expected, actual)")


# --- what a tree looks like

def picture(top, owners=False):
    """name -> everything that must be equal on both sides.  A folder's times are not: it is written to by pushes."""
    top, result = os.fspath(top), {}
    for folder, folders, files in os.walk(top):
        if folder == top and STATE_DIR in folders:
            folders.remove(STATE_DIR)
        for name in folders + files:
            path = os.path.join(folder, name)
            result[os.path.relpath(path, top)] = picture_of(path, owners)
    return result


def picture_of(path, owners):
    info = os.lstat(path)
    row = {"mode": oct(info.st_mode)}
    if owners:
        row["owner"] = (info.st_uid, info.st_gid)
    if stat.S_ISLNK(info.st_mode):
        row["target"] = os.readlink(path)
        row.pop("mode")
    elif stat.S_ISREG(info.st_mode):
        row |= {"size": info.st_size, "mtime": info.st_mtime_ns, "sha256": sha256(path)}
    return row


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def xxh3(data):
    """As user.ebb.hash has it: 16 hex digits."""
    library = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
    library.XXH3_64bits.restype = ctypes.c_uint64
    library.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return f"{library.XXH3_64bits(data, len(data)):016x}"


def noise(size, key):
    """Content that no compression shrinks, the same for the same key."""
    return random.Random(key).randbytes(size)


RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


def renameat2(source, target, flags):
    libc, here = ctypes.CDLL(None, use_errno=True), -100
    if libc.renameat2(here, os.fsencode(source), here, os.fsencode(target), ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


# --- the words

def ebb(path, name, follow=True):
    return os.getxattr(path, f"user.ebb.{name}", follow_symlinks=follow).decode()


def status(path):
    return ebb(path, "status")


def state(path):
    """The state's word; the reason after it is text for people."""
    return ebb(path, "state").split(" ", 1)[0]


def progress(path):
    here, whole = ebb(path, "progress").split("/")
    return int(here), int(whole)


def version(path):
    return int(ebb(path, "version"))


def set_status(path, word):
    """A transition to its end: one that takes longer than the kernel may be kept waiting goes on by itself."""
    try:
        os.setxattr(path, "user.ebb.status", word if isinstance(word, bytes) else word.encode())
    except OSError as error:
        if error.errno != errno.EINPROGRESS:
            raise
        until(lambda: status(path) == word, f"{path} is {word}")


def main():
    """Runs the tests of the calling file; ends with 77 where there is nothing to mount with."""
    if not os.path.exists("/dev/fuse"):
        skip("/dev/fuse is missing")
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        skip(f"/dev/fuse cannot be opened: {error.strerror}")
    if not shutil.which("fusermount3"):
        skip("fusermount3 is missing")
    for program in ("ebb", "ebbd"):
        if not os.access(BIN / program, os.X_OK):
            sys.exit(f"{BIN / program} is missing: build it, or set EBB_BIN_DIR")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    unittest.main(verbosity=2)


def skip(reason):
    print(f"skipped: {reason}", file=sys.stderr)
    sys.exit(SKIPPED)

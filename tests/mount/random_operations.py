#!/usr/bin/env python3
"""Random operations on files of a mount, checked at every step against a shadow in memory.

    random_operations.py [OPERATIONS] [--files WHAT] [--seed N] [--options LIST]     any number, for as long as one likes
A short run is in random_operations_test.py.  Files are written, cut, punched, mapped, given back, closed, and looked at
again after an unmount and after a kill.  WHAT they are when they come back: placeholder (the default), hydrated, or
pulling: on their way, over a link on which they are for a while.  Told are operations, remounts, evictions, and the
anonymous memory of the client soon after the beginning and at the end."""

import argparse
import ctypes
import errno
import mmap
import os
import random
import select
import socket
import sys
import threading

import harness
from harness import until

SIZE_MAX = 600_000
SLOW_BYTES, SLOW_S = 16384, 0.002   # of the slow link: so much, then so long nothing
FILES = 4
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


def fallocate(file, mode, offset, length):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate64(file, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


class Shadowed:
    """One file of the mount, open, and what it should be."""

    def __init__(self, path, content, rand):
        self.path, self.content, self.rand = path, bytearray(content), rand
        self.file = os.open(path, os.O_RDWR)

    def place(self, beyond=0):
        offset = self.rand.randrange(len(self.content) + beyond + 1)
        if self.rand.random() < 0.3:
            offset &= ~4095
        return offset, self.rand.choice((1, 100, 4096, 10_000, 70_000))

    def put(self, offset, data):
        if len(self.content) < offset:
            self.content += bytes(offset - len(self.content))
        self.content[offset:offset + len(data)] = data

    def read(self):
        offset, size = self.place()
        expect(self, offset, os.pread(self.file, size, offset), self.content[offset:offset + size])

    def write(self):
        offset, size = self.place(beyond=20_000)
        data = self.rand.randbytes(min(size, SIZE_MAX - offset) if offset < SIZE_MAX else 0)
        if data:
            os.pwrite(self.file, data, offset)
            self.put(offset, data)

    def append(self):
        data = self.rand.randbytes(min(3000, SIZE_MAX - len(self.content)))
        with open(self.path, "ab", buffering=0) as end:
            end.write(data)
        self.content += data

    def cut(self):
        size = self.rand.randrange(min(SIZE_MAX, len(self.content) + 30_000) + 1)
        os.ftruncate(self.file, size)
        del self.content[size:]
        self.content += bytes(size - len(self.content))

    def punch(self):
        offset, size = self.place()
        fallocate(self.file, PUNCH_HOLE | KEEP_SIZE, offset, size)
        self.zero(offset, size)

    def zero_range(self):
        offset, size = self.place()
        fallocate(self.file, ZERO_RANGE | KEEP_SIZE, offset, size)
        self.zero(offset, size)

    def zero(self, offset, size):
        end = min(len(self.content), offset + size)
        if end > offset:
            self.content[offset:end] = bytes(end - offset)

    def map(self):
        if not self.content:
            return
        offset, size = self.place()
        end = min(len(self.content), offset + size)
        with mmap.mmap(self.file, len(self.content)) as view:
            expect(self, offset, view[offset:end], self.content[offset:end])
            data = self.rand.randbytes(end - offset)
            view[offset:end] = data
            self.content[offset:end] = data
            if self.rand.random() < 0.5:
                view.flush()

    def sync(self):
        os.fsync(self.file)

    def reopen(self):
        os.close(self.file)
        self.file = os.open(self.path, os.O_RDWR)

    def look(self):
        expect(self, 0, self.path.read_bytes(), self.content)
        self.same_size()

    def same_size(self):
        size = os.fstat(self.file).st_size
        if size != len(self.content):
            raise AssertionError(f"{self.path.name} has {size} bytes, not {len(self.content)}")

    def data_is_where_it_may_be(self):
        """What SEEK_DATA leaves out is zeros."""
        at = 0
        while at < len(self.content):
            try:
                begin = os.lseek(self.file, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                begin = len(self.content)
            if any(self.content[at:begin]):
                raise AssertionError(f"{self.path.name}: data in a hole at {at} to {begin}")
            if begin == len(self.content):
                return
            at = os.lseek(self.file, begin, os.SEEK_HOLE)


def expect(shadowed, offset, found, wanted):
    if bytes(found) == bytes(wanted):
        return
    first = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted)))
    raise AssertionError(f"{shadowed.path.name}: wrong from byte {offset + first} on; {len(found)} bytes, {len(wanted)} expected")


ACTIONS = [(Shadowed.read, 30), (Shadowed.write, 25), (Shadowed.append, 5), (Shadowed.cut, 7), (Shadowed.punch, 6),
           (Shadowed.zero_range, 4), (Shadowed.map, 6), (Shadowed.sync, 2), (Shadowed.reopen, 5), (Shadowed.look, 3),
           (Shadowed.same_size, 4), (Shadowed.data_is_where_it_may_be, 3)]


def slow_link(path, server):
    """Stands between client and server, and lets only so much through.  In a process of its own: who faults on a mapped
    page waits for what comes over it, and keeps all threads of a Python waiting."""
    listener, never = socket.socket(socket.AF_UNIX), threading.Event()
    listener.bind(path)
    listener.listen()

    def carry(client):
        with client, socket.socket(socket.AF_UNIX) as far:
            far.connect(server)
            while True:
                for end in select.select((client, far), (), ())[0]:
                    data = end.recv(SLOW_BYTES)
                    (far if end is client else client).sendall(data)
                    if not data:
                        return
                    if len(data) == SLOW_BYTES:
                        never.wait(SLOW_S)
    while True:
        threading.Thread(target=carry, args=(listener.accept()[0],), daemon=True).start()


def memory_kib(mount):
    with open(f"/proc/{mount.daemon.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


class Run:
    """Operations on some files of one mount."""

    def __init__(self, case, rand, option="passthrough=0", what="placeholder"):
        self.case, self.rand, self.what = case, rand, what
        self.remounts = self.kills = self.evictions = 0
        self.root = case.folder("root")
        contents = [rand.randbytes(rand.randrange(SIZE_MAX)) for _ in range(FILES)]
        for number, content in enumerate(contents):
            (self.root / f"file{number}").write_bytes(content)
        served = case.server(self.root)
        if what == "pulling":
            path = case.dir / "slow.sock"
            case.daemon([sys.executable, __file__, "--slow-link", path, served.peer[1]], "slow-link")
            until(path.exists, "the slow link is there")
            served = f"unix:{path}"
        self.at = case.mount(served, options=[f"hydrate={rand.choice(('range', 'progressive'))}", option])
        self.files = [Shadowed(self.at / f"file{number}", content, rand) for number, content in enumerate(contents)]

    def close(self):
        for file in self.files:
            os.close(file.file)

    def again(self, kill):
        """Off and on: after a kill, what no sync had asked for is there as well."""
        self.close()
        self.remounts += 1
        self.kills += kill
        if kill:
            self.at.kill9()
            self.at.start()
        else:
            self.at.remount()
        for file in self.files:
            file.file = os.open(file.path, os.O_RDWR)
            file.look()

    def give_back(self):
        """What is on the server is dropped here: a placeholder again."""
        file = self.rand.choice(self.files)
        os.close(file.file)
        self.at.wait(file.path)
        if len(file.content) > 0:
            self.evictions += 1
            harness.set_status(file.path, "remote")
            if self.what == "hydrated":
                harness.set_status(file.path, "sync")
                until(lambda: harness.progress(file.path)[0] == len(file.content), f"{file.path.name} is here")
            elif self.what == "pulling":
                threading.Thread(target=harness.set_status, args=(file.path, "sync"), daemon=True).start()
        file.file = os.open(file.path, os.O_RDWR)

    def one(self):
        action = self.rand.choices([action for action, _ in ACTIONS], [weight for _, weight in ACTIONS])[0]
        action(self.rand.choice(self.files))

    def tell(self, number):
        print(f"{number} operations on {self.what} files, {self.remounts} remounts ({self.kills} after a kill), "
              f"{self.evictions} evictions, RssAnon {memory_kib(self.at)} KiB", flush=True)

    def operations(self, count):
        self.tell(0)
        for number in range(count):
            try:
                if number % 10_000 == 9_999:
                    self.tell(number + 1)
                if number % 400 == 399:
                    self.again(kill=self.rand.random() < 0.5)
                elif number % 60 == 59:
                    self.give_back()
                else:
                    self.one()
            except BaseException:
                print(f"at operation {number}", file=sys.stderr, flush=True)
                raise
        for file in self.files:
            file.look()
        self.close()
        self.at.wait()
        for file in self.files:
            expect(file, 0, (self.root / file.path.name).read_bytes(), file.content)


class Long(harness.MountCase):
    limit_s = 24 * 3600
    count, what, option = 10_000, "placeholder", "passthrough=0"

    def test_random_operations(self):
        Run(self, random.Random(harness.seed()), self.option, self.what).operations(self.count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", nargs="?", type=int, default=Long.count)
    parser.add_argument("--files", choices=("placeholder", "hydrated", "pulling"), default=Long.what)
    parser.add_argument("--options", default=Long.option)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--slow-link", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.slow_link:
        slow_link(*arguments.slow_link)
    Long.count, Long.what, Long.option = arguments.operations, arguments.files, arguments.options
    if arguments.seed is not None:
        os.environ["EBB_SEED"] = str(arguments.seed)
    sys.argv[1:] = []
    harness.main()

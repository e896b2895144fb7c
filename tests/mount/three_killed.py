#!/usr/bin/env python3
"""Two mounts and one server, random work on both mounts, SIGKILL to any of the three at random moments: nothing that
was fsynced is missing, and in the end all three trees are equal.

    three_killed.py --rounds N         so many kills (default 5); not a part of the check
    EBB_SEED=N                         the same work and the same choices again"""

import os
import pathlib
import subprocess
import sys
import threading

import harness
from harness import until

ROUNDS = 5
NAMES = 8
GENEROUS_S = 120


def work_until_it_breaks(top, book, key):
    """The user, a process of its own.  A line of the book tells of a change that is fsynced, or is about to be made."""
    top, chance, number = pathlib.Path(top), harness.random.Random(key), 0
    with open(book, "a", encoding="utf-8", buffering=1) as notes:
        while True:
            number += 1
            path = top / chance.choice(["", "one", "two"]) / f"file{chance.randrange(NAMES)}"
            how = chance.randrange(10)
            try:
                if how < 4:
                    write(path, f"{key}.{number}.", chance.randrange(1, 2000), notes)
                elif how < 7:
                    save(path, f"{key}.{number}.", chance.randrange(1, 2000), notes)
                elif how < 8:
                    give_up(path, notes)
                    os.unlink(path)
                elif how < 9:
                    other = top / f"file{chance.randrange(NAMES)}"
                    give_up(other, notes)
                    os.rename(path, other)
                else:
                    os.makedirs(path.parent, exist_ok=True)
            except (FileNotFoundError, NotADirectoryError, FileExistsError):
                pass


def give_up(path, notes):
    """What is overwritten or deleted on purpose need not be anywhere afterwards."""
    try:
        notes.write(f"gone {tokens(path.read_text(encoding='utf-8'))}\n")
    except FileNotFoundError:
        pass


def tokens(text):
    return text.split("|", 1)[0] if "|" in text else "-"


def fill(path, token, count, notes):
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{token}|" + "x" * count)
        file.flush()
        os.fsync(file.fileno())
    fsync_folder(path.parent)
    notes.write(f"kept {token}\n")


def write(path, token, count, notes):
    give_up(path, notes)
    fill(path, token, count, notes)


def save(path, token, count, notes):
    beside = path.with_name(f"{path.name}.{token}tmp")
    fill(beside, token, count, notes)
    give_up(path, notes)
    os.rename(beside, path)


def fsync_folder(path):
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class ThreeKilled(harness.MountCase):
    limit_s = 300 + 60 * int(os.environ.get("EBB_ROUNDS", ROUNDS))

    def test_nothing_fsynced_is_missing_and_all_are_equal(self):
        key = harness.seed()
        rounds = int(os.environ.get("EBB_ROUNDS", ROUNDS))
        self.chance = harness.random.Random(key)
        self.root = self.folder("root")
        for name in ("one", "two"):
            (self.root / name).mkdir()
        self.served = self.server(self.root)
        self.mounts_of = [self.mount(self.served, delay=self.chance.choice([0, 1]), name=name, options=[option])
                          for name, option in (("a", "passthrough=0"), ("b", "no_passthrough"))]
        for number in range(rounds):
            self.one_round(f"{key}-{number}")
        for mount in self.mounts_of:
            mount.wait(limit_s=GENEROUS_S)
        try:
            until(self.all_equal, "the three trees are equal", GENEROUS_S)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.differences()}") from None
        self.expect_all_kept()
        print(f"{rounds} kills, {self.count('kept')} changes fsynced, {self.copies()} conflict copies", file=sys.stderr)

    def one_round(self, key):
        users = [self.user(mount, f"{key}{mount.name}") for mount in self.mounts_of]
        goal = self.count("kept") + self.chance.randrange(1, 20)
        victim = self.chance.randrange(3)
        try:
            until(lambda: self.count("kept") >= goal or any(user.poll() is not None for user in users), "work gets on", 60)
            threading.Event().wait(self.chance.random() * 0.05)
            if victim == 2:
                self.served.kill9()
            else:
                self.mounts_of[victim].daemon.kill9()
        finally:
            # Before the dead mount goes: nobody writes into the folder beneath.
            for user in users:
                user.kill()
                user.wait()
        if victim == 2:
            self.served.start()
        else:
            self.mounts_of[victim].detach()
            self.mounts_of[victim].start()

    def user(self, mount, key):
        book = self.dir / f"{mount.name}.book"
        return subprocess.Popen([sys.executable, __file__, "--work", mount.path, book, key], stderr=subprocess.DEVNULL)

    def lines(self):
        for book in self.dir.glob("*.book"):
            for line in book.read_text(encoding="utf-8").splitlines(True):
                if line.endswith("\n") and " " in line:
                    yield line.split(maxsplit=1)

    def count(self, word):
        return sum(1 for what, _ in self.lines() if what == word)

    def copies(self):
        return sum(1 for path in harness.picture(self.root) if ".conflict-" in path)

    def all_equal(self):
        pictures = [self.contents(top) for top in (self.root, *(mount.path for mount in self.mounts_of))]
        return pictures[0] == pictures[1] == pictures[2]

    def differences(self):
        server, shown = self.contents(self.root), []
        for mount in self.mounts_of:
            mine = self.contents(mount.path)
            for name in sorted(server.keys() | mine.keys()):
                if server.get(name) != mine.get(name):
                    words = [harness.ebb(mount / name, what) for what in ("status", "state", "version")] if name in mine else []
                    shown.append(f"{mount.name} {name}: {mine.get(name)} {words}, on the server {server.get(name)}")
        return "\n".join(shown[:20])

    def contents(self, top):
        return {name: row.get("sha256", "folder") for name, row in harness.picture(top).items()}

    def expect_all_kept(self):
        """Each token is in a file, in the history, or was given up by one who had read it."""
        kept = {token.strip() for what, token in self.lines() if what == "kept"}
        kept -= {token.strip() for what, token in self.lines() if what == "gone"}
        found = set()
        for folder, _, files in os.walk(self.root):
            for path in (os.path.join(folder, name) for name in files):
                if not os.path.isfile(path):
                    continue
                with open(path, "rb") as file:
                    head = file.read(200).split(b"|", 1)[0]
                found.add(head.decode(errors="replace"))
        self.assertEqual(set(), kept - found, "fsynced, never given up, and nowhere")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work_until_it_breaks(*sys.argv[2:5])
    if "--rounds" in sys.argv:
        at = sys.argv.index("--rounds")
        ThreeKilled.limit_s = 300 + 60 * int(sys.argv[at + 1])
        os.environ["EBB_ROUNDS"] = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    harness.main()

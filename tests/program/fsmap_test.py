#!/usr/bin/env python3
"""`ebb fsmap`: the bytes of the forms, the difference of two maps, what is listed and what is not; held against a naive
reference.  No mount; programs from EBB_BIN_DIR."""

import collections
import hashlib
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
EBB = pathlib.Path(os.environ.get("EBB_BIN_DIR", SOURCE / "build/dev/bin")) / "ebb"
LIMIT_S = 120
A, B, U = "Bi şeyler bi şeyler".encode(), "İki şeyler iki şeyler".encode(), ("Ü" * 12).encode()
VECTOR = [("A-dir/A-file.txt", A), ("A-dir/B-file.txt", B), ("A-file.txt", A), ("B-dir/A-file.txt", A), ("B-dir/B-file.txt", B),
          ("B-dir/C-dir/A-file.txt", A), ("B-dir/C-dir/B-file.txt", B), ("B-file.txt", B), ("ü-dir/ü.file.txt", U)]
VECTOR_SUMMARY = b"be6574cce3bfa64b7966d6e78f946a37"
EMPTY_SUMMARY = b"d41d8cd98f00b204e9800998ecf8427e"


def reference(top):
    """[(path, digest)] as the page says, the plainest way."""
    found = []

    def walk(folder, prefix):
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if os.path.islink(path) or (prefix == b"" and name == b".ebbd"):
                continue
            if os.path.isdir(path):
                walk(path, prefix + name + b"/")
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found.append((prefix + name, hashlib.md5(prefix + name + file.read()).hexdigest().encode()))

    walk(os.fsencode(top), b"")
    return found


def full(lines):
    return b"".join(digest + path + b"\n" for path, digest in lines)


def difference(target, local):
    """(missing indices, invalid paths) of two reference maps."""
    have, want = collections.Counter(d for _, d in local), collections.Counter(d for _, d in target)
    missing, invalid = [], []
    for index, (_, digest) in enumerate(target):
        missing += [index] if have[digest] == 0 else []
        have[digest] -= have[digest] > 0
    for path, digest in local:
        invalid += [path] if want[digest] == 0 else []
        want[digest] -= want[digest] > 0
    return missing, invalid


class FsmapCase(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ebb-fsmap."))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(self.dir / "cache")}

    def run_fsmap(self, *arguments, stdin=b"", code=0):
        run = subprocess.run([EBB, "fsmap", *arguments], input=stdin, capture_output=True, timeout=LIMIT_S, env=self.environment)
        self.assertEqual(code, run.returncode, f"{arguments}: {run.stdout[:500]} {run.stderr}")
        if code == 2:
            self.assertEqual(b"", run.stdout)
            self.assertEqual(1, run.stderr.count(b"\n"), run.stderr)
        self.notes = run.stderr.decode(errors="surrogateescape")
        return run.stdout

    def write(self, top, files):
        top = self.dir / top
        top.mkdir(exist_ok=True)
        for path, content in files:
            target = os.path.join(os.fsencode(top), path if isinstance(path, bytes) else path.encode())
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(content)
        return top

    def diff_json(self, target, local):
        out = self.run_fsmap("diff", "--json", target, local, code=1)
        rows = [json.loads(line) for line in out.splitlines()]
        return ([row["missing"] for row in rows if "missing" in row],
                [os.fsencode(row["invalid"]) for row in rows if "invalid" in row])


class Forms(FsmapCase):
    def test_the_vectors_byte_for_byte(self):
        top = self.write("tree", VECTOR)
        dump = self.run_fsmap("dump", top)
        self.assertEqual(full([(p.encode(), hashlib.md5(p.encode() + c).hexdigest().encode()) for p, c in VECTOR]), dump)
        lines = dump.split(b"\n")
        self.assertTrue(lines[0].startswith(b"e301635b2026cca61cc95cdbda72269fA-dir/"))
        self.assertTrue(lines[2].startswith(b"9575dd8864a4290bc2aec8202c9af68a"))
        self.assertTrue(lines[8].startswith(b"9b9913e4f5a360fb14f7234ac3b85f2b"))
        minified = b"".join(line[:32] for line in lines)
        for source, stdin in [((top,), b""), (("-",), dump), ((), dump), (("-",), dump.replace(b"\n", b"\r\n"))]:
            self.assertEqual(minified, self.run_fsmap("minify", *source, stdin=stdin))
            self.assertEqual(VECTOR_SUMMARY, self.run_fsmap("summary", *source, stdin=stdin))
        self.assertEqual(VECTOR_SUMMARY, self.run_fsmap("summary", stdin=minified))
        self.run_fsmap("dump", top, "-o", self.dir / "map")
        self.assertEqual(dump, (self.dir / "map").read_bytes())
        self.assertEqual(dump, self.run_fsmap("dump", top, "-o", "-"))

    def test_the_vector_of_the_other_separator_is_read(self):
        lines = [(p.replace("/", "\\").encode(), c) for p, c in VECTOR]
        text = full([(p, hashlib.md5(p + c).hexdigest().encode()) for p, c in lines])
        self.assertTrue(text.startswith(b"a894e5ed6bb5765c2b535c2192b2ba26"))
        self.assertEqual(b"58a3041c8c24d2a6e36ba35ee36ef048", self.run_fsmap("summary", stdin=text))

    def test_an_empty_tree_has_empty_forms(self):
        top = self.write("tree", [])
        (top / "folder/inside").mkdir(parents=True)
        self.assertEqual(b"", self.run_fsmap("dump", top))
        self.assertEqual(b"", self.run_fsmap("minify", top))
        self.assertEqual(EMPTY_SUMMARY, self.run_fsmap("summary", top))
        self.assertEqual(EMPTY_SUMMARY, self.run_fsmap("summary"))

    def test_the_two_hashes_are_never_mixed(self):
        top = self.write("tree", VECTOR)
        maps = {}
        for kind in ("md5", "xxh3"):
            maps[kind] = self.dir / kind
            maps[kind].write_bytes(self.run_fsmap("minify", "--hash", kind, top))
            (self.dir / f"{kind}.full").write_bytes(self.run_fsmap("dump", "--hash", kind, top))
            self.run_fsmap("diff", maps[kind], top)
            self.run_fsmap("diff", maps[kind], self.dir / f"{kind}.full")
            self.assertEqual(self.run_fsmap("summary", "--hash", kind, top), self.run_fsmap("summary", self.dir / f"{kind}.full"))
        self.assertTrue(maps["xxh3"].read_bytes().startswith(b"xxh3:"))
        self.run_fsmap("diff", maps["md5"], self.dir / "xxh3.full", code=2)
        self.run_fsmap("diff", maps["xxh3"], self.dir / "md5.full", code=2)
        self.run_fsmap("dump", "--hash", "sha1", top, code=2)

    def test_what_is_no_map_is_trouble(self):
        for text in [b"x", b"0" * 31 + b"\n", b"0" * 32 + b"\n", b"G" * 32 + b"name\n", bytes(range(256)) * 4]:
            self.run_fsmap("summary", stdin=text, code=2)
        self.run_fsmap("summary", self.dir / "nowhere", code=2)
        self.run_fsmap("dump", self.dir / "nowhere", code=2)


class Difference(FsmapCase):
    def test_the_vector(self):
        target = self.dir / "target"
        target.write_bytes(self.run_fsmap("minify", self.write("tree", VECTOR)))
        self.assertEqual(b"", self.run_fsmap("diff", target, self.dir / "tree"))
        local = self.write("local", VECTOR + [("A-dir/C-file.txt", b""), ("extrafile.txt", b"extra"), ("B-file.txt", b"corrupt")])
        (local / "A-file.txt").rename(local / "AA-file.txt")
        (local / "B-dir/A-file.txt").unlink()
        out = self.run_fsmap("diff", target, local, code=1).decode().splitlines()
        self.assertEqual(["missing 2", "missing 3", "missing 7", "invalid A-dir/C-file.txt", "invalid AA-file.txt",
                          "invalid B-file.txt", "invalid extrafile.txt"], out)
        map_of_it = self.dir / "local.fsmap"
        map_of_it.write_bytes(self.run_fsmap("dump", local))
        self.assertEqual(self.diff_json(target, local), self.diff_json(target, map_of_it))
        self.assertEqual(([2, 3, 7], [b"A-dir/C-file.txt", b"AA-file.txt", b"B-file.txt", b"extrafile.txt"]),
                         self.diff_json(target, local))

    def test_nothing_is_forgotten_when_one_side_ends(self):
        empty, one, two = self.dir / "empty", self.write("one", [("a", b"1")]), self.write("two", [("a", b"1"), ("b", b"2")])
        empty.write_bytes(b"")
        minified = {top: self.dir / f"{top.name}.min" for top in (one, two)}
        for top, name in minified.items():
            name.write_bytes(self.run_fsmap("minify", top))
        self.assertEqual(([], [b"a", b"b"]), self.diff_json(empty, two))
        self.assertEqual(([], [b"b"]), self.diff_json(minified[one], two))
        self.assertEqual(([1], []), self.diff_json(minified[two], one))
        self.assertEqual(([0, 1], []), self.diff_json(minified[two], self.write("none", [])))

    def test_odd_names_come_back_from_json(self):
        names = [b"back\\slash", b"\xff\xfe", b"quote\"", b"tab\t", b"\xed\xa0\x80", b"n" * 255, "ü".encode(), b"\x7f"]
        top = self.write("tree", [(name, name) for name in names])
        target = self.dir / "target"
        target.write_bytes(b"")
        self.assertEqual(([], sorted(names)), self.diff_json(target, top))


class Trees(FsmapCase):
    def test_a_hundred_random_trees_are_as_the_reference_has_them(self):
        source = random.Random(4711)
        for number in range(100):
            top, last = self.dir / str(number), self.dir / str(number - 1)
            top.mkdir()
            grow(source, os.fsencode(top), depth=3)
            lines = reference(top)
            dump = self.run_fsmap("dump", top)
            self.assertEqual(full(lines), dump, f"tree {number}")
            if number % 4 != 1:
                continue
            before = reference(last)
            target = self.dir / "target"
            target.write_bytes(b"".join(digest for _, digest in before))
            if before != lines:
                self.assertEqual(difference(before, lines), self.diff_json(target, top), f"tree {number}")

    def test_files_are_listed_and_nothing_else(self):
        top = self.write("tree", [("file", b"1"), (".ebbd/data", b"ours"), ("in/.ebbd", b"theirs")])
        os.symlink("file", top / "link")
        os.symlink("/", top / "away")
        os.mkfifo(top / "fifo")
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(top / "socket"))
        self.assertEqual(full(reference(top)), self.run_fsmap("dump", top))
        self.assertIn("2 symlinks, 2 FIFOs", self.notes)

    def test_a_newline_in_a_name_is_refused_with_the_path(self):
        top = self.write("tree", [("folder/bad\nname", b"")])
        self.run_fsmap("dump", top, code=2)
        self.assertIn("folder/bad\\012name", self.notes)
        self.run_fsmap("dump", top, "-o", self.dir / "map", code=2)
        self.assertFalse((self.dir / "map").exists())

    @unittest.skipIf(os.geteuid() == 0 and not shutil.which("setpriv"), "setpriv is missing")
    def test_what_cannot_be_read_is_refused_with_the_path(self):
        top = self.write("tree", [("a", b"1"), ("folder/secret", b"2")])
        (top / "folder/secret").chmod(0)
        self.dir.chmod(0o755)
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"] if os.geteuid() == 0 else []
        program = EBB
        if drop:
            program = shutil.copy(EBB, self.dir / "ebb")
        run = subprocess.run([*drop, program, "fsmap", "dump", "--no-cache", top], capture_output=True, timeout=LIMIT_S, env=self.environment)
        self.assertEqual((2, b""), (run.returncode, run.stdout), run.stderr)
        self.assertIn(b"folder/secret: Permission denied", run.stderr)

    def test_a_file_that_never_rests_is_no_mixture(self):
        top = self.write("tree", [("file", b"0" * 65536)])
        done = threading.Event()

        def change():
            for number in range(1 << 30):
                if done.is_set():
                    return
                with open(top / "new", "wb") as file:
                    file.write(b"%d" % (number % 10) * 65536)
                os.rename(top / "new", top / "file")

        writer = threading.Thread(target=change)
        writer.start()
        self.addCleanup(writer.join)
        self.addCleanup(done.set)
        whole = {hashlib.md5(b"file" + b"%d" % digit * 65536).hexdigest().encode() for digit in range(10)}
        for _ in range(10):
            run = subprocess.run([EBB, "fsmap", "dump", top], capture_output=True, timeout=LIMIT_S, env=self.environment)
            if run.returncode == 0:
                for line in run.stdout.splitlines():
                    if line.endswith(b"file"):
                        self.assertIn(line[:32], whole)
            else:
                self.assertIn(b"changes while it is read", run.stderr)


class Cache(FsmapCase):
    def test_a_change_is_seen_and_a_cache_that_is_damaged_does_no_harm(self):
        top = self.write("tree", VECTOR)
        for path, _ in VECTOR:
            os.utime(top / path, ns=(10**18 + 1, 10**18 + 1))
        first = self.run_fsmap("dump", top)
        self.assertEqual(first, self.run_fsmap("dump", top))
        cache = next((self.dir / "cache/ebbfs").iterdir())
        (top / "A-file.txt").write_bytes(b"changed")
        (top / "B-dir/new").write_bytes(b"")
        shutil.rmtree(top / "A-dir")
        self.assertEqual(full(reference(top)), self.run_fsmap("dump", top))
        # The same size and mtime: the ctime tells.
        os.utime(top / "A-file.txt", ns=(10**18, 10**18))
        self.assertEqual(full(reference(top)), self.run_fsmap("dump", top))
        (top / "A-file.txt").write_bytes(b"CHANGED")
        os.utime(top / "A-file.txt", ns=(10**18, 10**18))
        self.assertEqual(full(reference(top)), self.run_fsmap("dump", top))
        good = cache.read_bytes()
        for damaged in [b"", good[:40], good[:-8], good[:100] + b"\xff" + good[101:], os.urandom(len(good))]:
            cache.write_bytes(damaged)
            self.assertEqual(full(reference(top)), self.run_fsmap("dump", top))


class Publish(FsmapCase):
    def test_the_three_files_are_the_three_forms(self):
        top, out = self.write("tree", VECTOR), self.dir / "out"
        self.run_fsmap("publish", top, out)
        self.assertEqual(self.run_fsmap("dump", top), (out / "build.fsmap").read_bytes())
        self.assertEqual(self.run_fsmap("minify", top), (out / "build.min.fsmap").read_bytes())
        self.assertEqual(VECTOR_SUMMARY, (out / "summary.md5").read_bytes())
        self.assertEqual(A, (out / "build/A-file.txt").read_bytes())
        self.run_fsmap("publish", top, top / "inside", code=2)
        self.assertFalse((top / "inside").exists())


def grow(source, folder, depth):
    for _ in range(source.randrange(6)):
        name = bytes(source.choice(b"ab-./ \\.\xc3\xbc\xff".replace(b"/", b"")) for _ in range(source.randrange(1, 5)))
        path = os.path.join(folder, name)
        if name in (b".", b"..") or os.path.lexists(path):
            continue
        if depth > 0 and source.random() < 0.4:
            os.mkdir(path)
            grow(source, path, depth - 1)
        elif source.random() < 0.1:
            os.symlink(b"x", path)
        else:
            with open(path, "wb") as file:
                file.write(source.randbytes(source.choice([0, 1, 100, 5000])))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""`ebb patch`: a directory becomes what a source's map lists, whatever was in it, whatever breaks meanwhile, whoever the
server is.  No mount; programs from EBB_BIN_DIR.

    patch_test.py [unittest's arguments]
    patch_test.py --rounds N [--first SEED]     random pairs of trees with kills, N rounds, with counts"""

import collections
import fcntl
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

from fsmap_test import EBB, EMPTY_SUMMARY, LIMIT_S, VECTOR, VECTOR_SUMMARY, FsmapCase, difference, grow, reference
from map_server import MapServer

EBBD = EBB.parent / "ebbd"


def until(condition, what):
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not in time: {what}")
        threading.Event().wait(0.01)


def contents(top):
    """Every file of the tree, without what is ours."""
    found, top = {}, os.fsencode(top)
    for folder, folders, names in os.walk(top):
        if folder == top and b".ebbd" in folders:
            folders.remove(b".ebbd")
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = file.read()
    return found


class PatchCase(FsmapCase):
    def setUp(self):
        super().setUp()
        self.environment["XDG_CONFIG_HOME"] = str(self.dir / "config")

    def serve(self, root):
        path = self.dir / f"socket{len(list(self.dir.glob('socket*')))}"
        log = open(self.dir / "ebbd.log", "ab")
        self.addCleanup(log.close)
        daemon = subprocess.Popen([EBBD, "serve", root, "--listen", f"unix:{path}"], stdout=log, stderr=log, env=self.environment)
        self.addCleanup(self.end, daemon)
        until(path.exists, "ebbd listens")
        return f"unix:{path}"

    def end(self, daemon):
        if daemon.poll() is None:
            daemon.terminate()
            daemon.wait(LIMIT_S)

    def patch(self, source, target, *options, code=0):
        run = subprocess.run([EBB, "patch", source, target, *options], capture_output=True, timeout=LIMIT_S, env=self.environment)
        self.assertEqual(code, run.returncode, f"{run.stdout[:500]} {run.stderr}")
        self.assertEqual(0 if code == 0 else 1, run.stderr.count(b"\n"), run.stderr)
        self.said = run.stderr.decode(errors="surrogateescape")
        if "--json" in options:
            return [json.loads(line) for line in run.stdout.splitlines()]
        return run.stdout

    def sources(self, root):
        """The same tree in each of the three ways."""
        self.run_fsmap("publish", root, self.dir / "published")
        return {"server": self.serve(root), "published": self.dir / "published"}


class Patching(PatchCase):
    def test_a_directory_becomes_what_the_map_lists(self):
        root = self.write("root", VECTOR + [("empty", b""), ("long/er/path", b"x" * 300_000)])
        os.symlink("A-file.txt", root / "link")
        (root / "A-file.txt").chmod(0o750)
        os.utime(root / "A-file.txt", ns=(10**18, 1_234_567_890_123_456_789))
        for name, source in self.sources(root).items():
            with self.subTest(source=name):
                local = self.write(f"local-{name}", [("A-file.txt", b"wrong"), ("extra/file", b"x"), ("B-dir/A-file.txt", VECTOR[3][1])])
                os.symlink("nowhere", local / "mine")
                (local / "mine.folder").mkdir()
                rows = self.patch(source, local, "--json")
                self.assertEqual(contents(root), contents(local))
                self.assertEqual(reference(root), reference(local))
                self.assertTrue((local / "mine").is_symlink() and (local / "mine.folder").is_dir())
                self.assertFalse((local / "extra").exists() or (local / ".ebbd").exists())
                facts = (local / "A-file.txt").stat()
                self.assertEqual((0o750, 1_234_567_890_123_456_789), (facts.st_mode & 0o7777, facts.st_mtime_ns))
                self.assertEqual(10, len([row for row in rows if "index" in row]))
                self.assertEqual(["extra/file"], [row["removed"] for row in rows if "removed" in row and "summary" not in row])
                self.assertEqual((11, 10, 1), tuple(rows[-1][key] for key in ("files", "fetched", "removed")))
                self.assertEqual(self.run_fsmap("summary", root).decode(), rows[-1]["summary"])
                again = self.patch(source, local)
                self.assertIn(b"equal", again)

    def test_a_directory_as_source_is_served_by_the_program_itself(self):
        root, local = self.write("root", VECTOR), self.write("local", [])
        self.patch(root, local)
        self.assertEqual(VECTOR_SUMMARY, self.run_fsmap("summary", local))
        self.patch(self.write("none", []), local, "--hash", "xxh3")
        self.assertEqual((EMPTY_SUMMARY, []), (self.run_fsmap("summary", local), os.listdir(local)))

    def test_a_dry_run_shows_the_difference_and_does_nothing(self):
        root, local = self.write("root", VECTOR), self.write("local", VECTOR[1:4] + [("more", b"1"), ("B-file.txt", b"2")])
        source = self.serve(root)
        expected = difference(reference(root), reference(local))
        before = contents(local)
        rows = self.patch(source, local, "--dry-run", "--json")
        self.assertEqual(expected, ([r["missing"] for r in rows if "missing" in r], [os.fsencode(r["invalid"]) for r in rows if "invalid" in r]))
        self.assertEqual(b"".join(b"missing %d\n" % i for i in expected[0]) + b"".join(b"invalid %s\n" % p for p in expected[1]),
                         self.patch(source, local, "--dry-run"))
        self.assertEqual(before, contents(local))
        self.assertFalse((local / ".ebbd").exists())

    def test_what_would_go_can_be_kept(self):
        root = self.write("root", [("changed", b"new"), ("same", b"same"), ("folder", b"a file now")])
        local = self.write("local", [("changed", b"old"), ("same", b"same"), ("extra/deep/er", b"extra"), ("folder/in", b"in")])
        self.patch(self.serve(root), local, "--keep")
        self.assertEqual(contents(root), contents(local))
        kept = list((local / ".ebbd/kept").iterdir())
        self.assertEqual(1, len(kept))
        self.assertEqual({b"changed": b"old", b"extra/deep/er": b"extra", b"folder/in": b"in"}, contents(kept[0]))

    def test_what_no_map_lists_is_never_deleted(self):
        root = self.write("root", [("link", b"file"), ("fifo", b"file")])
        local = self.write("local", [("outside", b"precious")])
        os.symlink("outside", local / "link")
        os.mkfifo(local / "fifo")
        self.patch(self.serve(root), local)
        self.assertEqual(contents(root), contents(local))
        kept = next((local / ".ebbd/kept").iterdir())
        self.assertEqual("outside", os.readlink(kept / "link"))
        self.assertTrue((kept / "fifo").is_fifo())

    def test_a_folder_with_more_in_it_than_a_map_lists_is_not_emptied(self):
        root = self.write("root", [("name", b"file")])
        local = self.write("local", [("name/listed", b"x")])
        os.symlink("nowhere", local / "name/unlisted")
        self.patch(self.serve(root), local, code=1)
        self.assertIn("name: a folder with more in it", self.said)
        self.assertTrue((local / "name/unlisted").is_symlink())

    def test_an_unchanged_tree_costs_little(self):
        files = [(f"{i % 30}/{i}", b"%d" % i) for i in range(600)]
        root, local = self.write("root", files), self.write("local", files)
        row = self.patch(self.serve(root), local, "--json")[-1]
        self.assertLess(row["bytes_in"] + row["bytes_out"], 1000)

    def test_names_are_bytes(self):
        names = [b"back\\slash", b"\xff\xfe", b" ", b"n" * 255, b"-rf", b"tab\t", (b"d" * 200 + b"/") * 25 + b"file"]
        root, local = self.dir / "root", self.write("local", [(b"n" * 255, b"other"), (b"\xff", b"gone")])
        root.mkdir()
        for name in names:
            folder = os.open(root, os.O_DIRECTORY)
            for part in name.split(b"/")[:-1]:
                try:
                    os.mkdir(part, dir_fd=folder)
                except FileExistsError:
                    pass
                inner = os.open(part, os.O_DIRECTORY, dir_fd=folder)
                os.close(folder)
                folder = inner
            file = os.open(name.split(b"/")[-1], os.O_CREAT | os.O_WRONLY, dir_fd=folder)
            os.write(file, name)
            os.close(file)
            os.close(folder)
        self.patch(self.serve(root), local)
        self.assertEqual(self.run_fsmap("dump", root), self.run_fsmap("dump", local))
        self.assertIn(b"d/file", self.run_fsmap("dump", local))

    def test_a_server_that_can_make_no_map_says_why(self):
        root, local = self.write("root", [("folder/bad\nname", b"")]), self.write("local", [("mine", b"1")])
        self.patch(self.serve(root), local, code=1)
        self.assertIn("folder/bad\\012name", self.said)
        self.assertEqual({b"mine": b"1"}, contents(local))

    def test_a_published_directory_that_changed_is_not_believed(self):
        root, local = self.write("root", VECTOR), self.write("local", [("mine", b"1")])
        self.run_fsmap("publish", root, self.dir / "out")
        (root / "A-file.txt").write_bytes(b"changed since")
        self.patch(self.dir / "out", local, code=1)
        self.assertIn("A-file.txt", self.said)
        self.assertEqual({b"mine": b"1"}, contents(local))
        self.patch(self.dir / "out", local, "--hash", "xxh3", code=1)
        self.assertIn("published with --hash md5", self.said)

    def test_a_broken_off_file_goes_on_where_it_ended(self):
        content = random.Random(1).randbytes(8 << 20)
        root, local = self.write("root", [("big", content)]), self.write("local", [])
        (local / ".ebbd/patch").mkdir(parents=True)
        staged = local / ".ebbd/patch" / hashlib.md5(b"big" + content).hexdigest()
        staged.write_bytes(content[:7 << 20])
        source = self.serve(root)
        row = self.patch(source, local, "--json")[-1]
        self.assertLess(row["bytes_in"], 2 << 20)
        self.assertEqual({b"big": content}, contents(local))
        # What was staged and is something else is fetched anew.
        (local / "big").unlink()
        (local / ".ebbd/patch").mkdir(parents=True)
        staged.write_bytes(b"?" * (9 << 20))
        self.patch(source, local)
        self.assertEqual({b"big": content}, contents(local))

    def test_two_patches_of_one_directory_are_not_at_work_together(self):
        root, local = self.write("root", VECTOR), self.write("local", [])
        folder = os.open(local, os.O_DIRECTORY)
        self.addCleanup(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_EX)
        self.patch(root, local, code=1)
        self.assertIn("another ebb patch is at work", self.said)

    def test_wrong_use_is_told(self):
        root = self.write("root", VECTOR)
        for source, target, code in [(root, root / "A-dir", 2), (root / "A-dir", root, 2), (root, self.dir / "none", 1),
                                     (root, root / "A-file.txt", 1), (self.dir / "none", root, 1), (f"unix:{self.dir}/none", root, 1)]:
            before = contents(root)
            self.patch(source, target, code=code)
            self.assertEqual(before, contents(root))
        self.assertFalse((root / ".ebbd").exists())

    def test_over_tls_a_client_that_may_only_read_is_served(self):
        root, local = self.write("root", VECTOR), self.write("local", [])
        log = open(self.dir / "tls.log", "wb")
        self.addCleanup(log.close)
        daemon = subprocess.Popen([EBBD, "serve", root, "--listen", "127.0.0.1:0"], stdout=log, stderr=log, env=self.environment)
        self.addCleanup(self.end, daemon)
        until(lambda: b"ebb://" in (self.dir / "tls.log").read_bytes(), "ebbd listens")
        link = subprocess.run([EBBD, "invite", root, "--read-only"], capture_output=True, check=True, env=self.environment).stdout.decode().strip()
        bare = link.split("#")[0]
        self.patch(bare, local, code=1)
        self.assertIn("not enrolled", self.said)
        self.patch(link, local)
        self.assertEqual(contents(root), contents(local))
        self.patch(bare, local)
        (root / "new").write_bytes(b"new")
        row = self.patch(bare, local, "--json")[-1]
        self.assertEqual(1, row["fetched"])


class Changing(PatchCase):
    def test_a_tree_that_changes_meanwhile_is_never_mixed(self):
        root, local = self.write("root", [(str(i), b"0") for i in range(50)]), self.write("local", [])
        source = self.serve(root)
        over = threading.Event()

        def change():
            number = 0
            while not over.is_set():
                number += 1
                for i in range(50):
                    (root / "new").write_bytes(b"%d" % number)
                    os.rename(root / "new", root / str(i))

        writer = threading.Thread(target=change)
        writer.start()
        try:
            run = subprocess.Popen([EBB, "patch", source, local], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment)
            try:
                run.wait(1)
            except subprocess.TimeoutExpired:
                pass
        finally:
            over.set()
            writer.join()
        run.wait(LIMIT_S)
        self.patch(source, local)
        self.assertEqual(contents(root), contents(local))

    def test_no_swapped_symlink_leads_outside(self):
        root = self.write("root", [(f"folder/sub/{i}", b"x" * 100) for i in range(40)])
        outside = self.write("outside", [])
        source = self.serve(root)
        local = self.write("local", [])
        over = threading.Event()

        def swap():
            while not over.is_set():
                try:
                    os.symlink(outside, local / "link")
                    os.rename(local / "folder", local / "aside")
                    os.rename(local / "link", local / "folder")
                    os.rename(local / "aside", local / "link2")
                    os.unlink(local / "folder")
                    os.rename(local / "link2", local / "folder")
                except OSError:
                    for name in ("link", "aside", "link2"):
                        path = local / name
                        if path.is_symlink():
                            path.unlink()
                        elif path.is_dir() and not (local / "folder").exists():
                            os.rename(path, local / "folder")

        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            for _ in range(5):
                subprocess.run([EBB, "patch", source, local], capture_output=True, timeout=LIMIT_S, env=self.environment)
                self.assertEqual([], os.listdir(outside))
                if (local / "folder").is_dir():
                    shutil.rmtree(local / "folder", ignore_errors=True)
        finally:
            over.set()
            swapper.join()
        self.assertEqual([], os.listdir(outside))


class BadServers(PatchCase):
    """A server of the test's own, which answers what it wants."""

    def refused(self, server, says, target=None):
        local = target or self.write("local", [("mine", b"1"), ("folder/mine", b"2")])
        before = contents(local)
        with server.at(self.dir / "bad") as source:
            self.patch(source, local, code=1)
        self.assertIn(says, self.said)
        self.assertEqual(before, contents(local))
        self.assertEqual([], [p for p in self.dir.iterdir() if p.name == "escaped"])

    def test_paths_that_no_map_lists(self):
        for path in ["../escaped", "/tmp/escaped", "a/../../escaped", "a//b", "./a", ".ebbd/patch/x", "a/.", "x" * 256, "a\0b", ""]:
            with self.subTest(path=path):
                self.refused(MapServer([(path.encode(), b"")]), "nonsense")
        self.refused(MapServer([(b"a\nb", b"")]), "nonsense")

    def test_paths_through_a_symlink(self):
        outside = self.write("outside", [])
        local = self.write("local", [("mine", b"1")])
        os.symlink(outside, local / "way")
        self.refused(MapServer([(b"way/file", b"")]), "symbolic link", local)
        self.assertEqual([], os.listdir(outside))

    def test_contents_that_are_not_the_maps(self):
        self.refused(MapServer([(b"file", b"")], content_path=b"other"), "is not what its map lists")

    def test_maps_that_contradict_themselves(self):
        self.refused(MapServer([(b"b", b""), (b"a", b"")]), "does not stand behind")
        self.refused(MapServer([(b"a", b""), (b"a", b"")]), "does not stand behind")
        self.refused(MapServer([(b"a", b"")], count=2), "not those of the summary")
        self.refused(MapServer([(b"a", b""), (b"b", b"")], count=1), "another number of hashes")
        self.refused(MapServer([(b"a", b"")], count=1 << 60), "more files than can be")
        self.refused(MapServer([(b"a", b"")], summary=b"s" * 16), "not those of the summary")

    def test_messages_out_of_order(self):
        for wrong in ("data first", "two paths", "no path", "data behind the end", "hash too early", "garbage", "oversize"):
            with self.subTest(wrong):
                self.refused(MapServer([(b"a", b"")], wrong=wrong), "nonsense")

    def test_a_server_without_maps(self):
        self.refused(MapServer([], wrong="unknown"), "too old")

    def test_a_server_that_hangs_up_again_and_again(self):
        self.refused(MapServer([(b"a", b"")], wrong="hang up"), "the same command goes on")

    def test_a_connection_that_breaks_once_is_made_again(self):
        local = self.write("local", [])
        with MapServer([(b"a", b""), (b"b/c", b"")], wrong="hang up once").at(self.dir / "bad") as source:
            self.patch(source, local)
        self.assertEqual({b"a": b"", b"b/c": b""}, contents(local))


# ---- random pairs of trees, with kills


class Kills(PatchCase):
    def test_a_patch_killed_at_any_moment_is_finished_by_the_next(self):
        counts = collections.Counter()
        for seed in range(1, 5):
            self.one_pair(seed, counts)
        self.assertGreater(counts["patches"], 4)

    def one_pair(self, seed, counts):
        source = random.Random(seed)
        root, local = self.dir / f"root{seed}", self.dir / f"local{seed}"
        for top in (root, local):
            top.mkdir()
            grow(source, os.fsencode(top), 3)
        for i in range(source.randrange(200)):
            (root / f"many{i}").write_bytes(source.randbytes(source.randrange(2000)))
        (root / "big").write_bytes(source.randbytes(source.randrange(4 << 20)))
        new = contents(root)
        for path in new:  # some are there already, some are something else
            if source.random() < 0.4:
                target = os.path.join(os.fsencode(local), path)
                try:
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    with open(target, "wb") as file:
                        file.write(new[path] if source.random() < 0.5 else b"old")
                except OSError:
                    pass  # a file or a folder stands there
        old = contents(local)
        serving = self.serve(root)
        options = ["--keep"] if source.random() < 0.5 else []
        began = time.monotonic()  # how long a whole one takes: the moments lie within that
        self.patch(serving, self.write(f"whole{seed}", []))
        took = time.monotonic() - began
        for _ in range(6):
            counts["patches"] += 1
            run = subprocess.Popen([EBB, "patch", serving, local, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment)
            try:
                _, said = run.communicate(timeout=source.random() * 1.1 * took)
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
                _, said = run.communicate()
            counts["killed" if run.returncode < 0 else "ended"] += 1
            self.assertIn(run.returncode, (0, 1, -signal.SIGKILL), said)
            for path, content in contents(local).items():
                self.assertIn(content, (old.get(path), new.get(path)), f"seed {seed}: {path}")
        run = subprocess.run([EBB, "patch", serving, local, *options], capture_output=True, timeout=LIMIT_S, env=self.environment)
        if run.returncode == 1 and b"take it away" in run.stderr:
            counts["in the way"] += 1  # a symlink, or a folder with one in it
            return
        self.assertEqual(0, run.returncode, f"seed {seed}: {run.stderr}")
        self.assertEqual(new, contents(local), f"seed {seed}")
        if options:
            kept = set().union(*(contents(k).values() for k in (local / ".ebbd/kept").iterdir())) if (local / ".ebbd/kept").exists() else set()
            lost = [path for path, content in old.items() if new.get(path) != content and content not in kept]
            self.assertEqual([], lost, f"seed {seed}")
        counts["equal"] += 1


def many_rounds(arguments):
    first = int(arguments[arguments.index("--first") + 1]) if "--first" in arguments else 1
    rounds = int(arguments[arguments.index("--rounds") + 1])
    counts = collections.Counter()
    for seed in range(first, first + rounds):
        class Round(Kills):
            def runTest(self):
                self.one_pair(seed, counts)

        result = Round().run()
        for _, why in result.failures + result.errors:
            print(f"seed {seed}:\n{why}")
            counts["failed"] += 1
        print(f"seed {seed}:", ", ".join(f"{count} {what}" for what, count in sorted(counts.items())), flush=True)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    if "--rounds" in sys.argv:
        sys.exit(many_rounds(sys.argv[1:]))
    unittest.main()

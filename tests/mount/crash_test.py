#!/usr/bin/env python3
"""kill -9 of either side at any moment: what was fsynced is there, and the server's files are whole."""

import json
import os
import pathlib
import subprocess
import sys
import threading

import harness
from harness import MIB, state, until

ROUNDS = 6
BIG = 192 * MIB


def write_until_it_breaks(top, manifest, key):
    """The writer, a process of its own: changes files, fsyncs, and only then writes into the manifest what must be there.
    Before each change it writes down what it is about to do: that may be there, or not."""
    top, chance, number = pathlib.Path(top), harness.random.Random(key), 0
    with open(manifest, "a", encoding="utf-8", buffering=1) as book:
        while True:
            number += 1
            name = f"file{chance.randrange(12)}"
            token, count = f"{key}.{number}.", chance.randrange(1, 3000)
            book.write(json.dumps(["about", name, token, count]) + "\n")
            how = chance.choice(["write", "rename"])
            target = top / name if how == "write" and not (top / name).exists() else top / f"{name}.tmp"
            with open(target, "w", encoding="utf-8") as file:
                file.write(token * count)
                file.flush()
                os.fsync(file.fileno())
            if target != top / name:
                os.rename(target, top / name)
                fsync_folder(top)
            book.write(json.dumps(["done", name, token, count]) + "\n")


def fsync_folder(path):
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class ClientKilled(harness.MountCase):
    limit_s = 400

    def test_nothing_fsynced_is_missing(self):
        self.rounds_of_kills(ROUNDS)

    def rounds_of_kills(self, rounds):
        key = harness.seed()
        chance = harness.random.Random(key)
        root, manifest = self.folder("root"), self.dir / "manifest"
        mount = self.mount(self.server(root), delay=chance.choice([0, 1]))
        for number in range(rounds):
            self.kill_while_writing(mount, manifest, f"{key}-{number}", chance)
            mount.start()
            self.expect_all(mount.path, manifest)
        mount.wait()
        self.expect_all(root, manifest)
        self.assert_same_tree(mount.path, root)

    def kill_while_writing(self, mount, manifest, key, chance):
        before = self.done(manifest)
        writer = subprocess.Popen([sys.executable, __file__, "--write", mount.path, manifest, key], stderr=subprocess.DEVNULL)
        try:
            # How far it shall get is chance; a moment later, also inside an operation, it is over.
            goal = before + chance.randrange(1, 120)
            until(lambda: self.done(manifest) >= goal or writer.poll() is not None, "the writer gets on", 240)
            self.assertIsNone(writer.poll(), "the writer is stopped by the kill alone")
            threading.Event().wait(chance.random() * 0.05)
            mount.daemon.kill9()
            # Only then is the mountpoint freed: what it lies on would take the writer's files.
            until(lambda: writer.poll() is not None, "the writer notices", 240)
            mount.detach()
        finally:
            writer.kill()
            writer.wait()

    def done(self, manifest):
        return manifest.read_bytes().count(b'["done"') if manifest.exists() else 0

    def lines(self, manifest):
        if not manifest.exists():
            return []
        return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]

    def expect_all(self, top, manifest):
        allowed = {}
        for what, name, token, count in self.lines(manifest):
            text = token * count
            if what == "done":
                allowed[name] = [text]
            else:
                allowed.setdefault(name, [None]).append(text)
        for name, texts in allowed.items():
            path = top / name
            found = path.read_text(encoding="utf-8") if path.exists() else None
            # A write that was never fsynced may have got anywhere; a file that was must be one of what it may be.
            if None in texts:
                continue
            self.assertIn(found, texts, f"{name} in {top}: {str(found)[:80]!r} is none of {[str(t)[:40] for t in texts]}")

    def test_what_was_made_renamed_and_deleted_stays_so(self):
        root = self.folder("root")
        for name in ("renamed", "deleted"):
            (root / name).write_text(name)
        mount = self.mount(self.server(root), delay=3600)
        os.mkdir(mount / "folder")
        os.rename(mount / "renamed", mount / "folder/renamed")
        os.unlink(mount / "deleted")
        os.symlink("x", mount / "link")
        (mount / "text").write_text("text")
        os.chmod(mount / "text", 0o600)
        mount.kill9()
        mount.start()
        self.assertEqual(["folder", "link", "text"], sorted(os.listdir(mount.path)))
        self.assertEqual("text", (mount / "text").read_text())
        self.assertEqual(0o100600, os.stat(mount / "text").st_mode)
        mount.wait()
        self.assert_same_tree(mount.path, root)
        self.assertEqual("renamed", (root / "folder/renamed").read_text())

    def test_a_pull_that_was_cut_off_is_no_content(self):
        root = self.folder("root")
        content = harness.noise(BIG, "film")
        (root / "film").write_bytes(content)
        mount = self.mount(self.server(root))
        reader = subprocess.Popen(["cat", mount / "film"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: harness.progress(mount / "film")[0] > 2 * MIB, "the pull is under way")
        mount.kill9()
        reader.wait()
        mount.start()
        self.assertEqual(harness.sha256(root / "film"), harness.sha256(mount / "film"))


class ServerKilled(harness.MountCase):
    limit_s = 400

    def test_the_old_file_is_whole_and_the_push_ends_after_the_restart(self):
        root = self.folder("root")
        (root / "film").write_bytes(b"old" * MIB)
        server = self.server(root)
        mount = self.mount(server, delay=0)
        new = harness.noise(BIG, "new")
        (mount / "film").write_bytes(new)
        staged = root / harness.STATE_DIR / "tmp"
        until(lambda: any(entry.stat().st_size > MIB for entry in staged.iterdir()) or state(mount / "film") == "clean",
              "the push is under way")
        server.kill9()
        content = (root / "film").read_bytes()
        self.assertIn(content, (b"old" * MIB, new), "neither the old nor the new file, whole")
        print(f"  killed with the {'old' if len(content) < len(new) else 'new'} file in place", file=sys.stderr)
        server.start()
        mount.wait(limit_s=120)
        self.assertEqual(new, (root / "film").read_bytes())
        self.assertEqual([], list(staged.iterdir()), "what was staged is cleared")

    def test_many_small_pushes_land_once(self):
        key = harness.seed()
        chance = harness.random.Random(key)
        root = self.folder("root")
        server = self.server(root)
        mount = self.mount(server, delay=0)
        for number in range(600):
            (mount / f"file{number}").write_text(f"{number}\n" * 100)
            if chance.randrange(150) == 0:
                server.kill9()
                server.start()
        mount.wait(limit_s=120)
        self.assertEqual("clean", state(mount.path))
        self.assert_same_tree(mount.path, root)
        self.assertEqual(600, len([name for name in os.listdir(root) if name != harness.STATE_DIR]), "no copies, no conflicts")


class BothKilled(harness.MountCase):
    def test_a_push_goes_on_after_both_were_killed(self):
        root = self.folder("root")
        server = self.server(root)
        mount = self.mount(server, delay=0)
        content = harness.noise(BIG // 4, "both")
        with open(mount / "film", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        server.kill9()
        mount.kill9()
        server.start()
        mount.start()
        mount.wait(limit_s=120)
        self.assertEqual(content, (root / "film").read_bytes())
        self.assertEqual("clean", state(mount.path))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_until_it_breaks(*sys.argv[2:5])
    harness.main()

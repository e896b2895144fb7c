#!/usr/bin/env python3
"""Other programs work in the served directory while it is mounted: their changes appear."""

import os
import pathlib
import shutil

import harness
from harness import until


class Outside(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "docs/sub").mkdir(parents=True)
        (self.root / "docs/plan").write_text("first")
        (self.root / "docs/sub/deep").write_text("deep")
        self.served = self.server(self.root)
        self.m = self.mount(self.served, delay=0)
        for folder, _, files in os.walk(self.m.path):
            for name in files:
                (pathlib.Path(folder) / name).read_text()

    def test_changes_appear_without_a_look_at_the_folder(self):
        (self.root / "docs/plan").write_text("second, by another program")
        until(lambda: (self.m / "docs/plan").read_text() == "second, by another program", "the new content")
        (self.root / "docs/new").write_text("new")
        until(lambda: (self.m / "docs/new").read_text() == "new", "the new file")
        os.chmod(self.root / "docs/new", 0o600)
        until(lambda: os.stat(self.m / "docs/new").st_mode & 0o777 == 0o600, "the new mode")
        os.unlink(self.root / "docs/sub/deep")
        until(lambda: not (self.m / "docs/sub/deep").exists(), "the deletion")
        shutil.copytree(self.root / "docs", self.root / "copy")
        until(lambda: (self.m / "copy/plan").exists(), "a whole tree")
        self.assert_same_tree(self.root, self.m.path)

    def test_a_move_brings_nothing_anew(self):
        with open(self.m / "docs/plan") as opened:
            version = harness.ebb(self.m / "docs/plan", "version")
            os.rename(self.root / "docs", self.root / "papers")
            os.rename(self.root / "papers/plan", self.root / "papers/sub/moved")
            moved = self.m / "papers/sub/moved"
            until(lambda: moved.exists() and not (self.m / "docs").exists(), "the move")
            self.assertEqual(version, harness.ebb(moved, "version"))
            self.assertEqual("sync", harness.status(moved))
            self.assertEqual("5/5", harness.ebb(moved, "progress"))
            self.assertEqual("first", opened.read())
        until(lambda: sorted(os.listdir(self.m / "papers/sub")) == ["deep", "moved"], "the names")

    def test_what_changed_while_the_server_was_away_appears(self):
        self.served.stop()
        (self.root / "docs/plan").write_text("changed meanwhile")
        os.rename(self.root / "docs/sub/deep", self.root / "deep")
        self.served.start()
        until(lambda: (self.m / "docs/plan").read_text() == "changed meanwhile", "the new content")
        until(lambda: (self.m / "deep").read_text() == "deep", "the move")
        until(lambda: os.listdir(self.m / "docs/sub") == [], "and its other end")


if __name__ == "__main__":
    harness.main()

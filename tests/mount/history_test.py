#!/usr/bin/env python3
"""What was overwritten or deleted through a mount comes back: history, restore, undo."""

import json
import os
import shutil
import time

import harness
from harness import until


class History(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "docs/plans").mkdir(parents=True)
        (self.root / "docs/plans/a.txt").write_text("first")
        self.served = self.server(self.root)
        self.m = self.mount(self.served, delay=0)

    def change(self, name, text):
        (self.m / name).write_text(text)
        self.m.wait()

    def kept(self, name):
        shown = self.expect_run("ebb", "history", "--json", self.m / name)
        return [json.loads(line) for line in shown.splitlines()]

    def reads(self, name, text):
        until(lambda: (self.m / name).read_text() == text, f"{name} reads {text!r}")
        self.assertEqual(text, (self.root / name).read_text())

    def server_status(self, *options):
        return json.loads(self.expect_run("ebbd", "status", "--json", *options, self.root))

    def test_each_former_content_is_shown_and_comes_back(self):
        name = "docs/plans/a.txt"
        self.change(name, "second")
        self.change(name, "third")
        versions = self.kept(name)
        self.assertEqual(["replaced", "replaced"], [one["event"] for one in versions])
        self.assertEqual([6, 5], [one["size"] for one in versions])
        text = self.expect_run("ebb", "history", self.m / name)
        self.assertEqual(2, len(text.splitlines()))
        self.expect_run("ebb", "restore", f"{self.m / name}@{versions[1]['version']}")
        self.reads(name, "first")
        self.expect_run("ebb", "restore", self.m / name)
        self.reads(name, "third")
        self.assertEqual(4, len(self.kept(name)))
        self.assertIn("no such version", self.expect_refusal("ebb", "restore", f"{self.m / name}@999999"))
        self.assertIn("nothing is kept", self.expect_run("ebb", "history", self.m / "docs"))
        self.expect_refusal("ebb", "history", self.dir)

    def test_a_deleted_file_comes_back_with_its_folders_also_after_a_crash(self):
        name = "docs/plans/a.txt"
        self.change(name, "second")
        shutil.rmtree(self.m / "docs")
        self.m.wait()
        self.assertFalse((self.root / "docs").exists())
        self.served.kill9()
        self.served.start()
        until(lambda: self.server_status()["peers"], "the mount is back")
        until(lambda: self.m.daemon.alive() and len(self.kept(name)) == 2, "the history is there")
        self.expect_run("ebb", "restore", self.m / name)
        self.reads(name, "second")

    def test_without_a_server_it_says_so(self):
        self.served.stop()
        name = self.m / "docs/plans/a.txt"
        self.assertIn("server", self.expect_refusal("ebb", "history", name))
        self.assertIn("server", self.expect_refusal("ebb", "restore", name))

    def test_a_mass_deletion_is_told_and_undone_with_the_server_running_and_stopped(self):
        for i in range(30):
            (self.m / f"file{i}").write_text(f"content {i}")
        self.m.wait()
        self.assertEqual([], self.server_status()["mass_deletions"])
        # An undo since a moment, told in whole seconds, would also bring back what stood before these were written.
        written = int(time.time())
        until(lambda: int(time.time()) > written, "another second")
        for i in range(30):
            os.unlink(self.m / f"file{i}")
        shutil.rmtree(self.m / "docs")
        self.m.wait()
        run, = self.server_status()["mass_deletions"]
        self.assertEqual(33, run["count"])
        self.assertIn(run["name"], self.expect_run("ebbd", "status", self.root))
        self.assertIn("entries", self.served.daemon.text())

        undo = run["undo"].split()
        self.assertEqual("ebbd", undo[0])
        report = json.loads(self.expect_run(*undo, "--json"))
        self.assertEqual({"restored": 33, "beside": [], "failed": []}, report)
        self.reads("docs/plans/a.txt", "first")
        self.reads("file29", "content 29")

        shutil.rmtree(self.m / "docs")
        self.m.wait()
        self.m.unmount()
        self.served.stop()
        self.assertIn("brought back", self.expect_run(*undo))
        self.assertEqual("first", (self.root / "docs/plans/a.txt").read_text())
        self.expect_refusal("ebbd", "undo", self.root, "--client", "x", "--since", "yesterdayish", code=2)


if __name__ == "__main__":
    harness.main()

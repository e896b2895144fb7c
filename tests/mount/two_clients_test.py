#!/usr/bin/env python3
"""Two clients of one server: what one changes the other has, without remounting, and nobody's work is lost."""

import os
import stat
import sys
import time

import harness
from harness import MIB, state, status, until

DELAY_S = 1
SEEN_WITHIN_S = DELAY_S + 1
GENEROUS_S = 15      # the limit of one condition: a busy machine is no failure, silence is


class TwoClients(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "shared").mkdir()
        (self.root / "shared/text").write_text("first\n")
        self.server_ = self.server(self.root)
        self.a = self.mount(self.server_, name="a", delay=DELAY_S)
        self.b = self.mount(self.server_, name="b", delay=DELAY_S)

    def seen(self, condition, what):
        """Waits until the other client has it; prints how long that took beside what is promised."""
        began = time.monotonic()
        value = until(condition, what, GENEROUS_S)
        print(f"  {what}: after {time.monotonic() - began:.2f} s (promised {SEEN_WITHIN_S} s)", file=sys.stderr)
        return value

    def test_a_new_file_appears(self):
        self.assertFalse((self.b / "shared/new").exists(), "b's kernel remembers that there is none")
        (self.a / "shared/new").write_text("from a")
        self.seen(lambda: (self.b / "shared/new").exists(), "a new file")
        self.assertEqual("from a", (self.b / "shared/new").read_text())
        self.assertIn("new", os.listdir(self.b / "shared"))

    def test_changed_content_is_read(self):
        self.assertEqual("first\n", (self.b / "shared/text").read_text())
        (self.a / "shared/text").write_text("second, and longer\n")
        self.seen(lambda: (self.b / "shared/text").read_text() == "second, and longer\n", "new content")
        self.assertEqual(19, os.stat(self.b / "shared/text").st_size)

    def test_content_of_the_same_size_is_read_anew(self):
        for number in range(5):
            text = f"{number}0000\n"
            (self.a / "shared/text").write_text(text)
            self.seen(lambda: (self.b / "shared/text").read_text() == text, "content of one size")

    def test_changes_go_both_ways_in_turn(self):
        for number in range(6):
            writer, reader = (self.a, self.b) if number % 2 else (self.b, self.a)
            text = f"turn {number}\n"
            (writer / "shared/text").write_text(text)
            self.seen(lambda: (reader / "shared/text").read_text() == text, "a turn")
        self.assertEqual("clean", until(lambda: state(self.a.path) == "clean" and "clean", "a is clean"))
        self.assertEqual("clean", until(lambda: state(self.b.path) == "clean" and "clean", "b is clean"))

    def test_old_handles_keep_one_version(self):
        content = harness.noise(8 * MIB, "v1")
        (self.a / "big").write_bytes(content)
        self.seen(lambda: (self.b / "big").exists() and os.stat(self.b / "big").st_size == len(content), "a big file")
        with open(self.b / "big", "rb", buffering=0) as old:
            self.assertEqual(content[:4096], os.pread(old.fileno(), 4096, 0))
            new = harness.noise(8 * MIB, "v2")
            (self.a / "big").write_bytes(new)
            self.seen(lambda: (self.b / "big").read_bytes() == new, "its next version")
            try:
                late = os.pread(old.fileno(), 65536, 5 * MIB)
                self.assertEqual(content[5 * MIB:5 * MIB + 65536], late, "never a mixture")
            except OSError as error:
                self.assertEqual(harness.errno.ESTALE, error.errno)

    def test_deletions_and_renames_appear(self):
        (self.b / "shared/text").read_text()
        os.rename(self.a / "shared/text", self.a / "shared/renamed")
        self.seen(lambda: (self.b / "shared/renamed").exists() and not (self.b / "shared/text").exists(), "a rename")
        self.assertEqual("first\n", (self.b / "shared/renamed").read_text())
        os.rename(self.a / "shared", self.a / "moved")
        self.seen(lambda: (self.b / "moved/renamed").exists() and not (self.b / "shared").exists(), "a folder's rename")
        os.unlink(self.a / "moved/renamed")
        self.seen(lambda: not (self.b / "moved/renamed").exists(), "a deletion")
        os.rmdir(self.a / "moved")
        self.seen(lambda: not (self.b / "moved").exists(), "a folder's deletion")
        self.assertEqual([], os.listdir(self.b.path))

    def test_modes_times_links_and_attributes_appear(self):
        (self.b / "shared/text").read_text()
        os.chmod(self.a / "shared/text", 0o600)
        self.seen(lambda: stat.S_IMODE(os.stat(self.b / "shared/text").st_mode) == 0o600, "a mode")
        os.utime(self.a / "shared/text", ns=(5, 1_500_000_000_123_456_789))
        self.seen(lambda: os.stat(self.b / "shared/text").st_mtime_ns == 1_500_000_000_123_456_789, "a time")
        os.symlink("text", self.a / "shared/link")
        self.seen(lambda: os.readlink(self.b / "shared/link") == "text", "a symbolic link")
        os.link(self.a / "shared/text", self.a / "shared/second")
        self.seen(lambda: os.stat(self.b / "shared/second").st_nlink == 2, "a hard link")
        os.setxattr(self.a / "shared/text", "user.note", b"seen")
        self.seen(lambda: os.getxattr(self.b / "shared/text", "user.note") == b"seen", "an attribute")

    def test_what_another_program_put_into_the_served_directory_is_listed(self):
        (self.root / "unseen").mkdir()
        (self.root / "unseen/plain").write_text("put there")
        c = self.mount(self.server_, name="c")
        self.assertEqual("put there", (c / "unseen/plain").read_text())

    def test_what_another_program_wrote_at_the_server_is_not_overwritten(self):
        self.assertEqual("first\n", (self.b / "shared/text").read_text())
        (self.root / "shared/text").write_text("by another program, at the server\n")
        (self.b / "shared/text").write_text("by b, who has not seen that\n")
        until(lambda: state(self.b.path) in ("clean",), "b's push is answered", GENEROUS_S)
        there = {entry.read_text() for entry in (self.root / "shared").iterdir()}
        self.assertIn("by another program, at the server\n", there)
        self.assertIn("by b, who has not seen that\n", {entry.read_text() for entry in (self.b / "shared").iterdir()})

    def test_both_edit_one_file_and_nothing_is_lost(self):
        self.assertEqual("first\n", (self.a / "shared/text").read_text())
        self.assertEqual("first\n", (self.b / "shared/text").read_text())
        (self.a / "shared/text").write_text("written by a\n")
        (self.b / "shared/text").write_text("written by b, at the same time\n")
        texts = {"written by a\n", "written by b, at the same time\n"}
        until(lambda: self.settled() and self.everywhere() >= texts, "both contents are kept", GENEROUS_S)
        self.assertIn((self.root / "shared/text").read_text(), texts, "the server has one of them, whole")
        self.expect_one_copy("text", texts)

    def expect_one_copy(self, name, texts):
        """The name and one conflict copy beside it, the same everywhere, and clean."""
        tops = (self.root, self.a.path, self.b.path)
        copies = [[entry for entry in os.listdir(top / "shared") if entry.startswith(f"{name}.conflict-")] for top in tops]
        self.assertEqual([1, 1, 1], [len(found) for found in copies], copies)
        self.assertEqual(1, len({found[0] for found in copies}), copies)
        self.assertRegex(copies[0][0], r"^%s\.conflict-[A-Za-z0-9-]+-\d{8}-\d{6}$" % name)
        for top in tops:
            self.assertEqual(texts, {(top / "shared" / entry).read_text() for entry in (name, copies[0][0])})
        for client in (self.a, self.b):
            self.assertEqual(("sync", "clean"), (status(client / "shared" / copies[0][0]), state(client / "shared" / copies[0][0])))

    def test_open_handles_go_on_with_what_they_have_in_a_conflict(self):
        with open(self.b / "shared/text", "r+", encoding="utf-8") as file:
            self.assertEqual("first\n", file.read())
            node = os.fstat(file.fileno()).st_ino
            (self.root / "shared/text").write_text("the server's, and longer\n")
            file.seek(0)
            file.write("mine!\n")
            file.flush()
            os.fsync(file.fileno())
            until(lambda: any(".conflict-" in name for name in os.listdir(self.root / "shared")), "a copy is pushed", GENEROUS_S)
            until(lambda: (self.b / "shared/text").read_text() == "the server's, and longer\n", "the server's has the name", GENEROUS_S)
            self.assertEqual(node, os.fstat(file.fileno()).st_ino)
            self.assertNotEqual(node, os.stat(self.b / "shared/text").st_ino)
            file.seek(0)
            self.assertEqual("mine!\n", file.read())

    def settled(self):
        return all(state(client.path) in ("clean",) for client in (self.a, self.b))

    def everywhere(self):
        return {entry.read_text() for client in (self.a, self.b) for entry in (client / "shared").iterdir() if entry.is_file()}

    def test_both_make_one_name_and_nothing_is_lost(self):
        (self.a / "shared/both").write_text("made by a\n")
        (self.b / "shared/both").write_text("made by b\n")
        texts = {"made by a\n", "made by b\n"}
        until(lambda: self.settled() and self.everywhere() >= texts, "both contents are kept", GENEROUS_S)
        self.expect_one_copy("both", texts)

    def test_both_make_one_name_with_equal_content_and_there_is_no_conflict(self):
        for client in (self.a, self.b):
            (client / "shared/equal").write_text("the same\n")
        until(lambda: all(state(client.path) == "clean" for client in (self.a, self.b)), "equal content is no conflict", GENEROUS_S)
        self.assertEqual(["equal", "text"], sorted(os.listdir(self.root / "shared")))

    def test_both_make_one_folder_and_it_is_one(self):
        for name, client in (("a", self.a), ("b", self.b)):
            os.mkdir(client / "folder")
            (client / "folder" / name).write_text(name)
        until(lambda: all(sorted(os.listdir(client / "folder")) == ["a", "b"] for client in (self.a, self.b)),
              "the folders are merged", GENEROUS_S)
        self.assertEqual(["a", "b"], sorted(os.listdir(self.root / "folder")))

    def test_the_edit_survives_the_others_deletion(self):
        (self.a / "shared/text").read_text()
        (self.b / "shared/text").read_text()
        (self.b / "shared/text").write_text("edited by b\n")
        os.unlink(self.a / "shared/text")
        until(self.settled, "both are done", GENEROUS_S)
        self.assertEqual("edited by b\n", (self.b / "shared/text").read_text())


class HeldAt4096(harness.MountCase):
    def test_a_server_that_takes_small_packets_only_serves_all_the_same(self):
        root = self.folder("root")
        server = self.server(root, options=["--packet-max", 4096])
        a, b = self.mount(server, name="a", delay=0), self.mount(server, name="b", delay=0)
        content = harness.noise(3 * MIB + 5, "held")
        (a / "film").write_bytes(content)
        os.setxattr(a / "film", "user.note", b"n" * 2_000)
        for number in range(300):
            (a / f"{number:03}{'name' * 50}").write_text(str(number))
        self.expect_run("ebb", "wait", a.path)
        until(lambda: (b / "film").exists() and len(os.listdir(b.path)) == 301, "the other has heard of all", GENEROUS_S)
        self.assertEqual(content, (b / "film").read_bytes())
        self.assertEqual(b"n" * 2_000, os.getxattr(b / "film", "user.note"))
        self.assertEqual("299", (b / f"299{'name' * 50}").read_text())
        self.assertEqual(content, (root / "film").read_bytes())


class Remount(harness.MountCase):
    def test_what_changed_while_a_client_was_away_is_there_when_it_is_back(self):
        root = self.folder("root")
        for name in ("changed", "deleted", "renamed", "kept"):
            (root / name).write_text(f"{name} first\n")
        server = self.server(root)
        a, b = self.mount(server, name="a"), self.mount(server, name="b")
        for entry in os.listdir(b.path):
            (b / entry).read_text()
        until(lambda: status(b / "kept") == "sync", "b has read all")
        b.unmount()
        (a / "changed").write_text("changed second\n")
        os.unlink(a / "deleted")
        os.rename(a / "renamed", a / "renamed-2")
        (a / "new").write_text("new\n")
        a.wait()
        b.start()
        until(lambda: sorted(os.listdir(b.path)) == ["changed", "kept", "new", "renamed-2"], "b knows the names")
        until(lambda: (b / "changed").read_text() == "changed second\n", "b reads the new content")
        self.assertEqual("renamed first\n", (b / "renamed-2").read_text())
        self.assertEqual("sync", status(b / "kept"), "what did not change is still here")


if __name__ == "__main__":
    harness.main()

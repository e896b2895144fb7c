#!/usr/bin/env python3
"""The pages of the program ebb name its commands and options, all of them and no others; mandoc finds no fault in them."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("EBB_BIN_DIR", SOURCE / "build/dev/bin"))
COMMANDS = ("mount", "status", "wait", "sync", "free", "pin", "unpin", "history", "restore", "fsmap", "patch", "check")


def page(name):
    return (SOURCE / "man" / name).read_text()


def help_of(*arguments):
    run = subprocess.run([BIN / "ebb", *arguments, "--help"], capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        raise AssertionError(f"ebb {arguments} --help: {run.returncode} {run.stderr}")
    return run.stdout


class Pages(unittest.TestCase):
    def test_every_page_is_sound(self):
        if not shutil.which("mandoc"):
            self.skipTest("mandoc is missing")
        for name in ("ebb.1", "mount.ebbfs.8", "ebb-status.7"):
            run = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", SOURCE / "man" / name], capture_output=True, text=True)
            self.assertEqual("", run.stdout + run.stderr)

    def test_the_words_of_the_store_are_in_the_page_of_statuses(self):
        text = page("ebb-status.7")
        words = re.findall(r'"([a-z]+)"', (SOURCE / "store/status.cpp").read_text())
        self.assertGreater(len(words), 10)
        for word in words:
            self.assertIn(word, text)


@unittest.skipUnless((BIN / "ebb").exists(), f"no {BIN}/ebb")
class Help(unittest.TestCase):
    def test_every_command_is_in_the_page_and_the_reverse(self):
        block = help_of().split("Subcommands:")[1]
        shown = set(re.findall(r"^  ([a-z]+) ", block, re.MULTILINE))
        self.assertEqual(set(COMMANDS), shown)
        self.assertEqual(set(COMMANDS), set(re.findall(r"^\.It Cm ([a-z]+)$", page("ebb.1").split(".Sh OPTIONS")[0], re.MULTILINE)))

    def test_every_option_of_a_command_is_in_the_page(self):
        text = page("ebb.1").replace("Fl -", "--").replace("Fl ", "-")
        for command in COMMANDS:
            for option in re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", help_of(command).split("Options:")[1]):
                if option not in ("-h", "--help"):
                    self.assertIn(option, text, command)

    def test_every_word_of_fsmap_and_its_options_are_in_the_page(self):
        section = page("ebb.1").split(".It Cm fsmap\n")[1].split("\n.It Cm patch\n")[0].replace("Fl -", "--").replace("Fl ", "-")
        words = re.findall(r"^  ([a-z]+) ", help_of("fsmap").split("Subcommands:")[1], re.MULTILINE)
        self.assertEqual({"dump", "minify", "summary", "diff", "publish"}, set(words))
        for word in words:
            self.assertRegex(section, rf"\.It Cm {word}\b")
            for option in re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", help_of("fsmap", word).split("Options:")[1]):
                if option not in ("-h", "--help"):
                    self.assertIn(option, section, word)

    def test_every_option_of_a_mount_is_in_the_page_and_the_reverse(self):
        listed = help_of("mount").split("separated by commas:")[1].split("\nebb(1)")[0].split()
        section = page("ebb.1").split(".Sh OPTIONS OF THE MOUNT")[1].split(".El")[0]
        named = [name for line in re.findall(r"^\.It (Cm .*)$", section, re.MULTILINE)
                 for name in re.findall(r"[a-z_]+", line.split("Ns")[0].replace("Cm", ""))]
        self.assertEqual(sorted(named), sorted(listed))


if __name__ == "__main__":
    unittest.main()

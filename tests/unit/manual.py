#!/usr/bin/env python3
"""What the programs say of themselves is what their man pages say: every command and option of --help is explained.
Needs the built programs (EBB_BIN_DIR) and mandoc; ends with 77 where they are missing."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("EBB_BIN_DIR", TOP / "build/release/bin"))
PAGES = {"ebb": TOP / "man/ebb.1", "ebbd": TOP / "man/ebbd.8"}


def help_of(program, *command):
    run = subprocess.run([BIN / program, *command, "--help"], capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        raise AssertionError(f"{program} {' '.join(command)} --help: exit {run.returncode}\n{run.stderr}")
    return run.stdout


def commands_of(text):
    """The first words of the lines beneath a heading that begins with "Subcommands" or "SUBCOMMANDS"."""
    beneath = re.split(r"(?im)^subcommands:?\s*$", text, maxsplit=1)
    return re.findall(r"(?m)^ {2}([a-z]+)\b", beneath[1]) if len(beneath) == 2 else []


def options_of(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def page_text(page):
    shown = subprocess.run(["mandoc", "-T", "utf8", str(page)], capture_output=True, text=True, check=True).stdout
    plain = re.sub(r".\x08", "", shown)
    return re.sub(r"[\u2010\u2011\u2212]", "-", plain)


class Manual(unittest.TestCase):
    def check(self, program):
        page, text = page_text(PAGES[program]), help_of(program)
        commands = commands_of(text)
        self.assertGreater(len(commands), 1, text)
        for command in commands:
            with self.subTest(command=command):
                self.assertRegex(page, rf"\b{program} {command}\b|(?m)^ +{command}\b")
                for option in options_of(help_of(program, command)) - {"--help"}:
                    self.assertIn(option, page, f"{program} {command} {option} is not in {PAGES[program].name}")

    def test_ebb(self):
        self.check("ebb")

    def test_ebbd(self):
        self.check("ebbd")


if __name__ == "__main__":
    lacking = [str(path) for path in (BIN / "ebb", BIN / "ebbd", *PAGES.values()) if not path.exists()]
    if not shutil.which("mandoc"):
        lacking.append("mandoc")
    if lacking:
        print(f"skipped: missing {', '.join(lacking)}", file=sys.stderr)
        sys.exit(77)
    unittest.main()

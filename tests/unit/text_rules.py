#!/usr/bin/env python3
"""What every text of the tree keeps to: a file that a reader holds in mind, nothing left open, tests that wait for
conditions and never for time, man pages that mandoc takes."""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
LINES_MAX = 700
CODE = {".cpp", ".h", ".py", ".sh", ".cmake"}
NOT_OURS = {"build", ".git"}

# In pieces, so that this file does not find itself.
OPEN_ENDS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
PAUSES = re.compile(r"sleep" + r"_for|u" + r"sleep\(|(^|[^_a-z])sleep" + r"(\(|\s+[0-9])")
HOSTS = re.compile(r"https?://" + r"(deb|security|registry|ftp)\.")


def ours():
    for path in sorted(TOP.rglob("*")):
        relative = path.relative_to(TOP)
        if relative.parts[0] in NOT_OURS or not path.is_file() or "corpus" in relative.parts:
            continue
        if path.suffix in CODE or is_script(path):
            yield relative, path.read_text(errors="replace")


def is_script(path):
    if path.suffix:
        return False
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def lines_with(pattern, under=""):
    return [f"{relative}:{number}: {line.strip()}"
            for relative, text in ours() if str(relative).startswith(under)
            for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


class TextRules(unittest.TestCase):
    def expect_none(self, found):
        self.assertEqual([], found, "\n" + "\n".join(found))

    def test_no_file_is_longer_than_a_reader_can_hold(self):
        self.expect_none([f"{relative}: {len(text.splitlines())} lines, at most {LINES_MAX}"
                          for relative, text in ours() if len(text.splitlines()) > LINES_MAX])

    def test_nothing_is_left_open(self):
        self.expect_none(lines_with(OPEN_ENDS))

    def test_no_test_waits_for_time(self):
        self.expect_none(lines_with(PAUSES, under="tests/"))

    def test_no_package_host_is_named(self):
        self.expect_none(lines_with(HOSTS))

    def test_the_patterns_bite(self):
        self.assertTrue(OPEN_ENDS.search("// TO" + "DO: later"))
        self.assertTrue(PAUSES.search("  time.sleep" + "(1)"))
        self.assertTrue(PAUSES.search("std::this_thread::sleep" + "_for(1s)"))
        self.assertFalse(PAUSES.search("asleep"))

    def test_scripts_can_be_run(self):
        self.expect_none([str(relative) for relative, text in ours()
                          if text.startswith("#!") and not relative.suffix and not (TOP / relative).stat().st_mode & 0o100])

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_man_pages_are_clean(self):
        for page in sorted((TOP / "man").glob("*.[1-9]")):
            with self.subTest(page=page.name):
                run = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True)
                self.assertEqual("", run.stdout + run.stderr)


if __name__ == "__main__":
    sys.exit(unittest.main())

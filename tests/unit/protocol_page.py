#!/usr/bin/env python3
"""ebb-protocol(7) is the only text of the format, so its numbers are the code's."""

import pathlib
import re
import shutil
import subprocess
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
PAGE = TOP / "man" / "ebb-protocol.7"


def enumerators(header, enum):
    """name -> number of one enum class."""
    text = (TOP / "proto" / header).read_text()
    body = re.search(r"enum class " + enum + r"[^{]*\{(.*?)\n\};", text, re.S).group(1)
    body = re.sub(r"//.*", "", body)
    return {name: int(number) for name, number in re.findall(r"(\w+)\s*=\s*(\d+)", body)}


def constant(header, name):
    """The value of an integer constant that is a product of literals or a shift of one."""
    text = (TOP / "proto" / header).read_text()
    value = re.search(r"\b" + name + r"\s*=\s*([^;]+);", text).group(1)
    return eval(re.sub(r"(?<=\d)u\b", "", value), {})  # our own header


def rows(section, columns):
    """The table rows of a section whose first cell is a number."""
    text = PAGE.read_text().split(".Sh " + section + "\n", 1)[1].split("\n.Sh ", 1)[0]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.removeprefix(".It ").split(" Ta ")]
        if line.startswith(".It ") and cells[0].isdigit() and len(cells) >= columns:
            yield cells


class ProtocolPage(unittest.TestCase):
    def test_types_are_the_headers(self):
        # The kinds of mutations stand in the same section.
        ours = enumerators("packet.h", "Type")
        kinds = enumerators("messages.h", "MutationKind")
        self.assertGreater(len(ours), 20)
        found = [(cells[1], int(cells[0])) for cells in rows("MESSAGES", 2)]
        self.assertEqual(sorted(ours.items()) + sorted(kinds.items()),
                         sorted(f for f in found if f[0] in ours) +
                         sorted(f for f in found if f[0] not in ours))

    def test_every_type_has_its_layout(self):
        text = PAGE.read_text().split(".Ss Connection\n", 1)[1].split(".Sh SESSIONS", 1)[0]
        described = set()
        for line in re.findall(r"^\.It ([a-z_]+(?: , [a-z_]+)*)$", text, re.M):
            described.update(line.split(" , "))
        self.assertEqual(set(enumerators("packet.h", "Type")), described)

    def test_errors_are_the_headers(self):
        ours = enumerators("errors.h", "Errc")
        self.assertGreater(len(ours), 20)
        self.assertEqual(ours, {cells[1]: int(cells[0]) for cells in rows("ERROR NUMBERS", 3)})

    def test_retries_are_the_codes(self):
        text = (TOP / "proto" / "errors.cpp").read_text()
        body = text.split("bool retry(Errc code)", 1)[1].split("return true", 1)[0]
        again = set(re.findall(r"case Errc::(\w+):", body))
        self.assertEqual(again, {cells[1] for cells in rows("ERROR NUMBERS", 3) if cells[2] == "yes"})

    def test_limits_are_the_headers(self):
        text = PAGE.read_text().split(".Ss Limits", 1)[1].split(".Ss Handshake", 1)[0]
        for header, name, line in [
                ("packet.h", "kPacketMaxAtFirst", "packet before the handshake is answered Ta "),
                ("packet.h", "kPacketMaxEver", "packet, at most to be agreed on Ta "),
                ("packet.h", "kMessageMax", "message Ta "),
                ("messages.h", "kNameMax", "name Ta "),
                ("messages.h", "kTargetMax", "target of a symlink Ta "),
                ("messages.h", "kRangesMax", "ranges of a session Ta "),
                ("messages.h", "kCopiesMax", "copies of a delta Ta "),
                ("connection.h", "kDataPacketMax", "content of one packed data Ta "),
                ("messages.h", "kChunkMost", "chunk Ta "),
                ("messages.h", "kClientNameMax", "client's name Ta "),
                ("messages.h", "kProofMax", "proof Ta "),
                ("connection.h", "partial_messages_max", "unfinished messages of one peer Ta "),
                ("connection.h", "kDataPacketMax", "should be no longer than ")]:
            with self.subTest(name):
                self.assertRegex(text, re.escape(line) + str(constant(header, name)) + r"\b")

    @unittest.skipUnless(shutil.which("mandoc"), "no mandoc")
    def test_the_page_is_clean(self):
        run = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(PAGE)],
                             capture_output=True, text=True)
        self.assertEqual("", run.stdout)


if __name__ == "__main__":
    unittest.main()

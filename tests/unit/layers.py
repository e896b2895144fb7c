#!/usr/bin/env python3
"""Includes go one way only.  The table is ARCHITECTURE.md's, "The house"."""

import pathlib
import re
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]

# folder -> the folders it may include.  A folder may always include itself.
MAY_INCLUDE = {
    "base": set(),
    "proto": {"base"},
    "proto/asio": {"base", "proto"},
    "store": {"base"},
    "fusefs/core": {"base", "proto", "store"},
    "fusefs/fuse": {"base", "proto", "store", "fusefs/core"},
    "server/core": {"base", "proto", "store"},
    "server/daemon": {"base", "proto", "store", "proto/asio", "server/core"},
    "fusefs/ebb": {"base", "proto", "store", "proto/asio", "fusefs/core", "fusefs/fuse",
                   "server/core", "server/daemon"},
}

# headers of others that only these folders may meet
ONLY_IN = {
    re.compile(r"^(asio|openssl/ssl)\b"): {"proto/asio", "server/daemon", "fusefs/ebb"},
    re.compile(r"^nlohmann/"): {"base"},
    re.compile(r"^(fuse\w*\.h$|fuse3/|cuse)"): {"fusefs/fuse"},
}

# the headers of the machine's sockets: the cores take bytes, they open nothing
SOCKETS = re.compile(r"^(sys/socket|sys/un|netinet/|arpa/|netdb)")
SOCKETS_IN = {"proto/asio", "server/daemon", "fusefs/ebb", "fusefs/fuse"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def folder_of(path):
    """The layer that a file belongs to: the longest folder of the table that holds it; None outside of all."""
    parts = pathlib.PurePosixPath(path).parts[:-1]
    for length in range(len(parts), 0, -1):
        folder = "/".join(parts[:length])
        if folder in MAY_INCLUDE:
            return folder
    return None


def complaints(folder, text, exists):
    """What is wrong with the includes of a file of `folder`.  `exists` says whether a path is a file of ours."""
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(2)
        if match.group(1) == '"':
            yield from quoted(folder, number, target, exists)
            continue
        for pattern, allowed in ONLY_IN.items():
            if pattern.match(target) and folder not in allowed:
                yield f"{number}: <{target}> is met in {', '.join(sorted(allowed))} alone"
        if SOCKETS.match(target) and folder not in SOCKETS_IN:
            yield f"{number}: <{target}> in a core; cores take bytes"


def quoted(folder, number, target, exists):
    if not exists(target):
        yield f'{number}: "{target}" is not a path from the top of the tree'
        return
    layer = folder_of(target)
    if layer != folder and layer not in MAY_INCLUDE[folder]:
        yield f'{number}: {folder} may not include "{target}"'


class TheTable(unittest.TestCase):
    def test_every_include_goes_along_the_arrows(self):
        bad, seen = [], 0
        for folder in MAY_INCLUDE:
            for path in sorted((TOP / folder).glob("*")):
                if path.suffix not in (".h", ".cpp"):
                    continue
                seen += 1
                for what in complaints(folder, path.read_text(), lambda t: (TOP / t).is_file()):
                    bad.append(f"{path.relative_to(TOP)}:{what}")
        self.assertGreater(seen, 10)
        self.assertEqual([], bad, "\n" + "\n".join(bad))

    def test_every_source_is_in_a_folder_of_the_table(self):
        lost = [str(p.relative_to(TOP)) for top in ("base", "proto", "store", "fusefs", "server")
                for p in (TOP / top).rglob("*") if p.suffix in (".h", ".cpp")
                and str(p.parent.relative_to(TOP)) not in MAY_INCLUDE]
        self.assertEqual([], lost)


class TheChecker(unittest.TestCase):
    """A checker that finds nothing proves nothing: each rule is seen to bite."""

    def found(self, folder, line):
        return list(complaints(folder, line, lambda target: not target.startswith("lost")))

    def test_wrong_includes_are_found(self):
        for folder, line in [
            ("base", '#include "proto/packet.h"'),
            ("proto", '#include "store/store.h"'),
            ("store", '#include "proto/packet.h"'),
            ("proto", '#include "proto/asio/link.h"'),
            ("fusefs/core", '#include "server/core/service.h"'),
            ("server/core", '#include "fusefs/core/client.h"'),
            ("fusefs/core", '#include "fusefs/fuse/ops.h"'),
            ("server/daemon", '#include "fusefs/core/client.h"'),
            ("fusefs/core", "#include <fuse_lowlevel.h>"),
            ("fusefs/ebb", "#include <fuse3/fuse_lowlevel.h>"),
            ("proto", "#include <asio/io_context.hpp>"),
            ("fusefs/fuse", "#  include <asio.hpp>"),
            ("store", "#include <sys/socket.h>"),
            ("base", '#include "lost.h"'),
        ]:
            with self.subTest(folder=folder, line=line):
                self.assertEqual(1, len(self.found(folder, line)))

    def test_right_includes_are_not(self):
        for folder, line in [
            ("proto/asio", '#include "proto/packet.h"'),
            ("fusefs/ebb", '#include "server/daemon/serve.h"'),
            ("fusefs/fuse", "#include <fuse_lowlevel.h>"),
            ("proto/asio", "#include <asio.hpp>"),
            ("base", "#include <string>"),
            ("base", '// #include "proto/packet.h"'),
        ]:
            with self.subTest(folder=folder, line=line):
                self.assertEqual([], self.found(folder, line))


if __name__ == "__main__":
    sys.exit(unittest.main())

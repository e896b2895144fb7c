#!/usr/bin/env python3
"""A push whose connection breaks goes on where it was: a wire between mount and server that is cut and counts."""

import select
import socket
import threading

import harness
from harness import MIB, noise, until


class Wire:
    """A Unix socket in front of a server's.  Cuts the connection that has carried `cut_after` bytes up, once."""

    def __init__(self, path, target, cut_after):
        self.target, self.cut_after, self.up, self.down = target, cut_after, [], 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self.target)
            except OSError:
                near.close()
                continue
            self.open += [near, far]
            self.up.append(0)
            threading.Thread(target=self.carry, args=(near, far, len(self.up) - 1), daemon=True).start()

    def carry(self, near, far, number):
        other = {near: far, far: near}
        try:
            while True:
                for side in select.select([near, far], [], [])[0]:
                    data = side.recv(1 << 16)
                    if not data:
                        return
                    if side is far:
                        self.down += len(data)
                    else:
                        self.up[number] += len(data)
                        if self.cut_after and self.up[number] > self.cut_after:
                            self.cut_after = None
                            return
                    other[side].sendall(data)
        except OSError:
            pass
        finally:
            near.close()
            far.close()

    def close(self):
        self.listener.close()
        for end in self.open:
            end.close()


class Resume(harness.MountCase):
    def test_what_has_not_changed_in_a_large_file_travels_neither_way(self):
        root = self.folder("root")
        content = bytearray(noise(8 * MIB, "large"))
        (root / "large").write_bytes(content)
        served = self.server(root)
        path = self.dir / "wire.sock"
        wire = Wire(path, served.peer[1], cut_after=None)
        self.addCleanup(wire.close)
        # Nothing is pushed before it is asked for: else the file that is renamed over the other may be by then.
        m = self.mount(f"unix:{path}", delay=3600)
        self.assertEqual(content, (m / "large").read_bytes())
        until(lambda: harness.status(m / "large") == "sync", "all of it is here")

        carried = sum(wire.up)
        content[5 * MIB:5 * MIB + 4096] = noise(4096, "an edit")
        with open(m / "large", "r+b") as file:
            file.seek(5 * MIB)
            file.write(content[5 * MIB:5 * MIB + 4096])
        m.wait()
        self.assertEqual(content, (root / "large").read_bytes())
        self.assertLess(sum(wire.up) - carried, MIB)

        carried = sum(wire.up)
        content = b"a byte in front" + content
        (m / "new").write_bytes(content)
        (m / "new").rename(m / "large")
        m.wait()
        self.assertEqual(content, (root / "large").read_bytes())
        self.assertLess(sum(wire.up) - carried, MIB)

        # Another program on the server; the version that was here before has all but a few bytes of it.
        carried, version = wire.down, harness.ebb(m / "large", "version")
        content = content + b"and some more"
        with open(root / "large", "ab") as file:
            file.write(b"and some more")
        until(lambda: harness.ebb(m / "large", "version") != version, "the change is told", 60)
        until(lambda: harness.state(m / "large") == "clean", "all of it is here", 60)
        self.assertLess(wire.down - carried, MIB)
        self.assertEqual(content, (m / "large").read_bytes())

    def test_what_the_server_has_is_not_sent_again(self):
        root = self.folder("root")
        (root / "old").write_bytes(b"old content")
        served = self.server(root)
        path = self.dir / "wire.sock"
        wire = Wire(path, served.peer[1], cut_after=18 * MIB)
        self.addCleanup(wire.close)
        m = self.mount(f"unix:{path}", delay=0)
        content = noise(24 * MIB, "resumed")
        (m / "old").read_bytes()
        for name in ("new", "old"):
            with self.subTest(name):
                before = len(wire.up)
                wire.cut_after = 18 * MIB + sum(wire.up[before - 1:before])
                carried = sum(wire.up)
                (m / name).write_bytes(content)
                m.wait()
                self.assertEqual(content, (root / name).read_bytes())
                self.assertGreater(len(wire.up), before, "the connection was cut")
                sent = sum(wire.up) - carried
                self.assertLess(sent, len(content) + 6 * MIB, f"{sent} bytes for {len(content)}")


if __name__ == "__main__":
    harness.main()

#!/usr/bin/env python3
"""A push whose connection breaks goes on where it was: a wire between mount and server that is cut and counts."""

import select
import socket
import threading

import harness
from harness import MIB, noise


class Wire:
    """A Unix socket in front of a server's.  Cuts the connection that has carried `cut_after` bytes up, once."""

    def __init__(self, path, target, cut_after):
        self.target, self.cut_after, self.up = target, cut_after, []
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
                    if side is near:
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

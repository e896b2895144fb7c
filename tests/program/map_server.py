"""A server of maps, by ebb-protocol(7) alone, that can be told to answer wrongly."""

import contextlib
import hashlib
import socket
import struct
import threading

EMPTY_HASH = 0x2D06800538D394C2  # XXH3-64 of no bytes


class HangUp(Exception):
    pass


class MapServer:
    """Serves empty files under these paths, in this order.  `content_path`: the path that their digests are of."""

    def __init__(self, files, content_path=None, summary=None, wrong="", count=None):
        self.paths = [path for path, _ in files]
        self.digests = [hashlib.md5(content_path or path).digest() for path in self.paths]
        self.summary = summary or hashlib.md5(b"".join(d.hex().encode() for d in self.digests)).digest()
        self.count = len(files) if count is None else count
        self.wrong = wrong
        self.connections = 0

    @contextlib.contextmanager
    def at(self, path):
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(8)
        listener.settimeout(0.05)
        over = threading.Event()

        def accept():
            while not over.is_set():
                try:
                    link, _ = listener.accept()
                except TimeoutError:
                    continue
                link.settimeout(30)
                with link, contextlib.suppress(HangUp, OSError):
                    self.connections += 1
                    self.converse(link)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"unix:{path}"
        finally:
            over.set()
            thread.join()
            listener.close()

    def converse(self, link):
        while True:
            kind, session, body = self.receive(link)
            if kind == 10:
                self.send(link, 11, 0, b"EbbFS\r\n\0" + struct.pack("<HHHHQI", 0, 1, 1, 1, 0, 4096) + b"t" * 16 +
                          struct.pack("<QQBBH", 1, 1, 0, 0, 0))
            elif kind == 1:
                self.send(link, 32, 0, body)
            elif self.wrong == "unknown":
                self.send(link, 0, session, struct.pack("<HBH", 16, 0, 0))
            elif kind == 64:
                self.send(link, 65, session, self.summary + struct.pack("<QQ", self.count, 0))
            elif kind == 66:
                self.send(link, 67, session, struct.pack("<BQI", 1, 0, len(self.digests)) + b"".join(self.digests))
            elif kind == 68:
                self.file(link, session, struct.unpack_from("<Q", body, 25)[0])

    def file(self, link, session, index):
        if self.wrong == "hang up" or (self.wrong == "hang up once" and self.connections == 1):
            raise HangUp
        if self.wrong == "garbage":
            link.sendall(b"?" * 64)
        if self.wrong == "oversize":
            link.sendall(struct.pack("<IBBBBII", 0xFFFFFFFF, 69, 0, 1, 1, session, 0))
        if self.wrong == "data first":
            self.send(link, 5, session, struct.pack("<QI", 0, 1) + b"x")
        path = self.paths[index]
        if self.wrong != "no path":
            self.send(link, 69, session, struct.pack("<H", len(path)) + path)
        if self.wrong == "two paths":
            self.send(link, 69, session, struct.pack("<H", len(path)) + path)
        size = 1 if self.wrong == "hash too early" else 0
        attributes = struct.pack("<IIIIqI", 24, 0o644, 0, 0, 10**18, 0)
        ranges = struct.pack("<IQQ", 1, 0, 1) if size else struct.pack("<I", 0)
        self.send(link, 3, session, bytes(16) + bytes(8) + bytes(10) + bytes(16) + struct.pack("<QB", size, 15) + attributes + ranges +
                  struct.pack("<I", 0))
        if self.wrong == "data behind the end":
            self.send(link, 5, session, struct.pack("<QI", 0, 1) + b"x")
        self.send(link, 6, session, struct.pack("<Q", EMPTY_HASH))

    def send(self, link, kind, session, body):
        link.sendall(struct.pack("<IBBBBII", 16 + len(body), kind, 0, 1, 1, session, 0) + body)

    def receive(self, link):
        header = self.exactly(link, 16)
        size, kind, _, _, _, session, _ = struct.unpack("<IBBBBII", header)
        return kind, session, self.exactly(link, size - 16)

    def exactly(self, link, count):
        got = b""
        while len(got) < count:
            more = link.recv(count - len(got))
            if not more:
                raise HangUp
            got += more
        return got

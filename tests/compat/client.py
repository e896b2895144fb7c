"""A client of ebbd in the standard library alone, written from ebb-protocol(7): one connection, one thread.

    with Client.unix("/srv/tree/.ebbd/socket") as client:
        for name, entry in client.list().items(): ..."""

import collections
import os
import random
import socket
import types

import wire
from xxh3 import xxh3_64

LIMIT_S = 60


class Refused(Exception):
    """The server's no."""

    def __init__(self, code, sentence, retry=None):
        super().__init__(f"{code}: {sentence}")
        self.code, self.sentence, self.retry = code, sentence, retry


def checked(answer):
    if answer.code != "ok":
        raise Refused(answer.code, answer.sentence)
    return answer


def session_hash(size, ranges, content_of):
    """The hash of what a session sends: of the content alone where it sends the whole."""
    if list(ranges) == [(0, size)] or (not ranges and size == 0):
        return xxh3_64(content_of(0, size))
    return xxh3_64(b"".join(wire.U64.put(begin) + wire.U64.put(end) + content_of(begin, end) for begin, end in ranges))


def attributes(**fields):
    return wire.ATTRIBUTES.make(**fields)


def place(folder, name):
    return wire.PLACE.make(folder=folder, name=name)


class Connection:
    """Messages over a socket.  `seen` keeps what went and came, as (who, session, type)."""

    def __init__(self, link):
        link.settimeout(LIMIT_S)
        self.link, self.packets = link, wire.Packets()
        self.inbox, self.seen = collections.defaultdict(collections.deque), []
        self.packet_max, self.last_session = wire.PACKET_AT_FIRST, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.link.close()

    def session(self):
        self.last_session += 1
        return self.last_session

    def bytes_of(self, session, type_name, **fields):
        self.seen.append(("c", session, type_name))
        return b"".join(wire.packets(session, wire.MESSAGES[type_name][0], wire.message(type_name, **fields), self.packet_max))

    def send(self, session, type_name, **fields):
        self.link.sendall(self.bytes_of(session, type_name, **fields))

    def receive_some(self):
        received = self.link.recv(1 << 18)
        if not received:
            raise EOFError("the server hung up")
        for session, type_name, body in self.packets.feed(received):
            self.seen.append(("s", session, type_name))
            fields = wire.parse(type_name, body)
            if type_name == "ping":
                self.send(0, "pong", nonce=fields.nonce)
            else:
                self.inbox[session].append((type_name, fields))

    def next(self, session):
        """The session's next message; an error is raised, as is one of the whole connection."""
        while not self.inbox[session]:
            if session and self.inbox[0]:
                session = 0
                break
            self.receive_some()
        type_name, fields = self.inbox[session].popleft()
        if type_name == "error":
            raise Refused(fields.code, fields.sentence, fields.retry)
        return type_name, fields

    def expect(self, session, *wanted):
        type_name, fields = self.next(session)
        assert type_name in wanted, f"{type_name} where {wanted} should come"
        return fields

    def ask(self, type_name, answer, **fields):
        session = self.session()
        self.send(session, type_name, **fields)
        return self.expect(session, answer)


class Client(Connection):
    def __init__(self, link, packet_max=wire.PACKET_MAX, client=None, name="python", tree=bytes(16), epoch=0, sequence=0,
                 proof=b"", versions=(1, 1), subtree=""):
        super().__init__(link)
        self.client, self.operation = client or random.randrange(1, 1 << 56), 0
        try:
            self.shake_hands(packet_max, name, tree, epoch, sequence, proof, versions, subtree)
        except BaseException:
            self.close()
            raise

    def shake_hands(self, packet_max, name, tree, epoch, sequence, proof, versions, subtree):
        self.send(0, "version_handshake", magic=wire.MAGIC, lowest=versions[0], highest=versions[1], packet_max=packet_max,
                  client=self.client, client_name=name, tree=tree, epoch=epoch, sequence=sequence, proof=proof,
                  capabilities=wire.SUBTREES, subtree=subtree)
        self.server = self.expect(0, "version_handshake_response")
        assert self.server.magic == wire.MAGIC
        checked(self.server)
        assert self.server.packet_max <= packet_max
        self.packet_max = self.packets.packet_max = self.server.packet_max

    @classmethod
    def unix(cls, path, **more):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.connect(os.fspath(path))
        return cls(link, **more)

    @classmethod
    def tcp(cls, host, port, **more):
        return cls(socket.create_connection((host, port)), **more)

    def next_operation(self):
        """One connection, one operation at a time: everything before is answered."""
        self.operation += 1
        return wire.OPERATION.make(id=self.operation, answered=self.operation - 1)

    # ---- the tree

    def pages(self, folder=wire.ROOT, budget=0):
        session = self.session()
        self.send(session, "list", folder=folder, budget=budget)
        while True:
            page = self.expect(session, "list_page")
            yield page
            if page.end:
                return

    def list(self, folder=wire.ROOT):
        """name -> entry of one folder."""
        return {item.name: item.entry for page in self.pages(folder) for item in page.entries}

    def walk(self, folder=wire.ROOT, before=""):
        """path -> entry of everything beneath."""
        found = {}
        for name, entry in self.list(folder).items():
            found[before + name] = entry
            if entry.kind == wire.FOLDER:
                found |= self.walk(entry.id, before + name + "/")
        return found

    def stat(self, entry):
        return self.ask("stat", "stat_response", entry=entry).entry

    def mutate(self, kind, operation=None, **fields):
        answer = self.ask("mutate", "mutate_response", kind=wire.MUTATIONS[kind], operation=operation or self.next_operation(),
                          **fields)
        return checked(answer)

    # ---- content

    def pull(self, entry, version, ranges=(), holes=False, priority=2):
        """The session's init, and the content as a bytearray of the file's size, checked."""
        session = self.session()
        self.send(session, "pull", entry=entry, content_version=version, ranges=ranges, priority=priority, holes=holes)
        init = self.expect(session, "file_sync_init")
        assert init.attribute_bits == wire.MODE | wire.MTIME | wire.OWNER | wire.XATTRS
        content, sent = bytearray(init.size), 0
        while True:
            type_name, fields = self.next(session)
            if type_name == "file_sync_check_hash":
                break
            assert type_name == "file_sync_data", type_name
            content[fields.offset:fields.offset + len(fields.bytes)] = fields.bytes
            sent += len(fields.bytes)
        assert sent == sum(end - begin for begin, end in init.ranges), "not what the ranges promised"
        assert fields.hash == session_hash(init.size, init.ranges, lambda begin, end: content[begin:end]), "a wrong hash"
        self.send(session, "file_sync_check_hash_response", entry=entry, content_version=version, hash=fields.hash)
        self.send(session, "file_sync_finish")
        return init, content

    def push_bytes(self, session, content, ranges=None, seen=None, where=None, holes=(), bits=0, operation=None, hash=None,
                   resume_at=0, size=None, **more):
        """A whole push in one breath, up to its hash."""
        size = len(content) if size is None else size
        ranges = ([(0, size)] if size else []) if ranges is None else ranges
        out = [self.bytes_of(session, "file_sync_init", operation=operation or self.next_operation(),
                             entry=seen.id if seen else 0, content_version=seen.content_version if seen else 0,
                             attributes_version=seen.attributes_version if seen else 0, place=where or place(0, ""), size=size,
                             ranges=ranges, holes=holes, attribute_bits=bits, attributes=attributes(**more))]
        most = min(self.packet_max, wire.DATA_PACKET_MAX) - 28
        for begin, end in ranges:
            for at in range(begin, end, most):
                out.append(self.bytes_of(session, "file_sync_data", offset=at, bytes=bytes(content[at:min(end, at + most)])))
        hash = session_hash(size, ranges, lambda begin, end: content[begin:end]) if hash is None else hash
        out.append(self.bytes_of(session, "file_sync_check_hash", hash=hash))
        return b"".join(out)

    def receipt(self, session):
        checked(self.expect(session, "file_sync_init_response"))
        receipt = checked(self.expect(session, "file_sync_check_hash_response"))
        self.send(session, "file_sync_finish")
        return receipt

    def push(self, content, **more):
        session = self.session()
        self.link.sendall(self.push_bytes(session, content, **more))
        return self.receipt(session)

    # ---- watching, history

    def watch(self, epoch=0, sequence=0):
        session = self.session()
        self.send(session, "watch", epoch=epoch, sequence=sequence)
        return types.SimpleNamespace(session=session, answer=self.expect(session, "watch_response"))

    def history(self, entry=0, path=""):
        session, found = self.session(), []
        self.send(session, "history", entry=entry, path=path)
        while True:
            page = self.expect(session, "history_page")
            found += page.versions
            if page.end:
                return found

    def restore(self, entry=0, path="", version=0):
        return self.ask("restore", "restore_response", entry=entry, path=path, version=version)

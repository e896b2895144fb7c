"""Packets and messages as ebb-protocol(7) has them.  Nothing here is taken from the code that it talks to."""

import struct
import types

MAGIC = b"EbbFS\r\n\0"
PACKET_AT_FIRST, PACKET_MAX, MESSAGE_MAX, DATA_PACKET_MAX = 4096, 1048576, 2097152, 262144
MORE = 1
ROOT = 1
FILE, FOLDER, SYMLINK = 1, 2, 3                        # kinds of entries
MODE, MTIME, OWNER, XATTRS = 1, 2, 4, 8                # attribute bits
SUBTREES = 256                                         # a capability
NAME_SET, NAME_GONE, ENTRY_CHANGED = 1, 2, 3           # kinds of changes
MUTATIONS = {name: number for number, name in enumerate(
    ("make_folder", "make_symlink", "link", "rename", "exchange", "remove", "set_attributes"), 1)}
CODES = dict([
    (0, "ok"), (1, "bad_packet"), (2, "no_common_version"), (3, "not_enrolled"), (4, "other_tree"), (5, "too_much"),
    (16, "unknown_type"), (17, "bad_request"), (18, "not_found"), (19, "moved_on"), (20, "exists"), (21, "not_empty"),
    (22, "not_folder"), (23, "is_folder"), (24, "no_space"), (25, "no_permission"), (26, "read_only"), (27, "bad_name"),
    (28, "too_large"), (29, "not_supported"), (30, "io"), (31, "wrong_hash"), (32, "busy"), (33, "cancelled"),
    (34, "would_cycle"), (35, "outside"), (36, "not_regular"), (37, "lost")])


class Malformed(Exception):
    """What came is not of this protocol."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if size > len(self.data) - self.at:
            raise Malformed(f"{size} bytes wanted, {len(self.data) - self.at} there")
        self.at += size
        return self.data[self.at - size:self.at]


class Number:
    def __init__(self, form, empty=0):
        self.form, self.empty = struct.Struct("<" + form), empty

    def put(self, value):
        return self.form.pack(value)

    def take(self, reader):
        return self.form.unpack(reader.take(self.form.size))[0]


class Flag:
    empty = False

    def put(self, value):
        return bytes([value])

    def take(self, reader):
        value = U8.take(reader)
        if value > 1:
            raise Malformed(f"a flag of {value}")
        return bool(value)


class Code:
    empty = "ok"

    def put(self, value):
        return U16.put(next(number for number, name in CODES.items() if name == value))

    def take(self, reader):
        number = U16.take(reader)
        return CODES.get(number, number)


class Counted:
    """A length, then so many bytes."""

    def __init__(self, length, most, text=False):
        self.length, self.most, self.text, self.empty = length, most, text, "" if text else b""

    def put(self, value):
        data = value.encode("utf-8", "surrogateescape") if self.text else value
        return self.length.put(len(data)) + data

    def take(self, reader):
        size = self.length.take(reader)
        if size > self.most:
            raise Malformed(f"{size} bytes where {self.most} are the most")
        data = reader.take(size)
        return data.decode("utf-8", "surrogateescape") if self.text else data


class Fixed:
    def __init__(self, size):
        self.size, self.empty = size, bytes(size)

    def put(self, value):
        assert len(value) == self.size
        return value

    def take(self, reader):
        return reader.take(self.size)


class Many:
    def __init__(self, kind):
        self.kind, self.empty = kind, ()

    def put(self, values):
        return U32.put(len(values)) + b"".join(self.kind.put(value) for value in values)

    def take(self, reader):
        return [self.kind.take(reader) for _ in range(U32.take(reader))]


class Range:
    def put(self, value):
        return U64.put(value[0]) + U64.put(value[1])

    def take(self, reader):
        begin, end = U64.take(reader), U64.take(reader)
        if begin >= end:
            raise Malformed("an empty range")
        return begin, end


class MayMiss:
    """At a message's end, where an older peer has nothing."""

    def __init__(self, kind):
        self.kind, self.empty = kind, kind.empty

    def put(self, value):
        return self.kind.put(value) if value else b""

    def take(self, reader):
        return self.kind.take(reader) if reader.at < len(reader.data) else self.empty


class Xattrs:
    """u16 length and name, u32 length and value, sorted by name, in a `bytes`."""
    empty = types.MappingProxyType({})

    def put(self, value):
        return PACKED.put(b"".join(NAME_OF.put(name) + VALUE_OF.put(value[name]) for name in sorted(value)))

    def take(self, reader):
        inner, found = Reader(PACKED.take(reader)), {}
        while inner.at < len(inner.data):
            name = NAME_OF.take(inner)
            found[name] = VALUE_OF.take(inner)
        if list(found) != sorted(found):
            raise Malformed("xattrs that are not sorted")
        return found


class Fields:
    """Fields one after the other; `sized`: with their size before them, so that more may follow."""

    def __init__(self, sized=False, **fields):
        self.sized, self.fields = sized, fields
        self.empty = types.SimpleNamespace(**{name: kind.empty for name, kind in fields.items()})

    def put(self, value):
        data = b"".join(kind.put(getattr(value, name)) for name, kind in self.fields.items())
        return U32.put(len(data)) + data if self.sized else data

    def take(self, reader):
        inner = Reader(reader.take(U32.take(reader))) if self.sized else reader
        return types.SimpleNamespace(**{name: kind.take(inner) for name, kind in self.fields.items()})

    def make(self, **values):
        unknown = values.keys() - self.fields.keys()
        assert not unknown, unknown
        return types.SimpleNamespace(**(vars(self.empty) | values))


U8, U16, U32, U64, I64 = Number("B"), Number("H"), Number("I"), Number("Q"), Number("q")
FLAG, CODE = Flag(), Code()


def text(most):
    return Counted(U16, most, text=True)


def data(most):
    return Counted(U32, most)


PACKED, NAME_OF, VALUE_OF = data(131072), text(255), data(65536)
NAME, SENTENCE, TARGET, PATH, RANGES = text(255), text(1024), text(4095), text(32767), Many(Range())
ATTRIBUTES = Fields(sized=True, mode=U32, uid=U32, gid=U32, mtime=I64, xattrs=Xattrs())
ENTRY = Fields(sized=True, id=U64, kind=U8, size=U64, links=U32, content_version=U64, attributes_version=U64,
               attributes=ATTRIBUTES, target=TARGET)
PLACE = Fields(folder=U64, name=NAME)
OPERATION = Fields(id=U64, answered=U64)
KEPT = Fields(sized=True, version=U64, kind=U8, deleted=FLAG, size=U64, mtime=I64, when=I64, by=U64, client_name=text(64),
              path=PATH)

MESSAGES = {
    "error": (0, Fields(code=CODE, retry=FLAG, sentence=SENTENCE)),
    "ping": (1, Fields(nonce=U64)),
    "file_sync_init": (3, Fields(operation=OPERATION, entry=U64, place=PLACE, content_version=U64, attributes_version=U64,
                                 size=U64, attribute_bits=U8, attributes=ATTRIBUTES, ranges=RANGES, holes=RANGES)),
    "file_sync_init_response": (4, Fields(code=CODE, sentence=SENTENCE, resume_at=U64)),
    "file_sync_data": (5, Fields(offset=U64, bytes=data(MESSAGE_MAX))),
    "file_sync_check_hash": (6, Fields(hash=U64)),
    "file_sync_check_hash_response": (7, Fields(code=CODE, sentence=SENTENCE, entry=U64, content_version=U64,
                                                attributes_version=U64, hash=U64, sequence=U64)),
    "file_sync_finish": (9, Fields()),
    "version_handshake": (10, Fields(magic=Fixed(8), lowest=U16, highest=U16, capabilities=U64, packet_max=U32, client=U64,
                                     client_name=text(64), tree=Fixed(16), epoch=U64, sequence=U64, proof=data(1024),
                                     subtree=MayMiss(text(2048)))),
    "version_handshake_response": (11, Fields(magic=Fixed(8), code=CODE, lowest=U16, highest=U16, version=U16,
                                              capabilities=U64, packet_max=U32, tree=Fixed(16), epoch=U64, sequence=U64,
                                              continues=FLAG, read_only=FLAG, sentence=SENTENCE)),
    "pong": (32, Fields(nonce=U64)),
    "pull": (33, Fields(entry=U64, content_version=U64, ranges=RANGES, priority=U8, holes=FLAG)),
    "cancel": (34, Fields()),
    "list": (35, Fields(folder=U64, budget=U32)),
    "list_page": (36, Fields(folder=U64, sequence=U64, first=FLAG, last=FLAG, end=FLAG,
                             entries=Many(Fields(name=NAME, entry=ENTRY)))),
    "mutate": (37, Fields(operation=OPERATION, kind=U8, entry=U64, other=U64, from_=PLACE, place=PLACE, content_version=U64,
                          attributes_version=U64, attribute_bits=U8, attributes=ATTRIBUTES, target=TARGET)),
    "mutate_response": (38, Fields(code=CODE, sentence=SENTENCE, entry=U64, content_version=U64, attributes_version=U64,
                                   sequence=U64)),
    "watch": (39, Fields(epoch=U64, sequence=U64)),
    "watch_response": (40, Fields(complete=FLAG, epoch=U64, sequence=U64)),
    "change": (41, Fields(sequence=U64, kind=U8, place=PLACE, entry=ENTRY, by=U64, operation=U64)),
    "stat": (42, Fields(entry=U64)),
    "stat_response": (43, Fields(sequence=U64, entry=ENTRY)),
    "stat_fs": (44, Fields()),
    "stat_fs_response": (45, Fields(bytes=U64, bytes_free=U64, files=U64, files_free=U64, bytes_available=U64)),
    "history": (46, Fields(entry=U64, path=PATH)),
    "history_page": (47, Fields(end=FLAG, versions=Many(KEPT))),
    "restore": (48, Fields(entry=U64, path=PATH, version=U64)),
    "restore_response": (49, Fields(entry=U64, content_version=U64, sequence=U64)),
}
NAMES = {number: name for name, (number, _) in MESSAGES.items()}


def message(type_name, **fields):
    """A message's body; what is not given is 0 or empty."""
    layout = MESSAGES[type_name][1]
    return layout.put(layout.make(**fields))


def packets(session, number, body, packet_max):
    """The packets of a message, longest first."""
    room = packet_max - 16
    pieces = [body[at:at + room] for at in range(0, len(body), room)] or [b""]
    for left, piece in zip(range(len(pieces) - 1, -1, -1), pieces):
        yield struct.pack("<IBBBBII", 16 + len(piece), number, MORE if left else 0, 1, 1, session, 0) + piece


class Packets:
    """Bytes in, whole messages out: (session, type, body)."""

    def __init__(self):
        self.buffer, self.parts, self.packet_max, self.longest = b"", {}, PACKET_AT_FIRST, 0

    def feed(self, received):
        self.buffer += received
        while len(self.buffer) >= 16:
            size, number, flags, version, oldest, session, reserved = struct.unpack_from("<IBBBBII", self.buffer)
            if not 16 <= size <= self.packet_max or flags > MORE or reserved or not 1 <= oldest <= version:
                raise Malformed("a packet's header")
            if len(self.buffer) < size:
                return
            self.longest = max(self.longest, size)
            body, self.buffer = self.buffer[16:size], self.buffer[size:]
            before = self.parts.pop(session, (number, b""))
            if before[0] != number or oldest > 1:
                raise Malformed("a message of two types, or of a newer layout")
            if flags & MORE:
                self.parts[session] = (number, before[1] + body)
            else:
                yield session, NAMES.get(number, number), before[1] + body


def parse(type_name, body):
    """The fields; what follows the last one comes from a newer peer."""
    return MESSAGES[type_name][1].take(Reader(body))

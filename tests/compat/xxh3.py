"""XXH3-64 with seed 0, in plain Python."""

import struct

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
A1, A2, A3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
B1, B2, B3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
B4, B5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MASK = (1 << 64) - 1


def u32(data, at):
    return int.from_bytes(data[at:at + 4], "little")


def u64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def swapped(value):
    return int.from_bytes(value.to_bytes(8, "little"), "big")


def folded(a, b):
    product = a * b
    return (product & MASK) ^ (product >> 64)


def rotated(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & MASK


def avalanche(h):
    h = ((h ^ (h >> 37)) * 0x165667919E3779F9) & MASK
    return h ^ (h >> 32)


def avalanche_short(h):
    h = ((h ^ (h >> 33)) * B2) & MASK
    h = ((h ^ (h >> 29)) * B3) & MASK
    return h ^ (h >> 32)


def key(at):
    return u64(SECRET, at)


def mix(data, at, secret):
    return folded(u64(data, at) ^ key(secret), u64(data, at + 8) ^ key(secret + 8))


def up_to_16(data):
    size = len(data)
    if size == 0:
        return avalanche_short(key(56) ^ key(64))
    if size <= 3:
        word = (data[0] << 16) | (data[size >> 1] << 24) | data[-1] | (size << 8)
        return avalanche_short(word ^ u32(SECRET, 0) ^ u32(SECRET, 4))
    if size <= 8:
        h = (u32(data, size - 4) + (u32(data, 0) << 32)) ^ key(8) ^ key(16)
        h ^= rotated(h, 49) ^ rotated(h, 24)
        h = (h * 0x9FB21C651E98DF25) & MASK
        h ^= (h >> 35) + size
        h = (h * 0x9FB21C651E98DF25) & MASK
        return h ^ (h >> 28)
    low = u64(data, 0) ^ key(24) ^ key(32)
    high = u64(data, size - 8) ^ key(40) ^ key(48)
    return avalanche((size + swapped(low) + high + folded(low, high)) & MASK)


def up_to_240(data):
    size = len(data)
    h = size * B1
    if size <= 128:
        for i in reversed(range((size - 1) // 32 + 1)):
            h += mix(data, 16 * i, 32 * i) + mix(data, size - 16 * (i + 1), 32 * i + 16)
        return avalanche(h & MASK)
    h = avalanche((h + sum(mix(data, 16 * i, 16 * i) for i in range(8))) & MASK)
    h += sum(mix(data, 16 * i, 16 * (i - 8) + 3) for i in range(8, size // 16))
    return avalanche((h + mix(data, size - 16, 119)) & MASK)


KEYS = [struct.unpack_from("<8Q", SECRET, 8 * n) for n in range(17)]
LAST = struct.unpack_from("<8Q", SECRET, 121)


def accumulate(lanes, stripe, keys):
    for i in range(8):
        word = stripe[i]
        keyed = word ^ keys[i]
        lanes[i ^ 1] += word
        lanes[i] = (lanes[i] + (keyed & 0xFFFFFFFF) * (keyed >> 32)) & MASK


def long(data):
    lanes = [A3, B1, B2, B3, B4, A2, B5, A1]
    size = len(data)
    stripes = (size - 1) // 64
    words = struct.iter_unpack("<8Q", memoryview(data)[:64 * stripes])
    for n, stripe in enumerate(words):
        accumulate(lanes, stripe, KEYS[n % 16])
        if n % 16 == 15:
            lanes = [((lane & MASK ^ (lane & MASK) >> 47 ^ k) * A1) & MASK for lane, k in zip(lanes, KEYS[16])]
    accumulate(lanes, struct.unpack("<8Q", data[-64:]), LAST)
    h = size * B1
    for i in range(4):
        h += folded((lanes[2 * i] & MASK) ^ key(11 + 16 * i), (lanes[2 * i + 1] & MASK) ^ key(19 + 16 * i))
    return avalanche(h & MASK)


def xxh3_64(data):
    data = bytes(data)
    if len(data) <= 16:
        return up_to_16(data)
    return up_to_240(data) if len(data) <= 240 else long(data)

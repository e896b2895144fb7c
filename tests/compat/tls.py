"""TLS as ebb-protocol(7) has it: a key on each side that its owner has signed, and nothing counts but the key."""

import functools
import hashlib
import shutil
import socket
import ssl
import subprocess
import types


class OtherKey(Exception):
    """The server is not the one that the link means."""


class Link:
    """ebb://HOST:PORT/#FINGERPRINT.SECRET"""

    def __init__(self, text):
        address, _, rest = text.removeprefix("ebb://").partition("/#")
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.fingerprint, _, secret = rest.partition(".")
        self.secret = secret.encode()


@functools.cache
def openssl():
    return shutil.which("openssl")


def make_key(stem):
    """A new key and its certificate, as files."""
    made = types.SimpleNamespace(key=f"{stem}.key", certificate=f"{stem}.crt")
    subprocess.run([openssl(), "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=anything", "-days", "1",
                    "-keyout", made.key, "-out", made.certificate], check=True, capture_output=True)
    return made


def elements(der):
    """The DER elements that stand one after the other, each whole."""
    at = 0
    while at < len(der):
        size, head = der[at + 1], 2
        if size & 0x80:
            head = 2 + (size & 0x7F)
            size = int.from_bytes(der[at + 2:at + head], "big")
        yield der[at:at + head + size], der[at + head:at + head + size]
        at += head + size


def fingerprint(certificate):
    """SHA-256 of the SubjectPublicKeyInfo, which is the sixth field behind the version."""
    whole = next(elements(certificate))[1]
    to_be_signed = next(elements(whole))[1]
    fields = [element for element, _ in elements(to_be_signed)]
    return hashlib.sha256(fields[6]).hexdigest()


def connect(link, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the fingerprint is what counts
    context.load_cert_chain(key.certificate, key.key)
    stream = context.wrap_socket(socket.create_connection((link.host, link.port)))
    if fingerprint(stream.getpeercert(binary_form=True)) != link.fingerprint:
        stream.close()
        raise OtherKey(link.fingerprint)
    return stream

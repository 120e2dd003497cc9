"""The agent's end of a tunnel, byte by byte: for saying what no agent says."""
import base64
import json
import os
import re
import socket
import ssl
import struct
import time

from harness import check

BINARY, TEXT, CONTINUATION, CLOSE, PING = 2, 1, 0, 8, 9
HELLO, LINK_PING, PONG, GOAWAY, NOTICE = 1, 2, 3, 4, 5
OPEN, OPEN_OK, OPEN_ERR, DATA, CREDIT, FIN, RESET, END, ATTACH, DETACH, DATAGRAM = (
    0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x4b, 0x4c)
ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def frame(kind, payload=b"", stream=0, flags=0, length=None):
    return struct.pack(">BBHI", kind, flags, len(payload) if length is None else length, stream) + payload


def opens_in(message):
    """(stream, tags) of each OPEN in a message; the tags as bytes by number, the last of each."""
    while len(message) >= 8:
        kind, _, n, stream = struct.unpack_from(">BBHI", message)
        payload, tags = message[8:8 + n], {}
        while kind == OPEN and len(payload) >= 3:
            tag, size = struct.unpack_from(">BH", payload)
            tags[tag], payload = payload[3:3 + size], payload[3 + size:]
        if kind == OPEN:
            yield stream, tags
        message = message[8 + n:]


def is_probe(tags):
    return tags.get(4) == b"\3"


def frames_of(message):
    """(type, payload) of each frame in a message."""
    while len(message) >= 8:
        kind, _, n, _ = struct.unpack_from(">BBHI", message)
        yield kind, message[8:8 + n]
        message = message[8 + n:]


class RawTunnel:
    """pem: the certificate to show; None: no TLS, as behind a proxy that ends it."""

    def __init__(self, pem, ca_file=None, port=7443):
        if pem is None:
            self.socket, self.buffer = socket.create_connection(("127.0.0.1", port), timeout=20), b""
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(ca_file)
        context.load_cert_chain(pem)
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket, self.buffer = context.wrap_socket(plain), b""

    def said(self, name):
        """A field of the answer to the upgrade, or None."""
        found = re.search(rb"(?mi)^" + name.encode() + rb": *([^\r\n]*)", self.answer)
        return found and found.group(1).decode()

    def upgrade(self, *fields, path="/tunnel", protocol="adit.v1"):
        key = base64.b64encode(os.urandom(16)).decode()
        head = [f"GET {path} HTTP/1.1", "Host: relay", "Upgrade: websocket", "Connection: Upgrade",
                "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", f"Sec-WebSocket-Protocol: {protocol}", *fields]
        self.socket.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            piece = self.socket.recv(65536)
            if not piece:
                return 0
            self.buffer += piece
        self.answer, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return int(self.answer.split()[1])

    def say(self, payload, opcode=BINARY, first=0x80):
        """One WebSocket frame; first: FIN and the reserved bits."""
        n = len(payload)
        size = bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n) if n < 65536 else b"\x7f" + struct.pack(">Q", n)
        size = bytes([size[0] | 0x80]) + size[1:] + bytes(4)   # under a mask of zeros: the bytes as they are
        self.socket.sendall(bytes([first | opcode]) + size + payload)

    def hello(self, **members):
        body = {"protocol": 1, "features": [], "name": "raw", "software": "raw/1", "platform": "test", "boot_id": ID,
                "starts": 1, "nonce": "A" * 43, "streams_max": 100, "credential": "certificate", **members}
        self.say(frame(HELLO, json.dumps({k: v for k, v in body.items() if v is not None}).encode()))

    def read(self, seconds=10):
        """One WebSocket message's payload, or None when the relay closed."""
        self.socket.settimeout(seconds)
        while True:
            if len(self.buffer) >= 2:
                n, at = self.buffer[1] & 0x7f, 2
                if n >= 126:
                    at, form = (4, ">H") if n == 126 else (10, ">Q")
                    n = struct.unpack_from(form, self.buffer, 2)[0] if len(self.buffer) >= at else 1 << 40
                if len(self.buffer) >= at + n:
                    opcode, payload = self.buffer[0] & 15, self.buffer[at:at + n]
                    self.buffer = self.buffer[at + n:]
                    return None if opcode == CLOSE else payload
            try:
                piece = self.socket.recv(65536)
            except (ssl.SSLError, ConnectionError):
                return None
            if not piece:
                return None
            self.buffer += piece

    def is_up(self):
        """Comes up as an agent does: HELLO each way, then anything but GOAWAY."""
        check(self.upgrade() == 101, "no upgrade")
        check(self.read()[0] == HELLO)
        self.hello()
        first = self.read() or bytes([GOAWAY])
        self.answer_pings(first)
        return first[0] != GOAWAY

    def answer_pings(self, message):
        for kind, payload in frames_of(message):
            if kind == LINK_PING:
                self.say(frame(PONG, payload[:8]))

    def ends(self, seconds=6):
        """Whether the relay ends the link by itself, though its PINGs are answered; .why: its GOAWAY."""
        self.why, deadline = "", time.monotonic() + seconds
        try:
            while message := self.read(max(0.01, deadline - time.monotonic())):
                self.answer_pings(message)
                for kind, payload in frames_of(message):
                    if kind == GOAWAY and payload[:1] == b"\1":
                        self.why = payload[3:3 + payload[2]].decode()
            return True
        except TimeoutError:
            return False
        except OSError:                     # it was closed while the PONG was on its way
            return True

    def close(self):
        self.socket.close()

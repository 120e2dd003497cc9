"""SOCKS5 UDP ASSOCIATE on plain sockets, and what answers behind the agent."""
import hashlib
import select
import socket
import struct
import threading
import time

from clients import Refused, receive_exactly, socks_address
from harness import check

LOCAL = "127.0.0.1"
FRAME_MAX = 16368           # the longest datagram that the tunnel carries


def header(host, port, fragment=0, reserved=0):
    return struct.pack(">HB", reserved, fragment) + socks_address(host) + struct.pack(">H", port)


def split_header(datagram):
    """(host, port, bytes) of what the relay sent."""
    check(datagram[:3] == b"\0\0\0", "header", datagram[:16])
    kind, at = datagram[3], 4
    if kind == 3:
        host, at = datagram[5:5 + datagram[4]].decode(), 5 + datagram[4]
    else:
        family, n = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        host, at = socket.inet_ntop(family, datagram[at:at + n]), at + n
    return host, struct.unpack_from(">H", datagram, at)[0], datagram[at + 2:]


class Association:
    """A log-in, UDP ASSOCIATE, and a socket for datagrams; .control is the TCP connection."""

    def __init__(self, credential, door=(LOCAL, 1080), source=LOCAL, tell_port=False):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.udp.bind((source, 0))
        told = self.udp.getsockname() if tell_port else ("0.0.0.0", 0)
        self.control = s = socket.create_connection(door, timeout=30, source_address=(source, 0))
        user, secret = (part.encode() for part in credential)
        s.sendall(b"\x05\x01\x02" + b"\x01" + bytes([len(user)]) + user + bytes([len(secret)]) + secret)
        check(receive_exactly(s, 2) == b"\x05\x02", "user/password was not chosen")
        if receive_exactly(s, 2)[1]:
            raise Refused("login", None)
        s.sendall(b"\x05\x03\x00" + socks_address(told[0]) + struct.pack(">H", told[1]))
        head = receive_exactly(s, 4)
        if head[1]:
            s.close()
            raise Refused(head[1], None)
        self.relay = (socket.inet_ntoa(receive_exactly(s, 4)), struct.unpack(">H", receive_exactly(s, 2))[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.close()
        self.udp.close()

    def send(self, host, port, bytes_):
        self.udp.sendto(header(host, port) + bytes_, self.relay)

    def receive(self, seconds=10):
        """(host, port, bytes), or None when nothing comes."""
        if not select.select([self.udp], [], [], seconds)[0]:
            return None
        datagram, sender = self.udp.recvfrom(65536)
        check(sender == self.relay, sender, "answers, not", self.relay)
        return split_header(datagram)

    def ask(self, host, port, bytes_, seconds=10):
        """Sends, again each half second, until the same bytes come back; what came, or None."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.send(host, port, bytes_)
            while came := self.receive(0.5):
                if came[2] == bytes_:
                    return came
        return None

    def is_ended(self, seconds=5):
        """The relay has closed the TCP connection."""
        return bool(select.select([self.control], [], [], seconds)[0]) and not self.control.recv(1)


class Echo:
    """Sends datagrams back to whoever sent them; .count, .sources."""

    def __init__(self, inside, port, address="10.99.0.2"):
        self.count, self.sources = 0, set()
        self.socket = inside.socket(socket.SOCK_DGRAM, port, address)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            bytes_, source = self.socket.recvfrom(65536)
            self.count += 1
            self.sources.add(source)
            self.socket.sendto(bytes_, source)


def numbered(number, size):
    """A datagram that no other is like: its number, its hash, bytes made from both."""
    body = hashlib.shake_128(b"%d" % number).digest(max(0, size - 12))
    return (struct.pack(">I", number) + hashlib.sha256(body).digest()[:8] + body)[:max(size, 12)]


def number_of(bytes_):
    """The number of a datagram that is whole; fails on any other."""
    number, body = struct.unpack_from(">I", bytes_)[0], bytes_[12:]
    check(bytes_[4:12] == hashlib.sha256(body).digest()[:8], "a datagram was changed on the way:", number)
    return number


def dns_query(name, number=4711, kind=1):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)

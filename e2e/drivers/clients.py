"""Proxy clients on plain sockets, for what curl cannot say."""
import base64
import re
import socket
import struct

from harness import check


class Refused(Exception):
    """status (HTTP) or reply (SOCKS5), and the reason code where one was sent."""

    def __init__(self, status, reason, text=""):
        super().__init__(f"{status} {reason} {text[:200]}")
        self.status, self.reason = status, reason


def receive_exactly(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        check(piece, "the proxy ended early after", data)
        data += piece
    return data


def connect(target, credential, proxy=("127.0.0.1", 8080), receive_buffer=None):
    """A CONNECT tunnel to "host:port": a socket, or Refused."""
    s = socket.socket(socket.AF_INET)
    s.settimeout(60)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.connect(proxy)
    secret = base64.b64encode(":".join(credential).encode()).decode()
    s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
              f"Proxy-Authorization: Basic {secret}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        byte = s.recv(1)
        check(byte, "the proxy closed after", head)
        head += byte
    text = head.decode(errors="replace")
    status = int(text.split()[1])
    if status != 200:
        reason = re.search(r"(?im)^adit-reason: *(\S+)", text)
        s.close()
        raise Refused(status, reason and reason.group(1), text)
    return s


def socks5(host, port, credential, proxy=("127.0.0.1", 1080)):
    """A SOCKS5 CONNECT by name or address: a socket, or Refused with the reply code."""
    s = socket.create_connection(proxy, timeout=60)
    s.sendall(b"\x05\x01\x02")
    check(receive_exactly(s, 2) == b"\x05\x02", "user/password was not chosen")
    user, secret = (part.encode() for part in credential)
    s.sendall(b"\x01" + bytes([len(user)]) + user + bytes([len(secret)]) + secret)
    if receive_exactly(s, 2)[1]:
        s.close()
        raise Refused("login", None)
    s.sendall(b"\x05\x01\x00" + socks_address(host) + struct.pack(">H", port))
    head = receive_exactly(s, 4)
    if head[1]:
        s.close()
        raise Refused(head[1], None)
    receive_exactly(s, {1: 4, 4: 16}.get(head[3]) or receive_exactly(s, 1)[0])
    receive_exactly(s, 2)
    return s


def socks_address(host):
    for kind, family in ((1, socket.AF_INET), (4, socket.AF_INET6)):
        try:
            return bytes([kind]) + socket.inet_pton(family, host)
        except OSError:
            continue
    return b"\x03" + bytes([len(host)]) + host.encode()

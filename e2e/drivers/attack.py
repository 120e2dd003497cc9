"""What an attacker has: raw bytes at a door; and who watches him: listeners and packet counters."""
import base64
import http.client
import json
import selectors
import socket
import ssl
import struct
import threading
import urllib.request

from harness import check

HTTP, SOCKS = ("127.0.0.1", 8080), ("127.0.0.1", 1080)
ETH_ALL, SO_REUSEPORT = 3, socket.SO_REUSEPORT


def basic(user, secret):
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def say(door, bytes_, source="127.0.0.1", is_ended=True):
    """Sends, ends the direction, and returns all that the door said."""
    said = b""
    with socket.create_connection(door, timeout=30, source_address=(source, 0)) as s:
        try:
            s.sendall(bytes_)
            if is_ended:
                s.shutdown(socket.SHUT_WR)
            while piece := s.recv(65536):
                said += piece
        except (ConnectionResetError, BrokenPipeError):
            pass                            # the door closed on bytes that it had not read
    return said


def status(said):
    """The status of an HTTP answer; 0: there was none."""
    return int(said.split()[1]) if said.startswith(b"HTTP/1.1 ") else 0


def http_request(target, host, authorization=None, *fields, method="GET"):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if authorization:
        lines.append("Proxy-Authorization: " + authorization)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def metrics(port=9101):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()


def metric(name, port=9101):
    """The sum of a metric's series."""
    lines = [line for line in metrics(port).splitlines()
             if line.startswith((name + " ", name + "{"))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def events(log):
    """The lines of a log, each of which must be one JSON object."""
    lines = log.read_bytes().split(b"\n")
    check(lines.pop() == b"", "the last line is not whole")
    return [json.loads(line) for line in lines if line]


def resident_kib(pid):
    """What a process holds in memory; 0 under a sanitizer, which keeps what was freed."""
    with open(f"/proc/{pid}/maps") as maps:
        if "asan" in maps.read():
            return 0
    with open(f"/proc/{pid}/status") as text:
        return int(next(line for line in text if line.startswith("VmRSS")).split()[1])


class Canary:
    """Listeners that nobody may reach; .hits says who did."""

    def __init__(self, inside=None):
        self.hits, self.inside, self.selector = [], inside, selectors.DefaultSelector()
        threading.Thread(target=self._accept, daemon=True).start()

    def listen(self, address, port, is_there=False):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make():
            s = socket.create_server((address, port), family=family, backlog=256)
            s.setblocking(False)
            return s
        s = self.inside.there(make) if is_there else make()
        self.selector.register(s, selectors.EVENT_READ, (address, port))

    def _accept(self):
        while True:
            for key, _ in self.selector.select(0.05):
                connection, peer = key.fileobj.accept()
                self.hits.append((key.data, peer))
                connection.close()


class Packets:
    """Counts IP packets that leave by an interface: all IPv4, and TCP and UDP over IPv6."""

    def __init__(self, interface):
        self.count, self.socket = 0, socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.socket.bind((interface, ETH_ALL))      # before that it hears nothing; with a protocol, all interfaces
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            packet, (_, kind, direction, *_) = self.socket.recvfrom(2048)
            is_ours = direction == socket.PACKET_OUTGOING
            is_ip = kind == 0x0800 or (kind == 0x86dd and packet[6] in (6, 17))
            self.count += is_ours and is_ip


def socks_request(host, port, login=None, kind=None):
    """All that a SOCKS5 client says, at once; kind: the address type, found when None."""
    from clients import socks_address

    hello, user = b"\x05\x01\x00", b""
    if login:
        name, secret = (part.encode() for part in login)
        hello, user = b"\x05\x01\x02", b"\x01" + bytes([len(name)]) + name + bytes([len(secret)]) + secret
    address = socks_address(host) if kind is None else (
        bytes([kind, len(host.encode())]) + host.encode())
    return hello + user + b"\x05\x01\x00" + address + struct.pack(">H", port)


def socks_opened(said):
    return said.startswith(b"\x05\x02\x01\x00\x05\x00")


def post_from(source, path, body, port=8443):
    """One request to the API from a source address of one's own: (status, Retry-After)."""
    context = ssl.create_default_context(cafile="/tmp/var/ca.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context,
                                             source_address=(source, 0))
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("Retry-After")

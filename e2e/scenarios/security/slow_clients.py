# it ends slow clients at every listener in bounded time, and serves good ones from elsewhere meanwhile
# timeout: 120
import os
import pathlib
import re
import socket
import ssl
import time

from attack import HTTP, SOCKS, resident_kib
from clients import connect
from harness import check, wait_until
from places import SOON, audited, metrics
from up import Up, closed_network

URL, EACH = "http://hello.demo.internal/", 60
TUNNEL, API, TLS_DOOR = ("127.0.0.1", 7443), ("127.0.0.1", 8443), ("127.0.0.1", 8081)
HEAD_MS, HANDSHAKE_S, API_S = 1500, 10, 4
HALF_HELLO = bytes.fromhex("16030100a5010000a10303") + bytes(40)
VAR = pathlib.Path("/tmp/var")

# Where, what is said at first, what is trickled after it, and by when it must be over (s).
WAYS = {
    "HTTP: nothing": (HTTP, b"", b"", 2 * HEAD_MS / 1000), "HTTP: a head by and by": (HTTP, b"GET http://a/ HTTP/1.1\r\nX: ", b"y", 2 * HEAD_MS / 1000),
    "HTTP: empty lines": (HTTP, b"", b"\r\n", 2 * HEAD_MS / 1000), "SOCKS5: nothing": (SOCKS, b"", b"", 2 * HEAD_MS / 1000),
    "SOCKS5: half a greeting": (SOCKS, b"\x05\xff", b"\x01", 2 * HEAD_MS / 1000),
    "SOCKS5: half a log-in": (SOCKS, b"\x05\x01\x02\x01\xff", b"u", 2 * HEAD_MS / 1000),
    "TLS door: half a handshake": (TLS_DOOR, HALF_HELLO, b"", 2 * HEAD_MS / 1000),
    "tunnel: nothing": (TUNNEL, b"", b"", 2 * HANDSHAKE_S), "tunnel: half a handshake": (TUNNEL, HALF_HELLO, b"", 2 * HANDSHAKE_S),
    "tunnel: a handshake by and by": (TUNNEL, HALF_HELLO, b"\0", 2 * HANDSHAKE_S),
    "API: nothing": (API, b"", b"", 3 * API_S), "API: half a handshake": (API, HALF_HELLO, b"", 3 * API_S),
    "API: a handshake by and by": (API, HALF_HELLO, b"\0", 3 * API_S),
    "API: a head by and by": (API, b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\nX: ", b"y", 3 * API_S),
    "API: a body by and by": (API, b"POST /api/v1/login-sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                              b"Content-Length: 10000\r\n\r\n", b" ", 3 * API_S),
}
WITHIN_TLS = ("API: a head by and by", "API: a body by and by")


class Slow:
    def __init__(self, what, number):
        self.what, (door, first, self.more, self.limit_s) = what, WAYS[what]
        self.socket = socket.create_connection(door, timeout=20, source_address=(f"127.0.9.{1 + number % 3}", 0))
        self.since, self.is_over = time.monotonic(), False
        if what in WITHIN_TLS:
            self.socket = ssl.create_default_context(cafile=VAR / "ca.pem").wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.socket.sendall(first)
        self.socket.setblocking(False)

    def age(self):
        return time.monotonic() - self.since

    def looks_over(self):
        """Trickles on; whether it was closed."""
        try:
            if not self.is_over and self.more:
                self.socket.send(self.more)
            self.is_over = self.is_over or not self.socket.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self.is_over = True
        return self.is_over


def upgraded_without_hello(up):
    """Tunnels with a WebSocket on which nobody says HELLO: they need no certificate to come so far."""
    from raw_tunnel import RawTunnel

    tunnels = [RawTunnel(next((VAR / "agent").glob("*.pem")), VAR / "ca.pem") for _ in range(20)]
    check(all(t.upgrade() == 101 for t in tunnels))
    return tunnels


def good(up):
    since = time.monotonic()
    check("Hello" in up.curl(URL).stdout, "no page")
    check("Hello" in up.curl("--proxy", "socks5h://127.0.0.1:1080", URL).stdout, "no page by SOCKS5")
    check(up.api("GET", "/me").status == 200, "no API")
    return time.monotonic() - since


VAR.mkdir(mode=0o700)
(VAR / "relay.yaml").write_text(f"head_ms: {HEAD_MS}ms\nhttps_listen: 127.0.0.1:8081\n")
API_TIMES = {f"ADIT_CONTROLPLANE_{phase}_MS": f"{API_S}s" for phase in ("HEAD", "BODY")}
with Up(env={**API_TIMES, **SOON}) as up:
    closed_network(up)
    relay = up.pid("adit-relay")
    good(up)
    before, resident = len(os.listdir(f"/proc/{relay}/fd")), resident_kib(relay)
    slow = [Slow(what, n) for what in WAYS for n in range(EACH)]
    silent = upgraded_without_hello(up)
    took = [good(up) for _ in range(5)]
    new = up.add_agent("newcomer")          # joins and connects among the slow tunnels
    unread = [connect("files.corp.test:7000", up.curlrc()) for _ in range(30)]
    for n, stream in enumerate(unread):
        stream.sendall(f"send {n} 100000000\n".encode())
    wait_until(lambda: all([s.looks_over() or s.age() < s.limit_s for s in slow]) and all(s.is_over for s in slow), 30,
               lambda: {what: sum(not s.is_over for s in slow if s.what == what) for what in WAYS})
    check(all(t.ends(HANDSHAKE_S + 5) for t in silent), "silent tunnels are borne")
    ended = re.search(r'(?m)^adit_controlplane_late_total{listener="api"} (\d+)', metrics("controlplane"))
    check(int(ended.group(1)) >= 4 * EACH, ended)       # a handshake by and by fails by itself, once it is whole
    audited(up, "request-timeout", action="unknown", actor={"kind": "anonymous", "address": "127.0.9.1"})
    took += [good(up) for _ in range(5)]
    grown = resident_kib(relay) - resident
    check(grown < 96 * 1024, "30 streams that nobody reads made the relay grow by KiB", grown)
    for s in unread:
        s.close()
    # But for the newcomer's tunnel and what the line to the control plane may have open at a time.
    wait_until(lambda: len(os.listdir(f"/proc/{relay}/fd")) <= before + 8, 20,
               lambda: f"{len(os.listdir(f'/proc/{relay}/fd'))} descriptors, {before} before")
    check(up.pid("adit-relay") == relay and max(took) < 8, took)
    print(f"{len(slow) + len(silent)} slow clients; good ones took at most {max(took):.2f} s; the relay grew by {grown} KiB")

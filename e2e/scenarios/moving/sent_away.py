# it leaves a relay that sends it away when the time is over, and goes only where it was configured to go
# timeout: 180
import base64
import hashlib
import json
import socket
import ssl
import struct
import threading
import time

from attack import metric
from harness import check, wait_until
from raw_tunnel import GOAWAY, HELLO, ID, LINK_PING, PONG, RawTunnel, frame, frames_of
from up import Up

FAKE, SISTER, STRANGER = 7999, 7998, 7997
TIME_MS = 1500


def tag(number, value):
    return struct.pack(">BH", number, len(value)) + value


class FakeRelay(RawTunnel):
    """The relay's end, byte by byte, under the certificate of the real one."""

    def __init__(self, plain, pem):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.socket, self.buffer = context.wrap_socket(plain, server_side=True), b""

    def accept(self):
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(65536)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        proof = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.socket.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            b"Sec-WebSocket-Protocol: adit.v1\r\nSec-WebSocket-Accept: " + proof + b"\r\n\r\n")
        self.say(frame(HELLO, json.dumps({"protocol": 1, "id": ID, "boot_id": ID, "starts": 1, "streams_max": 1,
                                          "nonce": "A" * 43, "session": ID, "secret": "A" * 43}).encode()))
        check(next(frames_of(self.read()))[0] == HELLO)
        self.say(frame(LINK_PING, bytes(8)))

    def say(self, payload, opcode=2):
        n = len(payload)
        self.socket.sendall(bytes([0x80 | opcode]) + (bytes([n]) if n < 126 else struct.pack(">BH", 126, n)) + payload)

    def read(self, seconds=20):
        """One message of the agent's, its mask taken off; None: it closed."""
        self.socket.settimeout(seconds)
        try:
            head = self.take(2)
            n = head[1] & 0x7f
            n = n if n < 126 else struct.unpack(">H", self.take(2))[0]
            mask, payload = self.take(4), self.take(n)
        except (OSError, EOFError):
            return None
        return None if head[0] & 15 == 8 else bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))

    def take(self, n):
        while len(self.buffer) < n:
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError
            self.buffer += piece
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def hear(self, heard):
        """The frames that come until the agent closes; its PINGs are answered."""
        while (message := self.read(60)) is not None:
            for kind, payload in frames_of(message):
                heard.append((kind, payload))
                if kind == LINK_PING:
                    self.say(frame(PONG, payload[:8]))


def listener(port):
    s = socket.create_server(("127.0.0.1", port))
    s.settimeout(60)
    return s


def known(agent, event):
    return [line for text in agent.process.lines if text.startswith("{") and (line := json.loads(text))["event"] == event]


with Up() as up, listener(FAKE) as door, listener(STRANGER) as stranger:
    asked, heard = [], []

    def watch():
        try:
            asked.append(stranger.accept())
        except OSError:
            pass

    threading.Thread(target=watch, daemon=True).start()
    agent = up.add_agent("away", "--relays", f"127.0.0.1:7443,127.0.0.1:{FAKE},127.0.0.1:{SISTER}",
                         "--admin-listen", "127.0.0.1:9102")
    relay = FakeRelay(door.accept()[0], up.var / "relay/member.pem")
    relay.accept()
    ear = threading.Thread(target=relay.hear, args=(heard,), daemon=True)
    ear.start()
    far = lambda: [line for line in known(agent, "link.down")[-1:] if line["relay"].endswith(str(SISTER))
                   and line["retry_ms"] > 4000]
    wait_until(far, 90, lambda: agent.process.output[-2000:])
    wait_ms = far()[0]["retry_ms"]
    with listener(SISTER) as sister:
        began = time.monotonic()
        relay.say(frame(GOAWAY, tag(1, b"relay-draining") + tag(3, struct.pack(">I", TIME_MS)) + tag(4, b"\1") +
                        tag(5, f"127.0.0.1:{STRANGER}".encode()) + tag(5, f"127.0.0.1:{SISTER}".encode())))
        sister.accept()[0].close()
        check(time.monotonic() - began < wait_ms / 1000, "the named relay was not dialled sooner", wait_ms)
    ear.join(30)
    check(time.monotonic() - began >= TIME_MS / 1000, "it left before its time", time.monotonic() - began)
    told = [payload for kind, payload in heard if kind == GOAWAY]
    check(told and told[-1][3:17] == b"relay-draining", heard)
    check(known(agent, "link.goaway")[-1]["session"] is True, known(agent, "link.goaway"))
    check(not asked, "it dialled a relay that it was not configured with")
    counted = [metric(f"adit_agent_{name}_total", 9102) for name in ("sent_away", "elsewhere", "elsewhere_unknown")]
    check(counted == [1, 2, 1], counted)
    check(agent.is_connected(), "its link to the other relay ended, too")

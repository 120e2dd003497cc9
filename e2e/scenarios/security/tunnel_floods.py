# it ends a tunnel that floods or breaks the rules, stays small meanwhile, and serves everybody else
# timeout: 240
import pathlib
import struct
import threading
import time

from attack import metric, resident_kib
from harness import check, wait_until
from raw_tunnel import (ATTACH, BINARY, CONTINUATION, CREDIT, DATA, DATAGRAM, END, FIN, GOAWAY, HELLO, ID, LINK_PING, NOTICE,
                        OPEN, OPEN_OK, PING, PONG, RESET, TEXT, RawTunnel, frame)
from up import Agent, Up

PATIENCE_S = 10
URL = "http://hello.demo.internal/"
TAGS = bytes([1, 0, 16]) + b"u" * 16 + bytes([2, 0, 16]) + b"s" * 16 + bytes([3, 0, 4, 0, 0, 0, 1, 4, 0, 1, 3])

# What an accepted agent says n times over; "ends": the relay must end the link for it.
FLOODS = {
    "PING": (frame(LINK_PING, bytes(8)), 20000, True),
    "PONG that nobody asked for": (frame(PONG, bytes(8)), 20000, True),
    "PING of 72 bytes": (frame(LINK_PING, bytes(72)), 20000, True),
    "unknown link frame": (frame(0x3f), 20000, True),
    "empty NOTICE": (frame(NOTICE, b"\x63" + bytes(16)), 20000, True),
    "GOAWAY": (frame(GOAWAY, bytes([1, 0, 2]) + b"ok"), 20000, True),
    "OPEN, each answered": (None, 20000, False),
    "message of no frame": (b"", 20000, True),
}
# The same in frames of the WebSocket: bytes, opcode, first bits.
WEBSOCKET_FLOODS = {
    "WebSocket PING": (b"x", PING, 0x80, True), "WebSocket PONG": (b"x", 10, 0x80, True),
    "parts without a byte": (b"", CONTINUATION, 0, True),
}
# What ends a link at once.
BREAKS = {
    "a second HELLO": frame(HELLO, b"{}"), "an unknown critical link frame": frame(0x81), "half a header": b"\x02\0\0",
    "a frame beyond its message": frame(LINK_PING, bytes(8), length=9), "PING on a stream": frame(LINK_PING, bytes(8), stream=2),
    "PING too short": frame(LINK_PING, bytes(7)), "a length over the most": frame(DATA, bytes(16369), 2),
    "DATA on a stream that never was": frame(DATA, bytes(9), 202), "DATA on stream 0": frame(DATA, bytes(9), 0),
    "CREDIT on a stream that never was": frame(CREDIT, bytes(16), 204), "FIN never": frame(FIN, bytes(8), 206),
    "RESET never": frame(RESET, bytes(8), 208), "END never": frame(END, b"", 210), "OPEN_OK never": frame(OPEN_OK, b"", 212),
    "DATAGRAM never": frame(DATAGRAM, b"x", 214), "OPEN with the other side's id": frame(OPEN, TAGS, 2),
    "OPEN ids that fall": frame(OPEN, TAGS, 9) + frame(OPEN, TAGS, 7), "ATTACH ids that fall": frame(ATTACH, b"", 9) + frame(ATTACH, b"", 9),
    "a NOTICE beyond its total": frame(NOTICE, b"\x01" + bytes(8) + struct.pack(">II", 4, 0) + b"12345"),
    "a NOTICE of 2 MiB": frame(NOTICE, b"\x01" + bytes(8) + struct.pack(">II", 2 << 20, 0) + b"1"),
    "a NOTICE with a gap": frame(NOTICE, b"\x01" + bytes(8) + struct.pack(">II", 9, 5) + b"1"),
}
# What the WebSocket itself forbids: bytes, opcode, first bits.
WEBSOCKET = {
    "text": (b"hello", TEXT, 0x80), "compressed": (b"x", BINARY, 0xc0),
    "an unknown opcode": (b"x", 3, 0x80), "continuation of nothing": (b"x", CONTINUATION, 0x80),
    "a long control frame": (bytes(126), PING, 0x80), "a control frame in parts": (b"x", PING, 0),
}
# Who has a certificate and says something else than an agent does.
HELLOS = {
    "no protocol": {"protocol": None}, "protocol 2": {"protocol": 2}, "no boot id": {"boot_id": None}, "no nonce": {"nonce": None},
    "a short nonce": {"nonce": "A"}, "65 features": {"features": ["x"] * 65}, "an empty name": {"name": ""}, "no credential": {"credential": None},
    "unknown credential": {"credential": "trust-me"}, "a stranger's session": {"credential": "session", "id": ID, "session": ID, "proof": "A" * 43},
    "a name of 64": {"name": "x" * 64}, "a negative start": {"starts": -1}, "an unsigned signature": {"credential": "signature", "chain": "x", "signature": "x"},
}


def flood(tunnel, bytes_, times, *how):
    """Sends until the relay will not have it any more; reads nothing meanwhile."""
    try:
        for n in range(times):
            tunnel.say(bytes_ if bytes_ is not None else frame(OPEN, TAGS, 2 * n + 1), *how)
    except OSError:
        pass                                # it was ended: that is what is asked for


def longest_page_s(up, is_over):
    """The slowest page until then."""
    took = [0]
    while not is_over() or len(took) < 3:
        began = time.monotonic()
        check("Hello" in up.curl(URL).stdout, "no page meanwhile")
        took.append(time.monotonic() - began)
    return max(took)


with Up() as up:
    agent = Agent(up, "rogue")
    agent.stop()
    pem, relay = next(pathlib.Path(agent.dir).glob("*.pem")), up.pid("adit-relay")

    def tunnel(is_up=True):
        t = RawTunnel(pem, up.var / "ca.pem")
        check(not is_up or t.is_up(), "an agent that behaves was not let in")
        return t

    def still_serves(what):
        check("Hello" in up.curl(URL).stdout and up.pid("adit-relay") == relay, "after", what)
        check(resident_kib(relay) - before < 48 * 1024, what, "the relay grew by KiB", resident_kib(relay) - before)

    tunnel().close()
    before = resident_kib(relay)
    for what, (bytes_, times, must_end) in FLOODS.items():
        t = tunnel()
        flood(t, bytes_, times)
        check(not must_end or t.ends(), what, "was borne")
        t.close()
        still_serves(what)
    for what, bytes_ in BREAKS.items():
        t = tunnel()
        t.say(bytes_)
        check(t.ends(), what, "was borne")
    still_serves("broken frames")
    for what, (bytes_, opcode, first, must_end) in WEBSOCKET_FLOODS.items():
        t = tunnel()
        if opcode == CONTINUATION:
            t.say(frame(LINK_PING, bytes(8)), BINARY, 0)        # the message that they are parts of
        t.socket.settimeout(PATIENCE_S)
        flooding = threading.Thread(target=flood, args=(t, bytes_, 50000, opcode, first))
        flooding.start()
        took = longest_page_s(up, lambda: not flooding.is_alive())
        check(took < PATIENCE_S, what, "a page took", took)
        check(not must_end or t.ends(), what, "was borne")
        t.close()
        still_serves(what)
    for what, (bytes_, opcode, first) in WEBSOCKET.items():
        t = tunnel()
        t.say(bytes_, opcode, first)
        check(t.ends(), what, "was borne")
    still_serves("a broken WebSocket")
    for what, members in HELLOS.items():
        t = tunnel(is_up=False)
        check(t.upgrade() == 101 and t.read()[0] == HELLO)
        t.hello(**members)
        check(t.ends(), what, "was let in")
    for path, protocol in (("/", "adit.v1"), ("/tunnel", "chat"), ("/tunnel/../x", "adit.v1"), ("/tunnel", "")):
        check(tunnel(is_up=False).upgrade(path=path, protocol=protocol) != 101, path, protocol)
    t = tunnel(is_up=False)                 # frames of streams before it is accepted
    check(t.upgrade() == 101 and t.read()[0] == HELLO)
    t.say(frame(DATA, bytes(9), 2))
    check(t.ends(), "a stream's frame before HELLO was borne")
    still_serves("broken HELLOs")
    wait_until(lambda: metric("adit_relay_links") == 1, 20, "only the demo's link is left")
    print(f"{len(FLOODS) + len(WEBSOCKET_FLOODS) + len(BREAKS) + len(WEBSOCKET) + len(HELLOS)} cases; the relay grew by {resident_kib(relay) - before} KiB")

# it carries datagrams by SOCKS5 UDP ASSOCIATE: whole, to targets that are granted, from and to one client
# timeout: 240
import pathlib
import random
import socket
import ssl
import struct
import time

from attack import metric, metrics
from clients import Refused, connect
from harness import check, wait_until
from places import explained
from association import FRAME_MAX, LOCAL, Association, Echo, dns_query, header, number_of, numbered
from up import Up, closed_network

VAR, TARGETS, COUNT = pathlib.Path("/tmp/var"), 8, 10_000
IN_FLIGHT = 60_000          # bytes: no more than the sockets on the way hold
HOST, PORT = "files.corp.test", 7001
SIZES = [12, 13, 64, 512, 1200, 1472, 1473, 4000, 9000, FRAME_MAX]


def dropped(why):
    text = f'adit_relay_datagrams_dropped_total{{why="{why}"}} '
    return next(int(line[len(text):]) for line in metrics().splitlines() if line.startswith(text))


def resolves(a):
    a.send("10.99.0.2", 53, dns_query(HOST))
    host, port, answer = a.receive()
    check((host, port) == ("10.99.0.2", 53) and answer.endswith(socket.inet_aton("10.99.0.2")), host, port, answer)


def ten_thousand(a):
    """Echoes of many sizes; which are lost is counted, what comes is whole."""
    rng, waiting, seen, number = random.Random(7), {}, set(), 0
    while number < COUNT or waiting:
        while number < COUNT and sum(waiting.values()) < IN_FLIGHT:
            size = rng.choice(SIZES)
            a.send(HOST, PORT, numbered(number, size))
            waiting[number], number = size, number + 1
        came = a.receive(2)
        if came is None:
            waiting.clear()                 # lost
            continue
        back = number_of(came[2])
        check(back not in seen, "came twice:", back)
        seen.add(back)
        waiting.pop(back, None)
    check(len(seen) >= COUNT * 0.95, "lost", COUNT - len(seen))
    return COUNT - len(seen)


def bad_datagrams():
    yield "malformed", "empty", b""
    yield "malformed", "short", header(HOST, PORT)[:9]
    yield "malformed", "reserved bytes", header(HOST, PORT, reserved=1) + b"x"
    yield "malformed", "port 0", header(HOST, 0) + b"x"
    for kind in (0, 2, 5, 255):
        yield "malformed", f"type {kind}", b"\0\0\0" + bytes([kind]) + header(HOST, PORT)[4:] + b"x"
    for name in (b"", b"a\0b", b"a b", b"\xff\xfe"):
        yield "malformed", f"name {name}", b"\0\0\0\x03" + bytes([len(name)]) + name + struct.pack(">H", PORT) + b"x"
    yield "malformed", "name that is cut", b"\0\0\0\x03\xff" + HOST.encode()
    for fragment in (1, 0x80, 0xff):
        yield "fragment", f"FRAG {fragment}", header(HOST, PORT, fragment) + b"x"
    yield "too_long", "one byte too many", header(HOST, PORT) + bytes(FRAME_MAX + 1)
    yield "too_long", "the longest of UDP", header(HOST, PORT) + bytes(65507 - len(header(HOST, PORT)))


def refuses_what_is_bad(a, echo):
    for why, what, datagram in bad_datagrams():
        before, count = dropped(why), echo.count
        a.udp.sendto(datagram, a.relay)
        check(a.ask(HOST, PORT, what.encode()), "no echo after", what)
        wait_until(lambda: dropped(why) == before + 1, 10, lambda: f"{what} is counted as {why}")
        check(echo.count > count, what)


def takes_no_forged_source(a, echo):
    """Others in this namespace, who know the relay's port."""
    before, count = dropped("source"), echo.count
    others = []
    for address in ("127.0.0.2", "127.0.0.77", LOCAL):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((address, 0))
        for _ in range(10):
            s.sendto(header(HOST, PORT) + b"forged", a.relay)
        others.append(s)
    wait_until(lambda: dropped("source") == before + 30, 10, "what is forged is counted")
    check(a.ask(HOST, PORT, b"mine"), "the client is not served any more")
    check(echo.count - count <= 20, "a forged datagram went out")      # those that ask() repeated
    for s in others:
        s.setblocking(False)
        try:
            check(False, "an answer to a forged source:", s.recv(100))
        except BlockingIOError:
            s.close()


def has_bounds(up, inside):
    echoes = [Echo(inside, port) for port in range(7100, 7100 + TARGETS + 1)]
    with Association(up.curlrc()) as a:
        for n in range(TARGETS):
            check(a.ask("10.99.0.2", 7100 + n, b"%d" % n), "target", n)
        wait_until(lambda: a.send("10.99.0.2", 7100 + TARGETS, b"x") or dropped("targets") > 0, 10,
                   "one target too many is refused")
        check(echoes[TARGETS].count == 0, "the target beyond the bound was reached")
        check(a.ask("10.99.0.2", 7100, b"again"), "a target that it had is gone")


def ends_with_tcp(up):
    a = Association(up.curlrc())
    check(a.ask(HOST, PORT, b"hello"))
    wait_until(lambda: metric("adit_relay_udp_associations") == 1, 10, "one association")
    a.control.close()
    wait_until(lambda: metric("adit_relay_udp_associations") == 0 and metric("adit_relay_streams") == 0, 15,
               lambda: "association and streams are gone: " + str(metric("adit_relay_streams")))
    a.send(HOST, PORT, b"too late")
    check(a.receive(0.5) is None, "an answer after the connection's end")
    a.udp.close()


def is_cut(up):
    """Seconds from the revocation to the last answer."""
    user, secret = up.add_user("cut")
    up.api.make("grants", name="cut", user=user, destination_profile="inner")
    with Association((user, secret)) as a:
        check(a.ask(HOST, PORT, b"hello"))
        since = last = time.monotonic()
        answer = up.api("DELETE", "/grants/cut")
        check(answer.status == 204, answer)
        while time.monotonic() < since + 3:
            a.send(HOST, PORT, b"still here")
            if a.receive(0.02):
                last = time.monotonic()
        check(last - since < 1.0, "answers came", last - since, "s after the grant was taken away")
        check("no-grant" in explained(up, user, f"{HOST}:{PORT}"), explained(up, user, f"{HOST}:{PORT}"))
    return last - since


def records(up, network="udp"):
    return [s for s in up.api("GET", "/streams?limit=200").body["items"] if s.get("network") == network]


def refuses_over_tls(up):
    context = ssl.create_default_context(cafile=str(VAR / "ca.pem"))
    context.check_hostname = False
    user, secret = (part.encode() for part in up.curlrc())
    with socket.create_connection((LOCAL, 1081), timeout=20) as plain, context.wrap_socket(plain) as s:
        s.sendall(b"\x05\x01\x02\x01" + bytes([len(user)]) + user + bytes([len(secret)]) + secret +
                  b"\x05\x03\x00\x01" + bytes(6))
        said = b""
        while piece := s.recv(100):
            said += piece
    check(said == b"\x05\x02\x01\x00\x05\x07\x00\x01" + bytes(6), said)


VAR.mkdir(mode=0o700)
(VAR / "relay.yaml").write_text(f"udp_targets_max: {TARGETS}\nsockstls_listen: 127.0.0.1:1081\n")
with Up() as up:
    inside, dns, agent = closed_network(up, hosts=("*.corp.test", "10.99.0.0/24"))
    echo = Echo(inside, PORT)
    with Association(up.curlrc(), tell_port=True) as a:
        resolves(a)
        lost = ten_thousand(a)
        refuses_what_is_bad(a, echo)
        takes_no_forged_source(a, echo)
        a.send("other.test", 53, b"x")
        check(a.receive(0.3) is None, "an answer from a target without a grant")
        check(a.ask(HOST, PORT, b"the end"))
    wait_until(lambda: any(s["host"] == HOST and s["state"] == "closed" and s["reason"] == "ok" and
                           s["datagrams_out"] >= COUNT * 0.95 and s["datagrams_in"] >= COUNT * 0.95 and
                           s["bytes_out"] > COUNT * 1000 for s in records(up)), 20,
               lambda: f"a record with what was carried: {records(up)}")
    has_bounds(up, inside)
    ends_with_tcp(up)
    cut_s = is_cut(up)
    refuses_over_tls(up)
    check(len(echo.sources) < 60, "sockets of the agent's:", len(echo.sources))
    check(connect(f"{HOST}:7000", up.curlrc()), "CONNECT beside them")
    try:
        Association((up.curlrc()[0], "adp_wrong"))
        check(False, "an association with a wrong secret")
    except Refused:
        pass
    print(f"{lost} of {COUNT} datagrams lost; cut after {cut_s:.2f} s")

# it reaches no loopback, metadata or own address in over 200 spellings, literal or resolved, by any door
import ipaddress
import itertools
import socket

from attack import HTTP, SOCKS, Canary, basic, http_request, say, socks_opened, socks_request, status
from harness import check, wait_until
from inside import ip
from up import Up, closed_network

PORT = 7777                                 # nothing that is allowed listens there
OWN = ["127.0.0.1", "127.0.0.53", "127.255.255.254", "10.99.0.1", "0.0.0.0", "0.0.0.1"]
METADATA = ["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192"]
V6 = ["::1", "::", "fd99::1", "fd00:ec2::254", "fe80::1", "ff02::1"]
NAMES = ["localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost", "ip6-loopback",
         "metadata.google.internal", "instance-data", "kubernetes.default.svc", "host.docker.internal",
         socket.gethostname().lower(), "127.0.0.1.nip.io", "7f000001.rbndr.us"]


def spellings_v4(text):
    """What some resolver, some library, somewhere takes for this address."""
    a, b, c, d = ipaddress.IPv4Address(text).packed
    n = int(ipaddress.IPv4Address(text))
    h = f"{a:02x}{b:02x}:{c:02x}{d:02x}"
    yield from (text, text + ".", f"{n}", f"0x{n:08x}", f"0X{n:X}", f"0{n:o}", f"{n + 2 ** 32}")
    yield from (f"{a}.{b << 16 | c << 8 | d}", f"{a}.{b}.{c << 8 | d}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
                f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a:03}.{b:03}.{c:03}.{d:03}", f"{a}.{b}.{c}.0{d:o}",
                f"{a + 256}.{b}.{c}.{d}", f"{a}.{b}.{c}.{d}.", f"{a}..{b}.{c}.{d}", f"+{a}.{b}.{c}.{d}")
    yield from (f"::ffff:{text}", f"::FFFF:{h}", f"0:0:0:0:0:ffff:{h}", f"::{text}", f"::{h}",
                f"::ffff:0:{text}", f"64:ff9b::{text}", f"64:ff9b::{h}", f"64:ff9b:1::{h}", f"2002:{h}::",
                f"2002:{h}::1", f"::ffff:{text}%lo", f"[::ffff:{text}]")
    yield from (text.translate({ord(x): chr(0xff10 + int(x)) for x in "0123456789"}),
                text.replace(".", "。"), text.replace(".", "．"), "①②⑦.⓪.⓪.①",
                text.replace(".", "%2e"), f"good.corp.test@{text}", f"{text}#.corp.test", f"{text}\\.corp.test",
                f"{text}%00.corp.test", f"{text}?.corp.test", f"{text};.corp.test", f" {text}", f"{text}/")


def spellings():
    for text in OWN + METADATA:
        yield from spellings_v4(text)
    for text in V6:
        yield from (text, ipaddress.IPv6Address(text).exploded, text.upper(), text + "%lo", text + "%25lo")
    yield from NAMES
    yield from resolved


def attempts(host, login):
    bare = host.strip("[]")
    to = f"[{bare}]:{PORT}" if ":" in bare else f"{host}:{PORT}"
    yield HTTP, http_request(to, to, basic(*login), method="CONNECT"), lambda said: status(said) == 200
    yield HTTP, http_request(f"http://{to}/", to, basic(*login)), lambda said: status(said) == 200
    yield SOCKS, socks_request(host, PORT, login, kind=3), socks_opened
    try:
        yield SOCKS, socks_request(str(ipaddress.ip_address(bare)), PORT, login), socks_opened
    except ValueError:
        pass                                # no literal that has a binary form


resolved = {f"to-{n}.corp.test": [address] for n, address in enumerate(
    OWN + METADATA + V6 + ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "::127.0.0.1"])}
with Up() as up:
    inside, _, _ = closed_network(up, names={**resolved, "good.corp.test": ["10.99.0.2"]})
    canary = Canary(inside)
    canary.listen("0.0.0.0", PORT)
    canary.listen("::", PORT)
    for address in METADATA + ["64:ff9b::7f00:1", "fd00:ec2::254", "2002:7f00:1::1"]:
        length, family = (128, "-6") if ":" in address else (32, "-4")
        inside.there(lambda: ip(family, "addr", "add", f"{address}/{length}", "dev", "inside1",
                                *(["nodad"] if length == 128 else [])))
        ip(family, "route", "add", f"{address}/{length}", "via", "fd99::2" if length == 128 else "10.99.0.2")
        canary.listen(address, PORT, is_there=True)
    up.allow("wide", ["0.0.0.0/0", "::/0", "*.test", "*.io", "*.us", "*.internal", "*.svc", "*.localdomain",
                      "localhost", "ip6-localhost", "ip6-loopback", "instance-data"],
             ["1-65535"], agent_group="inner", allow_special=True)
    login, hosts = up.curlrc(), list(dict.fromkeys(spellings()))
    let_in = [(host, bytes_) for host in hosts for door, bytes_, is_open in attempts(host, login)
              if is_open(say(door, bytes_))]
    check(not let_in, "let in:", let_in[:5])
    check(not canary.hits, "reached:", canary.hits[:5])
    check(len(hosts) > 200, len(hosts))
    for address in ["127.0.0.1", "::1", *METADATA]:
        socket.create_connection((address, PORT), timeout=10).close()
    wait_until(lambda: len(canary.hits) == 2 + len(METADATA), 5, lambda: canary.hits)   # it can sing
    inside.serve(lambda c: c.recv(1), PORT, "10.99.0.3")
    good = [is_open(say(door, bytes_)) for door, bytes_, is_open in attempts("10.99.0.3", login)]
    check(sum(good) == 3, "the grant itself does not work", good)
    print(f"{len(hosts)} spellings, 0 connections")

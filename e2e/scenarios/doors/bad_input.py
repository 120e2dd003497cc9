# it refuses every malformed request at its doors, serves a good one after each, and leaks nothing
# timeout: 300
import base64
import os
import socket

from clients import connect, socks5
from harness import check, wait_until
from up import Up, is_sanitized

HTTP, SOCKS = ("127.0.0.1", 8080), ("127.0.0.1", 1080)
TARGET = "hello.demo.internal:80"
A = "http://hello.demo.internal/"


def http_cases(auth):
    """Names and bytes; every one must be refused with 4xx or 5xx, or by closing."""
    ok_line, host = f"CONNECT {TARGET} HTTP/1.1", f"Host: {TARGET}"

    def head(line=ok_line, *fields, end="\r\n"):
        return (line + end + end.join(fields or (host, auth)) + end + end).encode("latin-1")

    lines = {
        "no version": f"CONNECT {TARGET}", "version 2.0": f"CONNECT {TARGET} HTTP/2.0",
        "version 0.9": f"CONNECT {TARGET} HTTP/0.9", "version 1.10": f"CONNECT {TARGET} HTTP/1.10",
        "lower-case version": f"CONNECT {TARGET} http/1.1", "two spaces": f"CONNECT  {TARGET} HTTP/1.1",
        "tab for space": f"CONNECT\t{TARGET} HTTP/1.1", "space in front": f" CONNECT {TARGET} HTTP/1.1",
        "space behind": f"CONNECT {TARGET} HTTP/1.1 ", "no target": "CONNECT HTTP/1.1",
        "empty line only": "", "method with a comma": f"CON,NECT {TARGET} HTTP/1.1",
        "method with a NUL": f"CONNECT\0 {TARGET} HTTP/1.1", "lower-case method": f"connect {TARGET} HTTP/1.1",
        "unknown method": f"TUNNEL {TARGET} HTTP/1.1", "port 0": "CONNECT hello.demo.internal:0 HTTP/1.1",
        "no port": "CONNECT hello.demo.internal HTTP/1.1", "empty port": "CONNECT hello.demo.internal: HTTP/1.1",
        "port 65536": "CONNECT hello.demo.internal:65536 HTTP/1.1",
        "port with a sign": "CONNECT hello.demo.internal:+80 HTTP/1.1",
        "port in hex": "CONNECT hello.demo.internal:0x50 HTTP/1.1",
        "port twice": "CONNECT hello.demo.internal:80:80 HTTP/1.1", "empty host": "CONNECT :80 HTTP/1.1",
        "user in the target": f"CONNECT me@{TARGET} HTTP/1.1", "path in CONNECT": f"CONNECT {TARGET}/x HTTP/1.1",
        "scheme in CONNECT": f"CONNECT http://{TARGET} HTTP/1.1", "open bracket": "CONNECT [::1:80 HTTP/1.1",
        "zone in the address": "CONNECT [fe80::1%25eth0]:80 HTTP/1.1",
        "label of 64": f"CONNECT {'a' * 64}.internal:80 HTTP/1.1",
        "name of 254": f"CONNECT {'a.' * 126}aa:80 HTTP/1.1", "empty label": "CONNECT hello..internal:80 HTTP/1.1",
        "octal address": "CONNECT 0177.0.0.1:80 HTTP/1.1", "short address": "CONNECT 127.1:80 HTTP/1.1",
        "number as address": "CONNECT 2130706433:80 HTTP/1.1", "percent in the name": "CONNECT he%6clo.demo.internal:80 HTTP/1.1",
        "origin form": "GET / HTTP/1.1", "asterisk": "OPTIONS * HTTP/1.1", "https absolute": f"GET https://{TARGET}/ HTTP/1.1",
        "ftp absolute": f"GET ftp://{TARGET}/ HTTP/1.1", "user in the absolute form": "GET http://u:p@hello.demo.internal/ HTTP/1.1",
        "fragment": f"GET {A}#x HTTP/1.1", "bytes above 0x7f": "CONNECT h\xe9llo.demo.internal:80 HTTP/1.1",
    }
    for name, line in lines.items():
        yield name, head(line, host, auth)
    fields = {
        "no Host": (auth,), "two Hosts": (host, host, auth), "Host of another": ("Host: a b", auth),
        "space before the colon": ("Host : x", auth), "no colon": (host, "Nonsense", auth),
        "empty field name": (host, ": x", auth), "folded line": (host, "X: a\r\n b", auth),
        "NUL in a field": (host, "X: a\0b", auth), "bare CR in a field": (host, "X: a\rb", auth),
        "101 fields": (host, auth, *[f"X{n}: y" for n in range(101)]),
        "head of 64 KiB": (host, auth, "X: " + "y" * 65536),
        "Proxy-Authorization twice": (host, auth, auth),
        "Basic with bad base 64": (host, "Proxy-Authorization: Basic !!!!"),
        "Basic without a colon": (host, "Proxy-Authorization: Basic " + base64.b64encode(b"demo").decode()),
        "Basic without a value": (host, "Proxy-Authorization: Basic"),
        "Bearer": (host, "Proxy-Authorization: Bearer x"), "no credential": (host,),
        "length and coding": (host, auth, "Content-Length: 5", "Transfer-Encoding: chunked"),
        "two lengths": (host, auth, "Content-Length: 5", "Content-Length: 6"),
        "negative length": (host, auth, "Content-Length: -1"), "huge length": (host, auth, "Content-Length: " + "9" * 30),
        "coding twice": (host, auth, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        "chunked not last": (host, auth, "Transfer-Encoding: chunked, gzip"),
        "unknown coding": (host, auth, "Transfer-Encoding: rot13"),
    }
    for name, given in fields.items():
        line = f"POST {A} HTTP/1.1" if "length" in name or "cod" in name or "chunked" in name else ok_line
        yield name, head(line, *(("Host: hello.demo.internal",) + given[1:] if line != ok_line else given))
    yield "bare line feeds", head(end="\n")
    yield "TLS on the plain door", bytes.fromhex("16030100a5010000a10303") + bytes(160)
    yield "SOCKS5 on the HTTP door", b"\x05\x01\x02"
    yield "random bytes", os.urandom(4096)
    good = head()
    for cut in (1, 8, len(good) // 2, len(good) - 1):
        yield f"cut at {cut}", good[:cut]


def socks_cases(user, secret):
    hello, login = b"\x05\x01\x02", b"\x01" + bytes([len(user)]) + user + bytes([len(secret)]) + secret
    name = b"\x03\x13hello.demo.internal"
    ask = {
        "version 4 in the request": b"\x04\x01\x00" + name + b"\0P", "reserved byte": b"\x05\x01\x01" + name + b"\0P",
        "BIND": b"\x05\x02\x00" + name + b"\0P", "UDP and a reserved byte": b"\x05\x03\x01" + name + b"\0P",
        "command 0": b"\x05\x00\x00" + name + b"\0P", "command 255": b"\x05\xff\x00" + name + b"\0P",
        "type 0": b"\x05\x01\x00\x00aaaa\0P", "type 2": b"\x05\x01\x00\x02aaaa\0P", "type 255": b"\x05\x01\x00\xffaaaa\0P",
        "name of 0": b"\x05\x01\x00\x03\x00\0P", "name of 255": b"\x05\x01\x00\x03\xff" + b"a" * 255 + b"\0P",
        "NUL in the name": b"\x05\x01\x00\x03\x05he\0lo\0P", "space in the name": b"\x05\x01\x00\x03\x05he lo\0P",
        "high byte in the name": b"\x05\x01\x00\x03\x05he\xfflo\0P", "empty label": b"\x05\x01\x00\x03\x04a..b\0P",
        "dot only": b"\x05\x01\x00\x03\x01.\0P", "octal address as a name": b"\x05\x01\x00\x03\x0a0177.0.0.1\0P",
        "number as a name": b"\x05\x01\x00\x03\x0a2130706433\0P", "port 0": b"\x05\x01\x00" + name + b"\0\0",
        "loopback": b"\x05\x01\x00\x01\x7f\0\0\x01\0P", "metadata": b"\x05\x01\x00\x01\xa9\xfe\xa9\xfe\0P",
        "mapped loopback": b"\x05\x01\x00\x04" + bytes(10) + b"\xff\xff\x7f\0\0\x01\0P",
        "unspecified": b"\x05\x01\x00\x01\0\0\0\0\0P", "multicast": b"\x05\x01\x00\x01\xe0\0\0\x01\0P",
        "IPv6 loopback": b"\x05\x01\x00\x04" + bytes(15) + b"\x01\0P", "not granted": b"\x05\x01\x00\x03\x05other\0P",
    }
    for what, request in ask.items():
        yield what, hello + login + request
    first = {
        "version 4": b"\x04\x01\0P\x7f\0\0\x01x\0", "version 0": b"\x00\x01\x02", "version 6": b"\x06\x01\x02",
        "no methods": b"\x05\x00", "no login offered": b"\x05\x01\x00", "GSSAPI only": b"\x05\x01\x01",
        "255 other methods": b"\x05\xff" + bytes(x for x in range(256) if x != 2), "HTTP": b"GET / HTTP/1.1\r\n\r\n",
        "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(160), "random": b"\xff" + os.urandom(600),
    }
    yield from first.items()
    logins = {
        "login version 0": b"\x00" + login[1:], "login version 5": b"\x05" + login[1:],
        "empty user": b"\x01\x00" + login[2 + len(user):], "empty secret": b"\x01" + bytes([len(user)]) + user + b"\x00",
        "both empty": b"\x01\x00\x00", "wrong secret": login[:-1] + bytes([login[-1] ^ 1]),
        "wrong user": b"\x01\x04root" + login[2 + len(user):], "user of 255": b"\x01\xff" + b"u" * 255 + b"\x01x",
        "secret of 255": b"\x01\x04demo\xff" + b"s" * 255, "NUL in the user": b"\x01\x05de\0mo" + login[2 + len(user):],
    }
    for what, message in logins.items():
        yield what, hello + message
    good = hello + login + b"\x05\x01\x00" + name + b"\0P"
    for cut in range(1, len(good), 4):
        yield f"cut at {cut}", good[:cut]


def refused(door, bytes_):
    """Sends, ends the direction; what the door said."""
    with socket.create_connection(door, timeout=40) as s:
        said = b""
        try:
            s.sendall(bytes_)
            s.shutdown(socket.SHUT_WR)
            while piece := s.recv(65536):
                said += piece
        except (ConnectionResetError, BrokenPipeError):
            pass                            # the door closed on bytes that it had not read
        return said


def page_comes(stream):
    stream.sendall(b"GET / HTTP/1.1\r\nHost: hello.demo.internal\r\nConnection: close\r\n\r\n")
    text = stream.makefile("rb").read()
    check(b"Hello" in text, "no page after a bad request", text)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settle(name):
    wait_until(lambda: descriptors(relay) <= before, 15, f"the descriptors are back after {name}")


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def is_sanitized(pid):
    """The sanitizers keep freed memory for a while, on purpose."""
    with open(f"/proc/{pid}/maps") as maps:
        return "libasan" in maps.read()


with Up() as up:
    user, secret = up.curlrc()
    basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
    relay = up.pid("adit-relay")
    page_comes(connect(TARGET, (user, secret)))
    page_comes(socks5("hello.demo.internal", 80, (user, secret)))
    before, resident = descriptors(relay), resident_kib(relay)
    http = list(http_cases("Proxy-Authorization: Basic " + basic))
    socks = list(socks_cases(user.encode(), secret.encode()))
    check(len(http) >= 60 and len(socks) >= 60, len(http), len(socks))
    for name, bytes_ in http:
        said = refused(HTTP, bytes_)
        check(not said or said.split()[1][:1] in (b"4", b"5"), "HTTP:", name, said[:200])
        page_comes(connect(TARGET, (user, secret)))
        settle(name)
    for name, bytes_ in socks:
        said = refused(SOCKS, bytes_)
        check(b"\x05\x00\x00\x01" not in said, "SOCKS5:", name, said)
        page_comes(socks5("hello.demo.internal", 80, (user, secret)))
        settle(name)
    check(up.pid("adit-relay") == relay, "the relay was restarted")
    grown = resident_kib(relay) - resident
    check(grown < 16 * 1024 or is_sanitized(relay), "the relay grew by KiB:", grown)
    print(f"{len(http)} HTTP and {len(socks)} SOCKS5 cases; the relay grew by {grown} KiB")

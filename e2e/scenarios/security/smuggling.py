# it passes exactly one request for each that it accepts, and nothing that two readers could read apart
import re
import threading

from attack import HTTP, basic, say
from harness import check, wait_until
from up import Up, closed_network

HOST, A = "web.corp.test", "http://web.corp.test"
SMUGGLED = "GET http://web.corp.test/smuggled HTTP/1.1\r\nHost: web.corp.test\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
seen, lock = [], threading.Lock()


def upstream(connection):
    """A careless server: reads whatever comes until the end, and keeps all of it."""
    connection.settimeout(0.3)
    got = b""
    try:
        while piece := connection.recv(65536):
            got += piece
            if got.endswith((b"\r\n\r\n", b"0\r\n\r\n")) or len(got) > 60000:
                break
    except TimeoutError:
        pass
    with lock:
        seen.append(got)
    connection.sendall(ANSWER)


def post(*fields, body, line=f"POST {A}/a HTTP/1.1"):
    return "\r\n".join([line, f"Host: {HOST}", *fields, AUTH, "", body])


def mutations():
    """Name: bytes of a request that readers disagree about; a smuggled one is in its body."""
    n, chunk = len(SMUGGLED), f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
    te, cl = "Transfer-Encoding: chunked", f"Content-Length: {n}"
    for name, fields in {
        "CL.TE": (cl, te), "TE.CL": (te, cl), "CL 0 and TE": ("Content-Length: 0", te),
        "two lengths": ("Content-Length: 0", cl), "one list of lengths": (f"Content-Length: 0, {n}",),
        "the same length in a list": (f"Content-Length: {n}, {n}",), "length twice": (cl, cl),
        "+length": (f"Content-Length: +{n}",), "-length": (f"Content-Length: -{n}",),
        "length in hex": (f"Content-Length: 0x{n:x}",), "length with a space": (f"Content-Length: {n} 1",),
        "length of 2^64": (f"Content-Length: {n + 2 ** 64}",), "empty length": ("Content-Length:",),
        "length, folded": (f"Content-Length:\r\n {n}",), "length_": (f"Content_Length: {n}", te + " "),
        "TE xchunked": ("Transfer-Encoding: xchunked", cl), "TE with a tab": ("Transfer-Encoding:\tchunked", cl),
        "TE with a vertical tab": ("Transfer-Encoding: \x0bchunked", cl), "TE, space": ("Transfer-Encoding : chunked", cl),
        "TE in quotes": ('Transfer-Encoding: "chunked"', cl), "TE twice": (te, "Transfer-Encoding: identity"),
        "TE identity": ("Transfer-Encoding: identity", cl), "TE chunked, identity": (te + ", identity", cl),
        "TE chunked, chunked": (te + ", chunked",), "TE with a NUL": ("Transfer-Encoding: chunked\0", cl),
        "TE after a bare CR": ("X: y\rTransfer-Encoding: chunked", cl),
        "TE after a bare LF": ("X: y\nTransfer-Encoding: chunked", cl), "TE, folded": ("X: y\r\n Transfer-Encoding: chunked", cl),
        "TE in a first line that is folded": (" Transfer-Encoding: chunked", cl), "TE with CR": ("Transfer-Encoding: chunked\r", cl),
        "length listed away": ("Connection: Content-Length", cl), "TE listed away": ("Connection: Transfer-Encoding", te),
    }.items():
        yield name, post(*fields, body=SMUGGLED)
        yield name + ", in chunks", post(*fields, body=chunk)
    for name, body in {
        "chunk of 0x5": f"0x5\r\nhello\r\n0\r\n\r\n{SMUGGLED}", "chunk of 2^64": f"{2 ** 64 + 5:x}\r\nhello\r\n0\r\n\r\n{SMUGGLED}",
        "chunk with a space": f"5 \r\nhello\r\n0\r\n\r\n{SMUGGLED}", "chunk of -1": f"-1\r\nhello\r\n0\r\n\r\n{SMUGGLED}",
        "chunk with LF": f"5\nhello\r\n0\r\n\r\n{SMUGGLED}", "chunk too short": f"4\r\nhello\r\n0\r\n\r\n{SMUGGLED}",
        "chunk without CRLF": f"5\r\nhello0\r\n\r\n{SMUGGLED}", "empty chunk size": f"\r\nhello\r\n0\r\n\r\n{SMUGGLED}",
        "extension with LF": f"5;a\nb\r\nhello\r\n0\r\n\r\n{SMUGGLED}", "extension with CR": f"5;a\rb\r\nhello\r\n0\r\n\r\n{SMUGGLED}",
        "trailer Transfer-Encoding": f"0\r\n{te}\r\n\r\n{SMUGGLED}", "trailer Content-Length": f"0\r\n{cl}\r\n\r\n{SMUGGLED}",
        "trailer with LF": f"0\r\nX: y\n\r\n{SMUGGLED}", "trailer without colon": f"0\r\nX\r\n\r\n{SMUGGLED}",
    }.items():
        yield name, post(te, body=body)
    for name, line in {
        "Host of another": f"GET http://other.corp.test/a HTTP/1.1", "port of another": f"GET {A}:81/a HTTP/1.1",
        "line with LF": f"GET {A}/a HTTP/1.1\nX: y", "two targets": f"GET {A}/a {A}/b HTTP/1.1",
        "version 1.2": f"GET {A}/a HTTP/1.2", "NUL in the path": f"GET {A}/a\0 HTTP/1.1", "user in front": "GET http://web.corp.test@other.corp.test/ HTTP/1.1",
        "backslash": "GET http://web.corp.test\\@other.corp.test/ HTTP/1.1", "space in the path": f"GET {A}/a b HTTP/1.1",
    }.items():
        yield name, post(body="", line=line) + SMUGGLED
    for name, fields in {"early bytes": (), "early bytes, a length": (f"Content-Length: {len(SMUGGLED)}",)}.items():
        head = "\r\n".join([f"CONNECT {HOST}:80 HTTP/1.1", f"Host: {HOST}:80", *fields, "", ""])
        yield "CONNECT refused, " + name, head + SMUGGLED.replace("\r\n\r\n", f"\r\n{AUTH}\r\n\r\n")
    yield "Host twice", post("Host: other.corp.test", body="", line=f"GET {A}/a HTTP/1.1")


def statuses(said):
    return [int(n) for n in re.findall(rb"HTTP/1\.1 (\d{3}) ", said)]


with Up() as up:
    inside, _, _ = closed_network(up, names={HOST: ["10.99.0.2"], "other.corp.test": ["10.99.0.2"]})
    inside.serve(upstream, 80)
    AUTH = "Proxy-Authorization: " + basic(*up.curlrc())
    passed = []
    for name, text in mutations():
        before = len(seen)
        told = statuses(say(HTTP, text.encode("latin-1")))
        accepted = told.count(200)
        check(len(seen) - before == accepted, name, told, seen[before:])
        check(all(s in (200, 400, 407, 408, 411, 413, 431, 501, 505) for s in told) and told, name, told)
        check(not any(got.startswith(b"GET /smuggled") for got in seen[before:]), name, seen[before:])
        passed += [name] * accepted
        for got in seen[before:]:           # what is passed on has one framing that all agree on
            head = got.split(b"\r\n\r\n")[0].lower()
            framings = head.count(b"content-length:") + head.count(b"transfer-encoding:")
            check(framings == (1 if head.startswith(b"post") else 0), name, got)
            check(head.count(b"\nhost: ") == 1 and b"connection: close" in head, name, got)
    whole = post("Transfer-Encoding: chunked", body="5;ext=1\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n")
    good = [f"GET {A}/{n} HTTP/1.1\r\nHost: {HOST}\r\n{AUTH}\r\n\r\n" for n in range(5)]
    before = len(seen)
    check(statuses(say(HTTP, "".join(good + [whole] + good).encode())) == [200] * 11, "eleven in one go")
    paths = [got.split()[1].decode()[-1] for got in seen[before:]]
    check("".join(paths) == "01234a01234", "crossed or lost:", paths)
    print(f"{len(list(mutations()))} mutations; accepted, one request each: {passed}")

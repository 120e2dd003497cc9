# it never lets a hostile service answer in another's place, nor hold more than its own connection
import os
import re
import socket

from attack import HTTP, basic
from harness import check
from up import Up, closed_network

GOOD, EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
CHUNKED, LENGTH = b"Transfer-Encoding: chunked\r\n", b"Content-Length: 2\r\n"


def head(*fields, line=b"HTTP/1.1 200 OK"):
    return line + b"\r\n" + b"".join(fields) + b"\r\n"


# What the hostile service answers to one request; a second answer is behind it.
ANSWERS = {
    "two answers": head(LENGTH) + b"ok" + EVIL, "a longer body than it said": head(LENGTH) + b"okxx" + EVIL,
    "both framings": head(LENGTH, CHUNKED) + b"0\r\n\r\n" + EVIL, "two lengths": head(LENGTH, b"Content-Length: 60\r\n") + b"ok" + EVIL,
    "a list of lengths": head(b"Content-Length: 2, 60\r\n") + b"ok" + EVIL, "a negative length": head(b"Content-Length: -1\r\n") + EVIL,
    "a folded length": head(b"Content-Length:\r\n 2\r\n") + b"ok" + EVIL, "a coding that nobody knows": head(b"Transfer-Encoding: x\r\n") + EVIL,
    "a space before the colon": head(b"Content-Length : 2\r\n") + b"ok" + EVIL, "bare LF": head(LENGTH).replace(b"\r", b"") + b"ok" + EVIL,
    "a bare CR": head(b"X: a\rContent-Length: 2\r\n") + b"ok" + EVIL, "a NUL": head(b"X: a\0b\r\n", LENGTH) + b"ok" + EVIL,
    "a chunk that lies": head(CHUNKED) + b"2\r\nokxx\r\n0\r\n\r\n" + EVIL, "a chunk without end": head(CHUNKED) + b"f" * 40 + EVIL,
    "trailers that frame": head(CHUNKED) + b"0\r\nContent-Length: 9\r\n\r\n" + EVIL, "204 with a body": head(LENGTH, line=b"HTTP/1.1 204 No") + b"ok" + EVIL,
    "304 with a body": head(LENGTH, line=b"HTTP/1.1 304 No") + b"ok" + EVIL, "an upgrade that nobody asked for": head(line=b"HTTP/1.1 101 Go") + EVIL,
    "100 and two more": head(line=b"HTTP/1.1 100 Go") * 3 + head(LENGTH) + b"ok" + EVIL, "status 099": head(line=b"HTTP/1.1 099 X") + EVIL,
    "status 2000": head(line=b"HTTP/1.1 2000 X") + EVIL, "another protocol": b"SSH-2.0-x\r\n" + EVIL, "HTTP/0.9": b"<html>" + EVIL,
    "HTTP/2.0": head(LENGTH, line=b"HTTP/2.0 200 OK") + b"ok" + EVIL, "nothing": b"", "half a head": b"HTTP/1.1 200 OK\r\nX: ", "half a body": head(b"Content-Length: 99\r\n") + b"ok",
    "a head of 64 KiB": head(b"X: " + b"y" * 65536 + b"\r\n", LENGTH) + b"ok", "1,000 heads before the head": head(line=b"HTTP/1.1 103 Hint") * 1000 + head(LENGTH) + b"ok" + EVIL,
    "an answer to log in here": head(b"Proxy-Authenticate: Basic realm=x\r\n", LENGTH, line=b"HTTP/1.1 407 X") + b"ok" + EVIL,
    "a name of ours": head(b"Adit-Reason: ok\r\n", b"Via: x\r\n", LENGTH) + b"ok" + EVIL,
}


def ask(paths, login):
    """Sends requests in one go on one connection, one for each (host, path); all that was said."""
    said = b""
    with socket.create_connection(HTTP, timeout=20) as s:
        s.sendall(b"".join(f"GET http://{host}.corp.test/{path} HTTP/1.1\r\nHost: {host}.corp.test\r\nProxy-Authorization: {login}\r\n\r\n"
                           .encode() for host, path in paths))
        s.shutdown(socket.SHUT_WR)
        try:
            while piece := s.recv(65536):
                said += piece
        except ConnectionResetError:
            pass                            # an answer that broke off half-way
    return said


with Up() as up:
    inside, _, _ = closed_network(up, names={"good.corp.test": ["10.99.0.3"], "evil.corp.test": ["10.99.0.4"]})
    names = list(ANSWERS)

    def hostile(connection):
        request = connection.recv(65536)
        connection.sendall(ANSWERS[names[int(request.split()[1][1:])]])

    inside.serve(lambda c: (c.recv(65536), c.sendall(GOOD)), 80, "10.99.0.3")
    inside.serve(hostile, 80, "10.99.0.4")
    login, relay = basic(*up.curlrc()), up.pid("adit-relay")
    before, refused = len(os.listdir(f"/proc/{relay}/fd")), 0
    for number, name in enumerate(names):
        said = ask([("good", "a"), ("evil", number), ("good", "b")], login)
        answers = re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", said)
        is_framed = said.endswith(b"good") and said.count(b"good") == 2
        check(said.startswith(b"HTTP/1.1 200") and len(answers) <= 3, name, said[:600])
        if len(answers) == 3:               # the third is the good one, and nothing came between
            check(is_framed and b"evil" not in said, name, said[-600:])
        refused += len(answers) < 3
        check(said.count(b"\r\nAdit-Reason: ok") == 0 or name == "a name of ours", name, said)
        check(ask([("good", "c")], login).endswith(b"good"), "no good answer after", name)
    check(up.pid("adit-relay") == relay and len(os.listdir(f"/proc/{relay}/fd")) <= before + 2, "descriptors are left")
    check(refused > 10, "only refused", refused)
    print(f"{len(names)} hostile answers, {refused} ended the connection")

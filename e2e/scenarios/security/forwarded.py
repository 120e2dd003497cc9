# it strips what a client says about itself and others, however it is spelt, and nothing else
import itertools
import threading

from attack import HTTP, basic, say, status
from harness import check
from up import Up, closed_network

NAMES = ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
         "X-Forwarded-By", "X-Forwarded-Server", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Prefix",
         "X-Forwarded", "Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP",
         "Client-IP", "X-Cluster-Client-IP", "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "Remote-Addr",
         "X-Remote-User", "Remote-User", "X-Forwarded-Client-Cert", "X-Original-URL", "X-Rewrite-URL",
         "Adit-User", "Adit-Reason", "X-Adit-User"]
FIXED = ["Proxy-Authorization", "Proxy-Connection", "Keep-Alive", "TE", "Upgrade"]
GOOD = ["User-Agent", "Cookie", "Authorization", "Accept", "X-Request-Id", "X-Forward", "Real-IP-Not", "My_Header"]
seen, lock = [], threading.Lock()


def upstream(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    with lock:
        seen.append(head.decode("latin-1"))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def variants(name):
    yield from (name, name.upper(), name.lower(), name.replace("-", "_"), name.replace("-", "_").upper(),
                "".join(c.upper() if i % 2 else c.lower() for i, c in enumerate(name)))


def fields_of(head):
    lines = head.split("\r\n\r\n")[0].split("\r\n")[1:]
    return [tuple(part.strip() for part in line.split(":", 1)) for line in lines]


def get(*fields):
    """What came out at the target: (status, its fields)."""
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    before = len(seen)
    answer = status(say(HTTP, f"GET http://web.corp.test/ HTTP/1.1\r\nHost: web.corp.test\r\n{head}"
                              f"Proxy-Authorization: {login}\r\n\r\n".encode()))
    return answer, fields_of(seen[-1]) if len(seen) > before else []


with Up() as up:
    inside, _, _ = closed_network(up, names={"web.corp.test": ["10.99.0.2"]})
    inside.serve(upstream, 80)
    login = basic(*up.curlrc())
    for name in NAMES:
        spelt = list(dict.fromkeys(variants(name)))
        answer, fields = get(*[(variant, "spoofed.example") for variant in spelt + spelt])
        left = [field for field in fields if "spoofed" in field[1]]
        check(answer == 200 and not left, name, answer, left)
    for name, hidden in itertools.product(("X-Mine", "Accept"), FIXED):
        answer, fields = get((name, "mine"), ("Connection", "X-Hop, close"), ("X-Hop", "spoofed"))
        names = [field[0].lower() for field in fields]
        check(answer == 200 and "x-hop" not in names and hidden.lower() not in names, fields)
    answer, fields = get(("Connection", "Host, Via, User-Agent"), ("User-Agent", "mine"))
    check(answer == 400 and not fields, "Host was listed away", answer, fields)
    check(not any(secret in str(seen) for secret in (login, login.split()[1])), "the credential went on")
    answer, fields = get(*[(name, "mine") for name in GOOD])
    check({f[0] for f in fields if f[1] == "mine"} == set(GOOD), "more was taken away than promised", fields)
    for trailer in ("X-Forwarded-For", "x_forwarded_for", "FORWARDED", "Host", "Content-Length", "X-Real-IP", "X-Remote-User"):
        before = len(seen)
        said = say(HTTP, f"POST http://web.corp.test/ HTTP/1.1\r\nHost: web.corp.test\r\nTransfer-Encoding: chunked\r\n"
                         f"Proxy-Authorization: {login}\r\n\r\n0\r\n{trailer}: spoofed\r\n\r\n".encode())
        check(status(said) == 400 or "spoofed" not in "".join(seen[before:]), "trailer", trailer, said)
    print(f"{len(seen)} requests seen at the target")

# it writes one line of JSON for each event, whatever users, hosts, headers and agents are called
import base64
import json
import re
import urllib.parse

from attack import HTTP, SOCKS, basic, events, http_request, metrics, post_from, say, socks_request
from harness import check, wait_until
from up import Up

FORGED = '{"level":"error","event":"forged"}'
PAYLOADS = ["a\r\nb", "a\nb" + FORGED, "\x1b[31mred\x1b[0m\x1b]0;title\x07", '","event":"forged","x":"', "\\", '\\"', "\x00b",
            "\x7f\x08\x08", "\x85\u2028\u2029", "\ud800\udfff".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
            "\udcff\udcfe", "%0d%0a" + FORGED, "a" * 255, "${jndi:ldap://x}", "<script>alert(1)</script>", "\u202egnp.exe"]


def requests(up, secret):
    """Everything that somebody unknown can have put into a log, by payload."""
    for text in PAYLOADS:
        raw = text.encode("utf-8", "surrogateescape")
        login = base64.b64encode(raw + b":" + raw).decode()
        yield HTTP, http_request("hello.demo.internal:80", "hello.demo.internal", "Basic " + login, method="CONNECT")
        yield HTTP, http_request(f"{text}:80", "x", basic("demo", secret), method="CONNECT")
        yield HTTP, http_request(f"http://{text}/", text, basic("demo", secret))
        yield HTTP, http_request("http://other.internal/", "other.internal", basic("demo", secret),
                                 f"User-Agent: {text}", f"traceparent: {text}", f"X-Forwarded-For: {text}")
        yield HTTP, http_request("http://other.internal/", "other.internal", basic("demo", secret), method=text)
        login = b"\x01" + bytes([len(raw)]) + raw + bytes([len(raw)]) + raw
        yield SOCKS, b"\x05\x01\x02" + login
        yield SOCKS, socks_request("x", 80, ("demo", secret))[:-5] + b"\x03" + bytes([len(raw)]) + raw + b"\0P"
        yield HTTP, raw


def whole(up):
    """All events of all logs; each line one object, none of them ours, no byte of control."""
    found = []
    for program in ("relay", "agent", "controlplane"):
        log = up.var / f"log/{program}.log"
        text = log.read_bytes()
        check(not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", text), program, "has control bytes")
        text.decode()                       # UTF-8 throughout
        lines = [line for line in text.split(b"\n")[:-1] if line.startswith(b"{")]
        others = [line for line in text.split(b"\n")[:-1] if not line.startswith(b"{")]
        check(all(line.startswith(b"joined cluster ") for line in others), program, others[:3])
        found += [json.loads(line) for line in lines]
    check(not [e for e in found if e.get("event") == "forged" or "time" not in e], "forged")
    return found


with Up() as up:
    _, secret = up.curlrc()
    sent = list(requests(up, secret))
    before = len([e for e in whole(up) if e["event"] == "request.refused"])
    series = len(metrics().splitlines())
    for door, bytes_ in sent:
        say(door, bytes_)
    for text in PAYLOADS:
        post_from("127.0.0.1", "/api/v1/login-sessions", {"user": text.encode("utf-8", "replace").decode(), "password": "x" * 9})
        path = urllib.parse.quote(text.encode("utf-8", "surrogateescape"))
        up.api("GET", f"/users/{path}")
        up.api("POST", "/users", {"name": "x", "description": text.encode("utf-8", "replace").decode()})
        up.api("GET", f"/users?q={path}")
    refused = [e for e in whole(up) if e["event"] == "request.refused"]
    check(len(sent) * 0.7 < len(refused) - before <= len(sent), len(sent), "sent,", len(refused) - before, "logged")
    check(len(metrics().splitlines()) < series + 40, "names became label values")
    audit = wait_until(lambda: up.api("GET", "/route-decisions?limit=200").body["items"], 10)
    check(len(audit) > 20 and "\x1b" not in json.dumps(audit, ensure_ascii=False), len(audit))
    print(f"{len(sent)} requests, {len(refused) - before} refusals logged, {len(audit)} decisions")

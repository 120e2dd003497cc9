# it tells what the doors themselves refuse in the answer, the log, the metric, the record and adit reason
# timeout: 120
import base64
import datetime
import re
import socket
import subprocess

from harness import check, wait_until
from places import SOON, audited, in_places, logged
from up import BIN, Up

PROXY = ("127.0.0.1", 8080)
SMALL = {"ADIT_RELAY_HEAD_MS": "500", "ADIT_RELAY_VISITS_PER_SOURCE_MAX": "20", "ADIT_RELAY_VISITS_MAX": "30"}
# adit explain knows none of these: they are refused before anybody asks for a target.  Only log-ins
# that fail are kept as decisions: what a stranger can send at will must not push real ones out; the
# audit tells of it in sum.
LOGIN, NO_RECORD = True, False


def basic(user, secret):
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode() + "\r\n"


def request(text):
    with socket.create_connection(PROXY, timeout=20) as s:
        s.sendall(text.encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := s.recv(4096)):
            answer += piece
    reason = re.search(rb"(?i)\r\nadit-reason: (\S+)", answer)
    return int(answer.split()[1]), reason and reason.group(1).decode()


def from_address(n):
    return socket.create_connection(PROXY, timeout=20, source_address=(f"127.0.0.{n}", 0))


def is_closed(s):
    try:
        return s.recv(1) == b""
    except ConnectionError:
        return True


def is_turned_away(crowd):
    """Whether the last of these addresses is closed while the others are there; silence ends them soon too."""
    kept = []
    try:
        kept += [from_address(n) for n in crowd[:-1]]
        return is_closed(from_address(crowd[-1]))
    except ConnectionResetError:        # before connect() had returned
        return True
    finally:
        for s in kept:
            s.close()


with Up(env={**SMALL, **SOON}) as up:
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = up.api.make("proxy-credentials", user="demo", name="ended", expires_at=soon)["secret"]
    revoked = up.api.make("proxy-credentials", user="demo", name="revoked")["secret"]
    check(up.api("DELETE", "/proxy-credentials/revoked?wait=applied").status == 204)
    elsewhere = up.api.make("proxy-credentials", user="demo", name="elsewhere", source_networks=["192.0.2.0/24"])
    off, off_secret = up.add_user("off")
    check(up.api("PATCH", "/users/off?wait=applied", {"status": "disabled"}).status == 200)
    head = "CONNECT hello.demo.internal:80 HTTP/1.1\r\nHost: hello.demo.internal:80\r\n"
    good = basic(*up.curlrc())

    rows = [
        (407, "auth-required", head + "\r\n", NO_RECORD),
        (407, "auth-failed", head + basic("demo", "adp_" + "x" * 43) + "\r\n", LOGIN),
        (407, "auth-failed", head + basic("demo", revoked) + "\r\n", LOGIN),    # the state forgets it
        (407, "credential-expired", head + basic("demo", ended) + "\r\n", LOGIN),
        (403, "source-denied", head + basic("demo", elsewhere["secret"]) + "\r\n", LOGIN),
        (403, "user-disabled", head + basic(off, off_secret) + "\r\n", LOGIN),
        (400, "bad-request", "CONNECT hello.demo.internal:80 HTTP/1.1\r\n\r\n", NO_RECORD),
        (405, "method-not-allowed", "OPTIONS * HTTP/1.1\r\nHost: x\r\n" + good + "\r\n", NO_RECORD),
        (431, "too-large", head + "X: " + "x" * 70000 + "\r\n\r\n", NO_RECORD),
        (408, "request-timeout", head, NO_RECORD),
    ]
    for status, reason, text, is_login in rows:
        wait_until(lambda: request(text) == (status, reason), 5, lambda: f"{reason}: {request(text)}")
        in_places(up, reason, "request.refused", "adit_relay_refused_total",
                  record=("route-decisions", {"door": "http"}) if is_login else None, door="http")
        if not is_login:
            audited(up, reason, action="relay.http", actor={"kind": "anonymous", "address": "127.0.0.1"})

    # Without TLS beyond loopback: told before the door opens.
    told = subprocess.run([BIN / "adit-relay", "--data-dir", "/tmp/none", "--http-listen", "0.0.0.0:8080",
                           "--check-config"], capture_output=True, text=True)
    check(told.returncode == 2 and "cleartext-refused" in told.stderr, told)

    # One address, then all addresses together; the answer is the closed connection.
    for crowd, reason in (([9] * 21, "rate-limited"), ([9] * 20 + [10] * 11, "overload")):
        n = crowd[-1]
        wait_until(lambda: is_turned_away(crowd) and logged(up, "request.refused", reason, door="http"),
                   20, reason)
        in_places(up, reason, "request.refused", "adit_relay_refused_total", door="http")
        audited(up, reason, action="relay.http", actor={"kind": "anonymous", "address": f"127.0.0.{n}"})

# it cuts the streams of an access that is taken away within 1 s, and no others
# timeout: 180
import datetime
import time

from clients import Refused, connect
from harness import check
from up import Up, closed_network

LIMIT_S = 1.0


def echo(stream, text=b"still here"):
    stream.sendall(text)
    check(stream.recv(100) == text)


def open_echo(credential):
    stream = connect("files.corp.test:7000", credential)
    stream.sendall(b"echo\n")
    echo(stream, b"hello")
    return stream


def seconds_until_cut(stream, since):
    stream.settimeout(LIMIT_S + 5)
    try:
        while stream.recv(100):
            pass
    except ConnectionResetError:            # a reset is a cut too
        pass
    return time.monotonic() - since


def done(answer):
    check(answer.status in (200, 201, 204), answer)


def in_seconds(n):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=n)
    return at, at.strftime("%Y-%m-%dT%H:%M:%SZ")


with Up() as up:
    closed_network(up)
    bystander = open_echo(up.curlrc())
    removals = {
        "user-disabled": lambda who: done(up.api("PATCH", f"/users/{who}", {"status": "disabled"})),
        "no-grant": lambda who: done(up.api("DELETE", f"/grants/{who}")),
        "group left": lambda who: done(up.api("DELETE", f"/groups/{who}/members/{who}")),
        "auth-failed": lambda who: done(up.api("DELETE", f"/proxy-credentials/{who}")),
        "locked": lambda who: done(up.api("POST", "/locks", {"user": who, "reason": "lost"})),
    }
    for number, (reason, remove) in enumerate(removals.items()):
        name, secret = up.add_user(f"u{number}")
        subject = {"user": name}
        if reason == "group left":
            up.api.make("groups", name=name)
            done(up.api("PUT", f"/groups/{name}/members/{name}?wait=applied", {}))
            subject, reason = {"group": name}, "no-grant"
        up.api.make("grants", name=name, destination_profile="inner", **subject)
        stream = open_echo((name, secret))
        remove(name)
        took = seconds_until_cut(stream, time.monotonic())
        check(took <= LIMIT_S, reason, f"cut after {took:.2f} s")
        print(f"{reason}: cut after {took * 1000:.0f} ms")
        try:
            connect("files.corp.test:7000", (name, secret))
            check(False, reason, "a new stream was let in")
        except Refused as refused:
            check(refused.reason == reason, refused.reason, "instead of", reason)
        echo(bystander)

    name, secret = up.add_user("timed")
    end, text = in_seconds(3)
    up.api.make("grants", name=name, user=name, destination_profile="inner", ends_at=text)
    stream = open_echo((name, secret))
    seconds_until_cut(stream, time.monotonic())
    late = (datetime.datetime.now(datetime.timezone.utc) - end).total_seconds()
    check(-1.0 <= late <= LIMIT_S, "the grant's end cut", late, "s late")
    echo(bystander)

    done(up.api("PATCH", "/agents/inner", {"status": "disabled"}))
    took = seconds_until_cut(bystander, time.monotonic())
    check(took <= LIMIT_S, "agent revoked:", took)
    check("Hello" in up.curl("http://hello.demo.internal/").stdout, "the other agent's streams go on")

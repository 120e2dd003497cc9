# it keeps streams to the hours, the zone, the source networks and the number that their grant allows
# timeout: 260
import base64
import datetime
import re
import socket

from clients import Refused, connect, receive_exactly
from harness import check, wait_until
from up import Up, closed_network

TARGET = "files.corp.test:7000"
HOUR = 3600


def reason(who):
    try:
        connect(TARGET, who).close()
        return None
    except Refused as r:
        return r.reason


def from_address(address, who):
    """The reason that a client at that address of this machine is told."""
    secret = base64.b64encode(":".join(who).encode()).decode()
    with socket.create_connection(("127.0.0.1", 8080), timeout=60, source_address=(address, 0)) as s:
        s.sendall(f"CONNECT {TARGET} HTTP/1.1\r\nHost: {TARGET}\r\nProxy-Authorization: Basic {secret}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head and (piece := s.recv(4096)):
            head += piece
    found = re.search(rb"(?im)^adit-reason: *([a-z-]+)", head)
    return None if b" 200 " in head else found and found.group(1).decode()


def grant(up, name, **more):
    who = up.add_user(name)
    up.api.make("grants", name=name, user=name, destination_profile="inner", **more)
    return who


def is_cut(stream):
    stream.settimeout(0.2)
    try:
        return stream.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def window(zone, hours_east, end_s):
    """From an hour ago until end_s from now, to the minute, as a clock of that zone shows it."""
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours_east)
    begin, end = now - datetime.timedelta(hours=1), now + datetime.timedelta(seconds=end_s)
    return {"days": [begin.strftime("%a").lower()], "from": begin.strftime("%H:%M"), "to": end.strftime("%H:%M"),
            "zone": zone}


with Up() as up:
    closed_network(up)

    # An hour's window of a zone far away is open; that of the same hours here is not.
    east = grant(up, "east", windows=[window("Pacific/Kiritimati", 14, HOUR)])
    check(reason(east) is None, reason(east))
    wrong = grant(up, "wrong", windows=[dict(window("Pacific/Kiritimati", 14, HOUR), zone="UTC")])
    check(reason(wrong) == "grant-not-now", reason(wrong))

    # What lives when the window closes is cut, in the minute in which it does.
    brief = grant(up, "brief", windows=[window("Asia/Kolkata", 5.5, 100)])
    stream = connect(TARGET, brief)
    stream.sendall(b"echo\n?")
    check(receive_exactly(stream, 1) == b"?")
    soon = grant(up, "soon", ends_at=(datetime.datetime.now(datetime.timezone.utc) +
                                      datetime.timedelta(seconds=15)).strftime("%Y-%m-%dT%H:%M:%SZ"))
    ended = connect(TARGET, soon)
    wait_until(lambda: is_cut(ended), 60, "the grant has ended, and its stream")
    check(reason(soon) == "grant-expired", reason(soon))

    # From the networks that it names, and from no other.
    near = grant(up, "near", source_networks=["127.0.0.8/29"])
    check(from_address("127.0.0.9", near) is None)
    check(from_address("127.0.0.16", near) == "source-denied")
    check(reason(near) == "source-denied")

    # So many at once; when one ends there is room.
    two = grant(up, "two", max_streams=2)
    streams = [connect(TARGET, two) for _ in range(2)]
    check(reason(two) == "quota-grant")
    streams.pop().close()
    wait_until(lambda: reason(two) is None, 5, "there is room for one again")

    wait_until(lambda: is_cut(stream), 150, "the window has closed, and the stream in it is cut")
    check(reason(brief) == "grant-not-now", reason(brief))
    check(reason(east) is None)

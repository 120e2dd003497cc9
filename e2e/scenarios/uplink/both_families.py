# it dials both families as RFC 8305 says, and records every try with address, time and outcome
# timeout: 60
import socket
import subprocess

from clients import Refused, connect
from harness import check, wait_until
from inside import THERE_IP, Pattern, line_server, receive_to_end, serve
from up import Up, closed_network

LOST, REFUSED_IP = "fd99::bad", "10.99.0.7"


def lose_v6():
    """In the closed network nothing answers for one address, not even that it is not there."""
    subprocess.run(["ip", "addr", "add", LOST + "/64", "dev", "inside1", "nodad"], check=True)
    subprocess.run(["nft", "add table inet lost; add chain inet lost in { type filter hook input priority 0; }; "
                    f"add rule inet lost in ip6 daddr {LOST} drop"], check=True)


def fetch(up, target):
    stream = connect(target, up.curlrc())
    stream.sendall(b"send names 5000\n")
    check(receive_to_end(stream) == (5000, Pattern("names", 5000).sha256()))


def tries(up, host):
    """(address, reason, milliseconds) of each try of the stream to the host."""
    def find():
        items = up.api("GET", "/streams?limit=50").body["items"]
        return next((i for i in items if i["host"] == host and i.get("tries")), None)
    item = wait_until(find, 10, lambda: up.api("GET", "/streams?limit=50").text[:3000])
    return [(t["address"], t["reason"], t["took_ms"]) for t in item["tries"]], item


with Up() as up:
    inside, dns, agent = closed_network(up, names={
        "both.corp.test": ["fd99::2", THERE_IP],
        "lost.corp.test": [LOST, THERE_IP],
        "first.corp.test": [REFUSED_IP, "10.99.0.8", THERE_IP],
        "none.corp.test": [REFUSED_IP, "10.99.0.8"],
    })
    inside.there(lose_v6)
    listener = inside.socket(socket.SOCK_STREAM, 7000, "fd99::2")
    listener.listen(10)
    serve(listener, line_server)

    fetch(up, "both.corp.test:7000")
    seen, item = tries(up, "both.corp.test")
    check([(a, r) for a, r, _ in seen] == [("[fd99::2]:7000", "ok")], seen)

    fetch(up, "lost.corp.test:7000")
    seen, item = tries(up, "lost.corp.test")
    check([(a, r) for a, r, _ in seen] == [(f"[{LOST}]:7000", "dial-overtaken"), (f"{THERE_IP}:7000", "ok")], seen)
    check(240 <= seen[0][2] < 5000, "the second try begins 250 ms after the first", seen)
    check(item["address"] == f"{THERE_IP}:7000", item)

    fetch(up, "first.corp.test:7000")
    seen, item = tries(up, "first.corp.test")
    check(seen[-1][:2] == (f"{THERE_IP}:7000", "ok"), seen)
    check(all(r in ("dial-refused", "ok") for _, r, _ in seen) and len(seen) <= 3, seen)

    try:
        connect("none.corp.test:7000", up.curlrc())
        check(False, "connected")
    except Refused as refused:
        check(refused.reason == "dial-refused", refused)

    def decision():
        items = up.api("GET", "/route-decisions?limit=50").body["items"]
        return next((i for i in items if i.get("reason") == "dial-refused" and i.get("tries")), None)
    item = wait_until(decision, 10, lambda: up.api("GET", "/route-decisions?limit=50").text[:3000])
    check(sorted(t["address"] for t in item["tries"]) == [f"{REFUSED_IP}:7000", "10.99.0.8:7000"], item)

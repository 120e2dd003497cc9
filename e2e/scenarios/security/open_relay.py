# it sends no packet for whoever has no identity or no grant, whatever the door and the target
import datetime

from association import Association, Echo
from attack import HTTP, SOCKS, Packets, basic, http_request, say, socks_opened, socks_request, status
from clients import Refused
from harness import check, wait_until
from up import Up, closed_network

NAMED, V4, V6, PORT = "files.corp.test", "10.99.0.2", "fd99::2", 7000


def tries(login):
    """Door and target: what is said there, and whether the answer let it pass."""
    who = basic(*login) if login else None
    for host in (NAMED, V4, V6):
        to = f"[{host}]:{PORT}" if ":" in host else f"{host}:{PORT}"
        yield f"CONNECT {to}", HTTP, http_request(to, to, who, method="CONNECT"), lambda s: status(s) == 200
        yield f"GET {to}", HTTP, http_request(f"http://{to}/", to, who), lambda s: status(s) == 200
        yield f"SOCKS5 {to}", SOCKS, socks_request(host, PORT, login), socks_opened
    yield "SOCKS5 BIND", SOCKS, socks_request(V4, PORT, login).replace(b"\x05\x01\x00\x01", b"\x05\x02\x00\x01"), \
        lambda s: s[4:6] == b"\x05\x00"


def datagrams(login, seconds=0.1):
    """Sends one to each form of the target; how many of them were answered."""
    try:
        association = Association(login or ("", ""))
    except (Refused, AssertionError, OSError):
        return 0
    with association as a:
        for host in (NAMED, V4, V6):
            a.send(host, PORT, b"datagram")
        return sum(a.receive(seconds) is not None for _ in range(3))


def make_strangers(up, demo):
    """Who must not get in: the name of the state, and what he shows."""
    yield "nothing shown", None
    yield "wrong secret", (demo[0], "adp_" + "x" * 43)
    yield "empty secret", (demo[0], "")
    yield "another's secret", ("admin", demo[1])
    yield "unknown user", ("nobody", demo[1])
    yield "an API token", ("admin", up.token())
    yield "without a grant", up.add_user("bare")
    for state, change in {
        "disabled": lambda who: up.api("PATCH", f"/users/{who}?wait=applied", {"status": "disabled"}),
        "locked": lambda who: up.api("POST", "/locks?wait=applied", {"user": who}),
        "credential revoked": lambda who: up.api("DELETE", f"/proxy-credentials/{who}?wait=applied"),
        "grant ended": lambda who: up.api("PATCH", f"/grants/{who}?wait=applied", {"ends_at": past}),
        "credential ended": lambda who: up.api("PATCH", f"/proxy-credentials/{who}?wait=applied",
                                               {"expires_at": past}),
    }.items():
        login = up.add_user("s-" + state.replace(" ", "-"))
        up.api.make("grants", name=login[0], user=login[0], destination_profile="inner")
        answer = change(login[0])
        check(answer.status in (200, 201, 204), state, answer)
        yield state, login
    login = up.add_user("other-port")
    up.allow("other-port", [NAMED, V4 + "/32", V6 + "/128"], [7001], "inner", login[0])
    yield "granted for another port", login


past = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
with Up() as up:
    inside, _, _ = closed_network(up, hosts=("*.corp.test", "10.99.0.0/24", "fd99::/64"))
    echoes = [Echo(inside, PORT, address) for address in (V4, V6)]
    demo = up.curlrc()
    strangers = list(make_strangers(up, demo))
    wire, cells = Packets("inside0"), 0
    for state, login in strangers:
        for what, door, bytes_, is_open in tries(login):
            said = say(door, bytes_)
            check(not is_open(said), state, what, "was let in:", said)
            cells += 1
        check(datagrams(login) == 0, state, "was sent datagrams")
        cells += 3
    check(wire.count == 0, wire.count, "packets went out for strangers")
    opened = [what for what, door, bytes_, is_open in tries(demo) if is_open(say(door, bytes_))]
    check(len(opened) == 4, "the grant itself does not work:", opened)
    check(sum(echo.count for echo in echoes) == 0, "a stranger's datagram came through")
    check(datagrams(demo, 10) == 3, "the grant does not hold for datagrams")
    wait_until(lambda: wire.count > 0, 5, "the counter counts")
    print(f"{cells} cells of the table, 0 packets")

# it tells the control plane what happened while that was away, though the relay was killed meanwhile
# timeout: 120
import os
import signal

from attack import metric
from clients import Refused, connect
from harness import check, wait_until
from inside import THERE_IP
from up import Up, closed_network

NAMES = ("before", "alive", "after")


def open_echo(name, login):
    try:
        stream = connect(f"{name}.corp.test:7000", login)
    except (Refused, OSError):
        return None
    stream.sendall(b"echo\n" + name.encode())
    check(stream.recv(100) == name.encode())
    return stream


def wrong_login():
    try:
        connect("before.corp.test:7000", ("stranger", "adp_wrong"))
    except Refused as refused:
        check(refused.reason == "auth-failed", refused.reason)


def streams(up):
    return {item["host"]: item for item in up.api("GET", "/streams?limit=100").body["items"] if "corp.test" in item["host"]}


def spool(up):
    return "".join(path.read_text() for path in sorted((up.var / "relay/events").iterdir()))


def waiting():
    return metric("adit_relay_events_waiting")


with Up() as up:
    closed_network(up, names={f"{name}.corp.test": [THERE_IP] for name in NAMES})
    demo = up.curlrc()
    wait_until(lambda: waiting() == 0, 10, "all is told while all is well")
    check(metric("adit_relay_events_spooled_bytes") == 0, "the spool is not empty")
    control, relay = up.pid("adit-controlplane"), up.pid("adit-relay")
    os.kill(control, signal.SIGSTOP)
    open_echo("before", demo).close()
    alive = open_echo("alive", demo)
    wrong_login()
    wait_until(lambda: all(word in spool(up) for word in ("before.corp.test", "closed_at_ms", "alive.corp.test", "stranger")),
               10, lambda: spool(up))
    check(metric("adit_relay_events_spooled_bytes") > 0 and waiting() >= 3, "the metrics do not know it")

    os.kill(relay, signal.SIGKILL)
    wait_until(lambda: up.pid("adit-relay") not in (None, relay), 10, "the relay is started again")
    after = wait_until(lambda: open_echo("after", demo), 40, "streams open again")
    check(waiting() > 3, "what was told before is gone")

    os.kill(control, signal.SIGCONT)
    wait_until(lambda: waiting() == 0, 30, lambda: f"{waiting()} events still wait")
    check(metric("adit_relay_events_dropped_total") == 0, "events were dropped")
    seen = wait_until(lambda: len(found := streams(up)) == 3 and found, 10, lambda: streams(up))
    check(seen["before.corp.test"]["state"] == "closed" and seen["before.corp.test"]["bytes_out"] == 11, seen)
    wait_until(lambda: streams(up)["alive.corp.test"].get("reason") == "session-lost", 15, lambda: streams(up))
    check(streams(up)["after.corp.test"]["state"] == "open", streams(up))
    refused = up.api("GET", "/route-decisions?reason=auth-failed").body["items"]
    check([item["user_name"] for item in refused] == ["stranger"], refused)
    after.close()
    wait_until(lambda: streams(up)["after.corp.test"]["state"] == "closed", 15, lambda: streams(up))
    wait_until(lambda: metric("adit_relay_events_spooled_bytes") == 0, 5, "the spool is empty again")

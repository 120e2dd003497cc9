# it gives one reason code in the answer, the log, the metric, the record and adit explain
# timeout: 180
import datetime
import json
import re
import subprocess
import urllib.request

from clients import Refused, connect
from harness import check, wait_until
from inside import ip
from up import BIN, Up, closed_network

PORT = 7000


def at(seconds):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def done(answer):
    check(answer.status in (200, 201, 204), answer)


def grant(up, who, **more):
    up.api.make("grants", name=who, user=who, destination_profile="inner", **more)


def refuse(target, credential):
    try:
        connect(target, credential).close()
        return Refused(200, "ok")
    except Refused as refused:
        return refused


def is_counted(reason):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    text = opener.open("http://127.0.0.1:9101/metrics", timeout=10).read().decode()
    return re.search(rf'(?m)^adit_relay_refused_total{{reason="{reason}"}} [1-9]', text)


def in_log(up, reason):
    for line in (up.var / "log/relay.log").read_text().splitlines():
        if line.startswith("{") and json.loads(line).get("reason") == reason:
            return True
    return False


def explain(up, user, target):
    return subprocess.run([BIN / "adit", "explain", "--var", up.var, user, target],
                          capture_output=True, text=True)


# reason: what makes it, for a user of its own; the target; whether explain can know it.
CAUSES = {
    "no-grant": (lambda up, who: None, "files.corp.test", True),
    "user-disabled": (lambda up, who: (grant(up, who), done(up.api("PATCH", f"/users/{who}?wait=applied",
                                                                   {"status": "disabled"}))),
                      "files.corp.test", True),
    "locked": (lambda up, who: (grant(up, who), up.api.make("locks", user=who)), "files.corp.test", True),
    "grant-expired": (lambda up, who: grant(up, who, ends_at=at(1)), "files.corp.test", True),
    "source-denied": (lambda up, who: grant(up, who, source_networks=["192.0.2.0/24"]),
                      "files.corp.test", True),
    "no-agent": (lambda up, who: (
        up.api.make("agent-groups", name="empty"),
        up.api.make("destination-profiles", name="empty", hosts=["empty.corp.test"], ports=["7000"],
                    agent_group="empty"),
        up.api.make("grants", name=who, user=who, destination_profile="empty")), "empty.corp.test", True),
    "target-forbidden": (grant, "loopback.corp.test", False),
    "resolve-failed": (grant, "nowhere.corp.test", False),
    "dial-refused": (grant, "closed.corp.test", False),
    "dial-timeout": (grant, "silent.corp.test", False),
}

NAMES = {"files.corp.test": ["10.99.0.2"], "loopback.corp.test": ["127.0.0.1"],
         "closed.corp.test": ["10.99.0.4"], "silent.corp.test": ["10.99.0.77"]}

with Up() as up:
    inside, _, agent = closed_network(up, names=NAMES)
    agent.stop()
    agent.command += ["--dial-ms", "1s"]
    agent.start()
    # Nobody has this address, and the neighbour is said to be there: what is sent gets lost.
    ip("neigh", "add", "10.99.0.77", "lladdr", "02:00:00:00:00:77", "dev", "inside0")

    for number, (reason, (make, host, is_known)) in enumerate(CAUSES.items()):
        name, secret = up.add_user(f"r{number}")
        make(up, name)
        target = f"{host}:{PORT}"
        refused = wait_until(lambda: (r := refuse(target, (name, secret))).reason == reason and r, 5,
                             f"{target} is refused with {reason}")
        status = subprocess.run([BIN / "adit", "reason", reason], capture_output=True, text=True)
        check(f"HTTP doors   {refused.status}" in status.stdout, reason, refused, status)
        check(in_log(up, reason), "relay.log has no", reason)
        check(is_counted(reason), "no metric counts", reason)
        wait_until(lambda: any(item["user_name"] == name for item in
                               up.api("GET", f"/route-decisions?reason={reason}").body["items"]), 5,
                   lambda: f"a decision about {name} says {reason}: {up.api('GET', '/route-decisions')}")
        if is_known:
            told = explain(up, name, target)
            check(told.returncode == 1 and reason in told.stdout, reason, told)

    wrong = refuse("files.corp.test:7000", ("demo", "adp_" + "x" * 43))
    check((wrong.status, wrong.reason) == (407, "auth-failed"), wrong)
    check(in_log(up, "auth-failed") and is_counted("auth-failed"))

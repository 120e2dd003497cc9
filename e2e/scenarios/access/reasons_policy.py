# it tells what grants, quotas, agents and networks refuse in the answer, the log, the metric, the record and adit explain
# timeout: 120
import datetime
import signal

from clients import Refused, connect
from harness import check, wait_until
from inside import THERE_IP, ip
from places import explained, in_places
from up import Up, closed_network

PORT = 7000
NAMES = {"files.corp.test": [THERE_IP], "far.corp.test": ["10.77.0.1"], "barred.corp.test": ["10.78.0.1"]}
NOW = datetime.datetime.now(datetime.timezone.utc)
YESTERDAY = (NOW - datetime.timedelta(days=1)).strftime("%a").lower()


def grant(up, who, profile="inner", **more):
    up.api.make("grants", name=who, user=who, destination_profile=profile, **more)


def not_now(up, who):
    grant(up, who, windows=[{"days": [YESTERDAY], "from": "00:00", "to": "00:01", "zone": "UTC"}])


def to_come(up, who):
    start = (NOW + datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    grant(up, who, starts_at=start)


def locked_group(up, who):
    up.api.make("groups", name=who)
    check(up.api("PUT", f"/groups/{who}/members/{who}?wait=applied", {}).status in (200, 201))
    grant(up, who)
    up.api.make("locks", group=who)


def denied_by_list(up, who):
    answer = up.api("PATCH", "/agents/strict?wait=applied", {"deny": ["listed.corp.test:1-65535"]})
    check(answer.status == 200, answer)
    grant(up, who, "strict")


# reason, what makes it, the target, whether adit explain can know: what the agent's own file says,
# what it resolves and whether its dial arrives are known there alone.
CAUSES = [
    ("grant-not-now", not_now, "files.corp.test", True),
    ("grant-not-now", to_come, "files.corp.test", True),
    ("locked", locked_group, "files.corp.test", True),
    ("acl-denied", denied_by_list, "listed.corp.test", True),
    ("acl-denied", lambda up, who: grant(up, who, "strict"), "denied.corp.test", False),
    ("dial-unreachable", grant, "far.corp.test", False),
    ("dial-failed", grant, "barred.corp.test", False),
]


def refused(target, credential):
    try:
        connect(target, credential).close()
        return None
    except Refused as r:
        return r.reason


with Up() as up:
    closed_network(up, names=NAMES)
    up.add_agent("strict", "--dns-servers", THERE_IP, "--deny", "denied.corp.test", group="strict")
    up.api.make("destination-profiles", name="strict", hosts=["denied.corp.test", "listed.corp.test"],
                ports=["1-65535"], agent_group="strict")
    ip("route", "add", "unreachable", "10.77.0.0/16")
    ip("route", "add", "prohibit", "10.78.0.0/16")      # EACCES
    for number, (reason, make, host, is_known) in enumerate(CAUSES):
        name, secret = up.add_user(f"p{number}")
        make(up, name)
        target = f"{host}:{PORT}"
        wait_until(lambda: refused(target, (name, secret)) == reason, 5,
                   lambda: f"{reason}: {refused(target, (name, secret))}")
        in_places(up, reason, "request.refused", "adit_relay_refused_total",
                  record=("route-decisions", {"user_name": name}), user=name)
        check(not is_known or reason in explained(up, name, target), reason, explained(up, name, target))

    # The second stream of a grant for one; the relay knows how many there are, adit explain does not.
    who = up.add_user("quota")
    grant(up, "quota", max_streams=1)
    first = connect(f"files.corp.test:{PORT}", who)
    check(refused(f"files.corp.test:{PORT}", who) == "quota-grant")
    in_places(up, "quota-grant", "request.refused", "adit_relay_refused_total",
              record=("route-decisions", {"user_name": "quota"}), user="quota")
    first.close()
    wait_until(lambda: refused(f"files.corp.test:{PORT}", who) is None, 5, "the place is free again")

    # An agent that goes down: waited for, in case another comes.
    agent = up.add_agent("leaving", "--dns-servers", THERE_IP, group="leaving")
    agent.stop()
    agent.command[agent.command.index("--drain-ms") + 1] = "60s"
    agent.start()
    up.api.make("destination-profiles", name="leaving", hosts=["files.corp.test"], ports=["7000"],
                agent_group="leaving")
    who = up.add_user("waits")
    grant(up, "waits", "leaving")
    stream = connect(f"files.corp.test:{PORT}", who)
    agent.process.signal(signal.SIGTERM)
    wait_until(lambda: "agent.draining" in agent.process.output, 5, "the agent drains")
    check(refused(f"files.corp.test:{PORT}", who) == "agent-draining")
    in_places(up, "agent-draining", "request.refused", "adit_relay_refused_total",
              record=("route-decisions", {"user_name": "waits"}), user="waits")
    stream.close()

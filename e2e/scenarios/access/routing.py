# it chooses among three agents by priority, weight, streams and latency, members by name or by their labels
# timeout: 240
import collections

from clients import connect
from harness import check, wait_until
from inside import THERE_IP, Dns, Inside, line_server
from up import Agent, Up

NAMES = ("one", "two", "three")


def open_streams(n):
    """n streams at a time, each alive: an echo has come back."""
    streams = [connect("files.corp.test:7000", credential) for _ in range(n)]
    for s in streams:
        s.sendall(b"echo\nx")
        check(s.recv(1) == b"x")
    return streams


def agents_of(n):
    """How many of n streams that are open at once each agent has; they are closed after."""
    streams = open_streams(n)
    seen = wait_until(lambda: (rows := up.api("GET", "/streams?state=open&limit=500").body["items"]) and len(rows) == n and rows, 20,
                      lambda: up.api("GET", "/streams?state=open").text[:600])
    count = collections.Counter(row["agent_name"] for row in seen)
    for s in streams:
        s.close()
    wait_until(lambda: not up.api("GET", "/streams?state=open").body["items"], 20, "the streams are closed")
    return [count[name] for name in NAMES]


def group(name, **fields):
    answer = up.api("PATCH", f"/agent-groups/{name}?wait=applied", fields)
    check(answer.status == 200, answer)


def member(name, **fields):
    answer = up.api("PUT", f"/agent-groups/office/members/{name}?wait=applied", fields)
    check(answer.status in (200, 201), answer)


with Up() as up:
    inside = Inside()
    dns = Dns(inside, {"files.corp.test": [THERE_IP]})
    inside.serve(line_server, 7000)
    up.agents += [Agent(up, name, "--dns-servers", THERE_IP) for name in NAMES]
    up.api.make("agent-groups", name="office")
    up.allow("files", ["*.corp.test"], ["7000"], agent_group="office")
    credential = up.curlrc()
    for name in NAMES:
        member(name, priority={"one": 10, "two": 20, "three": 30}[name], weight={"one": 3, "two": 1, "three": 0}[name])

    check(agents_of(12) == [12, 0, 0], "priority")
    member("one", priority=10, enabled=False)
    check(agents_of(6) == [0, 6, 0], "a member that is not enabled")
    member("one", priority=10, weight=3)
    up.agents[0].stop()
    check(agents_of(6) == [0, 6, 0], "an agent that is gone")
    up.agents[0].start()
    check(agents_of(6) == [6, 0, 0], "an agent that is back")

    group("office", routing_mode="weighted")
    one, two, three = agents_of(80)
    check(three == 0 and 40 <= one <= 78 and two >= 2, "weighted", one, two, three)

    group("office", routing_mode="least-streams")
    check(agents_of(12) == [4, 4, 4], "least-streams")
    group("office", routing_mode="lowest-latency")
    check(sum(agents_of(6)) == 6, "lowest-latency")

    # By labels: who has them all is a member, with the same weight; who loses one is none any more.
    for name in NAMES:
        check(up.api("DELETE", f"/agent-groups/office/members/{name}?wait=applied").status in (202, 204))
    group("office", routing_mode="least-streams", selector={"site": "berlin", "env": "prod"})
    for name, labels in (("one", {"site": "berlin", "env": "prod", "x": "y"}), ("two", {"site": "berlin"}), ("three", {"site": "berlin", "env": "prod"})):
        check(up.api("PATCH", f"/agents/{name}?wait=applied", {"labels": labels}).status == 200)
    check(agents_of(8) == [4, 0, 4], "by labels")
    check(up.api("PATCH", "/agents/one?wait=applied", {"labels": {"env": "test"}}).status == 200)
    check(agents_of(4) == [0, 0, 4], "a label that changed")
    told = up.api("GET", "/access/explain?user=demo&host=files.corp.test&port=7000")
    check(told.body["allowed"] and "three" in told.text, told)
    group("office", selector={"site": "nowhere"})
    refused = up.api("GET", "/access/explain?user=demo&host=files.corp.test&port=7000")
    check(not refused.body["allowed"] and refused.body["reason"] == "no-agent", refused)

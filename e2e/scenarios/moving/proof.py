# it opens no new streams over an agent that is stopped, or whose wire is silent, under use; it comes back with proof
# timeout: 240
import signal
import threading
import time

from attack import metric
from clients import connect
from cutter import Wire
from harness import check, wait_until
from inside import THERE_IP, Dns, Inside
from up import Agent, Up

PROMISED_S = 3.0            # in use and not proved for that long: new streams go elsewhere
SLACK_S = 4.0               # of a loaded machine
SOON_S = 1.5                # who gets a good agent is connected in that time
NAMES = ("one", "two")      # the first is preferred while it is proved
pace = threading.Event()    # never set


def trickle(connection):
    while True:
        connection.sendall(b"x")
        pace.wait(0.05)


def hello(connection):
    connection.sendall(b"hello")
    connection.recv(1)


def agent_of_new():
    """Opens a stream; its agent, as the record says."""
    with connect("files.corp.test:7001", credential) as s:
        check(s.recv(5) == b"hello")
        port = s.getsockname()[1]
        rows = wait_until(lambda: [row for row in up.api("GET", "/streams?state=open&limit=50").body["items"]
                                   if row["source"].endswith(f":{port}") or ":7001" in str(row)], 20, port)
        return rows[-1]["agent_name"]


def first_soon(began):
    """When the first new stream was asked for that was connected soon; meanwhile others wait for the agent."""
    good = []

    def ask():
        asked = time.monotonic()
        try:
            connect("files.corp.test:7001", credential).close()
        except Exception as error:
            print("refused:", error)
            return
        if time.monotonic() - asked < SOON_S:
            good.append(asked - began)

    def asks():
        threading.Thread(target=ask, daemon=True).start()
        return good

    wait_until(asks, 30, "a new stream that is connected soon")
    return min(good)


def finding(name):
    """What the status says of the agent: (reason, finding), or None."""
    for f in up.api("GET", "/status").body["findings"]:
        if any(o["name"] == name for o in f.get("objects", ())):
            return f
    return None


def hurt(way):
    if way == "stopped":
        up.agents[0].process.signal(signal.SIGSTOP)
    else:
        wire.silence()


def heal(way):
    if way == "stopped":
        up.agents[0].process.signal(signal.SIGCONT)


with Up() as up:
    inside, wire = Inside(), Wire(9701)
    Dns(inside, {"files.corp.test": [THERE_IP]})
    inside.serve(hello, 7001)
    inside.serve(trickle, 7002)
    up.agents.append(Agent(up, "one", "--dns-servers", THERE_IP, "--relays", "127.0.0.1:9701"))
    up.agents.append(Agent(up, "two", "--dns-servers", THERE_IP))
    up.api.make("agent-groups", name="inner")
    for place, name in enumerate(NAMES):
        answer = up.api("PUT", f"/agent-groups/inner/members/{name}?wait=applied", {"priority": 10 + place})
        check(answer.status in (200, 201), answer)
    up.allow("inner", ["*.corp.test"], ["1-65535"], agent_group="inner")
    credential = up.curlrc()
    check(agent_of_new() == "one", "the preferred agent, to begin with")

    for way in ("stopped", "silent"):
        stream, got = connect("files.corp.test:7002", credential), [0.0]

        def sink():
            while stream.recv(1 << 16):
                got[0] = time.monotonic()

        threading.Thread(target=sink, daemon=True).start()
        wait_until(lambda: got[0] > 0, 20, "bytes flow")
        doubts, began = metric("adit_relay_links_doubted_total"), time.monotonic()
        hurt(way)
        took = first_soon(began)
        print(f"{way}: new streams go to the other agent after {took:.1f} s")
        check(took < PROMISED_S + SLACK_S, way, took)
        if way == "stopped":
            told = wait_until(lambda: finding("one"), 20, "the status tells of it")
            check(told["reason"] in ("agent-unproved", "no-agent") and told["cure"], told)
            check(agent_of_new() == "two", "while it is stopped")
            check(up.api("GET", "/agents/one").body["proved"] is False)
        healed = time.monotonic()
        heal(way)
        wait_until(lambda: got[0] > healed + 0.5, 40, "the old stream goes on")
        wait_until(lambda: up.api("GET", "/agents/one").body["proved"], 40, "it is proved again")
        wait_until(lambda: finding("one") is None, 20, "nothing is wrong any more")
        wait_until(lambda: agent_of_new() == "one", 40, "new streams go to it again")
        check(metric("adit_relay_links_doubted_total") + metric("adit_relay_probes_failed_total") >= doubts)
        stream.close()

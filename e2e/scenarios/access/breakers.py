# it leaves a target alone that failed again and again, tries it once after a pause, and lets all in when it answers
# timeout: 120
# on PostgreSQL too
import json
import re
import subprocess
import time

from clients import Refused, connect
from harness import check, wait_until
from inside import THERE_IP, line_server, serve
from places import explained, in_places, metrics
from up import BIN, Up, closed_network

SETTINGS = {"ADIT_RELAY_BREAKER_FAILURES": "3", "ADIT_RELAY_BREAKER_COOL_DOWN_MS": "2s",
            "ADIT_RELAY_BREAKER_COOL_DOWN_MAX_MS": "1h", "ADIT_RELAY_QUOTAS_TOLD_MS": "200ms"}
NAMES = {"files.corp.test": [THERE_IP]}
DEAD, OTHER = "files.corp.test:7100", "files.corp.test:7000"


def refused(who, target=DEAD):
    try:
        connect(target, who).close()
        return None
    except Refused as r:
        return r


def reason(who, target=DEAD):
    r = refused(who, target)
    return r and r.reason


def adit(up, *args):
    return subprocess.run([BIN / "adit", *args, "--var", up.var], capture_output=True, text=True)


with Up(env=SETTINGS) as up:
    inside, _, _ = closed_network(up, names=NAMES)
    who = up.curlrc()

    # Each failure is the target's own; the fourth request is not even tried.
    check([reason(who) for _ in range(3)] == ["dial-refused"] * 3)
    opened = time.monotonic()
    r = refused(who)
    check(r.reason == "breaker-open" and r.status == 503, r)
    told = up.curl("-p", "-D", "-", "-o", "/dev/null", f"http://{DEAD}/")
    check(re.search(r"(?im)^retry-after: [1-3]\r?$", told.stdout) and "breaker-open" in told.stdout, told)
    check(reason(who, OTHER) is None, "other targets are not touched")
    in_places(up, "breaker-open", "request.refused", "adit_relay_refused_total",
              record=("route-decisions", {"user_name": who[0], "port": 7100}), user=who[0])
    check(re.search(r"(?m)^adit_relay_breakers_open 1$", metrics()))

    # One try after the pause; it fails, and the next pause is longer.
    wait_until(lambda: reason(who) == "dial-refused", 20, "one try goes through")
    check(time.monotonic() - opened > 1.4, "not before the cool-down")
    check(reason(who) == "breaker-open", "and one only")
    items = wait_until(lambda: up.api("GET", "/breakers").body["items"], 10, "the API lists it")
    check(len(items) == 1 and items[0]["host"] == "files.corp.test" and items[0]["port"] == 7100 and
          items[0]["reason"] == "dial-refused" and items[0]["agent_group_name"] == "inner", items)
    wait_until(lambda: "breaker-open" in explained(up, who[0], DEAD) and "again" in explained(up, who[0], DEAD), 10,
               lambda: explained(up, who[0], DEAD))
    check("breaker-open" not in explained(up, who[0], OTHER))
    listed = adit(up, "breaker", "list")
    check(listed.returncode == 0 and re.search(r"open +inner +files\.corp\.test +7100", listed.stdout), listed)

    # The target is mended: reset by hand it is tried at once.
    listener = inside.socket(1, 7100)
    listener.listen(16)
    serve(listener, line_server)
    check(reason(who) == "breaker-open")
    breaker = up.api("GET", "/breakers?host=files.corp.test").body["items"][0]["id"]
    check(up.api("GET", f"/breakers/{breaker}").status == 200)
    done = adit(up, "breaker", "reset", breaker, "--wait")
    check(done.returncode == 0, done)
    wait_until(lambda: reason(who) is None, 5, "the next one tries, and gets through")
    wait_until(lambda: not up.api("GET", "/breakers").body["items"], 10, "it is closed")
    check(up.api("DELETE", f"/breakers/{breaker}").status == 404)
    check([a for a in up.api("GET", "/audit-events?action=breakers.delete").body["items"] if a["object"]["id"] == breaker])

    # It opens again, and closes by itself when the try answers.
    listener.close()

    def is_dead():
        return reason(who) in ("dial-refused", "breaker-open")
    wait_until(is_dead, 10, "nobody listens")
    wait_until(lambda: reason(who) == "breaker-open", 10, "it opens anew")
    again = inside.socket(1, 7100)
    again.listen(16)
    serve(again, line_server)
    wait_until(lambda: reason(who) is None, 20, "the try closes it")
    check([reason(who) for _ in range(3)] == [None] * 3)
    wait_until(lambda: re.search(r"(?m)^adit_relay_breakers 0$", metrics()), 5, metrics)

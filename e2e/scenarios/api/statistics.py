# it counts streams, bytes and refusals by user, agent, destination and reason, over restarts of the control plane
# on PostgreSQL too
# timeout: 120
import json
import os
import signal
import subprocess

from harness import check, wait_until
from up import BIN, Up

URL = "http://hello.demo.internal/"
OURS = 4        # and one of them is of adit up, which tries whether all works


def statistics(up, query=""):
    answer = up.api("GET", "/statistics" + query)
    check(answer.status == 200, answer)
    return answer.body


with Up() as up:
    for _ in range(3):
        check("Hello" in up.curl(URL).stdout)
    up.curl("http://nowhere.test/")
    wait_until(lambda: statistics(up)["totals"]["refused"] == 1 and statistics(up)["totals"]["bytes_in"] > 0, 20,
               lambda: statistics(up))
    wait_until(lambda: statistics(up)["totals"]["opened"] == OURS, 20, lambda: statistics(up))
    found = statistics(up)
    check(found["reasons"][0]["reason"] == "no-grant", found)
    top = found["top"]
    check(top["principals"][0]["name"] == "demo" and top["principals"][0]["opened"] == OURS, top)
    check(top["agents"][0]["name"] == "demo-agent" and top["agents"][0]["opened"] == OURS, top)
    check([d["opened"] for d in top["destinations"] if d["id"] == "hello.demo.internal:80"] == [OURS], top)
    failed = statistics(up, "?order=failed")["top"]["destinations"]
    check([d["id"] for d in failed] == ["nowhere.test:80"], failed)
    points = statistics(up, "?by=principal&key=demo&step=60")["points"]
    check(sum(p["opened"] for p in points) == OURS, points)

    victim = up.pid("adit-controlplane")
    os.kill(victim, signal.SIGKILL)
    wait_until(up.is_answering, 30, "the control plane answers again")
    check("Hello" in up.curl(URL).stdout)
    wait_until(lambda: statistics(up)["totals"]["opened"] == OURS + 1, 20, lambda: statistics(up))

    shown = subprocess.run([BIN / "adit", "top", "--order", "failed"], text=True, capture_output=True, timeout=60,
                           env={**os.environ, "ADIT_CLI_VAR": "/tmp/var"})
    check(shown.returncode == 0 and "nowhere.test:80" in shown.stdout, shown)
    shown = subprocess.run([BIN / "adit", "stats", "--from", "-1h", "--output", "json"], text=True, capture_output=True,
                           timeout=60, env={**os.environ, "ADIT_CLI_VAR": "/tmp/var"})
    check(json.loads(shown.stdout)["totals"]["opened"] == OURS + 1, shown)

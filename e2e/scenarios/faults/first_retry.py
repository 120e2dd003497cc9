# it spreads its agents' first retry, by how many it holds, and has them all back after a kill
# timeout: 300
import json
import os
import signal

from harness import check, wait_until
from raw_tunnel import HELLO, RawTunnel, frames_of
from up import Process, Up

AGENTS = 5                              # and the demo's
WINDOW_MS = AGENTS * 1000               # one agent is let in a second


def lines(process, event):
    return [known for line in process.lines if line.startswith("{") and (known := json.loads(line))["event"] == event]


def window(process):
    """What the agent was told last."""
    told = [json.loads(line)["first_retry_ms"] for line in process.lines if "first_retry_ms" in line]
    return told[-1] if told else -1


def hello(tunnel):
    """The relay's, or None: no token was left for us."""
    if tunnel.upgrade() != 101:
        return None
    return next((json.loads(payload) for kind, payload in frames_of(tunnel.read() or b"") if kind == HELLO), None)


def greeting(up, agent):
    try:
        return hello(RawTunnel(agent.dir / "member.pem", up.var / "ca.pem"))
    except OSError:
        return None


with Up() as up:
    agents = [up.add_agent(f"a{i}") for i in range(AGENTS)]
with Up(env={"ADIT_RELAY_HANDSHAKES_PER_S": "1"}) as up:
    running = [Process(*agent.command) for agent in agents]
    for process in running:
        wait_until(lambda: lines(process, "link.up"), 60, lambda: process.output[-2000:])
    said = wait_until(lambda: (h := greeting(up, agents[0])) and h.get("first_retry_ms") == WINDOW_MS and h, 60, "HELLO names the window")
    check(said["protocol"] == 1)
    # All of them know about it, whenever they came: nobody hurries back.
    for process in running:
        wait_until(lambda: window(process) >= WINDOW_MS / 3, 10, lambda: process.output[-2000:])
    before = [(len(lines(process, "link.up")), len(lines(process, "link.down"))) for process in running]
    os.kill(up.pid("adit-relay"), signal.SIGKILL)
    for process, (_, downs) in zip(running, before):
        wait_until(lambda: len(lines(process, "link.down")) > downs, 20, lambda: process.output[-2000:])
    waits = [lines(process, "link.down")[downs]["retry_ms"] for process, (_, downs) in zip(running, before)]
    check(max(waits) > WINDOW_MS / 20, "they come back in step:", waits)
    for process, (ups, _) in zip(running, before):
        wait_until(lambda: len(lines(process, "link.up")) > ups, 60, lambda: process.output[-2000:])
    for process in running:
        process.signal(signal.SIGTERM)
        process.wait(10)

# it slows an agent whose links come and go again and again, tells it when to come, and harms nobody else
# timeout: 180
import json
import pathlib
import struct
import time

from attack import metric
from harness import check, wait_until
from places import SOON, audited, counted, in_places
from raw_tunnel import GOAWAY, HELLO, RawTunnel, frames_of
from up import Agent, Process, Up

LINKS, BACK_S = 8, 40                   # one comes back each 5 s
ONE_S = BACK_S / LINKS


def come(up, pem):
    """One link up and gone: None, or (reason, how long to stay away)."""
    tunnel = RawTunnel(pem, up.var / "ca.pem")
    try:
        check(tunnel.upgrade() == 101 and tunnel.read()[0] == HELLO)
        tunnel.hello()
        for kind, payload in frames_of(tunnel.read() or b""):
            if kind == GOAWAY:
                return tags(payload)[1].decode(), struct.unpack(">I", tags(payload)[6])[0]
    finally:
        tunnel.close()
    return None


def tags(payload):
    found = {}
    while payload:
        number, n = struct.unpack_from(">BH", payload)
        found[number], payload = payload[3:3 + n], payload[3 + n:]
    return found


def known(process, event):
    return [line for text in process.lines if text.startswith("{") and (line := json.loads(text))["event"] == event]


with Up(env={**SOON, "ADIT_RELAY_FLAP_LINKS": str(LINKS), "ADIT_RELAY_FLAP_MS": f"{BACK_S}s"}) as up:
    agent = Agent(up, "raw")
    agent.stop()
    pem, began, answers = next(pathlib.Path(agent.dir).glob("*.pem")), time.monotonic(), []
    while len([a for a in answers if a]) < 5:
        answers.append(come(up, pem))
        check(len(answers) < 200, answers)
    let_in, lasted = answers.count(None), time.monotonic() - began
    check(LINKS - 2 <= let_in <= LINKS + lasted / ONE_S + 1, let_in, lasted)
    check(all(reason == "rate-limited" and 1000 <= ms <= 1000 * ONE_S for reason, ms in filter(None, answers)), answers)
    in_places(up, "rate-limited", "link.refused", "adit_relay_links_refused_total")
    refused = counted("adit_relay_links_refused_total", "rate-limited")
    check(refused == len([a for a in answers if a]), refused, answers)
    audited(up, "rate-limited", action="relay.tunnel", count=1)
    log = (up.var / "log/relay.log").read_text()
    check(log.count('"reason":"rate-limited"') == 1, "it is not logged once", log.count('"reason":"rate-limited"'))
    check("Hello" in up.curl("http://hello.demo.internal/").stdout, "another agent was harmed")
    check(metric("adit_relay_flaps_known") >= 2 and metric("adit_relay_slowed_agents_total") == refused)

    agent.process = Process(*agent.command)     # a real one, told to wait, waits and comes
    wait_until(lambda: known(agent.process, "link.up"), 60, lambda: agent.process.output[-2000:])
    put_off = [line for line in known(agent.process, "link.down") if line["reason"] == "rate-limited"]
    check(all(line["retry_ms"] >= 1000 for line in put_off), put_off)
    agent.stop()
    print(f"{let_in} of {len(answers)} links in {lasted:.0f} s; the agent itself was put off {len(put_off)} times")

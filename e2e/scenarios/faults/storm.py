# it lets a storm of agents in at its rate, tells some when to come again and hangs up on the rest, and all get in
# timeout: 300
import concurrent.futures
import json
import os
import random
import re
import signal
import threading
import time

from attack import metric, metrics, resident_kib
from harness import check, wait_until
from raw_tunnel import RawTunnel
from up import Process, Up

RATE, CROWD, AGENTS = 40, 240, 3
LIVING = 3                              # every so many says that streams wait for it
IN, LATER, CLOSED = "in", "later", "closed"
PAGE_S = 10                             # a page's most while the storm lasts, on a machine that is busy


def handshakes(outcome):
    return int(re.search(rf'(?m)^adit_relay_handshakes_total{{handshake="{outcome}"}} (\d+)', metrics()).group(1))


def come(up, pem, *fields):
    """Once to the tunnels' door: (how it went, seconds to stay away)."""
    tunnel = None
    try:
        tunnel = RawTunnel(pem, up.var / "ca.pem")
        status = tunnel.upgrade(*fields)
        if status == 101:
            return IN, 0
        if not status:
            return CLOSED, 0
        check(status == 503 and tunnel.said("adit-reason") == "overload", tunnel.answer)
        seconds = int(tunnel.said("retry-after"))
        check(1 <= seconds <= 30, "Retry-After", seconds)
        return LATER, seconds
    except OSError:
        return CLOSED, 0
    finally:
        if tunnel:
            tunnel.close()


def insist(up, pem, seed, is_over):
    """Comes until it is let in, as an agent does; how often each answer was heard."""
    heard, spread, rest = {IN: 0, LATER: 0, CLOSED: 0}, random.Random(seed), threading.Event()
    is_living = seed % LIVING == 0
    for failures in range(100):
        how, seconds = come(up, pem, *(["Adit-Streams: 1"] if is_living else []))
        check(how != LATER or not is_living, "an agent with living streams was put off")
        heard[how] += 1
        if how == IN or is_over():
            return heard
        rest.wait(seconds + spread.random() * max(seconds, min(10, 0.1 * 2 ** failures)))
    raise AssertionError(f"not let in: {heard}")


def storm(up, pem, crowd, pool, is_over=lambda: False):
    return [pool.submit(insist, up, pem, n, is_over) for n in range(crowd)]


def total(futures):
    heard = [future.result() for future in futures]
    return {how: sum(one[how] for one in heard) for how in (IN, LATER, CLOSED)}


def page_s(up):
    began = time.monotonic()
    check("Hello" in up.curl("http://hello.demo.internal/").stdout, "no page in the storm")
    return time.monotonic() - began


def known(process, event):
    return [line for text in process.lines if text.startswith("{") and (line := json.loads(text))["event"] == event]


def come_back(up, agents, pem, pool):
    """The relay is killed; its agents come back in the middle of a storm, put off or not."""
    running = [Process(*agent.command) for agent in agents]
    for process in running:
        wait_until(lambda: known(process, "link.up"), 60, lambda: process.output[-2000:])
    before = [len(known(process, "link.up")) for process in running]
    os.kill(up.pid("adit-relay"), signal.SIGKILL)
    are_back = lambda: all(len(known(p, "link.up")) > ups for p, ups in zip(running, before))
    crowd = storm(up, pem, CROWD, pool, are_back)
    wait_until(are_back, 90, lambda: [p.output[-600:] for p in running])
    put_off = [line for p in running for line in known(p, "link.down") if " answered 503" in line.get("detail", "")]
    check(all(line["retry_ms"] >= 1000 and line["reason"] == "overload" for line in put_off), put_off)
    for process in running:
        process.signal(signal.SIGTERM)
        process.wait(10)
    total(crowd)
    return len(put_off)


with Up(env={"ADIT_RELAY_HANDSHAKES_PER_S": str(RATE)}) as up, concurrent.futures.ThreadPoolExecutor(CROWD) as pool:
    agents = [up.add_agent(f"a{i}") for i in range(AGENTS)]
    for agent in agents:
        agent.stop()
    pem, relay = agents[0].dir / "member.pem", up.pid("adit-relay")
    come(up, pem)
    before_kib, adopted, began = resident_kib(relay), handshakes("adopted"), time.monotonic()
    crowd = storm(up, pem, CROWD, pool)
    took = []
    while not all(future.done() for future in crowd):
        took.append(page_s(up))
    lasted, heard = time.monotonic() - began, total(crowd)
    wait_until(lambda: handshakes("put_off") >= heard[LATER] and handshakes("adopted") + handshakes("living") >= adopted + CROWD, 10,
               lambda: (heard, metrics()))
    admitted = handshakes("adopted") - adopted
    check(heard[IN] == CROWD and heard[LATER] > 0, heard)
    check(handshakes("put_off") >= heard[LATER] and handshakes("put_off") <= RATE / 4 * (lasted + 3), heard, lasted)
    check(handshakes("refused_overload") > 0, heard)
    wait_until(lambda: handshakes("living") > 0, 10, "some of those beyond the rate had living streams")
    check(admitted + handshakes("living") >= CROWD and admitted <= RATE * (lasted + 3), admitted, "were let in within", lasted)
    check(max(took) < PAGE_S, "pages took", took)
    wait_until(lambda: resident_kib(relay) - before_kib < 32 * 1024, 20, lambda: resident_kib(relay) - before_kib)
    check(up.pid("adit-relay") == relay)
    print(f"{CROWD} came in {lasted:.0f} s at {RATE} a second: {heard}; pages took at most {max(took):.2f} s")
    print(f"after a kill: {come_back(up, agents, pem, pool)} times an agent was put off")
    wait_until(lambda: metric("adit_relay_handshakes") == 0, 20, "all handshakes are over")

# it keeps every transfer whole, in both directions, while the agent's link is cut under it again and again
# timeout: 300
import os
import pathlib
import random
import threading
import time

from attack import metric
from clients import Refused, connect, socks5
from cutter import Wire
from harness import check, wait_until
from inside import THERE_IP, Dns, Inside, Pattern, line_server, receive_to_end, send_pattern
from up import Up

CUTS = int(os.environ.get("ADIT_CUTS", "60"))
BUDGET_S = float(os.environ.get("ADIT_BUDGET_S", "20"))
TRANSFERS, SIZE = int(os.environ.get("ADIT_TRANSFERS", "12")), 3_000_000
LANES = int(os.environ.get("ADIT_CUT_LANES", "0"))      # 0: two wires; else one, with so many lanes of a session
TRIES, SOCKS_UNREACHABLE = 20, 4
VAR, AGENT = pathlib.Path("/tmp/var"), 9109
SILENT_EVERY = int(os.environ.get("ADIT_SILENT_EVERY", "15"))   # one cut in so many is a silent one


def open_stream(credential, n):
    """Through one door or the other; a new one waits two seconds for an agent all of whose links are cut, and is
    refused then: it is asked for again."""
    for _ in range(TRIES):
        try:
            return connect("files.corp.test:7000", credential) if n % 3 else socks5("files.corp.test", 7000, credential)
        except Refused as refused:
            if refused.reason != "no-agent" and refused.status != SOCKS_UNREACHABLE:
                raise
            state["late"] += 1
    raise AssertionError(f"{TRIES} times there was no agent")


def transfer(credential, n):
    """One transfer there or back; None when it was whole."""
    pattern = Pattern(n, SIZE)
    with open_stream(credential, n) as stream:
        stream.settimeout(90)
        if n % 2:
            stream.sendall(f"send {n} {SIZE}\n".encode())
            got = receive_to_end(stream)
            return None if got == (SIZE, pattern.sha256()) else (n, got)
        stream.sendall(b"hash\n")
        send_pattern(stream, n, SIZE)
        stream.shutdown(1)
        got = stream.makefile().readline().split()
        return None if got == [str(SIZE), pattern.sha256()] else (n, got)


def lane_options():
    """One address, and further links to it as soon as there is a little load."""
    return ["--lane-rate", "256K", "--lane-rest-ms", "60s", "--admin-listen", f"127.0.0.1:{AGENT}"] if LANES else []


def is_whole(wire):
    return wire.live() and (not LANES or metric("adit_agent_links", AGENT) >= LANES)


if LANES:
    VAR.mkdir(mode=0o700)
    (VAR / "relay.yaml").write_text(f"workers: {LANES}\n")
with Up() as up:
    inside, wires = Inside(), [Wire(9701)] if LANES else [Wire(9701), Wire(9702)]
    Dns(inside, {"files.corp.test": [THERE_IP]})
    inside.serve(line_server, 7000)
    up.add_agent("inner", "--dns-servers", THERE_IP, "--relays",
                 ",".join(f"127.0.0.1:{9701 + i}" for i in range(len(wires))), *lane_options(), group="inner")
    up.allow("inner", ["*.corp.test"], ["1-65535"], agent_group="inner")
    credential, chance = up.curlrc(), random.Random(int(os.environ.get("ADIT_SEED", "1")))
    state = {"over": False, "done": 0, "late": 0, "wrong": []}

    def keep_going(lane):
        n = lane
        while not state["over"]:
            try:
                wrong = transfer(credential, n)
            except Exception as error:      # a reset, a refusal, a timeout: all are wrong here
                wrong = (n, repr(error))
            if wrong:
                state["wrong"].append(wrong)
            state["done"] += 1
            n += TRANSFERS

    threads = [threading.Thread(target=keep_going, args=(i,), daemon=True) for i in range(TRANSFERS)]
    for thread in threads:
        thread.start()
    began, kinds = time.monotonic(), {"reset": 0, "silent": 0}
    for cut in range(CUTS):
        if time.monotonic() - began > BUDGET_S:
            break
        wire = wires[chance.randrange(len(wires))]
        wait_until(lambda: is_whole(wire), 60, "the agent comes back, with all lanes")
        before = sum(w.carried for w in wires)
        goal = before + chance.randrange(2_000_000)
        wait_until(lambda: sum(w.carried for w in wires) > goal, 60, "bytes flow again")
        links = wire.live()
        which = chance.sample(links, min(1, len(links))) if LANES else links
        if cut % SILENT_EVERY == SILENT_EVERY // 2 and which:
            wire.silence(*which)
            kinds["silent"] += 1
        elif which:
            kinds["reset"] += wire.reset(*which)
        check(not state["wrong"], state["wrong"][:4])
    state["over"] = True
    for thread in threads:
        thread.join(100)
    check(not any(thread.is_alive() for thread in threads), "a transfer that does not end")
    check(not state["wrong"], len(state["wrong"]), state["wrong"][:4])
    check(kinds["reset"] >= 8 and kinds["silent"] >= 1 and state["done"] > TRANSFERS, kinds, state["done"])
    count = int(metric("adit_relay_streams_moved_total"))
    print(f"{kinds}, {state['done']} transfers whole, {state['late']} asked for again, {count} moves, {time.monotonic() - began:.0f} s")
    check(count > 0, "no stream moved")
    check(not LANES or metric("adit_agent_lanes_opened_total", AGENT) >= kinds["reset"] / 2, "lanes were opened")

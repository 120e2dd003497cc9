# it opens a second link under load, shares the streams between both, loses neither bytes nor time with one of them, and closes it
# timeout: 240
import hashlib
import os
import pathlib
import socket
import subprocess
import threading
import time

from attack import metric
from clients import connect
from cutter import Wire
from harness import check, wait_until
from inside import THERE_IP, Dns, Inside, Pattern
from up import BIN, Up

VAR, AGENT = pathlib.Path("/tmp/var"), 9109
WORKERS = int(os.environ.get("ADIT_LANES", "2"))
STREAMS, PIECE = 20, 16 * 1024          # half of them each way
RESET_S, SILENT_S = 2.0, 5.0            # what the design promises
CUTS = [kind for kind in ("reset", "silent") for _ in range(2)]
tick = threading.Event()                # never set: a piece each 20 ms
load_is_over = threading.Event()        # then half a second


class Transfer:
    """A stream of pieces until `over`, hashed at both ends; how long nothing arrived, at the most."""

    def __init__(self, n, credential):
        self.n, self.over, self.error, self.sent, self.got = n, threading.Event(), None, None, None
        self.arrived = self.pause = 0.0
        self.bytes = 0
        every[n] = self
        self.stream = connect(f"files.corp.test:{7001 + n % 2}", credential)
        self.stream.sendall(b"%d\n" % n)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.stream.settimeout(90)
            (self.give if self.n % 2 else self.take)(self.stream)
        except OSError as error:
            self.error = repr(error)

    def give(self, stream):
        pattern, digest = Pattern(self.n, 1 << 40), hashlib.sha256()
        pieces = iter(pattern)
        while not self.over.is_set():
            piece = next(pieces)[:PIECE]
            stream.sendall(piece)
            digest.update(piece)
            tick.wait(0.5 if load_is_over.is_set() else 0.02)
        self.sent = digest.hexdigest()
        stream.shutdown(socket.SHUT_WR)

    def take(self, stream):
        digest, self.arrived = hashlib.sha256(), time.monotonic()
        while piece := stream.recv(1 << 16):
            now = time.monotonic()
            self.pause, self.arrived = max(self.pause, now - self.arrived), now
            self.bytes += len(piece)
            digest.update(piece)
        self.got = digest.hexdigest()


def peer(way):
    """The other end, behind the agent."""
    def run(connection):
        line = b""
        while not line.endswith(b"\n"):
            line += connection.recv(1)
        transfer = every[int(line)]
        getattr(transfer, way)(connection)
    return run


def longest_pause():
    """Since it was asked last, of all; what has not ended yet counts."""
    now = time.monotonic()
    pause = max(max(t.pause, now - t.arrived) for t in every.values())
    for t in every.values():
        t.pause = 0.0
    return pause


def share(wire, goal):
    """What each of two links carried of the next bytes."""
    links = wire.live()
    before = [pair.total for pair in links]
    wait_until(lambda: sum(p.total for p in links) - sum(before) > goal, 60, "bytes flow")
    carried = [pair.total - was for pair, was in zip(links, before)]
    return min(carried) / sum(carried), len(links)


def status():
    """What adit status says of the agent; relays report every 10 s."""
    said = subprocess.run([BIN / "adit", "status", "--var", VAR], capture_output=True, text=True).stdout
    return "".join(line for line in said.splitlines() if "agent  inner" in line)


def lanes():
    return metric("adit_agent_lanes", AGENT)


every = {}
VAR.mkdir(mode=0o700)
(VAR / "relay.yaml").write_text(f"workers: {WORKERS}\n")
with Up() as up:
    inside, wire = Inside(), Wire(9701)
    Dns(inside, {"files.corp.test": [THERE_IP]})
    inside.serve(peer("give"), 7001)
    inside.serve(peer("take"), 7002)
    up.add_agent("inner", "--dns-servers", THERE_IP, "--relays", "127.0.0.1:9701", "--lane-rate", "256K",
                 "--lane-rest-ms", "3s", "--admin-listen", f"127.0.0.1:{AGENT}", group="inner")
    up.allow("inner", ["*.corp.test"], ["1-65535"], agent_group="inner")
    check(len(wire.live()) == 1 and lanes() == 0, "one link at rest", len(wire.live()))
    for n in range(STREAMS):
        Transfer(n, up.curlrc())
    wait_until(lambda: lanes() == WORKERS - 1, 60, "all lanes are up")
    wait_until(lambda: metric("adit_relay_streams_balanced_total") > 0 or share(wire, 1 << 20)[0] > 0.3, 20,
               "streams are shared")
    wait_until(lambda: share(wire, 4 << 20)[0] >= 0.5 / WORKERS, 20, "an even share")
    part, links = share(wire, 16 << 20)
    print(f"least share of {links} links: {part:.0%}")
    check(links == WORKERS and part >= 0.5 / WORKERS, links, part)
    wait_until(lambda: f"{WORKERS} links  {STREAMS} streams" in status(), 30, lambda: ("adit status shows them", status()))

    for number, kind in enumerate(CUTS):
        longest_pause()
        links = wire.live()
        (wire.reset if kind == "reset" else wire.silence)(links[number % len(links)])
        moved = metric("adit_relay_streams_moved_total")
        began = time.monotonic()
        wait_until(lambda: metric("adit_relay_streams_moved_total") >= moved + 3, 20, "streams moved")
        wait_until(lambda: all(t.arrived > began for t in every.values()), 20, "bytes flow on all")
        pause = longest_pause()
        print(f"{kind}: {pause:.2f} s")
        check(pause <= (RESET_S if kind == "reset" else SILENT_S), kind, pause)
        wait_until(lambda: lanes() == WORKERS - 1 and len(wire.live()) == WORKERS, 60, "the lane is there again")
        wait_until(lambda: share(wire, 2 << 20)[0] >= 0.5 / WORKERS, 30, "an even share again")

    for t in list(every.values())[6:]:
        t.over.set()
    load_is_over.set()
    wait_until(lambda: lanes() == 0 and len(wire.live()) == 1, 60, "the lane is closed")
    check(metric("adit_agent_lanes_closed_total", AGENT) > 0, "closed, not lost")
    arrived = time.monotonic()
    wait_until(lambda: all(t.arrived > arrived for t in list(every.values())[:6]), 20, "the rest goes on")
    for t in every.values():
        t.over.set()
    for t in every.values():
        t.thread.join(60)
        wait_until(lambda: t.sent and t.got, 30, lambda: ("both ends are there", t.n, t.error))
        check(t.sent == t.got and not t.error, t.n, t.error, t.bytes)
    print(f"{sum(t.bytes for t in every.values()) >> 20} MiB in {STREAMS} streams, "
          f"{metric('adit_relay_streams_moved_total'):.0f} moves, "
          f"{metric('adit_agent_lane_misses_total', AGENT):.0f} dials came to the same worker")

# it says so when relay, agent or control plane run out of descriptors, keeps what lives, burns no CPU, and comes back
# timeout: 120
import contextlib
import os
import pathlib
import resource
import socket
import ssl
import time

from attack import metric
from clients import Refused, connect
from harness import check, wait_until
from up import Up, closed_network

SPARE, MANY, TURN_S = 3, 24, 0.5
CPU_PART_MAX = 0.3


@contextlib.contextmanager
def out_of_descriptors(pid):
    """The process may open SPARE more, and no others, for as long as this lasts."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    numbers = [int(entry.name) for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    free = (n for n in range(1 << 20) if n not in numbers)
    limit = [next(free) for _ in range(SPARE + 1)][-1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_calm(pid):
    """Whether it used little CPU in some half second soon."""
    def turn():
        before, began = cpu_s(pid), time.monotonic()
        wait_until(lambda: time.monotonic() > began + TURN_S, 10)
        return cpu_s(pid) - before < CPU_PART_MAX * TURN_S
    wait_until(turn, 15, f"process {pid} is calm")


def echoes(stream):
    stream.sendall(b"here")
    return stream.recv(100) == b"here"


def crowd(n, address):
    """Plain connections that say nothing; the kernel accepts them, whatever the program does."""
    return [socket.create_connection(address, 10) for _ in range(n)]


def leave(sockets):
    for s in sockets:
        s.close()


def fetches(up):
    try:
        s = connect("files.corp.test:7000", up.curlrc())
    except Refused as refused:
        return refused.reason
    with s:
        s.sendall(b"echo\n")
        return "ok" if echoes(s) else "silent"


def relay(up, living):
    pid = up.pid("adit-relay")
    with out_of_descriptors(pid):
        guests = crowd(MANY, ("127.0.0.1", 8080))
        wait_until(lambda: "listener.paused" in (up.var / "log/relay.log").read_text(), 10, "it says so")
        is_calm(pid)
        check(echoes(living), "a living stream went silent")
        leave(guests)
        wait_until(lambda: fetches(up) == "ok", 20, "guests that left made room")
    check(metric("adit_relay_accept_pauses_total") > 0)


def agent(up, far, living):
    with out_of_descriptors(far.process.pid):
        kept, reasons = [], []
        for _ in range(SPARE + 3):
            try:
                kept.append(connect("files.corp.test:7000", up.curlrc()))
            except Refused as refused:
                reasons.append(refused.reason)
        check("overload" in reasons and set(reasons) <= {"overload", "resolve-failed"}, reasons)
        is_calm(far.process.pid)
        check(echoes(living), "a living stream went silent")
        leave(kept)
    wait_until(lambda: fetches(up) == "ok", 20, "it dials again")


def control_plane(up):
    pid = up.pid("adit-controlplane")
    with out_of_descriptors(pid):
        guests = crowd(MANY, ("127.0.0.1", 8443))
        is_calm(pid)
        check(fetches(up) == "ok", "streams need the control plane")
        leave(guests)
        wait_until(up.is_answering, 30, "guests that left made room")
    wait_until(up.is_answering, 30, "it answers again")


with Up() as up:
    _, _, far = closed_network(up)
    living = connect("files.corp.test:7000", up.curlrc())
    living.sendall(b"echo\n")
    relay(up, living)
    agent(up, far, living)
    control_plane(up)
    check(echoes(living) and fetches(up) == "ok")

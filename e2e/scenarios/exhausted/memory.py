# it holds many streams that nobody reads in a small cgroup, refuses more with a code, serves those that are read, and gives all back
# timeout: 300
import collections
import concurrent.futures
import json
import os
import pathlib
import resource
import socket
import threading
import time

from attack import metric, resident_kib
from clients import Refused, connect
from crowd import Crowd
from harness import check, wait_until
from inside import Pattern, receive_to_end, send_pattern
from up import Up, closed_network, is_sanitized

STALLED, IDLE = int(os.environ.get("ADIT_STALLED", "1500")), int(os.environ.get("ADIT_IDLE", "500"))
SIZE, REST_S = int(os.environ.get("ADIT_SIZE", "64000000")), float(os.environ.get("ADIT_REST_S", "2"))
BATCH, QUIET_S, PATIENCE_S = 500, 1.5, 60   # patience: without one byte
STALLED_MAX = 12000
CGROUP_MIB, LIMIT_MIB = 256, int(os.environ.get("ADIT_LIMIT_MIB", "64"))
GROUP = pathlib.Path("/sys/fs/cgroup/memory") / f"adit-{os.getpid()}-{os.readlink('/proc/self/ns/net')[5:-1]}"
OPTIONS = {"ADIT_RELAY_MEMORY_LIMIT": f"{LIMIT_MIB}M", "ADIT_RELAY_VISITS_MAX": "20000",
           "ADIT_RELAY_VISITS_PER_SOURCE_MAX": "20000"}


class Cgroup:
    """The relay in a cgroup of its own that may hold so much; where there are none, it is watched."""

    def __init__(self, pid):
        self.pid = pid
        try:
            GROUP.mkdir()
            (GROUP / "memory.limit_in_bytes").write_text(str(CGROUP_MIB << 20))
            (GROUP / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            print(f"no cgroup: {error}")

    def most_mib(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) >> 10


def download(connection):
    send_pattern(connection, "big", SIZE)


def open_one(port, credential):
    """A stream, or the code of its refusal."""
    try:
        return connect(f"files.corp.test:{port}", credential, receive_buffer=4096)
    except Refused as refused:
        return refused.reason


def open_many(n, port, credential):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: open_one(port, credential), range(n)))
    streams, codes = [s for s in made if not isinstance(s, str)], [c for c in made if isinstance(c, str)]
    check(set(codes) <= {"overload"}, set(codes))
    return streams, len(codes)


def open_idle(port, credential):
    """IDLE streams: what was refused while workers shared what they may promise is asked for again."""
    streams = []

    def are_open():
        streams.extend(open_many(IDLE - len(streams), port, credential)[0])
        return len(streams) == IDLE
    wait_until(are_open, 60, lambda: ("idle streams", len(streams)))
    return streams


def wait_for_quiet():
    """Until nothing more comes to be held: the crowd has filled what it may, workers have shared."""
    last, since = None, 0

    def is_quiet():
        nonlocal last, since
        now = metric("adit_relay_held_bytes")
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > QUIET_S
    wait_until(is_quiet, 120, lambda: ("the crowd fills what it may", last))
    check(last <= LIMIT_MIB << 20, last)


def stall_many(port, credential):
    """Streams that nobody reads, until STALLED were tried and some refused: (streams, how many were refused)."""
    streams, refused = [], 0
    while len(streams) + refused < STALLED or (not refused and len(streams) < STALLED_MAX):
        more, no = open_many(BATCH, port, credential)
        streams, refused = streams + more, refused + no
        wait_for_quiet()
    return streams, refused


def transfers(down, up_):
    """Whole, both ways, while all others stand still."""
    def send():
        up_.sendall(b"hash\n")
        send_pattern(up_, "up", SIZE // 16)
        up_.shutdown(socket.SHUT_WR)
    for s in (down, up_):
        s.settimeout(PATIENCE_S)
    sender = threading.Thread(target=send)
    sender.start()
    check(receive_to_end(down) == (SIZE, Pattern("big", SIZE).sha256()), "the download is not whole")
    sender.join()
    answer = b"".join(iter(lambda: up_.recv(100), b"")).decode().split()
    check(answer == [str(SIZE // 16), Pattern("up", SIZE // 16).sha256()], "the upload is not whole", answer)
    leave([down, up_])


def leave(streams):
    for s in streams:
        s.close()


def given_back(relay, before_kib):
    wait_until(lambda: metric("adit_relay_streams") == 0 and metric("adit_relay_held_bytes") == 0, 60,
               lambda: (metric("adit_relay_streams"), metric("adit_relay_held_bytes")))
    wait_until(lambda: resident_kib(relay) < before_kib + 40 * 1024, 30, lambda: (before_kib, resident_kib(relay)))


def ended(up):
    """How many are there; how streams ended, and links."""
    log = (up.var / "log/relay.log").read_text(errors="replace")
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return metric("adit_relay_streams"), collections.Counter(
        (line["event"], line.get("reason"), line.get("detail")) for line in lines
        if line["event"] in ("stream.closed", "link.down", "link.up"))


def keep_kernel_small():
    """Sockets by the thousand: with the kernel's own room for each they would use up what all TCP of the machine may."""
    for way in ("rmem", "wmem"):
        pathlib.Path(f"/proc/sys/net/ipv4/tcp_{way}").write_text("4096 16384 131072")


def scenario(up):
    inside, _, far = closed_network(up)
    for where in (lambda call: call(), inside.there):
        where(keep_kernel_small)
    crowds = [Crowd(inside, 7001, "pour"), Crowd(inside, 7003, "hold")]
    inside.serve(download, 7002)
    relay, credential = up.pid("adit-relay"), up.curlrc()
    group, before_kib = Cgroup(relay), resident_kib(relay)

    idle = open_idle(7003, credential)
    check(metric("adit_relay_held_bytes") == 0, "an idle stream holds a buffer")
    threading.Event().wait(REST_S)
    check(metric("adit_relay_streams") == IDLE, "idle streams were lost, or there are others", ended(up))
    print(f"{IDLE} idle streams: {(resident_kib(relay) - before_kib) / IDLE:.1f} KiB each")
    leave(idle)
    given_back(relay, before_kib)

    refused = metric("adit_relay_refused_total")
    down, up_ = connect("files.corp.test:7002", credential), connect("files.corp.test:7000", credential)
    stalled, overloads = stall_many(7001, credential)
    check(len(stalled) > 200, len(stalled), "streams were refused too early")
    check(metric("adit_relay_refused_total") - refused == overloads, "a refusal was not counted", overloads)
    held, began = metric("adit_relay_held_bytes"), time.monotonic()
    check(overloads and held > 0.4 * (LIMIT_MIB << 20), overloads, held, "the memory is not full")
    transfers(down, up_)
    print(f"{len(stalled)} stalled, {overloads} refused, held {held / 1e6:.0f} MB, at most {group.most_mib()} MiB of "
          f"{CGROUP_MIB}; {SIZE / 1e6:.0f} MB down and {SIZE / 16e6:.0f} MB up past them in {time.monotonic() - began:.0f} s")
    check(group.most_mib() < CGROUP_MIB or is_sanitized(), group.most_mib())
    wait_until(lambda: metric("adit_relay_streams") == len(stalled), 20, "no stalled stream was killed, and none is left")
    check(up.pid("adit-relay") == relay and far.process.process.poll() is None, "a program was killed")
    leave(stalled)
    given_back(relay, before_kib)
    for crowd in crowds:
        crowd.process.kill()


resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
try:
    with Up(env=OPTIONS) as up:
        scenario(up)
finally:
    if GROUP.exists():
        GROUP.rmdir()

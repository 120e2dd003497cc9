# it holds many streams that nobody reads in a small cgroup, refuses more with a code, and gives all back
# timeout: 300
import concurrent.futures
import os
import pathlib
import resource
import socket
import threading

from attack import metric, resident_kib
from clients import Refused, connect
from harness import check, wait_until
from inside import Pattern, receive_to_end, send_pattern
from up import Up, closed_network, is_sanitized

STALLED, IDLE = int(os.environ.get("ADIT_STALLED", "1500")), int(os.environ.get("ADIT_IDLE", "500"))
SIZE, REST_S = int(os.environ.get("ADIT_SIZE", "64000000")), float(os.environ.get("ADIT_REST_S", "2"))
CGROUP_MIB, LIMIT_MIB = 256, int(os.environ.get("ADIT_LIMIT_MIB", "96"))
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


def pour(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    while True:
        connection.sendall(bytes(1 << 16))


def download(connection):
    send_pattern(connection, "big", SIZE)


def open_one(port, credential):
    """A stream, or the code of its refusal."""
    try:
        return connect(f"files.corp.test:{port}", credential)
    except Refused as refused:
        return refused.reason


def open_many(n, port, credential):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: open_one(port, credential), range(n)))
    streams, codes = [s for s in made if not isinstance(s, str)], [c for c in made if isinstance(c, str)]
    check(set(codes) <= {"overload"}, set(codes))
    return streams, len(codes)


def leave(streams):
    for s in streams:
        s.close()


def given_back(relay, before_kib):
    wait_until(lambda: metric("adit_relay_streams") == 0 and metric("adit_relay_held_bytes") == 0, 60,
               lambda: (metric("adit_relay_streams"), metric("adit_relay_held_bytes")))
    wait_until(lambda: resident_kib(relay) < before_kib + 40 * 1024, 30, lambda: (before_kib, resident_kib(relay)))


def scenario(up):
    inside, _, _ = closed_network(up)
    inside.serve(pour, 7001)
    inside.serve(download, 7002)
    relay, credential, refused = up.pid("adit-relay"), up.curlrc(), metric("adit_relay_refused_total")
    group, before_kib = Cgroup(relay), resident_kib(relay)

    idle, none = open_many(IDLE, 7000, credential)
    check(len(idle) == IDLE and metric("adit_relay_held_bytes") == 0, len(idle), "an idle stream holds a buffer")
    threading.Event().wait(REST_S)
    check(metric("adit_relay_streams") == IDLE, "idle streams were lost")
    print(f"{IDLE} idle streams: {(resident_kib(relay) - before_kib) / IDLE:.1f} KiB each")
    leave(idle)
    given_back(relay, before_kib)

    big = connect("files.corp.test:7002", credential)
    stalled, overloads = open_many(STALLED, 7001, credential)
    check(len(stalled) > 200, len(stalled), "streams were refused too early")
    check(metric("adit_relay_held_bytes") <= LIMIT_MIB << 20, metric("adit_relay_held_bytes"))
    check(metric("adit_relay_refused_total") - refused == overloads, "a refusal was not counted", overloads)
    print(f"{len(stalled)} stalled, {overloads} refused, held {metric('adit_relay_held_bytes') / 1e6:.0f} MB, "
          f"at most {group.most_mib()} MiB of {CGROUP_MIB}")
    check(group.most_mib() < CGROUP_MIB or is_sanitized(), group.most_mib())
    check(up.pid("adit-relay") == relay, "the relay was killed")
    leave(stalled)                          # a download that waited for memory goes on, whole
    check(receive_to_end(big) == (SIZE, Pattern("big", SIZE).sha256()), "the download is not whole")
    big.close()
    given_back(relay, before_kib)


resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
try:
    with Up(env=OPTIONS) as up:
        scenario(up)
finally:
    if GROUP.exists():
        GROUP.rmdir()

# it fills a link of 200 Mbit/s and 100 ms with one stream, while one that nobody reads holds its first window
# timeout: 180
import os
import socket
import threading
import time

import rough
from attack import metric
from clients import connect
from harness import check, wait_until
from inside import HERE_IP, THERE_IP, Dns, Inside, serve
from up import Up, is_sanitized

RATE_KBIT, GOOD_PART = 200_000, 0.8
ROUNDS, PART_S, TRY_S = 3, 0.5, 4
REST_S = float(os.environ.get("ADIT_REST_S", "0"))
HELD_MAX = 256 * 1024 + 128 * 1024          # the first window, and chunks that are not full


def pour(connection):
    piece = bytes(1 << 18)
    while True:
        connection.sendall(piece)


def best_rate(stream):
    """Mbit/s of the best half second: a stream has to get there first."""
    best, ends = 0, time.monotonic() + TRY_S
    while time.monotonic() < ends:
        began, n = time.monotonic(), 0
        while time.monotonic() < began + PART_S:
            n += len(stream.recv(1 << 20))
        best = max(best, n * 8e-6 / (time.monotonic() - began))
    stream.close()
    return best


def compare():
    """(ours, plain TCP over the same link: what a loaded machine can carry at all)"""
    return (best_rate(connect("files.corp.test:7000", credential)),
            best_rate(socket.create_connection((rough.THERE_IP, 7001), 30)))


inside = Inside()
network = rough.Rough(inside, delay=50, rate=RATE_KBIT)
with Up("--public", rough.HERE_IP) as up:
    Dns(inside, {"files.corp.test": [HERE_IP]})
    serve(socket.create_server((HERE_IP, 7000)), pour)
    inside.there(lambda: serve(socket.create_server((rough.THERE_IP, 7001)), pour))
    up.add_agent("far", "--dns-servers", THERE_IP, group="far", there=inside.there)
    up.allow("far", ["*.corp.test"], [7000], agent_group="far")
    credential = up.curlrc()

    def kernel_holds():
        """Bytes that wait in the kernel for readers at the door."""
        rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
        return sum(int(row[4].split(":")[0], 16) for row in rows if row[1] == "0100007F:1F90")

    def holds(least, most):
        return lambda: least <= metric("adit_relay_held_bytes") <= most

    stalled = connect("files.corp.test:7000", credential)
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wait_until(holds(128 * 1024, HELD_MAX), 30, lambda: metric("adit_relay_held_bytes"))
    check(kernel_holds() <= 512 * 1024, kernel_holds())
    threading.Event().wait(REST_S)          # what was measured of the link is forgotten
    for n in range(ROUNDS):
        ours, plain = compare()
        print(f"ours {ours:.0f} Mbit/s, plain TCP {plain:.0f}")
        if ours >= GOOD_PART * min(plain, RATE_KBIT / 1000):
            break
    check(ours >= GOOD_PART * min(plain, RATE_KBIT / 1000) or is_sanitized(), ours, plain)
    wait_until(holds(128 * 1024, HELD_MAX), 30, lambda: metric("adit_relay_held_bytes"))
    stalled.close()
    wait_until(holds(0, 0), 30, lambda: metric("adit_relay_held_bytes"))
network.stop()

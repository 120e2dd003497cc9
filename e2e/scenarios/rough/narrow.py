# it answers small messages within 150 ms over a link of 1 Mbit/s that others fill
# timeout: 120
import os
import socket
import threading
import time

import rough
from clients import connect
from harness import check, wait_until
from inside import HERE_IP, THERE_IP, Dns, Inside, serve
from up import Up

RATE_KBIT, DELAY_MS, LIMIT_MS, TRIES = 1000, 5, 150, 3
MESSAGES = int(os.environ.get("ADIT_MESSAGES", "40"))
BULK = 3
moved = {"down": 0, "up": 0}


def pour(connection):
    while True:
        connection.sendall(bytes(1 << 16))


def sink(connection):
    while piece := connection.recv(1 << 16):
        moved["up"] += len(piece)


def echo(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while piece := connection.recv(1 << 16):
        connection.sendall(piece)


def drink(connection):
    while piece := connection.recv(1 << 16):
        moved["down"] += len(piece)


def in_background(call, stream):
    def run():
        try:
            call(stream)
        except OSError:
            pass                            # closed at the end
    threading.Thread(target=run, daemon=True).start()


def measure(stream):
    """The milliseconds that each message took, there and back, sorted."""
    took = []
    for n in range(MESSAGES):
        began = time.monotonic()
        stream.sendall(b"%064d" % n)
        answer = b""
        while len(answer) < 64:
            answer += stream.recv(64)
        took.append((time.monotonic() - began) * 1000)
        pause.wait(0.02)
    return sorted(took)


def with_bulk(way, port, client):
    streams = [connect(f"files.corp.test:{port}", credential) for _ in range(BULK)]
    for stream in streams:
        in_background(client, stream)
    before = moved[way]
    wait_until(lambda: moved[way] > before + 100_000, 60, "the link is full")
    before, began = moved[way], time.monotonic()
    took = measure(small)
    rate = (moved[way] - before) * 8e-6 / (time.monotonic() - began)
    for stream in streams:
        stream.shutdown(socket.SHUT_RDWR)
        stream.close()
    print(f"{way}: p50 {took[len(took) // 2]:.0f} ms, p99 {took[len(took) * 99 // 100 - 1]:.0f} ms, "
          f"most {took[-1]:.0f} ms, bulk {rate:.2f} Mbit/s")
    return took[len(took) * 99 // 100 - 1], rate


pause = threading.Event()                   # never set
inside = Inside()
network = rough.Rough(inside, delay=DELAY_MS, rate=RATE_KBIT, queue=1000)
with Up("--public", rough.HERE_IP) as up:
    Dns(inside, {"files.corp.test": [HERE_IP]})
    for port, server in ((7001, pour), (7002, sink), (7003, echo)):
        serve(socket.create_server((HERE_IP, port)), server)
    up.add_agent("far", "--dns-servers", THERE_IP, group="far", there=inside.there)
    up.allow("far", ["*.corp.test"], ["7001-7003"], agent_group="far")
    credential = up.curlrc()
    small = connect("files.corp.test:7003", credential)
    for way, port, client in (("down", 7001, drink), ("up", 7002, pour)):
        for _ in range(TRIES):          # what a busy machine adds is not the link's
            p99, rate = with_bulk(way, port, client)
            is_good = p99 <= LIMIT_MS and rate > 0.8 * RATE_KBIT / 1000
            if is_good:
                break
        check(is_good, way, p99, rate)
network.stop()

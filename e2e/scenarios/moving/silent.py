# it notices within 4 s that a link fell silent while bytes move, one way or the other, and goes on over another
# timeout: 180
import socket
import threading
import time

from clients import connect
from cutter import Wire
from harness import check, wait_until
from inside import THERE_IP, Dns, Inside
from up import Up

# 3 s after a PING, of which there is one in a second, jittered; then dialling, and a loaded
# machine.  At rest there is one in 10 s: a link that was taken for resting would need longer.
NOTICED_S = 8.0
PIECE = b"x" * 2000
pace = threading.Event()                    # never set: a little moves all the time
moved_at = {"up": 0.0, "down": 0.0}         # when bytes last arrived


def pour(connection):
    while True:
        connection.sendall(PIECE)
        pace.wait(0.02)


def sink(way):
    def take(connection):
        while connection.recv(1 << 16):
            moved_at[way] = time.monotonic()
    return take


def in_thread(call, stream, ended):
    def run():
        try:
            call(stream)
            ended.append("an end")
        except OSError as error:
            ended.append(error)
    threading.Thread(target=run, daemon=True).start()


with Up() as up:
    inside, wire = Inside(), Wire(9701)
    Dns(inside, {"files.corp.test": [THERE_IP]})
    inside.serve(sink("up"), 7001)
    inside.serve(pour, 7002)
    up.add_agent("inner", "--dns-servers", THERE_IP, "--relays", "127.0.0.1:9701", group="inner")
    up.allow("inner", ["*.corp.test"], ["1-65535"], agent_group="inner")
    for way, port, client in [("up", 7001, pour), ("down", 7002, sink("down"))] * 2:
        began, ended = time.monotonic(), []
        stream = connect(f"files.corp.test:{port}", up.curlrc())
        in_thread(client, stream, ended)
        wait_until(lambda: moved_at[way] > began, 10, "bytes flow")
        silenced = time.monotonic()
        wire.silence()
        wait_until(lambda: moved_at[way] > silenced + 0.5 or ended, 40, "bytes flow again")
        took = moved_at[way] - silenced
        print(f"{way}: {took:.1f} s")
        check(not ended and took < NOTICED_S, way, took, ended)
        stream.shutdown(socket.SHUT_RDWR)
        stream.close()

# it keeps every byte through a network that loses, delays, reorders and doubles packets, of MTU 1280
# timeout: 180
import os
import socket
import threading
import time

import rough
from attack import metric
from clients import connect
from harness import check
from inside import HERE_IP, THERE_IP, Dns, Inside, Pattern, line_server, receive_to_end, send_pattern, serve
from up import Up

TRANSFERS, SIZE = 8, int(os.environ.get("ADIT_SIZE", "400000"))
DEADLINE_S = 90
wrong = []


def transfer(inside, credential, n):
    """A user who is there too: what he asks for crosses the network four times."""
    stream = inside.there(lambda: connect("files.corp.test:7000", credential, (rough.HERE_IP, 8080)))
    pattern = Pattern(n, SIZE)
    with stream:
        stream.settimeout(DEADLINE_S)
        if n % 2:
            stream.sendall(f"send {n} {SIZE}\n".encode())
            return receive_to_end(stream) == (SIZE, pattern.sha256())
        stream.sendall(b"hash\n")
        send_pattern(stream, n, SIZE)
        stream.shutdown(1)
        return stream.makefile().readline().split() == [str(SIZE), pattern.sha256()]


def run(inside, credential, n):
    try:
        if not transfer(inside, credential, n):
            wrong.append((n, "other bytes"))
    except Exception as error:              # a reset, a refusal, a timeout: all are wrong here
        wrong.append((n, repr(error)))


inside = Inside()
network = rough.Rough(inside, mtu=1280, delay=50, jitter=20, loss=5, reorder=10, dup=1)
with Up("--public", rough.HERE_IP) as up:
    rough.doors(8080)
    Dns(inside, {"files.corp.test": [HERE_IP]})
    serve(socket.create_server((HERE_IP, 7000)), line_server)
    up.add_agent("far", "--dns-servers", THERE_IP, group="far", there=inside.there)
    up.allow("far", ["*.corp.test"], [7000], agent_group="far")
    lost, began = metric("adit_relay_links_lost_total"), time.monotonic()
    threads = [threading.Thread(target=run, args=(inside, up.curlrc(), n)) for n in range(TRANSFERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not wrong, wrong)
    check(metric("adit_relay_links_lost_total") == lost, "a link was given up")
    print(f"{TRANSFERS} transfers in {time.monotonic() - began:.1f} s")
did = network.stop()
check(min(did[what] for what in ("lost", "reordered", "doubled")) > 20, did)
print(did)

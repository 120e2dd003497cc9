# it cuts a thousand live streams of an access that is taken away, each within the limit, and none of a bystander's
# timeout: 180
import concurrent.futures
import pathlib
import select
import socket
import threading
import time

from clients import connect
from harness import check, wait_until
from up import Up, closed_network

STREAMS, PORT, EACH_S = 1000, 7100, 0.1
LIMIT_S = 2.0           # 1 s, and as much for this program to read a thousand sockets


def drip(listener):
    """Sends a byte to whoever connects, again and again."""
    connections = []

    def accept():
        while True:
            connections.append(listener.accept()[0])
    threading.Thread(target=accept, daemon=True).start()
    while True:
        for connection in list(connections):
            try:
                connection.send(b".", socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
            except OSError:
                connections.remove(connection)
        time.sleep(EACH_S)


def watch(streams, last, over):
    """When the last byte of each came, and which are over; until all are, or it is stopped."""
    poller = select.epoll()
    for number, stream in enumerate(streams):
        stream.setblocking(False)
        poller.register(stream, select.EPOLLIN)
    by_fd = {stream.fileno(): number for number, stream in enumerate(streams)}
    while len(over) < len(streams):
        for fd, _ in poller.poll(1):
            number = by_fd[fd]
            try:
                if streams[number].recv(4096):
                    last[number] = time.monotonic()
                    continue
            except ConnectionResetError:        # a reset is a cut too
                pass
            over[number] = time.monotonic()
            poller.unregister(fd)


pathlib.Path("/tmp/var").mkdir(mode=0o700)
pathlib.Path("/tmp/var/relay.yaml").write_text("visits_per_source_max: 2000\n")
with Up() as up:
    inside, _, _ = closed_network(up)
    listener = inside.socket(socket.SOCK_STREAM, PORT)
    listener.listen(2048)
    threading.Thread(target=drip, args=(listener,), daemon=True).start()
    who = up.add_user("crowd")
    up.api.make("grants", name="crowd", user="crowd", destination_profile="inner")
    wait_until(lambda: up.api("GET", "/access/explain?user=crowd&host=files.corp.test&port=7100").body["allowed"], 10, "is granted")
    target, bystander = f"files.corp.test:{PORT}", connect(f"files.corp.test:{PORT}", up.curlrc())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        streams = list(pool.map(lambda _: connect(target, who), range(STREAMS)))
    last, over = {}, {}
    watcher = threading.Thread(target=watch, args=(streams, last, over), daemon=True)
    watcher.start()
    wait_until(lambda: len(last) == STREAMS, 30, lambda: f"all streams flow: {len(last)}")
    since = time.monotonic()
    check(up.api("POST", "/locks", {"user": "crowd", "reason": "lost"}).status == 201)
    watcher.join(30)
    check(len(over) == STREAMS, STREAMS - len(over), "streams go on")
    late = sorted(last[n] - since for n in range(STREAMS))
    ends = sorted(over[n] - since for n in range(STREAMS))
    check(late[-1] < LIMIT_S and ends[-1] < LIMIT_S, "the last byte came after", late[-1], "and the end after", ends[-1])
    bystander.settimeout(10)
    while bystander.recv(4096, socket.MSG_DONTWAIT) if select.select([bystander], [], [], 0)[0] else b"":
        pass
    check(bystander.recv(1) == b".", "the bystander was cut too")
    print(f"last bytes: median {late[STREAMS // 2]:.3f} s, last {late[-1]:.3f} s; ends: last {ends[-1]:.3f} s")

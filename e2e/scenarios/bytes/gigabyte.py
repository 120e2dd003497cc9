# it carries 1 GiB each way, and both at once, with every byte in its place
# timeout: 300
import socket
import threading
import time

from clients import connect
from harness import check
from inside import Pattern, receive_to_end, send_pattern
from up import Up, closed_network

SIZE = 1 << 30


def down(up, seed, size):
    stream = connect("files.corp.test:7000", up.curlrc())
    stream.sendall(f"send {seed} {size}\n".encode())
    check(receive_to_end(stream) == (size, Pattern(seed, size).sha256()), "down", seed)


def up_load(up, seed, size):
    stream = connect("files.corp.test:7000", up.curlrc())
    stream.sendall(b"hash\n")
    send_pattern(stream, seed, size)
    stream.shutdown(socket.SHUT_WR)
    answer = stream.makefile().readline()
    check(answer == f"{size} {Pattern(seed, size).sha256()}\n", "up", seed, answer)


with Up() as up:
    closed_network(up)
    for name, move in (("down", down), ("up", up_load)):
        started = time.monotonic()
        move(up, name, SIZE)
        print(f"{name}: {SIZE / (time.monotonic() - started) / 1e6:.0f} MB/s with hashing on both ends")
    failures = []

    def both(move, seed):
        try:
            move(up, seed, SIZE // 8)
        except BaseException as error:      # told by the check below
            failures.append(error)

    threads = [threading.Thread(target=both, args=(move, f"{move.__name__}{n}"))
               for move in (down, up_load) for n in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    check(not failures, failures)

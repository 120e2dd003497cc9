# it passes a half-close in each direction and keeps the other direction open
import socket

import inside
from clients import connect, socks5
from harness import check, wait_until
from inside import Pattern, receive_to_end, send_pattern
from up import Up, closed_network

SIZE = 3_000_000

with Up() as up:
    closed_network(up)
    doors = {"connect": lambda: connect("files.corp.test:7000", up.curlrc()),
             "socks": lambda: socks5("files.corp.test", 7000, up.curlrc())}
    for name, door in doors.items():
        stream = door()                     # the client ends first, then hears the answer
        stream.sendall(b"hash\n")
        send_pattern(stream, name, SIZE)
        stream.shutdown(socket.SHUT_WR)
        answer = stream.makefile().readline()
        check(answer == f"{SIZE} {Pattern(name, SIZE).sha256()}\n", name, answer)

        stream = door()                     # the target ends first, then hears the client out
        seed = name + "-first"
        stream.sendall(f"first {seed} {SIZE}\n".encode())
        check(receive_to_end(stream) == (SIZE, Pattern(seed, SIZE).sha256()), name)
        send_pattern(stream, "back" + name, SIZE)
        stream.shutdown(socket.SHUT_WR)
        heard = wait_until(lambda: inside.kept.get(seed), 20, "the target heard the client's end")
        check(heard == (SIZE, Pattern("back" + name, SIZE).sha256()), name, heard)

"""Thousands of connections at a target, in a process of its own: a process may have 20,000 descriptors.

    Crowd(inside, port, "pour")     sends zeros to whoever connects, as much as he takes
    Crowd(inside, port, "hold")     takes them and says nothing
"""
import select
import socket
import subprocess
import sys

PIECE = bytes(1 << 16)


class Crowd:
    def __init__(self, inside, port, what):
        listener = inside.socket(socket.SOCK_STREAM, port)
        listener.listen(4096)
        with listener:
            self.process = subprocess.Popen([sys.executable, __file__, str(listener.fileno()), what],
                                            pass_fds=[listener.fileno()])


def pour(connection):
    """False: it is over."""
    try:
        while connection.send(PIECE) == len(PIECE):
            pass
    except BlockingIOError:
        pass
    except OSError:
        return False
    return True


def hold(connection):
    try:
        return bool(connection.recv(1 << 16))
    except BlockingIOError:
        return True
    except OSError:
        return False


def serve(listener, act, events):
    poller, connections = select.epoll(), {}
    poller.register(listener, select.EPOLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == listener.fileno():
                connection = listener.accept()[0]
                connection.setblocking(False)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                connections[connection.fileno()] = connection
                poller.register(connection, events)
            elif not act(connections[fd]):
                connections.pop(fd).close()


if __name__ == "__main__":
    rows = {"pour": (pour, select.EPOLLOUT), "hold": (hold, select.EPOLLIN)}
    serve(socket.socket(fileno=int(sys.argv[1])), *rows[sys.argv[2]])

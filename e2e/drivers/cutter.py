"""A wire between an agent and its relay that can be cut: a TCP proxy of the tests' own."""
import contextlib
import socket
import struct
import threading

from harness import check

LINGER_0 = struct.pack("ii", 1, 0)


class Pair:
    """One connection over a wire; what it has carried, to the relay and from it."""

    def __init__(self, near, far):
        self.near, self.far, self.is_over = near, far, False
        self.carried = {near: 0, far: 0}        # by who it came from
        self.flows = threading.Event()
        self.flows.set()

    @property
    def total(self):
        return sum(self.carried.values())

    def carry(self, source, sink, count):
        try:
            while piece := source.recv(1 << 16):
                self.flows.wait()               # for good, once it is silent
                sink.sendall(piece)
                self.carried[source] += len(piece)
                count(len(piece))
            self.flows.wait()                   # of an end nobody hears either
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.is_over = True

    def reset(self):
        for s in (self.near, self.far):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            with contextlib.suppress(OSError):      # its other end was faster
                s.shutdown(socket.SHUT_RD)          # wakes the thread that reads it
            s.close()

    def silence(self):
        self.flows.clear()


class Wire:
    """Listens on 127.0.0.1:port and carries each connection to the relay's tunnel port."""

    def __init__(self, port, to=("127.0.0.1", 7443)):
        self.to, self.lock, self.pairs, self.carried = to, threading.Lock(), [], 0
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            near, _ = self.listener.accept()
            try:
                far = socket.create_connection(self.to, timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            pair = Pair(near, far)
            with self.lock:
                self.pairs.append(pair)
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=pair.carry, args=(a, b, self._count), daemon=True).start()

    def _count(self, n):
        self.carried += n

    def live(self):
        """The connections that have not ended, oldest first."""
        with self.lock:
            return [pair for pair in self.pairs if not pair.is_over]

    def reset(self, *which):
        """Cuts what is connected (those, or all), wherever it is in its bytes: both ends get an RST."""
        pairs = self._take(which)
        for pair in pairs:
            pair.reset()
        return len(pairs)

    def silence(self, *which):
        """What is connected carries no byte more, and nobody hears of it; new connections do."""
        pairs = self._take(which)
        check(pairs, "no connection to silence")
        for pair in pairs:
            pair.silence()
        return pairs

    def _take(self, which):
        with self.lock:
            pairs = [pair for pair in self.pairs if not which or pair in which]
            self.pairs = [pair for pair in self.pairs if pair not in pairs]
        return pairs

"""A wire between an agent and its relay that can be cut: a TCP proxy of the tests' own."""
import contextlib
import socket
import struct
import threading

from harness import check

LINGER_0 = struct.pack("ii", 1, 0)


class Wire:
    """Listens on 127.0.0.1:port and carries each connection to the relay's tunnel port."""

    def __init__(self, port, to=("127.0.0.1", 7443)):
        self.to, self.lock, self.pairs, self.carried = to, threading.Lock(), [], 0
        self.flows = threading.Event()
        self.flows.set()
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
            with self.lock:
                self.pairs.append((near, far))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    def _carry(self, source, sink):
        flows = self.flows
        try:
            while piece := source.recv(1 << 16):
                flows.wait()                # of the time it was made: what was lost stays lost
                sink.sendall(piece)
                self.carried += len(piece)
            flows.wait()                    # of an end nobody hears either
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        """Cuts what is connected, wherever it is in its bytes: both ends get an RST."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for s in (s for pair in pairs for s in pair):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            with contextlib.suppress(OSError):      # its other end was faster
                s.shutdown(socket.SHUT_RD)          # wakes the thread that reads it
            s.close()
        return len(pairs)

    def silence(self):
        """What is connected carries no byte more, and nobody hears of it; new connections do."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
            self.flows.clear()
            self.flows = threading.Event()
            self.flows.set()
        check(pairs, "no connection to silence")
        return pairs

"""A closed network: a namespace behind this one, reached over one cable.

Here it is 10.99.0.1 and fd99::1, there 10.99.0.2 … 10.99.0.9 and fd99::2.  The servers run in
this process, on sockets that were made in that namespace.
"""
import ctypes
import hashlib
import queue
import socket
import struct
import subprocess
import threading

CLONE_NEWNET = 0x40000000
HERE_IP, THERE_IP = "10.99.0.1", "10.99.0.2"
BLOCK = 64 * 1024


class Inside:
    def __init__(self):
        self.calls = queue.Queue()
        self.started = threading.Event()
        threading.Thread(target=self._live_there, daemon=True).start()
        self.started.wait(10)
        ip("link", "add", "inside0", "type", "veth", "peer", "name", "inside1", "netns", self.thread_id)
        ip("addr", "add", HERE_IP + "/24", "dev", "inside0")
        ip("addr", "add", "fd99::1/64", "dev", "inside0", "nodad")
        ip("link", "set", "inside0", "up")
        self.there(lambda: [
            ip("link", "set", "lo", "up"),
            *[ip("addr", "add", f"10.99.0.{n}/24", "dev", "inside1") for n in range(2, 10)],
            ip("addr", "add", "fd99::2/64", "dev", "inside1", "nodad"),
            ip("link", "set", "inside1", "up")])

    def _live_there(self):
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(CLONE_NEWNET) == 0, ctypes.get_errno()
        self.thread_id = threading.get_native_id()
        self.started.set()
        while True:
            call, answer = self.calls.get()
            try:
                answer.put((call(), None))
            except Exception as error:      # handed to the caller, who raises it
                answer.put((None, error))

    def there(self, call):
        """Runs call() in the namespace and returns what it returns."""
        answer = queue.Queue()
        self.calls.put((call, answer))
        value, error = answer.get(timeout=30)
        if error:
            raise error
        return value

    def socket(self, kind, port, address=THERE_IP):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make():
            s = socket.socket(family, kind)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
            return s
        return self.there(make)

    def serve(self, handler, port=0, address=THERE_IP):
        """Serves handler(connection) in a thread for each connection; the port."""
        listener = self.socket(socket.SOCK_STREAM, port, address)
        listener.listen(512)
        serve(listener, handler)
        return listener.getsockname()[1]


def ip(*args):
    subprocess.run(["ip", *[str(a) for a in args]], check=True)


def serve(listener, handler):
    def one(connection):
        with connection:
            try:
                handler(connection)
            except OSError:
                pass                        # the other side left: what it saw is its test's matter

    def accept():
        while True:
            connection, _ = listener.accept()
            connection.settimeout(120)
            threading.Thread(target=one, args=(connection,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


class Pattern:
    """n bytes of a stream of its own: no two seeds, and no two blocks of one, are alike."""

    def __init__(self, seed, n):
        self.n, self.block = n, bytearray(hashlib.shake_128(str(seed).encode()).digest(BLOCK))

    def __iter__(self):
        for at in range(0, self.n, BLOCK):
            struct.pack_into(">Q", self.block, 0, at)
            yield memoryview(self.block)[:min(BLOCK, self.n - at)]

    def sha256(self):
        digest = hashlib.sha256()
        for piece in self:
            digest.update(piece)
        return digest.hexdigest()


def send_pattern(connection, seed, n):
    for piece in Pattern(seed, n):
        connection.sendall(piece)


def receive_to_end(connection):
    """(bytes, sha256) of all that comes until the other side's end."""
    digest, n = hashlib.sha256(), 0
    while piece := connection.recv(1 << 20):
        digest.update(piece)
        n += len(piece)
    return n, digest.hexdigest()


def line_server(connection):
    """A little protocol of the tests' own, one command in the first line:
    send SEED N    sends a pattern and closes
    hash           reads to the end, answers "N SHA256", closes: half-close from the client
    first SEED N   sends a pattern, ends its direction, then reads to the end and keeps the result
    echo           sends back what comes, to the end
    """
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            return
        line += byte
    command, *args = line.decode().split()
    if command == "send":
        send_pattern(connection, args[0], int(args[1]))
    elif command == "hash":
        connection.sendall("%d %s\n".encode() % tuple(
            x if isinstance(x, int) else x.encode() for x in receive_to_end(connection)))
    elif command == "first":
        send_pattern(connection, args[0], int(args[1]))
        connection.shutdown(socket.SHUT_WR)
        kept[args[0]] = receive_to_end(connection)
    elif command == "echo":
        while piece := connection.recv(1 << 16):
            connection.sendall(piece)


kept = {}               # what "first" received, by seed


class Dns:
    """A DNS server that counts: names -> addresses; A and AAAA; anything else is NXDOMAIN."""

    def __init__(self, inside, names, address=THERE_IP, port=53):
        self.names, self.queries, self.sources, self.ttl_s = names, [], set(), 1
        self.silent = ()                    # of the kinds 1 (A) and 28 (AAAA): not answered
        self.socket = inside.socket(socket.SOCK_DGRAM, port, address)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, source = self.socket.recvfrom(4096)
            answer = self._answer(query, source)
            if answer:
                self.socket.sendto(answer, source)

    def _answer(self, query, source):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        name, (kind,) = ".".join(labels), struct.unpack_from(">H", query, at + 1)
        self.queries.append((name, kind))
        self.sources.add(source[0])
        if kind in self.silent:
            return None
        known = name in self.names
        addresses = [a for a in self.names.get(name, []) if (":" in a) == (kind == 28)]
        records = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, self.ttl_s, 16 if ":" in a else 4) +
            socket.inet_pton(socket.AF_INET6 if ":" in a else socket.AF_INET, a)
            for a in addresses) if kind in (1, 28) else b""
        header = query[:2] + struct.pack(">HHHHH", 0x8580 | (0 if known else 3), 1,
                                         len(addresses) if records else 0, 0, 0)
        return header + query[12:at + 5] + records

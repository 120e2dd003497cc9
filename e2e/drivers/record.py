"""A TCP proxy that keeps what the client sent, and the HELLO that went through it."""
import json
import socket
import struct
import threading

from inside import serve


class Recorder:
    """Between a TLS proxy and a relay's plain listener: recorder.hellos() are the agents' HELLOs."""

    def __init__(self, port, to, at="127.0.0.1"):
        self.sent = []                      # of each connection
        serve(socket.create_server((at, port)), lambda client: self._carry(client, to))

    def _carry(self, client, to):
        kept = bytearray()
        self.sent.append(kept)
        with socket.create_connection(("127.0.0.1", to)) as relay:
            threading.Thread(target=self._copy, args=(relay, client, None), daemon=True).start()
            self._copy(client, relay, kept)

    @staticmethod
    def _copy(source, target, kept):
        try:
            while piece := source.recv(65536):
                if kept is not None:
                    kept += piece
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass                            # either side left

    def hellos(self):
        """The JSON of the first frame that each client sent after its upgrade."""
        return [json.loads(hello) for hello in map(first_hello, self.sent) if hello]


def first_hello(sent):
    """The HELLO's JSON out of "GET …", then one masked WebSocket frame; None: not there yet."""
    head, found, rest = bytes(sent).partition(b"\r\n\r\n")
    if not found or len(rest) < 4:
        return None
    n, at = rest[1] & 0x7f, 2
    if n == 126:
        (n,), at = struct.unpack_from(">H", rest, 2), 4
    mask, payload = rest[at:at + 4], rest[at + 4:at + 4 + n]
    if n == 127 or len(payload) < n:
        return None
    plain = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    kind, _, length, _ = struct.unpack_from(">BBHI", plain)
    return plain[8:8 + length].decode() if kind == 1 else None

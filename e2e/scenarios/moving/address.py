# it makes its links anew as soon as the agent's address changes, and streams go on over them without a byte lost
# timeout: 180
import json
import socket
import subprocess
import threading

from attack import metric
from clients import connect
from harness import check, wait_until
from inside import HERE_IP, Inside, Pattern, line_server, receive_to_end, serve
from up import Up

TARGET = "[fd99::1]:7000"               # by IPv6: the agent's way to it does not change
SIZE = 400_000_000
PIECE = b"x" * 2000
pace = threading.Event()                    # never set: a little moves all the time


def ip(inside, *args):
    inside.there(lambda: subprocess.run(["ip", *args], check=True))


def logged(agent, event):
    lines = (json.loads(line) for line in list(agent.process.lines) if line.startswith("{"))
    return [line for line in lines if line.get("event") == event]


def in_thread(call):
    result = []
    threading.Thread(target=lambda: result.append(call()), daemon=True).start()
    return result


class Drip:
    """A stream on which a little moves all the time, both ways."""

    def __init__(self, up):
        self.stream, self.back, self.sent = connect(TARGET, up.curlrc()), 0, 0
        self.stream.sendall(b"echo\n")
        self.over = False
        self.error = in_thread(self._send), in_thread(self._receive)

    def _send(self):
        while not self.over:
            self.stream.sendall(PIECE)
            self.sent += len(PIECE)
            pace.wait(0.02)
        self.stream.shutdown(socket.SHUT_WR)

    def _receive(self):
        while piece := self.stream.recv(1 << 16):
            self.back += len(piece)

    def goes_on(self, seconds):
        before = self.back
        wait_until(lambda: self.back > before + 20 * len(PIECE), seconds, lambda: (self.error, before, self.back))

    def end(self):
        self.over = True
        wait_until(lambda: self.error[1], 60, "the end comes back")
        check(self.back == self.sent, self.sent, self.back)


inside = Inside()
with Up("--public", HERE_IP) as up:
    listener = socket.create_server(("fd99::1", 7000), family=socket.AF_INET6)
    serve(listener, line_server)
    agent = up.add_agent("far", "--admin-listen", "127.0.0.1:9102", group="far", there=inside.there)
    up.allow("far", ["fd99::/64"], [7000], agent_group="far")
    # When an address goes, those that were added behind it stay.
    inside.there(lambda: open("/proc/sys/net/ipv4/conf/inside1/promote_secondaries", "w").write("1"))

    def send():
        stream = connect(TARGET, up.curlrc())
        stream.sendall(f"send far {SIZE}\n".encode())
        return receive_to_end(stream)
    bulk, drip = in_thread(send), Drip(up)
    drip.goes_on(20)
    wait_until(lambda: len(logged(agent, "link.up")) == 1, 20, lambda: agent.process.output)

    for n in (2, 3, 4):
        before = len(logged(agent, "network.changed"))
        ip(inside, "addr", "del", f"10.99.0.{n}/24", "dev", "inside1")
        wait_until(lambda: len(logged(agent, "network.changed")) > before, 20, lambda: agent.process.output)
        wait_until(lambda: len(logged(agent, "link.up")) == n, 20, lambda: agent.process.output)
        drip.goes_on(20)
    # The relay was told: it did not have to find silence out.
    log = up.var / "log/relay.log"
    wait_until(lambda: log.read_text().count("the agent has left it for a new one") == 3, 20, lambda: log.read_text()[-4000:])
    check(metric("adit_relay_streams_moved_total") >= 3)
    check(inside.there(lambda: metric("adit_agent_links_moved_total", 9102)) == 3)

    # No address at all for a while; the agent does not sleep through the new one.
    for n in range(5, 10):
        ip(inside, "addr", "del", f"10.99.0.{n}/24", "dev", "inside1")
    wait_until(lambda: len(logged(agent, "link.down")) >= 4, 40, lambda: agent.process.output)
    ups = len(logged(agent, "link.up"))
    ip(inside, "addr", "add", "10.99.0.77/24", "dev", "inside1")
    wait_until(lambda: len(logged(agent, "link.up")) > ups, 20, lambda: agent.process.output)
    drip.goes_on(20)
    drip.end()
    wait_until(lambda: bulk, 120, "the transfer ends")
    check(bulk[0] == (SIZE, Pattern("far", SIZE).sha256()), bulk)

"""A rough network to a closed one: delay, loss, reordering, a rate, an MTU; see shape.c.

Here it is 10.98.0.1, there 10.98.0.2.  Agents and users that live there reach the relay of an
`Up("--public", rough.HERE_IP)` over it; users by doors(), where the plain ones listen on loopback.
"""
import os
import pathlib
import subprocess

from harness import check
from inside import ip

HERE_IP, THERE_IP = "10.98.0.1", "10.98.0.2"
SOURCE, PROGRAM = pathlib.Path(__file__).with_name("shape.c"), pathlib.Path("/tmp/shape")


class Rough:
    def __init__(self, inside, mtu=1500, **settings):
        if not PROGRAM.exists():
            subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", PROGRAM, SOURCE], check=True)
        namespace = f"/proc/{os.getpid()}/task/{inside.thread_id}/ns/net"
        self.process = subprocess.Popen(
            [PROGRAM, "rough0", "rough1", namespace, *[f"{k}={v}" for k, v in settings.items()]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        check(self.process.stdout.readline() == "ready\n", "the shaper did not start")
        self._raise("rough0", HERE_IP, mtu)
        inside.there(lambda: self._raise("rough1", THERE_IP, mtu))

    @staticmethod
    def _raise(device, address, mtu):
        ip("addr", "add", address + "/24", "dev", device)
        ip("link", "set", device, "mtu", mtu, "up")

    def set(self, **settings):
        """Changes settings while it runs."""
        for name, value in settings.items():
            self.process.stdin.write(f"{name}={value}\n")
            self.process.stdin.flush()

    def stop(self):
        """What it did: {"carried": …, "lost": …, "dropped": …, "reordered": …, "doubled": …}"""
        self.process.stdin.close()
        words = self.process.stdout.read().split()
        return dict(zip(words[::2], map(int, words[1::2])))


def doors(*ports):
    """The relay's doors on loopback are reached from there too."""
    pathlib.Path("/proc/sys/net/ipv4/conf/rough0/route_localnet").write_text("1")
    rules = "add table ip doors; add chain ip doors in { type nat hook prerouting priority -100; }; "
    rules += "; ".join(f"add rule ip doors in iifname rough0 tcp dport {port} dnat to 127.0.0.1:{port}"
                       for port in ports)
    subprocess.run(["nft", rules], check=True)

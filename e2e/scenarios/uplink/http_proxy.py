# it joins and links through an HTTP proxy with credentials, where the direct way is closed
# timeout: 180
import pathlib
import re
import socket
import subprocess

from clients import connect
from harness import check, wait_until
from inside import HERE_IP, THERE_IP, Dns, Inside, Pattern, line_server, receive_to_end, serve
from up import BIN, Process, Up

PORT, SECRET = 3128, "hunter-2.x"
ESCAPED = "hunter%2d2.x"
URL = f"http://{HERE_IP}:{PORT}"
WITH_SECRET = f"http://ann:{ESCAPED}@{HERE_IP}:{PORT}"
TINYPROXY = f"""
Port {PORT}
Listen {HERE_IP}
Timeout 600
LogFile "/tmp/tinyproxy.log"
LogLevel Connect
MaxClients 20
BasicAuth ann {SECRET}
ConnectPort %d
"""


class Proxy:
    """tinyproxy that lets CONNECT go to one port."""

    def __init__(self, connect_port=7443):
        path = pathlib.Path("/tmp/tinyproxy.conf")
        path.write_text(TINYPROXY % connect_port)
        self.process = Process("tinyproxy", "-d", "-c", path)
        wait_until(self.is_listening, 20, lambda: self.process.output)

    @staticmethod
    def is_listening():
        try:
            socket.create_connection((HERE_IP, PORT), 5).close()
            return True
        except ConnectionRefusedError:
            return False

    def connects(self):
        return pathlib.Path("/tmp/tinyproxy.log").read_text().count(f"CONNECT {HERE_IP}:7443")

    def stop(self):
        self.process.process.kill()
        self.process.wait(10)
        pathlib.Path("/tmp/tinyproxy.log").unlink()


def close_direct_way():
    rules = "add table inet way; add chain inet way in { type filter hook input priority 0; }; " \
            "add rule inet way in iifname inside0 tcp dport 7443 counter reject with tcp reset"
    subprocess.run(["nft", rules], check=True)


def join(up, inside, code, *args, env=None):
    """A join that must fail with the code; what it said."""
    token = up.api.make("join-tokens", kind="agent", agent_name="tries")["token"]
    process = inside.there(lambda: Process(BIN / "adit", "agent", "join", "-", "--data-dir", "/tmp/tries", *args,
                                           stdin=token, env=env))
    check(process.wait(40) != 0 and code in process.output, code, process.output)
    check("hunter" not in process.output, process.output)


def refusals(up, inside):
    join(up, inside, "Connection refused")
    join(up, inside, "Connection refused", env={"HTTPS_PROXY": URL, "NO_PROXY": "x.test, 10.99.0.0/24"})
    join(up, inside, "uplink-proxy-auth", env={"https_proxy": URL})
    join(up, inside, "uplink-proxy-auth", env={"HTTPS_PROXY": f"http://ann:hunter3@{HERE_IP}:{PORT}"})
    join(up, inside, "uplink-proxy-unreachable", env={"HTTPS_PROXY": f"http://{HERE_IP}:9"})
    join(up, inside, "in the environment or the file", "--proxy", WITH_SECRET)
    join(up, inside, "only proxies of the form", env={"HTTPS_PROXY": f"socks5://{HERE_IP}:9"})
    inside.serve(lambda connection: connection.sendall(b"220 mail ready\r\n"), 2525)
    join(up, inside, "uplink-proxy-bad-answer", env={"HTTPS_PROXY": f"http://{THERE_IP}:2525"})


def other_port_is_refused(up, inside):
    proxy = Proxy(connect_port=443)
    join(up, inside, "uplink-proxy-refused", env={"HTTPS_PROXY": WITH_SECRET})
    proxy.stop()


def fetch(up, name):
    stream = connect("files.corp.test:7000", up.curlrc())
    stream.sendall(b"send %s 500000\n" % name)
    check(receive_to_end(stream) == (500000, Pattern(name.decode(), 500000).sha256()))


def is_hidden(agent):
    """The secret is in no argument and no line of the log."""
    arguments = pathlib.Path(f"/proc/{agent.process.pid}/cmdline").read_bytes()
    check(b"hunter" not in arguments and "hunter" not in agent.process.output, arguments, agent.process.output)


def print_config(env, *args):
    return subprocess.run([BIN / "adit-agent", "--print-config", *args], capture_output=True, text=True,
                          env=env).stdout


inside = Inside()
close_direct_way()
with Up("--public", HERE_IP) as up:
    Dns(inside, {"files.corp.test": [HERE_IP]})
    serve(socket.create_server((HERE_IP, 7000)), line_server)
    other_port_is_refused(up, inside)
    proxy = Proxy()
    refusals(up, inside)

    before = proxy.connects()
    agent = up.add_agent("far", "--dns-servers", THERE_IP, group="far", there=inside.there,
                         env={"HTTPS_PROXY": WITH_SECRET})
    up.allow("far", ["*.corp.test"], [7000], agent_group="far")
    fetch(up, b"one")
    check(proxy.connects() == before + 2, "a join and a link", proxy.connects())
    is_hidden(agent)

    # The proxy dies, and the agent says so; it comes back, and so does the agent.
    proxy.stop()
    wait_until(lambda: "uplink-proxy-unreachable" in agent.process.output, 30, lambda: agent.process.output)
    proxy = Proxy()
    wait_until(lambda: agent.process.output.count("link.up") == 2, 60, lambda: agent.process.output)
    fetch(up, b"two")
    agent.stop()

    # The password from a file, the URL as a flag.
    pathlib.Path("/tmp/secret").write_text(f"ann:{SECRET}\n")
    agent.command += ["--proxy", URL, "--proxy-credentials-file", "/tmp/secret"]
    agent.env = None
    agent.start()
    fetch(up, b"three")
    is_hidden(agent)

    # Each value says where it comes from, the password is not printed.
    shown = print_config({"HTTPS_PROXY": WITH_SECRET, "no_proxy": "a.test,b.test"})
    check(f'# proxy: "http://(set)@{HERE_IP}:{PORT}"    # HTTPS_PROXY' in shown, shown)
    check(re.search(r'(?m)^no_proxy: \["a.test", "b.test"\] +# no_proxy$', shown), shown)
    shown = print_config({"HTTPS_PROXY": WITH_SECRET, "ADIT_AGENT_PROXY": "direct"})
    check('proxy: "direct"    # ADIT_AGENT_PROXY' in shown and "hunter" not in shown, shown)
    proxy.stop()

# it refuses used, changed and foreign tokens and certificates of another kind, each with a cure
# timeout: 180
import base64
import json
import pathlib
import socket
import ssl
import subprocess

from harness import check, wait_until
from up import BIN, Process, Up, days_later


def join(token, directory, *args):
    return subprocess.run([BIN / "adit-agent", "join", "-", "--data-dir", directory, *args], input=token,
                          capture_output=True, text=True, timeout=60)


def refused(done, reason):
    text = done.stdout + done.stderr
    check(done.returncode != 0 and reason in text, reason, done)
    cure = subprocess.run([BIN / "adit", "reason", reason], capture_output=True, text=True)
    check("what to do" in cure.stdout, cure)


def changed(token, **fields):
    head, body = token.split(".", 1)
    known = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    known.update(fields)
    return head + "." + base64.urlsafe_b64encode(json.dumps(known).encode()).decode().rstrip("=")


def member_file(directory):
    return next(p for p in pathlib.Path(directory).iterdir() if p.suffix == ".pem")


def shows_certificate(port, pem, server_ca):
    """What a listener does with a client certificate: the first bytes it says, or b""."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(server_ca)
    context.load_cert_chain(pem)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, \
                context.wrap_socket(plain) as s:
            s.sendall(b"GET /internal/v1/relay HTTP/1.1\r\nHost: x\r\n\r\n" if port % 10 == 4 else
                      b"GET /tunnel HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                      b"Sec-WebSocket-Protocol: adit.v1\r\n\r\n")
            return s.recv(4096)
    except (ssl.SSLError, ConnectionError):
        return b""


with Up() as up, Up(var="/tmp/other", port_base=10000) as other:
    token = up.api.make("join-tokens", kind="agent", agent_name="one")["token"]
    check(join(token, "/tmp/one").returncode == 0)
    refused(join(token, "/tmp/two"), "token-used")
    fresh = up.api.make("join-tokens", kind="agent", agent_name="two")["token"]
    secret = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    refused(join(changed(fresh, secret=secret), "/tmp/two"), "token-invalid")
    foreign = other.api.make("join-tokens", kind="agent", agent_name="two")["token"]
    refused(join(changed(foreign, addrs=["wss://127.0.0.1:7443"]), "/tmp/two"), "bad-certificate")
    check(join(fresh, "/tmp/two").returncode == 0, "the token was not spent by the failures")

    # Kinds: an agent's certificate at the relays' door, a relay's at the agents' door.
    agent, relay = member_file("/tmp/one"), member_file(up.var / "relay")
    internal = shows_certificate(8444, agent, up.var / "ca.pem")
    check(b" 200 " not in internal.split(b"\r\n")[0], internal)
    check(b" 200 " in shows_certificate(8444, relay, up.var / "ca.pem").split(b"\r\n")[0])
    tunnel = shows_certificate(7443, relay, up.var / "ca.pem")
    check(b" 101 " not in tunnel.split(b"\r\n")[0], tunnel)
    check(b" 101 " in shows_certificate(7443, agent, up.var / "ca.pem").split(b"\r\n")[0])
    stranger = member_file(other.var / "agent")
    check(not shows_certificate(7443, stranger, up.var / "ca.pem"), "another cluster's agent was let in")

    # An agent whose clock is a year ahead refuses the relay and says that clocks differ.
    late = Process(BIN / "adit-agent", "--data-dir", "/tmp/two", env=days_later(366))
    wait_until(lambda: "certificate-expired" in late.output or "clock" in late.output, 20, lambda: late.output)
    late.process.kill()

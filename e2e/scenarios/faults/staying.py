# it lets an agent whose certificate has ended renew and nothing else, and carry streams only while the control plane is away
# timeout: 300
import mmap
import os
import pathlib
import re
import signal
import subprocess
import time

from attack import metric
from clients import Refused, connect
from harness import check, wait_until
from places import metrics
from raw_tunnel import RawTunnel
from up import Process, Up, closed_network, days_later

TARGET = "files.corp.test:7000"
LATER = days_later(8)                   # a day after the certificate's end
WAIT_S = 80                             # an agent asks for its renewal again after 60 s
OFFSET, LIBRARY = pathlib.Path("/tmp/offset"), "/tmp/jump.so"
SOURCE = pathlib.Path(__file__).parents[2] / "drivers/jump.c"


def certificate(agent):
    return subprocess.run(["openssl", "x509", "-noout", "-serial", "-in", agent.dir / "member.pem"],
                          capture_output=True, text=True).stdout


def config_age_s():
    return int(re.search(r"(?m)^adit_config_age_seconds (-?\d+)", metrics()).group(1))


def open_echo(credential):
    try:
        stream = connect(TARGET, credential)
    except Refused as refused:
        return refused.reason
    stream.sendall(b"echo\n")
    return stream


def echoes(stream):
    stream.sendall(b"hello")
    return stream.recv(10) == b"hello"


with Up() as up:
    _, _, agent = closed_network(up)
    idle = up.add_agent("idle")
    demo = up.curlrc()
    check(echoes(open_echo(demo)))
with Up(env={**LATER, "ADIT_RELAY_RENEW_WAIT_MS": f"{WAIT_S}s"}) as up:
    # A link of the old certificate, on which nobody renews yet.
    wait_until(lambda: 0 <= config_age_s() < 10, 20, "the relay knows that the control plane is there")
    raw = RawTunnel(agent.dir / "member.pem", up.var / "ca.pem")
    check(raw.is_up(), "it may not come to renew")
    wait_until(lambda: '"agent.certificate_expired"' in (up.var / "log/relay.log").read_text(), 5, "the log says so")
    check(open_echo(demo) == "no-agent", "an agent with a certificate that has ended was given a stream")
    raw.close()

    # Nobody there who could renew it: it carries streams.
    before, control = certificate(agent), up.pid("adit-controlplane")
    os.kill(control, signal.SIGSTOP)
    wait_until(lambda: config_age_s() > 15, 40, "the relay notices that the control plane is away")
    late = Process(*agent.command, env=LATER)
    wait_until(lambda: '"link.up"' in late.output, 20, lambda: late.output)
    stream = wait_until(lambda: not isinstance(s := open_echo(demo), str) and s, 20, lambda: open_echo(demo))
    check(echoes(stream) and certificate(agent) == before)
    raw = RawTunnel(idle.dir / "member.pem", up.var / "ca.pem")
    check(raw.is_up())
    wait_until(lambda: metric("adit_relay_agents") == 3, 6, "the demo's agent and both without a certificate are held")

    # It is back: the certificate is renewed, the stream goes on.  Who does not renew is sent away.
    os.kill(control, signal.SIGCONT)
    since = time.monotonic()
    check(raw.ends(WAIT_S + 60) and raw.why == "certificate-expired", "a link of the old certificate stayed", raw.why)
    check(time.monotonic() - since > WAIT_S - 20, "it had no time to renew")
    wait_until(lambda: certificate(agent) != before, 90, lambda: late.output[-3000:])
    check(echoes(stream), "the stream ended with the renewal")
    check(echoes(open_echo(demo)), "no new stream")
    late.signal(signal.SIGTERM)
    late.wait(10)

# All is well, and a certificate comes to its end under a link that is there.
subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", LIBRARY, SOURCE], check=True)
OFFSET.write_bytes(bytes(8))
with open(OFFSET, "r+b") as file:
    offset = memoryview(mmap.mmap(file.fileno(), 8)).cast("l")
with Up(var="/tmp/var2", env={"LD_PRELOAD": LIBRARY, "JUMP_FILE": str(OFFSET), "ADIT_RELAY_RENEW_WAIT_MS": "1s",
                              "ASAN_OPTIONS": "verify_asan_link_order=0"}) as up:
    other = up.add_agent("other")
    other.stop()
    raw = RawTunnel(other.dir / "member.pem", up.var / "ca.pem")
    check(raw.is_up() and not raw.ends(3), "a good certificate was not enough", raw.why)
    offset[0] = 8 * 86400
    check(raw.ends(15) and raw.why == "certificate-expired", "a link outlived its certificate", raw.why)
    raw = RawTunnel(other.dir / "member.pem", up.var / "ca.pem")
    check(raw.is_up() and not raw.ends(3), "it may not come to renew", raw.why)

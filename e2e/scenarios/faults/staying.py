# it lets an agent whose certificate has ended renew and nothing else, and carry streams while the control plane is away
# timeout: 200
import glob
import os
import re
import signal
import subprocess

from clients import Refused, connect
from harness import check, wait_until
from places import metrics
from raw_tunnel import RawTunnel
from up import Process, Up, closed_network

TARGET = "files.corp.test:7000"
LATER = {"LD_PRELOAD": glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")[0],
         "FAKETIME": "+8d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}      # a day after the certificate's end


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
    demo = up.curlrc()
    check(echoes(open_echo(demo)))
with Up(env=LATER) as up:
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

    # It is back: the certificate is renewed, the stream goes on.
    os.kill(control, signal.SIGCONT)
    wait_until(lambda: certificate(agent) != before, 90, lambda: late.output[-3000:])
    check(echoes(stream), "the stream ended with the renewal")
    check(echoes(open_echo(demo)), "no new stream")
    late.signal(signal.SIGTERM)
    late.wait(10)

# it tells what a relay's own state refuses: not-ready, stale-config, overload, relay-draining
# timeout: 150
import base64
import os
import re
import shutil
import signal
import socket
import urllib.error
import urllib.request

from clients import Refused, connect
from harness import check, wait_until
from places import has_record, in_places, logged, metrics
from up import Up, closed_network

TARGET = "files.corp.test:7000"
SMALL = {"ADIT_RELAY_MAX_STALENESS_MS": "3s", "ADIT_RELAY_STREAMS_MAX": "3"}
# adit explain asks the control plane, which knows nothing of these states; adit status shows them.


def refused(credential, target=TARGET):
    try:
        connect(target, credential).close()
        return None
    except Refused as r:
        return r.reason
    except (ConnectionError, AssertionError):
        return "closed"


def told(up, reason):
    in_places(up, reason, "request.refused", "adit_relay_refused_total", record=("route-decisions", {}))


def is_ready():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open("http://127.0.0.1:9101/readyz", timeout=5).status == 200
    except urllib.error.HTTPError:
        return False
    except OSError:
        return None


def open_echo(credential):
    stream = connect(TARGET, credential)
    stream.sendall(b"echo\nhi")
    check(stream.recv(10) == b"hi")
    return stream


with Up(env=SMALL) as up:
    closed_network(up)
    demo = up.curlrc()
    streams = [open_echo(demo) for _ in range(3)]
    check(refused(demo) == "overload", refused(demo))
    told(up, "overload")

    # Nobody to ask: what stands on the stale state is cut, what comes is refused, all comes back.
    control = up.pid("adit-controlplane")
    os.kill(control, signal.SIGSTOP)
    wait_until(lambda: refused(demo) == "stale-config", 15, lambda: f"stale-config: {refused(demo)}")
    check(is_ready() is False, "a relay with a stale state says that it is ready")
    os.kill(control, signal.SIGCONT)
    told(up, "stale-config")
    for stream in streams:
        stream.close()
    wait_until(lambda: refused(demo) is None, 15, "the relay serves again")

    # A relay without a state, and nobody to ask.
    os.kill(control, signal.SIGSTOP)
    os.kill(up.process.pid, signal.SIGSTOP)
    relay = up.pid("adit-relay")
    os.kill(relay, signal.SIGKILL)
    shutil.rmtree(up.var / "relay/state")
    os.kill(up.process.pid, signal.SIGCONT)
    wait_until(lambda: up.pid("adit-relay") not in (None, relay), 10, "the relay is started again")
    wait_until(lambda: refused(demo) == "not-ready", 10, lambda: f"not-ready: {refused(demo)}")
    check(is_ready() is False)
    os.kill(control, signal.SIGCONT)
    told(up, "not-ready")
    wait_until(lambda: refused(demo) is None, 20, "the relay serves again")

    # It goes down: what knocks on a connection that is there is refused, living streams may finish.
    stream = open_echo(demo)
    early = socket.create_connection(("127.0.0.1", 8080), timeout=20)
    wait_until(lambda: re.search(r"(?m)^adit_relay_connections 1$", metrics()), 5, "the early connection is there")
    os.kill(up.pid("adit-relay"), signal.SIGTERM)
    wait_until(lambda: "relay.draining" in (up.var / "log/relay.log").read_text(), 5, "the relay drains")
    early.sendall(f"CONNECT {TARGET} HTTP/1.1\r\nHost: {TARGET}\r\nProxy-Authorization: Basic "
                  f"{base64.b64encode(':'.join(demo).encode()).decode()}\r\n\r\n".encode())
    answer = early.recv(4096)
    check(b" 503 " in answer and b"relay-draining" in answer, answer)
    told(up, "relay-draining")
    wait_until(lambda: logged(up, "stream.closed", "relay-draining"), 10, "the stream ends with the time to drain")
    wait_until(lambda: has_record(up, "streams", "relay-draining"), 10, "and its record says why")
    wait_until(is_ready, 20, "the relay is started again")

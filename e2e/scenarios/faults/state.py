# it refuses a flipped byte, an older revision and a foreign key in the state, and keeps the last good one
# timeout: 240
import os
import re
import shutil
import signal
import subprocess
import urllib.request

from clients import Refused, connect
from harness import check, wait_until
from up import BIN, Up

TARGET = "hello.demo.internal:80"


def refused_documents():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        text = opener.open("http://127.0.0.1:9101/metrics", timeout=10).read().decode()
    except OSError:                 # a relay that has just been started
        return 0
    return int(re.search(r"(?m)^adit_relay_state_refused_total (\d+)", text).group(1))


def events(up, name):
    lines = (up.var / "log/relay.log").read_text().splitlines()
    return [line for line in lines if f'"{name}"' in line]


def reason_for(credential):
    try:
        connect(TARGET, credential).close()
        return "ok"
    except (Refused, ConnectionError) as refused:
        return getattr(refused, "reason", "closed")


def replace_control(up, put):
    """Ends the control plane, does put() while nobody restarts it, lets it come back."""
    os.kill(up.process.pid, signal.SIGSTOP)
    victim = up.pid("adit-controlplane")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: open(f"/proc/{victim}/stat").read().rsplit(")", 1)[1].split()[0] == "Z", 5,
               "the control plane is dead")
    put()
    os.kill(up.process.pid, signal.SIGCONT)
    wait_until(lambda: up.pid("adit-controlplane") not in (None, victim), 10, "it is started again")


def kill_relay(up):
    victim = up.pid("adit-relay")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: up.pid("adit-relay") not in (None, victim), 10, "the relay is started again")


with Up() as up:
    data, kept = up.var / "controlplane", "/tmp/older"
    name, secret = up.add_user("gone")
    up.api.make("grants", name="gone", user=name, destination_profile="hello-demo")
    check(reason_for((name, secret)) == "ok")

    # A flipped byte in what is on disk, with nobody to ask.
    control = up.pid("adit-controlplane")
    os.kill(control, signal.SIGSTOP)
    state = next(path for path in (up.var / "relay").rglob("state") if path.is_file())
    text = bytearray(state.read_bytes())
    text[len(text) // 2] ^= 1
    state.write_bytes(text)
    kill_relay(up)
    wait_until(lambda: events(up, "state.refused"), 10, "the relay says that it refused the state")
    wait_until(lambda: refused_documents() >= 1, 10, "the metric counts it")
    check(reason_for(up.curlrc()) != "ok", "a state with a flipped byte was used")
    os.kill(control, signal.SIGCONT)
    wait_until(lambda: reason_for(up.curlrc()) == "ok", 30, "the control plane's state is in force")

    # An older revision: the database of before the revocation comes back.
    replace_control(up, lambda: shutil.copytree(data, kept))
    wait_until(up.is_answering, 10, "the control plane answers again")
    deleted = up.api("DELETE", "/grants/gone?wait=applied")
    check(deleted.status == 204, deleted)
    check(reason_for((name, secret)) == "no-grant")
    before = len(events(up, "state.refused"))

    def put_back():
        shutil.rmtree(data)
        shutil.copytree(kept, data)

    replace_control(up, put_back)
    wait_until(lambda: len(events(up, "state.refused")) > before, 30, "the older revision is refused")
    check(reason_for((name, secret)) == "no-grant", "the older revision was taken")
    check(reason_for(up.curlrc()) == "ok", "the last good state is no longer in force")

    # Foreign keys: another cluster's control plane on the same ports.
    subprocess.run([BIN / "adit-controlplane", "bootstrap", "--data-dir", "/tmp/foreign/controlplane",
                    "--credentials-file", "/tmp/foreign/credentials"],
                   check=True, stdout=subprocess.DEVNULL)

    def put_foreign():
        shutil.rmtree(data)
        shutil.copytree("/tmp/foreign/controlplane", data)

    replace_control(up, put_foreign)
    wait_until(lambda: any("bad-certificate" in line for line in events(up, "control.unreachable")[-5:]),
               30, lambda: "\n".join(events(up, "control.unreachable")[-3:] + events(up, "control.reached")[-3:]))
    check(reason_for(up.curlrc()) == "ok" and reason_for((name, secret)) == "no-grant")

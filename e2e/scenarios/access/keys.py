# it rotates the keys that sign the state and hash proxy credentials: relay and agent follow without a hand, also over a restart
# on PostgreSQL too
# timeout: 150
import json
import os
import signal
import subprocess
import time

from harness import check, wait_until
from up import BIN, Up

URL = "http://hello.demo.internal/"


def adit(*words):
    done = subprocess.run([BIN / "adit", *words], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "ADIT_CLI_VAR": "/tmp/var"})
    check(done.returncode == 0, words, done)
    return done.stdout


def key(name):
    return up.api("GET", f"/keys/{name}").body


def secret(name):
    return up.api.make("proxy-credentials", name=name, user="demo")["secret"]


def opens(credential):
    """Whether the demo page comes by this credential."""
    done = subprocess.run(["curl", "-s", "-m", "10", "-x", "http://127.0.0.1:8080", "-U", f"demo:{credential}", URL],
                          capture_output=True, text=True, timeout=20)
    return "Hello" in done.stdout


def refused():
    log = next(iter(up.var.glob("**/relay.log"))).read_text() + next(iter(up.var.glob("**/agent.log"))).read_text()
    return [line for line in log.splitlines() if "state.refused" in line or "keyset.refused" in line or "policy.refused" in line]


with Up() as up:
    before = secret("before")
    check(opens(before))
    for name in ("state", "credential"):
        check(key(name)["number"] == 1 and key(name)["can_rotate"], key(name))
    check("state" in adit("key", "list") and "ca-root" in adit("key", "list"))
    check(up.api("POST", "/keys/ca-root/rotate", {}).status == 409)
    adit("key", "rotate", "state", "--overlap", "0")
    check(up.api("POST", "/keys/state/rotate", {}).status == 409, "two rotations at once")
    wait_until(lambda: up.api("POST", "/keys/credential/rotate", {"overlap_s": 5}).status == 200, 10, "the other rotates too")
    check(key("credential")["next"] == 2 and key("state")["next"] == 2, key("credential"))
    during = secret("during")
    check(opens(before) and opens(during))

    wait_until(lambda: key("state")["number"] == 2 and "previous" not in key("state"), 40, "the state's key is another")
    wait_until(lambda: key("credential")["number"] == 2, 20, "the credentials' key is another")
    after = secret("after")
    wait_until(lambda: opens(after), 10, "what is made with the new key counts")
    wait_until(lambda: "previous" not in key("credential"), 40, "the credentials' old key has ended")
    wait_until(lambda: not opens(before) and not opens(during), 10, "what the old key hashed is over")
    check(opens(after))

    # What stands on disk is signed by the new key: the relay starts from it, the agent comes back.
    up.api.make("users", name="later")
    victim = up.pid("adit-relay")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: up.pid("adit-relay") not in (None, victim) and opens(after), 30, "the relay is back")
    started = [json.loads(line) for line in next(iter(up.var.glob("**/relay.log"))).read_text().splitlines() if line.startswith("{")]
    check(any(row["event"] == "state.from_disk" for row in started), "the relay's disk is of no use")
    check(not refused(), *refused())
    status = up.verify_audit()
    check(status.returncode == 0, status)

# it tells why agents are not let in, in their own log, the relay's log, the metric, the audit and adit reason
# timeout: 150
import base64
import json
import os
import shutil
import signal
import subprocess

from harness import check, wait_until
from places import SOON, audited, counted, has_audit, logged, meaning
from up import BIN, Process, Up, days_later

LINKS = "adit_relay_links_refused_total"
PROBLEMS = "adit_controlplane_problems_total"
# adit explain speaks of users and targets.  What an agent itself finds (clocks) nobody else hears of.


def token_of(up, name, **more):
    return up.api.make("join-tokens", kind="agent", agent_name=name, **more)["token"]


def id_of(token):
    return parts_of(token)["id"]


def join(token, directory):
    done = subprocess.run([BIN / "adit-agent", "join", "-", "--data-dir", directory], input=token,
                          capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def parts_of(token):
    body = token.split(".", 1)[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def changed(token, **fields):
    head, known = token.split(".", 1)[0], {**parts_of(token), **fields}
    return head + "." + base64.urlsafe_b64encode(json.dumps(known).encode()).decode().rstrip("=")


def run(directory, env=None):
    return Process(BIN / "adit-agent", "--data-dir", directory, "--drain-ms", "1s", env=env)


def stop(agent):
    agent.process.kill()
    agent.process.wait(10)


def says(agent, reason, seconds=20):
    wait_until(lambda: f'"reason":"{reason}"' in agent.output and '"cure":' in agent.output, seconds,
               lambda: f"{reason}:\n{agent.output[-3000:]}")
    meaning(reason)


def refused_by_relay(up, agent, reason, seconds=20):
    says(agent, reason, seconds)
    wait_until(lambda: logged(up, "link.refused", reason), seconds, f"relay.log has link.refused with {reason}")
    check(counted(LINKS, reason) >= 1, LINKS, reason)
    audited(up, reason, action="relay.tunnel", actor__kind="agent", object__kind="relay",
            actor__id=up.api("GET", "/agents/one").body["id"])


def join_without_control_plane(up, token):
    """adit up is held, or it would start another at once."""
    os.kill(up.process.pid, signal.SIGSTOP)
    os.kill(up.pid("adit-controlplane"), signal.SIGKILL)
    try:
        return join(token, "/tmp/none")
    finally:
        os.kill(up.process.pid, signal.SIGCONT)


with Up(env=SOON) as up:
    spent = token_of(up, "one")
    check(join(spent, "/tmp/one")[0] == 0)
    fresh = token_of(up, "two")
    forged = changed(fresh, secret=base64.urlsafe_b64encode(bytes(32)).decode().rstrip("="))
    for token, reason in ((spent, "token-used"), (forged, "token-invalid")):
        code, text = join(token, "/tmp/none")
        check(code != 0 and reason in text, text)
        meaning(reason)
        check(logged(up, "link.refused", reason) and counted(LINKS, reason) == 1, reason)
        check(logged(up, "http.request", reason, "controlplane") and counted(PROBLEMS, reason) == 1, reason)
        audited(up, reason, action="internal.join", object__id=id_of(token), count=1,
                actor={"kind": "anonymous", "address": "127.0.0.1"})

    # Clocks: the agent finds the relay's certificate not yet, or no more, valid.
    for days, reason in ((-400, "clock-skew"), (400, "certificate-expired")):
        agent = run("/tmp/one", days_later(days))
        says(agent, reason)
        stop(agent)

    # Two processes with one identity: the copy that came later has it, the other says so; an alarm.
    first = run("/tmp/one")
    wait_until(lambda: "link.up" in first.output, 10, lambda: first.output)
    shutil.copytree("/tmp/one", "/tmp/copy")
    copy = run("/tmp/copy")
    says(first, "replaced")
    check(logged(up, "agent.replaced", "replaced"), "relay.log has no agent.replaced")
    wait_until(lambda: has_audit(up, "alarm.replaced"), 5, "the alarm is in the audit")
    stop(copy)
    stop(first)

    # A lock, and an agent that was switched off: told when it comes back.
    lock = up.api.make("locks", agent="one", reason="lost")
    locked = run("/tmp/one")
    refused_by_relay(up, locked, "locked")
    check(up.api("DELETE", f"/locks/{lock['id']}?wait=applied").status == 204)
    wait_until(lambda: "link.up" in locked.output, 40, lambda: locked.output[-2000:])
    check(up.api("PATCH", "/agents/one?wait=applied", {"status": "disabled"}).status == 200)
    refused_by_relay(up, locked, "agent-revoked", 40)
    stop(locked)

    # Nobody there to ask: the token is not spent, and the audit hears of it later.
    code, text = join_without_control_plane(up, fresh)
    check(code != 0 and "control-unreachable" in text, text)
    meaning("control-unreachable")
    check(logged(up, "link.refused", "control-unreachable") and counted(LINKS, "control-unreachable") == 1)
    wait_until(up.is_answering, 30, "the control plane is started again")
    audited(up, "control-unreachable", 30, action="relay.tunnel", actor={"kind": "anonymous", "address": "127.0.0.1"})
    wait_until(lambda: join(fresh, "/tmp/two")[0] == 0, 30, "the token is good once the control plane is back")

"""Where one reason code is told: logs, metrics, records, adit explain and adit reason."""
import json
import re
import subprocess
import urllib.request

from harness import check, wait_until
from up import BIN

ADMIN = {"relay": 9101, "controlplane": 9100}


def metrics(program="relay"):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"http://127.0.0.1:{ADMIN[program]}/metrics"
    return opener.open(url, timeout=10).read().decode()


def counted(name, reason):
    """How often a metric has counted the reason, by all its other labels together."""
    program = "controlplane" if "controlplane" in name else "relay"
    found = re.findall(rf'(?m)^{name}{{[^}}]*reason="{reason}"[^}}]*}} (\d+)', metrics(program))
    return sum(int(n) for n in found)


def logged(up, event, reason, program="relay", **fields):
    """Whether the program's log has such a line."""
    for line in (up.var / f"log/{program}.log").read_text(errors="replace").splitlines():
        known = json.loads(line) if line.startswith("{") else {}
        if event in known.values() and known.get("reason") == reason and \
                all(known.get(key) == value for key, value in fields.items()):
            return True
    return False


def has_record(up, kind, reason, **fields):
    items = up.api("GET", f"/{kind}?limit=100").body["items"]
    return any(item.get("reason") == reason and all(item.get(key) == value for key, value in fields.items())
               for item in items)


def has_audit(up, action):
    items = up.api("GET", f"/audit-events?action={action}").body["items"]
    return any(item["action"] == action for item in items)


def has_refusal(up, reason, trace_id=None, **fields):
    """Whether an audit event tells of refusals with the reason; fields: dotted, actor__kind="user"."""
    def value(item, path):
        for name in path.split("__"):
            item = item.get(name) if item else None
        return item
    items = up.api("GET", f"/audit-events?outcome={reason}&limit=100").body["items"]
    return any(trace_id in (None, item.get("trace_id")) and all(value(item, key) == wanted for key, wanted in fields.items())
               for item in items)


SOON = {"ADIT_CONTROLPLANE_AUDIT_REFUSALS_MS": "200ms", "ADIT_RELAY_REFUSED_MS": "200ms"}


def audited(up, reason, seconds=10, **fields):
    wait_until(lambda: has_refusal(up, reason, **fields), seconds,
               lambda: f"no audit event: {reason} {fields}: {up.api('GET', f'/audit-events?outcome={reason}').text[:3000]}")


def meaning(reason):
    """What adit reason says; there is a cure for every code."""
    told = subprocess.run([BIN / "adit", "reason", reason], capture_output=True, text=True)
    check(told.returncode == 0 and re.search(r"what to do +\S", told.stdout), reason, told)
    return told.stdout


def explained(up, user, target):
    told = subprocess.run([BIN / "adit", "explain", "--var", up.var, user, target],
                          capture_output=True, text=True)
    return told.stdout


def in_places(up, reason, event, metric, record=None, program="relay", **fields):
    """Log, metric, record and adit reason know the code; `record` is (kind, fields) or None."""
    meaning(reason)
    wait_until(lambda: logged(up, event, reason, program, **fields), 5,
               lambda: f"{program}.log has {event} with {reason}")
    check(counted(metric, reason) >= 1, f"{metric} has not counted {reason}")
    if record:
        kind, wanted = record
        wait_until(lambda: has_record(up, kind, reason, **wanted), 5,
                   lambda: f"{kind} has {reason} {wanted}: {up.api('GET', '/' + kind).text[:3000]}")

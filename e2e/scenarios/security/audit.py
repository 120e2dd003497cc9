# it signs checkpoints over the audit trail and gives them to a file and to syslog; whatever is done to the database afterwards shows
# timeout: 180
import json
import pathlib
import shutil
import socket
import sqlite3
import subprocess

from harness import check, wait_until
from up import BIN, Up

VAR, OUTSIDE = pathlib.Path("/tmp/var"), pathlib.Path("/tmp/outside")
DB, WHOLE = VAR / "controlplane/adit.db", pathlib.Path("/tmp/whole.db")
ENV = {"ADIT_CONTROLPLANE_AUDIT_CHECKPOINT_MS": "200ms", "ADIT_CONTROLPLANE_AUDIT_FILE": str(OUTSIDE),
       "ADIT_CONTROLPLANE_AUDIT_SYSLOG": "unix:/tmp/log"}


def lines():
    return [json.loads(line) for line in OUTSIDE.read_text().splitlines()] if OUTSIDE.exists() else []


def heads(line):
    return {head["writer"]: head["seq"] for head in line["checkpoint"]["heads"]}


syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
syslog.bind("/tmp/log")
syslog.settimeout(30)
with Up(env=ENV) as up:
    for i in range(5):
        before = sum(heads(lines()[-1]).values()) if lines() else 0
        up.api.make("users", name=f"user{i}")
        wait_until(lambda: lines() and sum(heads(lines()[-1]).values()) > before, 30,
                   lambda: f"a checkpoint that has the change: {lines()[-1:]}")
    told = syslog.recv(65536).decode()
    check(told.startswith("<110>1 ") and '"number":1,' in told, told)
    answer = up.api("GET", "/audit-events/verify")
    check(answer.status == 200 and answer.body["whole"], answer)
    check(answer.body["checkpoints"] >= 5 and answer.body["outside"] >= 5, answer)
    made = next(e for e in up.api("GET", "/audit-events?action=users.create&limit=1").body["items"])
    by_trace = up.api("GET", f"/audit-events?trace_id={made['trace_id']}&actor={made['actor']['name']}").body["items"]
    check(made["id"] in [e["id"] for e in by_trace] and len(by_trace) < 3, by_trace)
    check(up.api("GET", f"/audit-events?trace_id={made['trace_id']}&actor=nobody").body["items"] == [], "the actor counts")
    shown = subprocess.run([BIN / "adit", "audit", "verify", "--var", VAR], capture_output=True, text=True)
    check(shown.returncode == 0 and "whole" in shown.stdout and "checkpoints" in shown.stdout, shown)

db = sqlite3.connect(DB)
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
db.close()
shutil.copy(DB, WHOLE)
last = len(lines())
up.env = ENV
check(up.verify_audit().returncode == 0, up.verify_audit())
for sql, finding in (
        ("UPDATE audit_events SET doc = replace(doc, 'user1', 'user9')", "chain"),
        ("DELETE FROM audit_events WHERE seq = 3", "chain"),
        ("DELETE FROM audit_events WHERE rowid IN (SELECT rowid FROM audit_events ORDER BY seq DESC LIMIT 3)",
         "event-missing"),
        (f"UPDATE audit_checkpoints SET doc = replace(doc, 'adit', 'tida') WHERE number = {last}", "checkpoint-forged"),
        ("DELETE FROM audit_checkpoints WHERE number = 2", "checkpoint-missing"),
        ("DELETE FROM audit_events; DELETE FROM audit_checkpoints", "outside-missing")):
    shutil.copy(WHOLE, DB)
    db = sqlite3.connect(DB)
    db.executescript(sql)
    db.close()
    verify = up.verify_audit()
    check(verify.returncode == 1 and finding in verify.stderr, sql, verify)

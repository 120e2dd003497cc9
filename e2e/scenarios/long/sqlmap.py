# it gives sqlmap no parameter to put SQL into, in queries, paths and bodies
# on PostgreSQL too
# timeout: 900
import os
import pathlib
import subprocess
import time

from harness import check, skip
from up import Up

TOOL = pathlib.Path(__file__).resolve().parents[3] / ".venv/bin/sqlmap"
if not TOOL.exists():
    skip("sqlmap is not installed")
DBMS = "PostgreSQL" if os.environ.get("ADIT_E2E_STORE") else "SQLite"
BUDGET_S, EACH_S = 600, 150
TARGETS = [             # path, body; a star is where it puts its texts beside the parameters' values
    ("/users?q=alice&limit=5", None), ("/users?name=alice", None), ("/users?labels.team=red", None), ("/users?sort=name", None),
    ("/users/alice*", None), ("/audit-events?actor=admin&action=users.create", None), ("/access/effective?user=alice", None),
    ("/users", '{"name":"n*","description":"d*"}'), ("/groups", '{"name":"g","labels":{"team":"x*"}}'),
]


def try_one(path, body, seconds):
    """What sqlmap says of it; a target that takes too long is cut and counts for what was said so far."""
    command = [TOOL, "-u", up.api.base + path, "--batch", "--dbms", DBMS, "--level", "2", "--risk", "2", "--threads", "4",
               "--technique", "BEUS", "--ignore-code", "*", "--flush-session", "--output-dir", "/tmp/sqlmap", "--disable-coloring",
               "--headers", f"Authorization: Bearer {up.token()}\\nContent-Type: application/json\\nIf-Match: *",
               *(["--data", body, "--method", "POST"] if body else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, cwd="/tmp")
        return done.stdout
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace")


with Up(env={"ADIT_CONTROLPLANE_RATE_PER_S": "0"}) as up:
    up.api.make("users", name="alice", description="a", labels={"team": "red"})
    began, judged = time.monotonic(), 0
    for path, body in TARGETS:
        said = try_one(path, body, min(EACH_S, max(20, BUDGET_S - (time.monotonic() - began))))
        check("testing" in said, path, said[-2000:])
        check("is vulnerable" not in said and "injection point(s)" not in said and "is 'injectable'" not in said and
              "appears to be '" not in said, path, body, said[-3000:])
        judged += "do not appear to be injectable" in said
    check(judged >= len(TARGETS) // 2, "sqlmap ended with too few", judged)
    check(up.api("GET", "/users/alice").body["description"] == "a", "a row was changed")
    check(up.verify_audit().returncode == 0, "the audit trail was changed")
    print(f"{DBMS}: {judged} of {len(TARGETS)} judged to their end in {time.monotonic() - began:.0f} s")

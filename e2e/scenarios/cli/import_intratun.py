# it imports an intratun installation: shows first, makes it, again changes nothing; its users' passwords open the doors
import json
import os
import pathlib
import sqlite3
import subprocess

from harness import check, wait_until
from up import BIN, Api, Up

DIR = pathlib.Path("/tmp/intratun")
PASSWORD = "what ines chose"
SCHEMA = """
CREATE TABLE users(id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL, status TEXT NOT NULL,
  role TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE TABLE agent_groups(id TEXT PRIMARY KEY, name TEXT NOT NULL, slug TEXT NOT NULL UNIQUE, description TEXT NOT NULL,
  routing_mode TEXT NOT NULL DEFAULT 'health-first', created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE TABLE agent_memberships(group_id TEXT NOT NULL REFERENCES agent_groups(id) ON DELETE CASCADE, agent_id TEXT NOT NULL,
  priority INTEGER NOT NULL, weight INTEGER NOT NULL, enabled INTEGER NOT NULL, created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL, PRIMARY KEY(group_id, agent_id));
CREATE TABLE destination_profiles(id TEXT PRIMARY KEY, name TEXT NOT NULL, slug TEXT NOT NULL UNIQUE, host TEXT NOT NULL,
  port INTEGER NOT NULL, protocol_hint TEXT NOT NULL, default_group_id TEXT NOT NULL, notes TEXT NOT NULL,
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE TABLE access_grants(id TEXT PRIMARY KEY, user_id TEXT NOT NULL, group_id TEXT NOT NULL,
  destination_profile_id TEXT NOT NULL, access_mode TEXT NOT NULL DEFAULT 'direct', created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE TABLE audit_events(id TEXT PRIMARY KEY, category TEXT NOT NULL, created_at INTEGER NOT NULL);
"""
AGENTS = """agents:
  - identification: The demo
    location: Bonn
    login: office-1
    password: agent-password
    acl_allow: ['^hello\\.demo\\.internal:80$', '.*']
  - {identification: Office 2, login: Office.2, password: other-password, acl_allow: ['^(a|b):80$']}
"""
OVERRIDES = "overrides:\n  - {host: DB.corp.test., address: 10.9.8.7, updated_at: 2024-01-01T00:00:00Z}\n"


def bcrypt(password):
    code = ("import ctypes, sys; c = ctypes.CDLL('libcrypt.so.1'); c.crypt.restype = ctypes.c_char_p;"
            "print(c.crypt(sys.argv[1].encode(), b'$2a$10$abcdefghijklmnopqrstuu').decode())")
    return subprocess.run(["python3", "-c", code, password], capture_output=True, text=True, check=True).stdout.strip()


def make_files():
    DIR.mkdir()
    (DIR / "agents.yaml").write_text(AGENTS)
    (DIR / "dns-overrides.yaml").write_text(OVERRIDES)
    db = sqlite3.connect(DIR / "controlplane.db")
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA)
    rows = {
        "users": [("usr-1", "Ines", bcrypt(PASSWORD), "active", "admin", 1, 1), ("usr-2", "otto", bcrypt("otto's own one"), "disabled", "user", 1, 1)],
        "agent_groups": [("grp-1", "All", "all-agents", "", "health-first", 1, 1)],
        "agent_memberships": [("grp-1", "office-1", 100, 0, 1, 1, 1), ("grp-1", "gone", 100, 1, 1, 1, 1)],
        "destination_profiles": [("dst-1", "Hello", "hello", "hello.demo.internal", 80, "", "grp-1", "", 1, 1)],
        "access_grants": [("grt-1", "usr-1", "", "dst-1", "direct", 1, 1), ("grt-2", "usr-2", "grp-1", "", "direct", 1, 1),
                          ("grt-3", "usr-9", "grp-1", "", "direct", 1, 1)],
        "audit_events": [("evt-1", "control_plane", 1)],
    }
    for table, values in rows.items():
        for value in values:
            db.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(value))})", value)
    db.commit()
    return db       # open: what was written last is in the journal beside the file


def adit(*words, files=True):
    args = ["--agents", DIR / "agents.yaml", "--overrides", DIR / "dns-overrides.yaml", "--database", DIR / "controlplane.db"] if files else []
    return subprocess.run([BIN / "adit", "import", *[str(w) for w in (*words, *args)]], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "ADIT_CLI_VAR": "/tmp/var"})


def log_in(up, user, password):
    return Api(8443, up.var / "ca.pem", "none")("POST", "/login-sessions", {"user": user, "password": password}).status


def proxy(up, user, password, *more):
    told = up.curl("-o", "/dev/null", "-w", "%{http_code}", "--proxy-user", f"{user}:{password}", *more, "http://hello.demo.internal/")
    return int(told.stdout or 0)


with Up() as up:
    db = make_files()
    demo = up.api("GET", "/destination-profiles?limit=1").body["items"][0]

    # It shows, names what stays behind and why, and changes nothing.
    shown = adit("intratun", "--take-over")
    check(shown.returncode == 0 and "+ user ines" in shown.stdout and "Nothing was changed" in shown.stdout, shown)
    for said in ("user Ines: is called ines here", "the role admin had no effect", "agent Office.2: is called office-2", "(a|b):80",
                 "all is denied", "member gone is no agent", "grt-3: is left out", "1 audit events", "2 passwords"):
        check(said in shown.stdout, said, shown)
    check("$2a$" not in shown.stdout and "agent-password" not in shown.stdout, shown)
    check(up.api("GET", "/users/ines").status == 404)

    # What others manage is theirs until it is taken over.
    up.api.make("agents", name="office-1")
    refused = adit("intratun")
    check(refused.returncode == 1 and "nobody" in refused.stderr, refused)

    # It makes all of it, as the owner intratun.
    done = adit("intratun", "--take-over", "--apply", "--wait")
    check(done.returncode == 0 and "done" in done.stdout, done)
    ines = up.api("GET", "/users/ines").body
    check(ines["managed_by"] == "intratun" and ines["role"] == "user" and ines["door_password"] and ines["password_set_at"], ines)
    check(up.api("GET", "/users/otto").body["status"] == "disabled")
    check(up.api("GET", "/agents/office-2").body["deny"] == ["*"])
    check(up.api("GET", "/agents/office-1").body["allow"] == ["hello.demo.internal:80", "*"])
    check([o["addresses"] for o in up.api("GET", "/dns-overrides").body["items"] if o["host"] == "db.corp.test"] == [["10.9.8.7"]])

    # Again it changes nothing; nor what was changed here since, of passwords.
    before = up.api("GET", "/users/ines").body["password_set_at"]
    again = json.loads(adit("intratun", "--take-over", "--apply", "--output", "json").stdout)
    check([again["configuration"][k] for k in ("created", "updated", "deleted")] == [0, 0, 0] and again["passwords"] == 0, again)
    check(up.api("GET", "/users/ines").body["password_set_at"] == before)

    # The passwords that were chosen there count: at the API, and at the doors.  The demo page stands on a socket that
    # another agent group knows.
    answer = up.api("PATCH", "/destination-profiles/hello?wait=applied", {"allow_special": True, "agent_group": demo["agent_group"]})
    check(answer.status == 200, answer)
    check(log_in(up, "ines", PASSWORD) == 201 and log_in(up, "ines", "another") == 401)
    wait_until(lambda: proxy(up, "ines", PASSWORD) == 200, 20)
    check(proxy(up, "otto", "otto's own one") in (403, 407))

    # Log-ins of agents, when they are asked for.
    told = adit("intratun", "--take-over", "--apply", "--agent-logins")
    check(told.returncode == 0 and log_in(up, "office-1", "agent-password") == 201, told)
    check(up.api("GET", "/access/effective?user=office-1").status == 200)

    # What is no good is refused, with its place, before anything is asked.
    for name, text in (("alias", "a: &a [x]\nagents: [*a]\n"), ("torn", "agents: [{\n"), ("texts", "agents: [x]\n")):
        (DIR / name).write_text(text)
        refused = adit("intratun", "--agents", DIR / name, files=False)
        check(refused.returncode == 2 and f"/{name}: " in refused.stderr, refused)
    (DIR / "link").symlink_to(DIR / "controlplane.db")
    for path in (DIR / "link", DIR / "agents.yaml", DIR / "nothing", "/dev/zero", DIR):
        refused = adit("intratun", "--database", path, files=False)
        check(refused.returncode == 2 and str(path) in refused.stderr and "Sanitizer" not in refused.stderr, refused)
    check(adit("intratun", files=False).returncode == 2 and adit("vtunnel").returncode == 2)
    db.close()

    # No secret of it is in a log or an audit event.
    trail = json.dumps(up.api("GET", "/audit-events?limit=500").body)
    logs = "".join(p.read_text(errors="replace") for p in (up.var / "log").glob("*.log"))
    for secret in ("$2a$", PASSWORD, "agent-password", "$argon2"):
        check(secret not in trail and secret not in logs, secret)

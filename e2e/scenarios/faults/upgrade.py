# it takes over what the first release left: database, identities, keys and the state on its relay's disk
# timeout: 180
# on PostgreSQL too
import json
import os
import pathlib
import shutil
import sqlite3
import ssl
import subprocess
import time

import postgres
from clients import connect
from harness import check, wait_until
from up import BIN, STORE, Up, days_later

TOP = pathlib.Path(__file__).parents[3]
KIND = os.environ.get("ADIT_E2E_STORE") or "sqlite"
LEFT = TOP / "e2e/fixtures/first_release" / KIND
VAR = pathlib.Path("/tmp/var")
KNOWN = json.loads((LEFT / "known.json").read_text())
# What is told of the present moment, and when something was used last.
NOW = {"connected", "version", "last_seen_at", "applied_revision", "agents", "streams", "last_used_at", "rtt_ms",
       "connected_relay", "relays", "links"}


def put_back():
    """As the first release's machine is before the new programs start."""
    shutil.copytree(LEFT / "var", VAR)
    for path in [VAR, *VAR.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    text = (LEFT / "database.sql").read_text()
    if KIND == "postgres":
        server = postgres.the_server()
        done = subprocess.run([f"{postgres.BIN}/psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", server.url], input=text,
                              capture_output=True, text=True)
        check(done.returncode == 0, done)
        return {STORE: server.url}
    with sqlite3.connect(VAR / "controlplane/adit.db") as db:
        db.executescript(text)
    return {}


def migrate(env, *args):
    done = subprocess.run([BIN / "adit-controlplane", "migrate", *args, "--data-dir", VAR / "controlplane"],
                          capture_output=True, text=True, env={**os.environ, **env})
    check(done.returncode == 0, done)
    return done.stdout


def lasting(item):
    return {key: value for key, value in item.items() if key not in NOW}


def check_object(api, kind, was):
    """All that was told of it before is told of it still; there may be more."""
    answer = api("GET", f"/{kind}/{was['id']}")
    check(answer.status == 200, kind, was, answer)
    lost = {key: (value, answer.body.get(key)) for key, value in lasting(was).items() if answer.body.get(key) != value}
    check(not lost, kind, was["id"], lost)


def check_members(api, where, was):
    now = {item["id"]: item for item in api("GET", f"/{where}/members").body["items"]}
    check(all(lasting(item).items() <= now.get(item["id"], {}).items() for item in was), where, was, now)


def page(login):
    stream = connect("hello.demo.internal:80", login)
    stream.sendall(b"GET / HTTP/1.0\r\nHost: hello.demo.internal\r\n\r\n")
    return stream.recv(100)


def logged(up, event):
    lines = (up.var / "log/relay.log").read_text().splitlines()
    return [json.loads(line) for line in lines if f'"event":"{event}"' in line]


def timeless(make):
    """The programs' clocks stand at the recording, this one goes on."""
    def made(**options):
        context = make(**options)
        context.verify_flags |= 0x200000                # X509_V_FLAG_NO_CHECK_TIME
        return context
    return made


ssl.create_default_context = timeless(ssl.create_default_context)
env = {**put_back(), **days_later(-int((time.time() - KNOWN["recorded_at"]) // 86400))}
newer = sorted(path.stem for path in (TOP / "migrations" / KIND).glob("*.sql"))[1:]
check([line.replace(" ", "_", 1) for line in migrate(env, "--plan").splitlines()] == newer, migrate(env, "--plan"), newer)

with Up(env=env) as up:
    api, lists = up.api, KNOWN["lists"]

    # The relay goes on from the state on its disk, which is the one that was in force, and takes what is new.
    before = logged(up, "state.from_disk")
    check(len(before) == 1 and (before[0]["epoch"], before[0]["revision"]) ==
          (lists["state"]["epoch"], lists["state"]["revision"]), before, lists["state"])
    check(not logged(up, "state.refused"), logged(up, "state.refused"))
    status = api("GET", "/status").body
    check(status["epoch"] == lists["state"]["epoch"] and status["revision"] >= lists["state"]["revision"], status)
    check(status["health"] == "good", status)

    # Everything is there as it was.
    for kind in sorted(set(lists) - {"members", "state"}):
        check(lists[kind], kind, "was recorded empty")
        for item in lists[kind]:
            check_object(api, kind, item)
    for where, items in lists["members"].items():
        check_members(api, where, items)
    check(up.verify_audit().returncode == 0, up.verify_audit())

    # Credentials, passwords, tokens and identities open what they opened.
    secret, password = KNOWN["ann"]
    check(b" 200 " in page(("ann", secret)), "ann's credential")
    check("Hello" in up.curl("http://hello.demo.internal/").stdout, "the demo's credential")
    session = api("POST", "/login-sessions", {"user": "ann", "password": password})
    check(session.status == 201, session)
    api.token, mine = KNOWN["robot"], api.token
    check(api("GET", "/users").status == 200 and api("GET", "/groups").status == 403, "the robot's token")
    api.token = mine
    late = subprocess.run([BIN / "adit", "agent", "join", "-", "--data-dir", "/tmp/late"], input=KNOWN["late"],
                          capture_output=True, text=True, timeout=30, env={**os.environ, **env})
    check(late.returncode == 0, late)

    # What is new works on it.
    quota = wait_until(lambda: (a := api("POST", "/quotas?wait=applied", {"name": "few", "user": "ann", "max_streams": 1}))
                       .status == 201 and a, 30, "a quota is in force")
    check(api("PATCH", "/users/ann?wait=applied", {"description": "still here"}).status == 200, quota)
    check(b" 200 " in page(("ann", secret)), "ann's credential after a change")

# Finalized, there is nothing left to do, and it starts again.
migrate(env, "--finalize")
check(migrate(env, "--plan") == "nothing to do\n", migrate(env, "--plan"))
with Up(env=env) as up:
    check(up.api("GET", "/users/ann").body["description"] == "still here")
    check(b" 200 " in page(("ann", KNOWN["ann"][0])), "ann's credential after the second start")

# it makes, shows, lists, changes and deletes objects from the terminal, by name, with the version it read
import json
import os
import pathlib
import stat
import subprocess

from harness import check
from up import BIN, Up

HERE = pathlib.Path("/tmp")


def adit(*words, stdin=None):
    return subprocess.run([BIN / "adit", *[str(w) for w in words]], input=stdin, capture_output=True, text=True,
                          timeout=60, env={**os.environ, "ADIT_CLI_VAR": "/tmp/var"})


def good(*words, **more):
    done = adit(*words, **more)
    check(done.returncode == 0, words, done)
    return done.stdout


def refused(code, *words, says=(), **more):
    done = adit(*words, **more)
    check(done.returncode == code and "Traceback" not in done.stderr, words, done)
    for text in [says] if isinstance(says, str) else says:
        check(text in done.stderr, words, "does not say", text, done)
    return done.stderr


def show(*words):
    return json.loads(good(*words, "--output", "json"))


with Up() as up:
    # Names wherever an object is named; lists, labels, times, windows.
    good("user", "create", "alice", "--role", "operator", "--labels", "team=ops", "--labels", "site=a,b", "--description", "")
    check(show("user", "show", "alice")["labels"] == {"team": "ops", "site": "a,b"})
    good("group", "create", "staff")
    check("staff: alice added" in good("group", "add-member", "staff", "alice", "demo"))
    check([m["name"] for m in show("group", "members", "staff")["items"]] == ["demo", "alice"] or
          {m["name"] for m in show("group", "members", "staff")["items"]} == {"demo", "alice"})
    good("group", "remove-member", "staff", "demo")
    good("agent-group", "create", "office", "--routing-mode", "weighted")
    good("agent-group", "add-member", "office", "demo-agent", "--weight", "3", "--enabled=false")
    member = show("agent-group", "members", "office")["items"][0]
    check(member["weight"] == 3 and member["enabled"] is False, member)
    good("profile", "create", "wiki", "--hosts", "wiki.test,*.wiki.test,10.9.0.0/16", "--ports", "80,8000-8100", "--agent-group", "office",
         "--match-resolved")
    made = json.loads(good("grant", "create", "--group", "staff", "--destination-profile", "wiki", "--ends-at", "+8h", "--wait",
                           "--windows", "mon,tue 08:00-18:00 Europe/Berlin", "--output", "json"))
    check(made["windows"][0]["days"] == ["mon", "tue"] and made["ends_at"].endswith("Z"), made)
    table = good("grant", "list", "--group", "staff")
    check("staff" in table and "wiki" in table and "GROUP" in table and made["group"] not in table, table)
    check(good("grant", "list", "--group", "staff", "--output", "id").strip() == made["id"])
    good("dns", "create", "db", "--host", "db.test", "--addresses", "10.0.0.7", "--agent", "demo-agent")
    good("agent", "edit", "demo-agent", "--add-deny", "10.0.0.5:80,443", "--add-deny", "10.0.0.6")
    good("agent", "edit", "demo-agent", "--remove-deny", "10.0.0.6")
    check(show("agent", "show", "demo-agent")["deny"] == ["10.0.0.5/32:80,443"], show("agent", "show", "demo-agent"))
    refused(2, "agent", "edit", "demo-agent", "--remove-deny", "10.0.0.99", says="is not there")
    good("profile", "edit", "wiki", "--add-ports", "443", "--remove-ports", "80")
    check(show("profile", "show", "wiki")["ports"] == ["8000-8100", "443"])
    good("user", "edit", "alice", "--remove-labels", "site", "--labels", "team=dev", "--unset", "description")
    check(show("user", "show", "alice")["labels"] == {"team": "dev"})
    good("user", "edit", "alice", "--body", "-", stdin='{"role":"auditor"}')
    check("role" in good("user", "show", "alice") and "auditor" in good("user", "show", "alice"))

    # A dry run changes nothing; a version that is gone is refused; what is in use says by whom.
    check("would be changed" in good("user", "edit", "alice", "--role", "user", "--dry-run"))
    check(show("user", "show", "alice")["role"] == "auditor")
    etag = good("user", "show", "alice", "--output", "etag").strip()
    good("user", "edit", "alice", "--description", "first", "--if-match", etag)
    refused(3, "user", "edit", "alice", "--description", "second", "--if-match", etag, says="--if-match '*'")
    refused(3, "user", "delete", "alice", "--if-match", etag, says="in between")
    good("user", "edit", "alice", "--description", "third", "--if-match", "*")
    check(show("user", "show", "alice")["description"] == "third")
    refused(1, "profile", "delete", "wiki", says=("in-use", "referred to by grant"))
    check("grant" in good("profile", "delete", "wiki", "--cascade", "--dry-run"))
    good("profile", "delete", "wiki", "--cascade")
    refused(1, "profile", "show", "wiki", says=("not-found", "what to do"))

    # Secrets: shown once, to a file of their own; passwords never on the command line.
    refused(2, "credential", "create", "laptop", "--user", "alice", says="--secret-file")
    check(not json.loads(good("credential", "list", "--user", "alice", "--output", "json"))["items"], "made all the same")
    told = good("credential", "create", "laptop", "--user", "alice", "--secret-file", HERE / "laptop", "--output", "json")
    secret = (HERE / "laptop").read_text().strip()
    check(secret.startswith("adp_") and secret not in told and stat.S_IMODE(os.stat(HERE / "laptop").st_mode) == 0o600)
    refused(2, "credential", "create", "--user", "alice", "--secret-file", HERE / "laptop", says="there already")
    refused(1, "credential", "create", "--user", "nobody", "--secret-file", HERE / "none", says="--user (/user)")
    check(not (HERE / "none").exists(), "an empty secret stays behind")
    check(good("token", "create", "ci", "--scopes", "users:read", "--secret-file", "-").startswith("adit_"))
    refused(2, "user", "create", "eve", "--password=hunter2hunter2", says="others see it")
    good("user", "create", "bob", "--password-file", "-", stdin="correct horse battery\n")
    check(show("user", "show", "bob")["password_set_at"] is not None)
    answer = up.api("POST", "/login-sessions", {"user": "bob", "password": "correct horse battery"})
    check(answer.status == 201, answer)
    check("bob" in good("session", "list", "--user", "bob"))

    # Mistakes name the flag, the nearest word and the cure.
    said = refused(1, "profile", "create", "bad", "--hosts", "a b", "--ports", "99999", "--agent-group", "office",
                   says=("--hosts (/hosts/0)", "--ports (/ports/0)"))
    check("invalid" in said, said)
    refused(2, "user", "create", "x", "--roel", "user", says="--role")
    refused(2, "user", "lsit", says="adit user list")
    refused(2, "usr", "list", says="adit user")
    refused(2, "user", "edit", "alice", says="nothing to change")
    refused(2, "user", "create", "x", "--role", "user", "--role", "admin", says="twice")
    refused(2, "lock", "create", "--ends-at", says="needs a value")
    refused(2, "group", "add-member", "staff", says="usage")
    refused(1, "user", "create", "alice", says="conflict")

    # Long lists: pages, all of them, in order, filtered.
    for i in range(7):
        good("user", "create", f"u{i}")
    page = adit("user", "list", "--limit", "3", "--sort", "-name", "--q", "u")
    check(page.stdout.splitlines()[1].startswith("u6") and "--cursor" in page.stderr, page)
    cursor = page.stderr.split("--cursor ")[1].strip()
    check(good("user", "list", "--limit", "3", "--sort", "-name", "--q", "u", "--cursor", cursor).splitlines()[1].startswith("u3"))
    everybody = json.loads(good("user", "list", "--all", "--limit", "2", "--output", "json"))["items"]
    check({f"u{i}" for i in range(7)} < {u["name"] for u in everybody}, everybody)
    check(len(good("user", "list", "--all", "--limit", "2", "--output", "id").split()) == len(everybody))
    check(good("user", "list", "--role", "admin", "--columns", "name,role").split() == ["NAME", "ROLE", "admin", "admin"])
    check("admin " not in good("user", "list", "--role-not", "admin"))
    check(good("user", "delete", "u0", "u1").count("deleted") == 2)
    check(adit("user", "delete", "u2", "u0", "u3").returncode == 1 and adit("user", "show", "u3").returncode == 1)

    # The trail, streams, the programs that share a word with the objects.
    check("users.create" in good("audit", "list", "--object-kind", "user", "--created-after", "-1h"))
    lines = [json.loads(line) for line in good("audit", "export").splitlines()]
    check(len(lines) > 20 and all("action" in line for line in lines))
    check(good("audit", "verify").startswith("whole: "))
    refused(1, "stream", "cut", "01ARZ3NDEKTSV4RRFFQ69G5FAV", says="not-found")
    check("demo-agent" in good("agent", "list") and "CONNECTED" in good("relay", "list"))
    check("join" in adit("agent", "--help").stdout and "Examples:" in good("help", "agent"))
    check(secret not in "".join(log.read_text(errors="replace") for log in (up.var / "log").glob("*.log")))

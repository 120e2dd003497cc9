# it applies a document as its owner, in one transaction, and shows before what it would do
import json
import os
import pathlib
import subprocess

from harness import check, wait_until
from up import BIN, Api, Up

FILE, YAML = pathlib.Path("/tmp/config.json"), pathlib.Path("/tmp/config.yaml")
WHOLE = {
    "users": [{"name": "ann", "role": "operator", "labels": {"team": "ops"}}, {"name": "ben"}],
    "groups": [{"name": "staff", "members": ["ann", {"name": "oncall", "kind": "group"}]}, {"name": "oncall", "members": ["ben"]}],
    "agent-groups": [{"name": "site", "members": [{"name": "demo-agent", "weight": 5}]}],
    "destination-profiles": [{"name": "wiki", "hosts": ["wiki.test"], "ports": ["80"], "agent_group": "site"}],
    "grants": [{"name": "staff-wiki", "group": "staff", "destination_profile": "wiki"}],
    "dns-overrides": [{"name": "wiki", "host": "wiki.test", "addresses": ["10.0.0.7"], "agent_group": "site"}],
    "locks": [],
}


def adit(*words, stdin=None):
    return subprocess.run([BIN / "adit", "config", *[str(w) for w in words]], input=stdin, capture_output=True, text=True,
                          timeout=60, env={**os.environ, "ADIT_CLI_VAR": "/tmp/var"})


def on(verb, document, *more, owner="site-a"):
    FILE.write_text(json.dumps(document))
    return adit(verb, FILE, "--owner", owner, *more)


def put(up, document, **query):
    asked = "&".join(f"{k}={str(v).lower()}" for k, v in {"owner": "site-a", **query}.items())
    return up.api("PUT", f"/config?{asked}", document)


def without(document, kind, name):
    return {**document, kind: [o for o in document[kind] if o["name"] != name]}


def changed(document, kind, name, **fields):
    return {**document, kind: [{**o, **fields} if o["name"] == name else o for o in document[kind]]}


with Up() as up:
    # A dry run says what would be, and changes nothing.
    told = on("diff", WHOLE)
    check(told.returncode == 1 and "+ user ann" in told.stdout and "+ group staff: member oncall" in told.stdout, told)
    check(up.api("GET", "/users/ann").status == 404, "a dry run that wrote")

    # It makes all of it; relays run it; the same once more changes nothing.
    done = on("apply", WHOLE, "--wait")
    check(done.returncode == 0 and "done (revision" in done.stdout, done)
    wait_until(lambda: up.api("GET", "/access/explain?user=ben&host=wiki.test&port=80").body["reason"] != "no-grant", 5)
    check(up.api("GET", "/users/ann").body["managed_by"] == "site-a")
    again = on("diff", WHOLE)
    check(again.returncode == 0 and "0 to make, 0 to change" in again.stdout, again)
    trail = up.api("GET", "/audit-events?action=users.create&limit=5").body["items"]
    check(any(e["object"]["name"] == "ann" for e in trail), trail)

    # What is exported is what was applied, and applies again.
    out = adit("export", "--owner", "site-a")
    exported = json.loads(out.stdout)
    check([u["name"] for u in exported["users"]] == ["ann", "ben"] and exported["grants"][0]["group"] == "staff", exported)
    check({m["name"]: m["kind"] for m in next(g for g in exported["groups"] if g["name"] == "staff")["members"]}
          == {"ann": "user", "oncall": "group"}, exported)
    check(on("diff", exported).returncode == 0, on("diff", exported))
    whole = adit("export")
    check("demo" in whole.stdout and "password" not in whole.stdout and "secret" not in whole.stdout, whole)

    # YAML says the same, by the file's name or by its looks; what makes it long or odd is refused, with its line.
    told = adit("export", "--owner", "site-a", "--format", "yaml")
    check("users:\n  - name: ann" in told.stdout and 'ports: ["80"]' in told.stdout, told)
    YAML.write_text(told.stdout)
    check(adit("diff", YAML, "--owner", "site-a").returncode == 0, adit("diff", YAML, "--owner", "site-a"))
    check(adit("diff", "-", "--owner", "site-a", stdin=told.stdout).returncode == 0)
    changed_text = told.stdout.replace('ports: ["80"]', 'ports: ["80", "81"]')
    check('ports: ["80"] -> ["80","81"]' in adit("diff", "-", "--owner", "site-a", stdin=changed_text).stdout)
    for text, line in (("users:\n  - &a {name: x}\n  - *a\n", "line 2"), ("users:\n  - name: [x\n", "line 3"),
                       ("[" * 5000, "nested"), ("users: []\n---\nusers: []\n", "line 2")):
        refused = adit("apply", "-", "--owner", "site-a", "--format", "yaml", stdin=text)
        check(refused.returncode == 2 and line in refused.stderr, refused)

    # Changes: fields with before and after, members that go, nothing of what stays.
    other = changed(WHOLE, "destination-profiles", "wiki", ports=["80", "443"])
    other = changed(other, "groups", "oncall", members=[])
    told = on("diff", other)
    check('ports: ["80"] -> ["80","443"]' in told.stdout and "- group oncall: member ben" in told.stdout, told)
    check("user ann" not in told.stdout, told)
    check(on("apply", other).returncode == 0)
    check(up.api("GET", "/destination-profiles/wiki").body["ports"] == ["80", "443"])

    # One that is refused refuses the whole, and says where.
    bad = changed(changed(other, "users", "ben", role="auditor"), "dns-overrides", "wiki", addresses=["nonsense"])
    refused = on("apply", bad)
    check(refused.returncode == 1 and "/dns-overrides/0/addresses/0" in refused.stderr, refused)
    check(up.api("GET", "/users/ben").body["role"] == "user", "half of it was done")
    for document, status, pointer in (
            ({"users": [{"name": "x", "password": "a good password"}]}, 422, "/users/0/password"),
            ({"users": [{"role": "user"}]}, 422, "/users/0/name"), ({"nonsense": []}, 422, "/nonsense"),
            ({"api-tokens": []}, 422, "/api-tokens"), ({"users": {}}, 422, "/users"), ({"users": [7]}, 422, "/users/0"),
            ({"users": [{"name": "x"}, {"name": "x"}]}, 409, "/users/1"),
            ({"groups": [{"name": "g", "members": ["nobody"]}]}, 409, "/groups/0/members/0"),
            ({"groups": [{"name": "g", "members": [{"name": "ann", "kind": "agent"}]}]}, 422, "/groups/0/members/0"),
            ({"groups": [{"name": "g", "members": ["ann"], "nested": 1}]}, 422, "/groups/0/nested"),
            ({"agent-groups": [{"name": "site", "members": [{"name": "demo-agent", "weight": -1}]}]}, 422,
             "/agent-groups/0/members/0/weight"),
            ({"grants": [{"name": "staff-wiki", "user": "ann", "destination_profile": "wiki"}]}, 409, "/grants/0/user"),
            ({"users": [{"name": "demo"}]}, 409, "/users/0")):
        answer = put(up, document)
        check(answer.status == status and answer.body["errors"][0]["pointer"] == pointer, document, answer)
    check(up.api("GET", "/users/x").status == 404 and up.api("GET", "/groups/g").status == 404)

    # Another owner's objects are his until they are taken over.
    up.api.make("users", name="cleo")
    check("nobody" in on("apply", {"users": [{"name": "cleo"}]}).stderr)
    check(on("apply", {"users": [{"name": "cleo"}]}, "--take-over").returncode == 0)
    check(up.api("GET", "/users/cleo").body["managed_by"] == "site-a")
    mine = put(up, {"users": [{"name": "ann"}]}, owner="site-b")
    check(mine.status == 409 and "site-a" in mine.body["errors"][0]["message"], mine)

    # What is not named stays, unless it is to be pruned; so many at most; never what the caller is.
    rest = without(without(other, "grants", "staff-wiki"), "dns-overrides", "wiki")
    check(on("diff", rest).returncode == 0, "it deletes without prune")
    check("max_deletes" in on("apply", rest, "--prune", "--max-deletes", "1").stderr)
    check(up.api("GET", "/grants/staff-wiki").status == 200)
    told = on("diff", rest, "--prune")
    check("- grant staff-wiki" in told.stdout and "- user cleo" in told.stdout, told)
    used = put(up, {"agent-groups": []}, prune=True)
    check(used.status == 409 and used.body["reason"] == "in-use" and used.body["referrers"], used)
    check(put(up, {"agent-groups": []}, prune=True, cascade=True, dry_run=True).body["deleted"] == 4)
    check(on("apply", rest, "--prune").returncode == 0)
    check([up.api("GET", p).status for p in ("/grants/staff-wiki", "/users/cleo", "/users/demo", "/users/ann")]
          == [404, 404, 200, 200])
    check(put(up, {"users": [{"name": "admin", "role": "admin"}]}, take_over=True).status == 200)
    gone = put(up, {"users": []}, prune=True)
    check(gone.status == 409 and ("delete you" in gone.body["detail"] or gone.body["reason"] == "last-admin"), gone)
    check(up.api("GET", "/users/ben").status == 200, "half of it was pruned")

    # The write names the revision of its dry run.
    dry = put(up, {"groups": [{"name": "late"}]}, dry_run=True).body
    up.api.make("users", name="meanwhile")
    stale = put(up, {"groups": [{"name": "late"}]}, revision=dry["revision"])
    check(stale.status == 409 and stale.body["reason"] == "effect-changed", stale)

    # Authorised resource by resource: an operator makes no operators, a narrow token only what it holds.
    up.api.make("users", name="olga", role="operator", password="correct horse battery")
    told = Api(8443, up.var / "ca.pem", "none")("POST", "/login-sessions", {"user": "olga", "password": "correct horse battery"})
    up.olga = Api(8443, up.var / "ca.pem", told.body["token"])
    for document, status in (({"groups": [{"name": "hers"}]}, 200), ({"users": [{"name": "rex", "role": "admin"}]}, 403)):
        answer = up.olga("PUT", "/config?owner=olga", document)
        check(answer.status == status, document, answer)
    narrow = up.api("POST", "/api-tokens", {"scopes": ["config:*", "groups:*"]}).body["token"]
    told = Api(8443, up.var / "ca.pem", narrow)
    check(told("PUT", "/config?owner=n", {"groups": [{"name": "narrow"}]}).status == 200)
    check(told("PUT", "/config?owner=n", {"users": [{"name": "wide"}]}).status == 403)
    check(list(told("GET", "/config").body) == ["groups"], told("GET", "/config"))
    check(told("GET", "/users").status == 403)

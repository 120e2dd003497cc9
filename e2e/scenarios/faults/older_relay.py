# it lives with a relay that is older than the control plane: what it cannot enforce is refused by its name, what it may do without it skips
# timeout: 120
import http.client
import json
import os
import signal
import sqlite3
import ssl
import urllib.error
import urllib.request

from attack import metric
from clients import connect
from harness import check, wait_until
from up import Up

# What a relay of the first release reports: nothing of what came after it.
FIRST_RELEASE = {"software": "adit-relay/0.1.0", "agents": [], "streams": 0}
QUOTA = {"name": "few", "user": "demo", "max_streams": 5}
ID = "01J0000000000000000000000{}"


def report(up, relay):
    """As the relay, while it is stopped."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(up.var / "relay/member.pem")
    boot = json.dumps({**FIRST_RELEASE, "boot_id": ID.format(9), "epoch": 1,
                       "revision": up.api("GET", f"/relays/{relay}").body["applied_revision"]})
    line = http.client.HTTPSConnection("127.0.0.1", 8444, context=context, timeout=20)
    line.request("POST", "/internal/v1/applied", boot, {"Content-Type": "application/json"})
    answer = line.getresponse()
    check(answer.status == 200, answer.status, answer.read())


def put_record(up, kind, number):
    """As a newer control plane on the same database would; published with the next write."""
    with sqlite3.connect(up.var / "controlplane/adit.db", timeout=20) as db:
        db.execute("UPDATE position SET revision = revision + 1")
        db.execute("INSERT INTO state_records (kind, id, json) VALUES (?, ?, '{}')", (kind, ID.format(number)))
        db.execute("INSERT INTO state_changes (revision, kind, id, json) SELECT revision, ?, ?, '{}' FROM position",
                   (kind, ID.format(number)))


def ready():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open("http://127.0.0.1:9101/readyz", timeout=10).read().decode()
    except urllib.error.HTTPError as answer:
        return f"{answer.code} {answer.read().decode()}"


def finding(up):
    found = [f for f in up.api("GET", "/status").body["findings"] if f["reason"] == "relay-too-old"]
    return found[0] if found else None


with Up() as up:
    relay = up.api("GET", "/relays").body["items"][0]

    # What an older one does not know is refused while it is enrolled, and taken when it was upgraded.
    pid = up.pid("adit-relay")
    os.kill(pid, signal.SIGSTOP)
    report(up, relay["id"])
    refused = up.api("POST", "/quotas", QUOTA)
    check(refused.status == 409 and refused.body["reason"] == "relay-too-old", refused)
    check(relay["name"] in refused.body["detail"] and "quota" in refused.body["detail"], refused)
    check(up.api("GET", "/quotas/few").status == 404, "a refused quota is there")
    check(up.api("POST", "/groups", {"name": "known"}).status == 201, "what it knows is refused")
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: up.api("POST", "/quotas", QUOTA).status == 201, 30, "the relay says that it knows quotas")

    # An older one that comes when they are in force is named.
    os.kill(pid, signal.SIGSTOP)
    report(up, relay["id"])
    found = finding(up)
    check(found and found["severity"] == "error" and "quota" in found["what"], found)
    check(found["objects"][0]["name"] == relay["name"], found)
    lag = up.api("GET", f"/revisions/{up.api('GET', '/status').body['revision']}").body["relays"][0]
    check(lag["cannot_enforce"] == ["quota"], lag)
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not finding(up), 30, "the relay that knows quotas is named no more")

    # This relay with records of a newer control plane: one that it may do without.
    put_record(up, "weather?", 1)
    up.api.make("groups", name="after-the-weather")
    check(metric("adit_config_records_skipped") == 1, "nothing was skipped")
    check("state.skipped" in (up.var / "log/relay.log").read_text(), "it does not say so")
    check(ready() == "" or "too old" not in ready(), ready())

    # And one that it may not: it keeps what it has, says so, and traffic goes on.
    put_record(up, "curfew", 2)
    late = up.api("POST", "/groups", {"name": "after-the-curfew"})
    wait_until(lambda: ready().startswith("503") and "relay-too-old" in ready(), 30, ready)
    wait_until(lambda: finding(up), 30, "status names the relay that refuses the state")
    check("the kind curfew is not known here" in finding(up)["what"], finding(up))
    connect("hello.demo.internal:80", up.curlrc()).close()
    lag = up.api("GET", f"/revisions/{late.headers['Adit-Revision']}").body
    check(not lag["applied"] and "curfew" in lag["relays"][0]["refuses"], lag)
    log = [json.loads(line) for line in (up.var / "log/relay.log").read_text().splitlines() if '"state.refused"' in line]
    check(log and all(line["reason"] == "relay-too-old" for line in log), log)

# it tells who listens what happens, where he left off too, and no more when his token has ended
# on PostgreSQL too
# timeout: 120
import http.client
import json
import os
import ssl
import subprocess

from harness import check, wait_until
from up import BIN, Api, Process, Up


class Ear:
    """One who listens: parsed events as they come, by a connection of his own."""

    def __init__(self, api, query="", last=None):
        context = ssl.create_default_context(cafile="/tmp/var/ca.pem")
        self.connection = http.client.HTTPSConnection("127.0.0.1", 8443, context=context, timeout=40)
        headers = {"Authorization": "Bearer " + api.token, **({"Last-Event-ID": last} if last else {})}
        self.connection.request("GET", "/api/v1/events" + query, headers=headers)
        self.answer = self.connection.getresponse()
        self.last = last

    def __iter__(self):
        event = {}
        for line in self.answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                event[name] = value
                continue
            self.last = event.get("id", self.last)
            if "data" in event:
                yield event["event"], json.loads(event["data"])
            event = {}

    def until(self, wanted):
        for name, data in self:
            if wanted(name, data):
                return data
        check(False, "the events ended")


def is_about(what, kind, name):
    return lambda _, data: (data.get("kind"), data.get("detail", {}).get("what"),
                            data.get("detail", {}).get("name")) == (kind, what, name)


with Up() as up:
    ear = Ear(up.api)
    check(ear.answer.status == 200 and ear.answer.headers["Content-Type"] == "text/event-stream", ear.answer.headers)
    ear.until(lambda name, _: name == "ready")
    made = up.api.make("users", name="alice")
    created = ear.until(is_about("created", "user", "alice"))
    check(created["id"] == made["id"], created)
    applied = ear.until(lambda name, data: name == "relays" and data["detail"]["revision"] >= created["detail"]["revision"])
    check(applied["detail"]["what"] == "applied", applied)

    watch = Process(BIN / "adit", "watch", "--output", "json", env={"ADIT_CLI_VAR": "/tmp/var"})
    wait_until(lambda: '"ready"' in watch.output, 20, lambda: watch.output)
    up.add_agent("second")
    ear.until(is_about("up", "agent", "second"))

    # Who comes back hears what he missed, and nothing is left out.
    last = ear.last
    ear.connection.close()
    up.api.make("users", name="bob")
    again = Ear(up.api, "?topics=changes", last)
    again.until(is_about("created", "user", "bob"))
    gone = up.api("GET", "/events", headers={"Last-Event-ID": "77-1"})
    check(gone.status == 410 and gone.body["reason"] == "events-gone", gone)

    # A user hears of himself alone; what his token may hear ends with it.
    token = up.api.make("api-tokens", user="alice", name="hers")
    alice = Ear(Api(8443, "/tmp/var/ca.pem", token["token"]))
    alice.until(lambda name, _: name == "ready")
    up.api("PATCH", "/users/bob", {"description": "x"})
    up.api("PATCH", "/users/alice", {"description": "x"})
    check(alice.until(lambda name, _: name == "changes")["id"] == made["id"], "bob's change came first")
    up.api("DELETE", "/api-tokens/hers")
    check(alice.until(lambda name, _: name == "end")["reason"] == "unauthenticated")

    wait_until(lambda: '"bob"' in watch.output, 20, lambda: watch.output)
    once = subprocess.run([BIN / "adit", "watch", "--seconds", "0", "--after", last, "changes"], text=True, timeout=60,
                          capture_output=True, env={**os.environ, "ADIT_CLI_VAR": "/tmp/var"})
    check(once.returncode == 0 and "bob created" in once.stdout, once)
    watch.signal(2)
    watch.wait(10)
    still = Ear(up.api)
    still.until(lambda name, _: name == "ready")
check(still.until(lambda name, _: name == "end")["detail"] == "the control plane is going down")

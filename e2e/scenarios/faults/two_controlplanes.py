# it serves from two control planes on one PostgreSQL: one leads, no update is lost, the other leads when that one dies
# timeout: 240
import os
import re
import signal
import threading

from harness import check, wait_until
from places import metrics, ADMIN
from postgres import Postgres
from up import STORE, Up, second_controlplane

URL = "http://hello.demo.internal/"
TIMES = 30
ADMIN["second"] = 19100


def leads(program):
    try:
        return re.search(r"(?m)^adit_controlplane_leads (\d)", metrics(program)).group(1) == "1"
    except OSError:
        return False


class Changes(threading.Thread):
    """Reads a user and changes him as read, again and again, through one of the two."""

    def __init__(self, api, name):
        super().__init__(daemon=True)
        self.api, self.name, self.tags, self.statuses = api, name, [], []

    def run(self):
        for n in range(TIMES):
            tag = self.api("GET", "/users/contested").headers["ETag"]
            answer = self.api("PATCH", "/users/contested", {"description": f"{self.name}{n}"}, {"If-Match": tag})
            self.statuses.append(answer.status)
            if answer.status == 200:
                self.tags.append(answer.headers["ETag"])


postgres = Postgres()
with Up(env={STORE: postgres.url}) as up:
    check(leads("controlplane"), "nobody leads")
    second = second_controlplane(up)
    check(not leads("second"), "both lead")

    # What one takes is in force through the other, and said so.
    made = second.api("POST", "/users?wait=applied", {"name": "contested"})
    check(made.status == 201, made)
    check(up.api("GET", "/users/contested").status == 200)
    changes = [Changes(up.api, "a"), Changes(second.api, "b"), Changes(second.api, "c")]
    for change in changes:
        change.start()
    for change in changes:
        change.join(100)
    tags = [tag for change in changes for tag in change.tags]
    statuses = [status for change in changes for status in change.statuses]
    check(len(statuses) == 3 * TIMES and set(statuses) <= {200, 412} and 412 in statuses, statuses)
    last = up.api("GET", "/users/contested").headers["ETag"]
    check(len(set(tags)) == len(tags) and last == f'"{1 + len(tags)}"', "an update is lost:", sorted(tags), last)

    # The one that leads dies; the other publishes what was written, and the relay goes on with both.
    victim = up.pid("adit-controlplane")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: leads("second") or leads("controlplane"), 30, "one of them leads")
    wait_until(up.is_answering, 30, "the first answers again")
    check(second.api("POST", "/users?wait=applied", {"name": "after-kill"}).status == 201)

    # What one takes is told by the other, also to who heard the first one last.
    first = up.api("GET", "/events?seconds=0").text
    last = re.findall(r"(?m)^id: (\S+)$", first)[-1]
    check(second.api("POST", "/users", {"name": "told"}).status == 201)
    for api in up.api, second.api:
        told = api("GET", "/events?seconds=0&topics=changes", headers={"Last-Event-ID": last}).text
        check('"name":"told"' in told, told)

    check([leads("controlplane"), leads("second")].count(True) == 1, "not one leads")
    up.api.make("users", name="at-the-end")
    check("Hello" in up.curl(URL).stdout)

    numbers = [tuple(map(int, line.split("|"))) for line in
               postgres.sql("SELECT epoch, revision, after FROM publications ORDER BY epoch, revision")]
    check(all(b[2] == a[1] for a, b in zip(numbers, numbers[1:])), "the chain has a gap", numbers)
    verify = up.verify_audit()
    check(verify.returncode == 0 and "whole" in verify.stdout, verify)
    second.signal(signal.SIGTERM)
    check(second.wait(30) == 0, second.output)

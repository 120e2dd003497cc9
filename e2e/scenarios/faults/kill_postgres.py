# it loses no acknowledged write when the database server or the control plane is killed under writes
# timeout: 300
import http.client
import os
import random
import re
import signal
import threading
import urllib.error

from harness import check, wait_until
from postgres import Postgres
from up import Up

TIMES = int(os.environ.get("ADIT_KILLS", "4"))


class Writes(threading.Thread):
    """Makes users all the time; remembers what was acknowledged, and the answers."""

    def __init__(self, up, name):
        super().__init__(daemon=True)
        self.up, self.name, self.made, self.refusals, self.is_over = up, name, [], [], False

    def run(self):
        n = 0
        while not self.is_over:
            n += 1
            try:
                answer = self.up.api("POST", "/users", {"name": f"{self.name}{n}"})
            except (OSError, urllib.error.URLError, http.client.HTTPException):
                continue                    # not acknowledged: no promise was made
            if answer.status == 201:
                self.made.append(f"{self.name}{n}")
            else:
                self.refusals.append(answer)


def kill_postgres():
    postgres.kill()
    postgres.start()


def kill_controlplane():
    victim = wait_until(lambda: up.pid("adit-controlplane"), 20, "the control plane runs")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: up.pid("adit-controlplane") not in (None, victim), 20, "it is started again")


postgres = Postgres()
with Up(env={"ADIT_CONTROLPLANE_STORE": postgres.url, "ADIT_CONTROLPLANE_RATE_PER_S": "0"}) as up:
    writers = [Writes(up, "a"), Writes(up, "b")]
    for writer in writers:
        writer.start()
    random.seed(1)
    for kill in random.sample([kill_postgres, kill_controlplane] * TIMES, 2 * TIMES):
        before = len(writers[0].made) + random.randrange(1, 20)
        wait_until(lambda: len(writers[0].made) >= before, 60, "writes are taken")
        kill()
    for writer in writers:
        writer.is_over = True
        writer.join(60)
    wait_until(up.is_answering, 30, "the API answers")
    made = [name for writer in writers for name in writer.made]
    refusals = [answer for writer in writers for answer in writer.refusals]
    check(len(made) > 2 * TIMES and refusals, len(made), len(refusals))
    for answer in refusals:                 # 409: made, though nobody could be told
        check(answer.status == 409 or answer.body["reason"] in ("store-unavailable", "overload"), answer)
    print(f"{2 * TIMES} kills, {len(made)} acknowledged users, {len(refusals)} refusals")

    known = set(postgres.sql("SELECT name FROM objects WHERE kind = 'user'"))
    check(set(made) <= known, "acknowledged and lost:", set(made) - known)
    told = set(re.findall(r'"name":"(\w+)"', " ".join(postgres.sql(
        "SELECT doc FROM audit_events WHERE doc ->> 'action' = 'users.create' AND doc ->> 'outcome' = 'ok'"))))
    made_by_api = {name for name in known if re.fullmatch(r"[ab]\d+", name)}
    check(made_by_api <= told, "half applied: no audit event:", made_by_api - told)
    records = postgres.sql("SELECT count(*) FROM state_records WHERE kind = 'user'")
    check(records == [str(len(known))], "half applied: users and records of the state differ:", records, len(known))
    verify = up.verify_audit()
    check(verify.returncode == 0 and "whole" in verify.stdout, verify)

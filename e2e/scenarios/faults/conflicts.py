# it loses no update when two control planes take conflicting changes of the same objects, one of them killed meanwhile
# timeout: 120
import os
import random
import signal
import threading

from harness import check, wait_until
from history import History, check_catches
from postgres import Postgres
from up import STORE, Up, second_controlplane

TIMES, KILLS = int(os.environ.get("ADIT_CHANGES", "10")), int(os.environ.get("ADIT_KILLS", "1"))
NO_LIMIT = {"ADIT_CONTROLPLANE_RATE_PER_S": "0"}
PATHS = ("/users/contested", "/groups/contested")
random.seed(int(os.environ.get("ADIT_SEED", "1")))


class Changes(threading.Thread):
    """Reads an object and changes it as read, until it was told of so many successes."""

    def __init__(self, api, name, path):
        super().__init__(daemon=True)
        self.api, self.name, self.path = api, name, path

    def run(self):
        n = done = 0
        while done < TIMES:
            n += 1
            step = self.change(f"{self.name}{n}")
            done += step is not None and step.status == 200

    def change(self, value):
        history = histories[self.path]
        read = history.record(self.name, lambda: self.api("GET", self.path))
        if read.status != 200:
            return None
        tag = {"If-Match": f'"{read.version}"'}
        return history.record(self.name, lambda: self.api("PATCH", self.path, {"description": value}, tag),
                              match=read.version, value=value)


def kill():
    goal = len(histories[PATHS[0]]) + random.randrange(20, 60)
    wait_until(lambda: len(histories[PATHS[0]]) > goal or not any(c.is_alive() for c in changes), 60, "changes are made")
    victim = wait_until(lambda: up.pid("adit-controlplane"), 20, "the control plane runs")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: up.pid("adit-controlplane") not in (None, victim), 20, "it is started again")


postgres = Postgres()
with Up(env={STORE: postgres.url, **NO_LIMIT}) as up:
    second = second_controlplane(up, NO_LIMIT)
    for path in PATHS:
        kind, name = path.strip("/").split("/")
        made = up.api.make(kind, name=name)
    histories = {path: History() for path in PATHS}
    changes = [Changes(api, name, path) for path in PATHS for name, api in
               (("a", up.api), ("b", second.api), ("c", second.api), ("d", up.api))]
    for change in changes:
        change.start()
    for _ in range(KILLS):
        kill()
    for change in changes:
        change.join(60 + 4 * TIMES)
    check(not any(change.is_alive() for change in changes), "they do not end")
    for path, history in histories.items():
        last = history.record("end", lambda: second.api("GET", path))
        history.remove(last)
        check(len(history.of(412)) > TIMES / 10, "there was no conflict", len(history))
        history.verify(last)
        check_catches(history, last)
        print(path, len(history), "steps:", {n: len(history.of(n)) for n in (200, 412, 0)})
    second.signal(signal.SIGTERM)
    check(second.wait(30) == 0, second.output)

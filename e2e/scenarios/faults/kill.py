# it comes back by itself when any program is killed under traffic, and loses no acknowledged write
# timeout: 400
import hashlib
import os
import random
import signal
import sqlite3
import threading
import time
import urllib.error

from harness import check, wait_until
from up import Up

TIMES = int(os.environ.get("ADIT_KILLS", "10"))
URL = "http://hello.demo.internal/"


class Traffic(threading.Thread):
    """Fetches the page and makes users all the time; remembers what was acknowledged."""

    def __init__(self, up):
        super().__init__(daemon=True)
        self.up, self.made, self.pages, self.is_over = up, [], 0, False

    def run(self):
        n = 0
        while not self.is_over:
            self.pages += "Hello" in self.up.curl(URL).stdout
            n += 1
            try:
                if self.up.api("POST", "/users", {"name": f"u{n}"}).status == 201:
                    self.made.append(f"u{n}")
            except (OSError, urllib.error.URLError):
                continue                    # not acknowledged: no promise was made


def check_chain(rows):
    """The audit events as documented: hash = SHA-256(previous, writer, seq, id, at, doc), NUL between."""
    last = {}
    for writer, seq, event_id, at, doc, previous, own in rows:
        before_seq, before_hash = last.get(writer, (seq - 1, ""))
        check(previous == before_hash and seq == before_seq + 1, "a gap before", writer, seq)
        text = f"{previous}{writer}\0{seq}\0{event_id}\0{at}\0{doc}"
        check(hashlib.sha256(text.encode()).hexdigest() == own, "changed:", writer, seq)
        last[writer] = seq, own


with Up() as up:
    traffic = Traffic(up)
    traffic.start()
    random.seed(1)
    plan = ["adit-controlplane", "adit-relay", "adit-agent"] * TIMES
    random.shuffle(plan)
    slowest = {}                            # of each program: seconds until it ran, until the page came
    for program in plan:
        victim = wait_until(lambda: up.pid(program), 10, lambda: f"{program} runs\n{up.output}")
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        wait_until(lambda: up.pid(program) not in (None, victim), 10, lambda: f"{program} is started again\n{up.output}")
        started, before = time.monotonic() - began, traffic.pages
        wait_until(lambda: traffic.pages > before, 40, f"the page comes again after {program}")
        slowest[program] = [max(pair) for pair in zip(slowest.get(program, (0, 0)), (started, time.monotonic() - began))]
    traffic.is_over = True
    traffic.join(60)
    check(len(traffic.made) > TIMES, "users were made meanwhile", len(traffic.made))
    lost = [name for name in traffic.made if up.api("GET", f"/users/{name}").status != 200]
    check(not lost, "acknowledged and lost:", lost)
    print({program: f"runs after {a:.2f} s, page after {b:.2f} s" for program, (a, b) in slowest.items()})
    print(f"{len(plan)} kills, {traffic.pages} pages, {len(traffic.made)} acknowledged users")
    database = next((up.var / "controlplane").glob("*.db"))
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    check(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))
    rows = connection.execute("SELECT writer, seq, id, at, doc, prev_hash, hash FROM audit_events"
                              " ORDER BY writer, seq").fetchall()
    check_chain(rows)
    told = " ".join(row[4] for row in rows)
    check(all(f'"{name}"' in told for name in traffic.made), "a user without its audit event")

"""Writers that remember what was acknowledged, and what a store must hold after kills under them."""
import http.client
import random
import re
import threading
import urllib.error

from harness import check, wait_until

GONE = (OSError, urllib.error.URLError, http.client.HTTPException)
MAYBE = ("store-unavailable", "overload")   # said instead of an acknowledgement


class Writes(threading.Thread):
    """Makes users, and two groups in one document, all the time; remembers what was acknowledged, and the refusals."""

    def __init__(self, up, name):
        super().__init__(daemon=True)
        self.up, self.name, self.made, self.pairs, self.refusals, self.is_over = up, name, [], [], [], False

    def run(self):
        n = 0
        while not self.is_over:
            n += 1
            try:
                self._write_pair(f"{self.name}{n}") if n % 4 == 0 else self._write_user(f"{self.name}{n}")
            except GONE:
                threading.Event().wait(0.01)        # not acknowledged: no promise was made

    def _write_user(self, name):
        self._note(self.up.api("POST", "/users", {"name": name}), 201, self.made, name)

    def _write_pair(self, name):
        document = {"groups": [{"name": name + "x"}, {"name": name + "y"}]}
        self._note(self.up.api("PUT", f"/config?owner={name}", document), 200, self.pairs, name)

    def _note(self, answer, good, kept, name):
        if answer.status == good:
            kept.append(name)
        else:
            self.refusals.append(answer)


class Writers:
    """Some of them: with Writers(up) as writers."""

    def __init__(self, up, names=("a", "b", "c")):
        self.up, self.all = up, [Writes(up, name) for name in names]

    def __enter__(self):
        for writer in self.all:
            writer.start()
        return self

    def __exit__(self, *error):
        for writer in self.all:
            writer.is_over = True
        for writer in self.all:
            writer.join(60)

    @property
    def count(self):
        return sum(len(writer.made) + len(writer.pairs) for writer in self.all)

    def wait_for_some(self, seconds=60, least=6):
        """Until a random number of writes was acknowledged, and a random moment longer."""
        goal = self.count + random.randrange(least, 4 * least)
        wait_until(lambda: self.count >= goal, seconds, lambda: f"writes are taken\n{self.up.output}")
        threading.Event().wait(random.random() / 20)

    def named(self, kind):
        return {name for writer in self.all for name in getattr(writer, kind)}

    def check_kept(self):
        """No acknowledged write is lost, none is half there, each has its audit event and its state record."""
        for answer in (answer for writer in self.all for answer in writer.refusals):
            # 409: made, though nobody could be told
            check(answer.status == 409 or answer.body["reason"] in MAYBE, answer)
        users, groups = self._objects("user"), self._objects("group")
        check(self.named("made") <= users, "acknowledged and lost:", self.named("made") - users)
        pairs = {end: {name[:-1] for name in groups if re.fullmatch(rf"[abc]\d+{end}", name)} for end in "xy"}
        check(pairs["x"] == pairs["y"], "half applied:", pairs["x"] ^ pairs["y"])
        check(self.named("pairs") <= pairs["x"], "acknowledged and lost:", self.named("pairs") - pairs["x"])
        self._check_told("user", {name for name in users if re.fullmatch(r"[abc]\d+", name)})
        self._check_told("group", {name for name in groups if re.fullmatch(r"[abc]\d+[xy]", name)})
        self._check_chain()
        verify = self.up.verify_audit()
        check(verify.returncode == 0 and "whole" in verify.stdout, verify)

    def _objects(self, kind):
        names = self.up.sql(f"SELECT name FROM objects WHERE kind = '{kind}'")
        records = self.up.sql(f"SELECT count(*) FROM state_records WHERE kind = '{kind}'")
        check(records == [str(len(names))], "half applied: objects and records of the state differ:", kind, records, len(names))
        return set(names)

    def _check_told(self, kind, names):
        """Each has one event of its making."""
        told = re.findall(r'"name":"(\w+)"', " ".join(self.up.sql(
            f"SELECT doc FROM audit_events WHERE doc ->> 'action' = '{kind}s.create' AND doc ->> 'outcome' = 'ok'")))
        told = [name for name in told if name in names]
        check(names == set(told) and len(told) == len(names), "half applied: no audit event, or two:", names - set(told))

    def _check_chain(self):
        """What was published follows on what was published before."""
        rows = [tuple(map(int, line.split("|"))) for line in
                self.up.sql("SELECT epoch, revision, after FROM publications ORDER BY epoch, revision")]
        check(all(b[2] == a[1] for a, b in zip(rows, rows[1:]) if a[0] == b[0]), "the chain has a gap", rows)

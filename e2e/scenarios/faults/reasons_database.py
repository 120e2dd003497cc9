# it tells what a database that is held or damaged refuses in the answer, the log, the metric and, once it is mended, the audit
# timeout: 120
import sqlite3

from harness import check
from places import SOON, audited, counted, in_places
from up import Up

METRIC = "adit_controlplane_problems_total"
KEY = {"Idempotency-Key": "0123456789abcdef"}


def refused(up, status, reason, name, headers=()):
    answer = up.api("POST", "/users", {"name": name}, headers)
    check(answer.status == status and answer.body["reason"] == reason, answer)
    in_places(up, reason, "http.request", METRIC, program="controlplane", trace_id=answer.body["trace_id"])
    return answer


with Up(env=SOON) as up:
    database = sqlite3.connect(next((up.var / "controlplane").glob("*.db")), isolation_level=None, timeout=30)

    # Somebody else writes, and does not end: a backup, a person with a shell.
    database.execute("BEGIN IMMEDIATE")
    answer = refused(up, 503, "overload", "while-held")
    check(up.api("GET", "/users").status == 200, "readers wait for the writer")
    database.execute("ROLLBACK")
    audited(up, "overload", 20, trace_id=answer.body["trace_id"], action="users.create", actor__name="admin")
    check(up.api("POST", "/users", {"name": "while-held"}).status == 201)

    # A table is gone: nothing of that is told to the caller but the trace id.
    database.execute("ALTER TABLE answers RENAME TO elsewhere")
    answer = refused(up, 500, "internal", "while-damaged", KEY)
    check("answers" not in answer.text and "SQL" not in answer.text.upper(), answer)
    audited(up, "internal", trace_id=answer.body["trace_id"], action="users.create", actor__name="admin")
    database.execute("ALTER TABLE elsewhere RENAME TO answers")
    check(up.api("POST", "/users", {"name": "while-damaged"}, KEY).status == 201)
    check(counted(METRIC, "internal") == 1, "more went wrong")

# it tells of a database server that is away in the answer, the log, the metric and readiness, and goes on by itself
# timeout: 180
import urllib.error
import urllib.request

from harness import check, wait_until
from places import SOON, audited, counted, in_places, metrics
from postgres import Postgres
from up import Up

METRIC = "adit_controlplane_problems_total"
URL = "http://hello.demo.internal/"


def readiness():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return 200, opener.open("http://127.0.0.1:9100/readyz", timeout=10).read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


postgres = Postgres()
with Up(env={**SOON, "ADIT_CONTROLPLANE_STORE": postgres.url}) as up:
    check("Hello" in up.curl(URL).stdout)
    check(postgres.sql("SELECT count(*) FROM objects WHERE kind = 'user'") != ["0"], "its tables are not there")
    check(readiness()[0] == 200, readiness())

    postgres.kill()
    answer = up.api("POST", "/users", {"name": "while-away"})
    check(answer.status == 503 and answer.body["reason"] == "store-unavailable", answer)
    check("postgres" not in answer.text.lower() and "sql" not in answer.text.lower(), answer)
    in_places(up, "store-unavailable", "http.request", METRIC, program="controlplane", trace_id=answer.body["trace_id"])
    wait_until(lambda: readiness()[0] == 503, 20, readiness)
    check("database" in readiness()[1], readiness())
    check("adit_controlplane_store_away 1" in metrics("controlplane"))
    check("Hello" in up.curl(URL).stdout, "traffic does not need the database")

    postgres.start()
    wait_until(lambda: up.api("GET", "/me").status == 200, 20, "the API answers again")
    check(up.api("POST", "/users", {"name": "while-away"}).status == 201)
    wait_until(lambda: readiness()[0] == 200, 20, readiness)
    audited(up, "store-unavailable", 20, trace_id=answer.body["trace_id"], action="users.create")
    check("adit_controlplane_store_away 0" in metrics("controlplane"))
    check(counted(METRIC, "internal") == 0, "a server that is away is no error inside")

    # One that takes no writes is none: a standby that was not promoted yet.
    postgres.kill()
    postgres.start("default_transaction_read_only=on")
    refused = up.api("POST", "/users", {"name": "read-only"})
    check(refused.status == 503 and refused.body["reason"] == "store-unavailable", refused)
    postgres.kill()
    postgres.start()
    wait_until(lambda: up.api("POST", "/users", {"name": "read-only"}).status == 201, 20, "it is taken again")

# it tells each of the API's refusals in the answer, the log, the metric, the audit and adit reason
# on PostgreSQL too
# timeout: 120
import json
import urllib.error
import urllib.request

import totp
from harness import check, wait_until
from places import SOON, audited, counted, has_refusal, logged, meaning
from up import Api, Up

METRIC = "adit_controlplane_problems_total"
ANY = {"If-Match": "*"}
LATE = {"ADIT_CONTROLPLANE_AUDIT_REFUSALS_MS": "1h"}
# Settled before anybody is asked who he is; and where nobody is.
BEFORE_WHO, NOBODYS = ("unauthenticated", "method-not-allowed", "body-too-large"), ("/nothing", "/login-sessions")
# adit explain tells who may reach what, not who may administer: GET /me says that.


def user_api(up, name, role):
    up.api.make("users", name=name, role=role)
    return Api(8443, up.var / "ca.pem", up.api.make("api-tokens", user=name, name=name)["token"])


with Up(env=SOON) as up:
    nobody = Api(8443, up.var / "ca.pem", "adit_" + "x" * 49)
    user, operator = user_api(up, "plain", "user"), user_api(up, "ops", "operator")
    up.api.make("users", name="taken", role="user")
    up.allow("used", ["used.test"], [80])
    up.api.make("expectations", user="demo", host="used.test", port=80, access="allow")
    big = {"name": "big", "description": "x" * 3_000_000}
    key = {"Idempotency-Key": "0123456789abcdef"}
    check(up.api("POST", "/users", {"name": "once"}, key).status == 201)
    login = {"user": "plain", "password": "not this one"}
    totp.enrol(user_api(up, "second", "user"), "second")
    check(up.api("PATCH", "/users/second", {"password": "correct horse battery"}).status == 200)
    half = {"user": "second", "password": "correct horse battery"}

    rows = [
        (401, "unauthenticated", nobody, "GET", "/users", None, {}),
        (403, "forbidden", user, "POST", "/users", {"name": "new"}, {}),
        (403, "wider-than-own", operator, "PATCH", "/users/admin", {"description": "x"}, ANY),
        (404, "not-found", up.api, "GET", "/users/nobody", None, {}),
        (404, "not-found", up.api, "GET", "/nothing", None, {}),
        (405, "method-not-allowed", up.api, "PUT", "/users", {}, {}),
        (422, "invalid", up.api, "POST", "/users", {"name": "Not A Name"}, {}),
        (409, "conflict", up.api, "POST", "/users", {"name": "taken"}, {}),
        (409, "in-use", up.api, "DELETE", "/destination-profiles/used", None, ANY),
        (409, "last-admin", up.api, "PATCH", "/users/admin", {"status": "disabled"}, ANY),
        (410, "events-gone", up.api, "GET", "/events", None, {"Last-Event-ID": "77-1"}),
        (409, "effect-changed", up.api, "PUT", "/config?owner=me&revision=1", {}, {}),
        (409, "expectation-broken", up.api, "POST", "/locks", {"user": "demo"}, {}),
        (428, "precondition-required", up.api, "PATCH", "/users/taken", {"description": "x"}, {"If-Match": ""}),
        (412, "precondition-failed", up.api, "PATCH", "/users/taken", {"description": "x"}, {"If-Match": '"99999"'}),
        (422, "idempotency-mismatch", up.api, "POST", "/users", {"name": "twice"}, key),
        (415, "unsupported-media-type", up.api, "POST", "/users", {"name": "x"}, {"Content-Type": "text/plain"}),
        (413, "body-too-large", up.api, "POST", "/users", big, {}),
        (401, "unauthenticated", up.api, "POST", "/login-sessions", login, {}),
        (401, "totp-required", up.api, "POST", "/login-sessions", half, {}),
    ]
    for status, reason, api, method, path, body, headers in rows:
        before = counted(METRIC, reason)
        answer = api(method, path, body, headers)
        check(answer.status == status and answer.body["reason"] == reason, reason, answer)
        check(answer.body["cure"] and answer.body["cure"] in meaning(reason), answer)
        check(answer.headers["Content-Type"] == "application/problem+json", answer.headers)
        check(counted(METRIC, reason) == before + 1, reason, "was not counted")
        wait_until(lambda: logged(up, "http.request", reason, "controlplane", trace_id=answer.body["trace_id"]), 5,
                   f"controlplane.log has {reason}")
        who = None if reason in BEFORE_WHO or path in NOBODYS else {user: "plain", operator: "ops"}.get(api, "admin")
        audited(up, reason, trace_id=answer.body["trace_id"], actor__name=who, actor__address="127.0.0.1",
                actor__kind="user" if who else "anonymous")

    request = urllib.request.Request(up.api.base + "/users", method="POST", data=b"{", headers={
        "Authorization": "Bearer " + up.api.token, "Content-Type": "application/json"})
    try:
        up.api.opener.open(request, timeout=10)
        check(False, "half an object was taken")
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        check(error.code == 400 and '"bad-request"' in text, text)
        audited(up, "bad-request", trace_id=json.loads(text)["trace_id"], count=1, action="users.create")
    check(counted(METRIC, "bad-request") == 1)

    def is_slowed_down():
        answer = up.api("POST", "/login-sessions", login)
        return answer.status == 429 and answer.body["reason"] == "rate-limited" and answer.headers["Retry-After"]

    wait_until(is_slowed_down, 10, "guesses are slowed down")
    check(counted(METRIC, "rate-limited") >= 1 and logged(up, "http.request", "rate-limited", "controlplane"))
    audited(up, "rate-limited", action="login-sessions.create", actor__kind="anonymous")
    check(user("DELETE", "/users/taken").status == 403)
    audited(up, "forbidden", action="users.delete", object__name="taken", actor__name="plain")

# What was refused just before a stop is written with it.
with Up(env=LATE) as up:
    refused = [up.api("GET", "/users/nobody") for _ in range(3)][-1]
    check(not has_refusal(up, "not-found", refused.body["trace_id"]))
with Up() as up:
    check(has_refusal(up, "not-found", refused.body["trace_id"], count=3, actor__name="admin", object__name="nobody"))

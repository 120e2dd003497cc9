# it lets each role do what is its own, tells nobody of what he may not see, and widens nobody's rights
# on PostgreSQL too
from harness import check
from up import Api, Up

PASSWORD = "correct horse battery"
ROLES = ("user", "auditor", "operator", "admin")
READ = ("users", "groups", "agents", "agent-groups", "join-tokens", "destination-profiles", "grants", "dns-overrides",
        "locks", "api-tokens", "proxy-credentials", "login-sessions", "relays", "audit-events")

# operation on somebody else's object: what user, auditor, operator and admin are told.
NO = (403, 404)
FOREIGN = [
    ("GET", "/users/other", None, (404, 200, 200, 200)),
    ("GET", "/proxy-credentials/other", None, (404, 200, 200, 200)),
    ("GET", "/api-tokens/other", None, (404, 200, 200, 200)),
    ("GET", "/grants/other", None, (404, 200, 200, 200)),
    ("GET", "/users/nobody-at-all", None, (404, 404, 404, 404)),
    ("GET", "/audit-events", None, (NO, 200, 200, 200)),
    ("GET", "/status", None, (NO, 200, 200, 200)),
    ("GET", "/access/explain?user=other&host=x.test&port=80", None, (404, 200, 200, 200)),
    ("PATCH", "/users/other", {"description": "mine now"}, (NO, NO, 200, 200)),
    ("PATCH", "/users/other", {"password": PASSWORD}, (NO, NO, 200, 200)),
    ("POST", "/users", {"name": "new-{role}"}, (NO, NO, 201, 201)),
    ("POST", "/groups", {"name": "new-{role}"}, (NO, NO, 201, 201)),
    ("POST", "/locks", {"user": "victim-{role}"}, (NO, NO, 201, 201)),
    ("POST", "/grants", {"name": "new-{role}", "user": "{role}", "destination_profile": "hello-demo"}, (NO, NO, 201, 201)),
    ("POST", "/proxy-credentials", {"user": "other", "name": "new-{role}"}, (NO, NO, 201, 201)),
    ("POST", "/join-tokens", {"kind": "agent", "name": "new-{role}"}, (NO, NO, 201, 201)),
    ("DELETE", "/proxy-credentials/victim-{role}", None, (NO, NO, 204, 204)),
    # Wider than one's own: refused to everybody but admins.
    ("POST", "/join-tokens", {"kind": "relay", "name": "relay-{role}"}, (NO, NO, NO, 201)),
    ("POST", "/users", {"name": "root-{role}", "role": "admin"}, (NO, NO, NO, 201)),
    ("PATCH", "/users/other", {"role": "operator"}, (NO, NO, NO, 200)),
    ("PATCH", "/users/other", {"role": "user"}, (NO, NO, NO, 200)),
    ("PATCH", "/users/admin", {"password": PASSWORD}, (NO, NO, NO, None)),
    ("PATCH", "/users/admin", {"status": "disabled"}, (NO, NO, NO, None)),
    ("POST", "/proxy-credentials", {"user": "admin", "name": "taken-{role}"}, (NO, NO, NO, None)),
    ("POST", "/api-tokens", {"user": "admin", "name": "taken-{role}"}, (NO, NO, NO, None)),
    ("PATCH", "/relays/{relay}", {"status": "disabled"}, (NO, NO, NO, None)),
    ("DELETE", "/users/admin", None, (NO, NO, NO, None)),
]
# Fields that nobody may set, whatever he may otherwise: mass assignment.
ASSIGN = [("/users", {"name": "m1", "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}), ("/users", {"name": "m2", "created_by": "x"}),
          ("/users", {"name": "m3", "version": 9}), ("/users", {"name": "m4", "password_hash": "x"}),
          ("/api-tokens", {"name": "m5", "token": "adit_x"}), ("/proxy-credentials", {"name": "m6", "user": "other", "secret": "adp_x"}),
          ("/users", {"name": "m7", "__proto__": {"role": "admin"}}), ("/users", {"name": "m8", "Role": "admin"}), ("/users", [{"name": "m9"}]),
          ("/users", {"name": "m' OR 1=1; --"}), ("/users", {"name": "../admin"})]
SQL = ["' OR '1'='1", "1; DROP TABLE objects; --", "%27%20OR%201=1--", "admin'--", "\\x27", "%00", "%2e%2e%2f", "a'||'b"]


def of_role(up, role):
    """An API as somebody of that role, logged in with his password."""
    up.api.make("users", name=role + "-one" if role == "admin" else role, role=role, password=PASSWORD)
    answer = Api(8443, up.var / "ca.pem", "none")("POST", "/login-sessions", {"user": role + "-one" if role == "admin" else role,
                                                                           "password": PASSWORD})
    check(answer.status == 201, role, answer)
    return Api(8443, up.var / "ca.pem", answer.body["token"])


with Up() as up:
    up.api.make("users", name="other")
    for resource in ("proxy-credentials", "api-tokens"):
        up.api("POST", f"/{resource}", {"user": "other", "name": "other"})
    up.api.make("grants", name="other", user="other", destination_profile="hello-demo")
    for role in ROLES:
        up.api.make("users", name=f"victim-{role}")
        up.api.make("proxy-credentials", user=f"victim-{role}", name=f"victim-{role}")
    relay = up.api("GET", "/relays").body["items"][0]["id"]
    callers, cells, wrong = {role: of_role(up, role) for role in ROLES}, 0, []
    stranger = Api(8443, up.var / "ca.pem", "adit_" + "x" * 49)
    for name in READ:
        check(stranger("GET", "/" + name).status == 401, name)
        seen = callers["user"]("GET", f"/{name}")
        foreign = [item for item in (seen.body.get("items") or []) if "other" in str(item) or "victim" in str(item)]
        check(seen.status in (200, 403) and not foreign, name, seen)
    for method, path, body, wanted in FOREIGN:
        check(stranger(method, path, body).status == 401, method, path)
        for role, want in zip(ROLES, wanted):
            fill = lambda text: text.replace("{role}", role).replace("{relay}", relay)
            given = body and {k: fill(v) if isinstance(v, str) else v for k, v in body.items()}
            if want is not None:
                told = callers[role](method, fill(path), given)
                cells += 1
                if told.status not in (want if isinstance(want, tuple) else (want,)):
                    wrong.append((role, method, fill(path), given, "told", told.status, "wanted", want))
                check("sqlite" not in told.text.lower() and "stack" not in told.text, told)
    check(not wrong, *wrong)
    for method, resource, body in (("GET", "users", None), ("PATCH", "users", {"description": "x"}), ("DELETE", "users", None),
                                   ("GET", "grants", None), ("DELETE", "proxy-credentials", None), ("GET", "agents", None)):
        told = [callers["user"](method, f"/{resource}/{name}", body) for name in ("other", "nobody-at-all")]
        check(told[0].status == told[1].status in NO and told[0].body["detail"] == told[1].body["detail"], "tells who exists", told)
    for path, body in ASSIGN:
        told = up.api("POST", path, body)
        check(told.status in (400, 422), path, body, told)
    for text in SQL:
        for path in (f"/users/{text}", f"/users?q={text}", f"/users?name={text}", f"/users?sort={text}", f"/users?cursor={text}"):
            told = up.api("GET", path.replace(" ", "%20"))
            check(told.status in (200, 400, 404, 422) and "sql" not in told.text.lower(), path, told)
            check(told.status != 200 or not told.body["items"], path, told)
    check(up.api("GET", "/users/admin").body["role"] == "admin" and len(up.api("GET", "/users?limit=100").body["items"]) > 8)
    print(f"{cells} cells of role x operation on foreign objects")

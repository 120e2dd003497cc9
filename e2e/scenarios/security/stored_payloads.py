# it gives back what was written into any text field as data: no script of it runs, no line is forged, no query changes
# timeout: 180
import json
import urllib.parse

from browser import Browser, visit
from harness import check
from up import Up

API = "https://127.0.0.1:8443"
PAYLOADS = ["<script>window.hit=1</script>", "\"><img src=x onerror=window.hit=1>", "</script><svg onload=window.hit=1>",
            "javascript:window.hit=1//", "{{7*7}}${7*7}", "'; DROP TABLE objects; --", "' OR '1'='1", "\u202eevil\u2066", "%0d%0aSet-Cookie: a=b",
            "\\u003cscript\\u003e", "--><!--", "=cmd|' /C calc'!A0"]
# What each kind takes beside its free text.
BODIES = {
    "users": {}, "groups": {}, "service-accounts": {}, "agent-groups": {}, "api-tokens": {}, "proxy-credentials": {}, "pac-links": {},
    "join-tokens": {"kind": "agent"}, "locks": {"user": "target"}, "quotas": {"user": "target", "max_streams": 5},
    "destination-profiles": {"hosts": ["a.test"], "ports": ["80"], "agent_group": "demo"},
    "grants": {"user": "target", "agent_group": "demo"}, "dns-overrides": {"host": "a.test", "addresses": ["192.0.2.1"]},
    "identity-providers": {"issuer": "https://login.test", "client_id": "adit"},
}
EVERYWHERE = ("description", "labels")


def text_fields(schema, schemas):
    """The free texts of a kind: no enumeration, pattern or format."""
    schema = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    for part in schema.get("allOf", ()):
        yield from text_fields(part, schemas)
    for name, field in schema.get("properties", {}).items():
        if field.get("type") == "string" and not {"enum", "pattern", "format", "readOnly"} & set(field):
            yield name


def filled(payload, names, plural):
    body = {name: payload for name in names if name not in ("name", "password", "client_secret", "ca", *BODIES[plural])}
    return {**BODIES[plural], **body, "description": payload, "labels": {"payload": payload}}


with Up() as up:
    contract = json.loads(up.api("GET", "/openapi.json").text)
    schemas, written, fields = contract["components"]["schemas"], [], set()
    up.api.make("users", name="target")
    for plural in BODIES:
        schema = contract["paths"][f"/{plural}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        names = set(text_fields(schema, schemas))
        for number, payload in enumerate(PAYLOADS):
            for some in (names, ()):                # all at once, or, where one is refused, those that all kinds have
                body = {"name": f"{plural}-{number}", **filled(payload, some, plural)}
                answer = up.api("POST", f"/{plural}", body, {"User-Agent": payload.encode("ascii", "replace").decode(), "X-Forwarded-For": "<script>"})
                check(answer.status in (201, 400, 409, 422), plural, answer)
                if answer.status == 201:
                    break
            if answer.status != 201:
                continue
            back = up.api("GET", f"/{plural}/{answer.body['id']}")
            for name in body:
                if body[name] == payload or name == "labels":
                    fields.add((plural, name))
                    check(back.body[name] == body[name], plural, name, back)
            written.append((plural, number))
    check(len({plural for plural, _ in written}) == len(BODIES), "a kind takes no text", {plural for plural, _ in written} ^ set(BODIES))
    check(len(written) > len(BODIES) * 6, len(written))
    for payload in PAYLOADS:                        # in queries they are text too
        found = up.api("GET", "/users?limit=100&q=" + urllib.parse.quote(payload)).body
        check(len(found["items"]) <= 2, "q finds by more than the text", payload, found)
    check(len(up.api("GET", "/users?limit=100").body["items"]) >= 8, "users are gone")

    # In a browser, with a session, as the page itself: never HTML, and nothing runs.
    up.api.make("users", name="reader", role="admin", password="correct horse battery")
    session = up.api("POST", "/login-sessions", {"user": "reader", "password": "correct horse battery"}).body["token"]
    browser = Browser("--ignore-certificate-errors", "--no-proxy-server")
    page = visit(browser)
    browser.call("Network.setCookie", page.session, name="__Host-adit-session", value=session, url=API + "/", path="/", secure=True)
    for plural in (*BODIES, "audit-events", "route-decisions", "config?owner=nobody"):
        shown = page(f"{API}/api/v1/{plural}")
        check(plural not in BODIES or "window.hit=1" in shown, plural, "is not shown to the session", shown[:300])
        seen = page.evaluate("[document.contentType, window.hit === undefined, document.scripts.length].join(' ')")
        check(seen.endswith("json true 0"), plural, seen)
    browser.process.kill()
    print(f"{len(fields)} fields of {len(BODIES)} kinds, {len(written)} objects")

# it lets people in by an identity provider: who they are, their role and groups by what it says, a session cookie
# on PostgreSQL too
# timeout: 240
import re
import urllib.parse

from harness import check, wait_until
from provider import Browser, Provider
from up import Up

SESSION = "__Host-adit-session"


def arrives(page):
    check(page.status == 200 and "text/html" in page.headers["Content-Type"], page)
    return page


def me(browser):
    return browser(up.api.base + "/me")


with Up() as up:
    provider = Provider(9801, "/tmp/provider")
    host = urllib.parse.urlsplit(up.api.base).netloc
    new = lambda: Browser(up.var / "ca.pem", provider.dir / "ca.pem")
    up.api.make("groups", name="staff")
    up.api.make("groups", name="night")
    up.api.make("groups", name="by-hand")
    made = up.api.make("identity-providers", name="corp", issuer=provider.issuer, client_id="adit",
                       client_secret=provider.secret, ca=provider.ca, create_users=True, mappings=[
                           {"value": "net-admins", "role": "admin"}, {"value": "auditors", "role": "auditor"},
                           {"value": "staff", "group": "staff"}, {"value": "shift-2", "group": "night"},
                           {"value": "shift-3", "group": "night"}, {"value": "staff", "group": "no-such-group"}])
    check(provider.secret not in str(made) and made["client_secret_fingerprint"] and made["client_secret_set_at"], made)

    # 1. Every algorithm; a user is made, by the name that the provider tells.
    for n, alg in enumerate(("RS256", "ES256", "EdDSA")):
        provider.alg, provider.user = alg, {"sub": f"sub-{n}", "preferred_username": f"Anna.{n}@corp.example", "groups": ["staff", "x"]}
        browser = new()
        page = arrives(browser.log_in(up.api.base, "corp", "?return_to=/docs%3Fx%3D1%26y%3D2"))
        check("url=/docs?x=1&amp;y=2\"" in page.text, page.text)
        seen = me(browser)
        check(seen.body["user"]["name"] == f"anna-{n}" and seen.body["role"] == "user", seen)
    user = up.api("GET", "/users/anna-2").body
    check(user["subject"] == "sub-2" and user["identity_provider"] == made["id"] and user["last_login_at"], user)
    check("anna-2" in up.api("GET", "/groups/staff/members").text)

    # 2. The cookie: Secure, HttpOnly, Strict; it reads, and changes only from our own pages.
    check(not re.search(SESSION, up.api("GET", "/me").text))
    csrf, json_type = me(browser).body["csrf_token"], {"Content-Type": "application/json"}
    mine = {"Origin": "https://" + host, "X-CSRF-Token": csrf, **json_type}
    for it, headers, status in (("without both", json_type, 403), ("without the token", {**mine, "X-CSRF-Token": ""}, 403),
                                ("with another's token", {**mine, "X-CSRF-Token": "A" * 43}, 403),
                                ("from another site", {**mine, "Origin": "https://evil.example"}, 403),
                                ("from a sandbox", {**mine, "Origin": "null"}, 403), ("without an origin", {**mine, "Origin": ""}, 403),
                                ("from our page", mine, 201)):
        answer = browser(up.api.base + "/proxy-credentials", "POST", {}, headers)
        check(answer.status == status, it, answer)
    check(Browser(up.var / "ca.pem")(up.api.base + "/me").status == 401)
    forged = Browser(up.var / "ca.pem")
    forged.cookies[host] = {SESSION: up.token()}
    check(me(forged).status == 401, "an API token is taken as a session cookie")

    # 3. At the next log-in role and groups are what the provider says then; what others gave stays.
    check(up.api("PUT", f"/groups/by-hand/members/{user['id']}", {}).status in (200, 201))
    provider.user = {"sub": "sub-2", "preferred_username": "someone-else", "groups": ["net-admins", "auditors", "shift-3"]}
    browser = new()
    arrives(browser.log_in(up.api.base, "corp"))
    check(me(browser).body["user"]["name"] == "anna-2" and me(browser).body["role"] == "admin", me(browser))
    groups = lambda: [g for g in ("staff", "night", "by-hand") if user["id"] in up.api("GET", f"/groups/{g}/members").text]
    check(groups() == ["night", "by-hand"], groups())
    provider.user = {"sub": "sub-2", "groups": "staff"}
    arrives(new().log_in(up.api.base, "corp"))
    check(groups() == ["staff", "by-hand"] and up.api("GET", "/users/anna-2").body["role"] == "user", groups())

    # 4. Nobody becomes somebody by his name; who is bound does, and a disabled user stays out.
    provider.user = {"sub": "sub-9", "preferred_username": "admin"}
    page = new().log_in(up.api.base, "corp")
    check(page.status == 403 and page.body["reason"] == "identity-provider-refused" and "taken" in page.body["detail"], page)
    up.api.make("users", name="bound", identity_provider="corp", subject="sub-9")
    twice = up.api("POST", "/users", {"name": "twice", "identity_provider": "corp", "subject": "sub-9"})
    check(twice.status == 409, twice)
    check(up.api("POST", "/users", {"name": "half", "subject": "sub-10"}).status == 409)
    browser = new()
    arrives(browser.log_in(up.api.base, "corp"))
    check(me(browser).body["user"]["name"] == "bound", me(browser))
    check(up.api("PATCH", "/users/bound", {"status": "disabled"}).status == 200)
    page = new().log_in(up.api.base, "corp")
    check(page.status == 403 and page.body["reason"] == "user-disabled", page)
    check(me(browser).status == 401, "a disabled user's session lives on")
    check(up.api("PATCH", "/identity-providers/corp", {"create_users": False}).status == 200)
    provider.user = {"sub": "sub-11", "preferred_username": "new"}
    page = new().log_in(up.api.base, "corp")
    check(page.status == 403 and "Nobody here" in page.body["detail"], page)
    check(up.api("DELETE", "/identity-providers/corp").status == 409, "users are bound to it")

    # 5. Another way to show the client's secret; keys that change; nothing of all this in what is kept.
    provider.auth, provider.user = "client_secret_post", {"sub": "sub-2"}
    check(up.api("PATCH", "/identity-providers/corp", {"description": "new settings: what is known is forgotten"}).status == 200)
    arrives(new().log_in(up.api.base, "corp"))
    provider.new_key("a new one")
    wait_until(lambda: new().log_in(up.api.base, "corp").status == 200, 30, "the new key is fetched")
    events = up.api("GET", "/audit-events?limit=500").text
    check("identity-providers.callback" in events, events[-2000:])
    for text in (events, up.api("GET", "/config").text, up.api("GET", "/identity-providers").text):
        check(provider.secret not in text and SESSION not in text)
    check(provider.seen["/.well-known/openid-configuration"] <= 6 and provider.seen["/keys"] <= 8, provider.seen)

# it lets nobody in by a provider that lies, is slow, or is mistaken for another, nor by an answer that was used or stolen
# timeout: 300
import base64
import concurrent.futures
import hashlib
import hmac
import threading
import time
import urllib.parse
import urllib.request

from harness import check, wait_until
from provider import Browser, Provider, b64
from up import Up

REFUSED, UNAVAILABLE = "identity-provider-refused", "identity-provider-unavailable"
HOUR = 3600


def refused(page, reason=REFUSED, word=""):
    check(page.status in (403, 503) and page.body["reason"] == reason and word in page.body["detail"], word, page)


def claims(**changed):
    return lambda known: {k: v for k, v in {**known, **changed}.items() if v is not None}


def header(**changed):
    return lambda known: {**known, **changed}


with Up(env={"ADIT_CONTROLPLANE_OIDC_TIMEOUT_MS": "3s", "ADIT_CONTROLPLANE_OIDC_PAUSE_MS": "1s"}) as up:
    provider, other = Provider(9801, "/tmp/provider"), Provider(9802, "/tmp/other", alg="ES256")
    trusted = [up.var / "ca.pem", provider.dir / "ca.pem", other.dir / "ca.pem"]
    new = lambda: Browser(*trusted)
    api = up.api.base
    for name, p in (("corp", provider), ("other", other)):
        up.api.make("identity-providers", name=name, issuer=p.issuer, client_id="adit", client_secret=p.secret, ca=p.ca, create_users=True)
        p.user = {"sub": "u-1", "preferred_username": name + "-user"}
        check(new().log_in(api, name).status == 200, name)

    # 1. Tokens: each is refused, and none lets anybody in.
    public = provider.keys["RS256"].der
    pem = b"-----BEGIN PUBLIC KEY-----\n" + b"\n".join(base64.b64encode(public)[i:i + 64] for i in range(0, len(base64.b64encode(public)), 64)) + b"\n-----END PUBLIC KEY-----\n"
    hs256 = lambda key: lambda text: hmac.new(key, text, hashlib.sha256).digest()
    now = int(time.time())
    for it, twist, word in (
            ("wrong issuer", {"claims": claims(iss=other.issuer)}, "issuer"),
            ("issuer with a slash", {"claims": claims(iss=provider.issuer + "/")}, "issuer"),
            ("other audience", {"claims": claims(aud="somebody-else")}, "audience"),
            ("several audiences, no azp", {"claims": claims(aud=["adit", "x"])}, "audience"),
            ("other party", {"claims": claims(aud=["adit", "x"], azp="x")}, "party"),
            ("alg none", {"header": header(alg="none"), "sign": lambda text: b""}, "algorithm"),
            ("HS256 with the public key's DER", {"header": header(alg="HS256"), "sign": hs256(public)}, "algorithm"),
            ("HS256 with the public key's PEM", {"header": header(alg="HS256"), "sign": hs256(pem)}, "algorithm"),
            ("HS256 with the client's secret", {"header": header(alg="HS256"), "sign": hs256(provider.secret.encode())}, "algorithm"),
            ("another key's signature", {"sign": other.keys["RS256"].sign}, "signature"),
            ("expired", {"claims": claims(exp=now - 120, iat=now - 600)}, "expired"),
            ("issued in the future", {"claims": claims(iat=now + HOUR)}, "future"),
            ("issued long ago", {"claims": claims(iat=now - 3 * HOUR)}, "long ago"),
            ("not valid yet", {"claims": claims(nbf=now + HOUR)}, "not valid yet"),
            ("wrong nonce", {"claims": claims(nonce="A" * 43)}, "nonce"),
            ("no nonce", {"claims": claims(nonce=None)}, "nonce"),
            ("another access token", {"claims": claims(at_hash=b64(b"x" * 16))}, "access token"),
            ("no subject", {"claims": claims(sub=None)}, "subject"),
            ("critical header", {"header": header(crit=["x"])}, "malformed"),
            ("an access token for an ID token", {"header": header(typ="at+jwt")}, "malformed"),
            ("an unknown key", {"header": header(kid="nobody's")}, "does not publish"),
            ("a key of another type", {"header": header(kid="ES256-1")}, "does not publish")):
        provider.twist = twist
        page = new().log_in(api, "corp")
        check(page.status == 403 and page.body["reason"] == REFUSED and word in page.body["detail"], it, page)
    provider.twist = {}
    check(up.api("PATCH", "/identity-providers/corp", {"algorithms": ["ES256"]}).status == 200)
    refused(new().log_in(api, "corp"), word="algorithm")
    check(up.api("PATCH", "/identity-providers/corp", {"algorithms": ["RS256"]}).status == 200)
    check(new().log_in(api, "corp").status == 200, "the honest one")

    # 2. Answers: of another browser, another log-in, another provider; used before; without what they need.
    urls, browser = [], new()
    check(browser.log_in(api, "corp", before_callback=lambda url: urls.append(url) or url).status == 200)
    refused(browser(urls[0]), word="began no log-in")
    browser = new()
    browser(browser(f"{api}/identity-providers/corp/log-in").location)
    stolen, host = dict(browser.cookies), urllib.parse.urlsplit(api).netloc

    def keep(url):
        urls.append(url)
        stolen[host] = dict(browser.cookies[host])
        return url

    check(browser.log_in(api, "corp", before_callback=keep).status == 200)
    replay = new()
    replay.cookies = {host: dict(stolen[host])}
    refused(replay(urls[-1]), word="does not take the code")
    again = urllib.parse.parse_qs(urllib.parse.urlsplit(urls[-1]).query)
    fresh = new()
    fresh(fresh(f"{api}/identity-providers/corp/log-in").location)
    code = list(provider.codes)[-1]
    replay.cookies = {host: dict(stolen[host])}
    refused(replay(urls[-1].replace(again["code"][0], code)), word="")
    refused(new()(urls[-1]), word="began no log-in")
    for it, change, word in (
            ("another state", lambda url: url.replace("state=", "state=x"), "another log-in"),
            ("no state", lambda url: url.split("&state=")[0], "another log-in"),
            ("another provider's callback", lambda url: url.replace("/corp/", "/other/"), "another provider"),
            ("another issuer's code", lambda url: url.replace(urllib.parse.quote(provider.issuer, ""), urllib.parse.quote(other.issuer, "")), "another issuer"),
            ("no issuer", lambda url: url.split("&iss=")[0], "another issuer"),
            ("no code", lambda url: url.replace("code=", "cod=").replace("cod=", "x="), "no code"),
            ("an error", lambda url: url + "&error=access_denied", "access_denied"),
            ("a made-up code", lambda url: url.replace("code=", "code=0"), "does not take the code")):
        page = new().log_in(api, "corp", before_callback=change)
        check(page.status == 403 and word in page.body["detail"], it, page)
    changed = new()
    page = changed(f"{api}/identity-providers/corp/log-in")
    cookie = changed.cookies[host]["__Host-adit-log-in"]
    for bad in (cookie[:-1], "A" + cookie[1:], cookie.split(".")[0] + ".", "x"):
        changed.cookies[host]["__Host-adit-log-in"] = bad
        refused(changed(changed(page.location).location), word="cookie")
    for path in ("//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aSet-Cookie:x", "docs", "/a\"b", "/<script>"):
        page = new()(f"{api}/identity-providers/corp/log-in?return_to=" + urllib.parse.quote(path))
        check(page.status == 422, path, page)

    # 3. What providers publish: another issuer, somewhere else, no TLS, too much, nothing.
    def publishes(settings, reason, word, keys=None):
        """A provider that is new to the control plane: nothing of it is known."""
        provider.twist = settings
        check(up.api("PATCH", "/identity-providers/corp", {"description": str(time.time())}).status == 200)
        refused(new().log_in(api, "corp"), reason, word)

    for settings, word in (
            ({"metadata": lambda m: {**m, "issuer": other.issuer}}, "another issuer"),
            ({"metadata": lambda m: {**m, "token_endpoint": "http://127.0.0.1:9801/token"}}, "token_endpoint"),
            ({"metadata": lambda m: {**m, "jwks_uri": "file:///etc/passwd"}}, "jwks_uri"),
            ({"metadata": lambda m: (302, {"Location": other.issuer + "/.well-known/openid-configuration"}, {})}, "302"),
            ({"metadata": lambda m: (500, {}, {})}, "500"),
            ({"metadata": lambda m: b"<html>"}, "no JSON"),
            ({"metadata": lambda m: {**m, "x": "x" * 100000}}, "too large"),
            ({"keys": lambda k: {"keys": k["keys"] * 40}}, "too many"),
            ({"keys": lambda k: {**k, "x": "x" * 300000}}, "too large"),
            ({"keys": lambda k: {"keys": "none"}}, "no JWK set"),
            ({"keys": lambda k: (302, {"Location": other.issuer + "/keys"}, {})}, "302")):
        publishes(settings, UNAVAILABLE, word)
    provider.twist = {}
    check(up.api("PATCH", "/identity-providers/corp", {"ca": other.ca}).status == 200)
    refused(new().log_in(api, "corp"), UNAVAILABLE, "certificate")
    check(up.api("PATCH", "/identity-providers/corp", {"ca": None}).status == 200)
    refused(new().log_in(api, "corp"), UNAVAILABLE, "certificate")
    check(up.api("PATCH", "/identity-providers/corp", {"ca": provider.ca}).status == 200)
    check(new().log_in(api, "corp").status == 200, "the honest one again")

    # 4. A storm of unknown keys makes few requests.
    before = provider.seen["/keys"]
    provider.twist = {"header": header(kid="nobody's")}
    since = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for page in pool.map(lambda n: new().log_in(api, "corp"), range(40)):
            check(page.status in (403, 503), page)
    check(provider.seen["/keys"] - before <= 2 + (time.monotonic() - since), provider.seen["/keys"] - before)
    provider.twist = {}

    # 5. A provider that says nothing for long delays neither the other one nor the API.
    stuck = threading.Event()
    provider.twist = {"metadata": lambda m: stuck.wait(20) and m}
    check(up.api("PATCH", "/identity-providers/corp", {"description": "slow"}).status == 200)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(new().log_in, api, "corp") for _ in range(16)]
        wait_until(lambda: provider.seen["/.well-known/openid-configuration"] and up.api("GET", "/me").status == 200, 10)
        since = time.monotonic()
        check(new().log_in(api, "other").status == 200, "the other provider suffers")
        for _ in range(20):
            check(up.api("GET", "/me").status == 200)
        took = time.monotonic() - since
        check(took < 2.5 or not any(w.done() for w in waiting), "the API takes", took)
        for w in waiting:
            check(w.result().status == 503, w.result())
    stuck.set()
    provider.twist = {}
    check(urllib.request.urlopen("http://127.0.0.1:9100/metrics").read().decode().count("adit_controlplane_oidc_") >= 5)
    wait_until(lambda: new().log_in(api, "corp").status == 200, 30, "it is well again")
    check(len(up.api("GET", "/users?q=user").body["items"]) >= 2)

# it logs a terminal in by an identity provider: a browser on the same machine brings the code, which is this terminal's alone
# timeout: 120
import pathlib
import re
import urllib.parse
import urllib.error
import urllib.request

from harness import check, wait_until
from provider import Browser, Provider
from up import BIN, Api, Process, Up

FILE = "/tmp/session"


def visit(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(url, timeout=10).read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code)


def begin(name):
    process = Process(BIN / "adit", "login", "--provider", "corp", "--var", up.var, "--session-file", name)
    return process, wait_until(lambda: re.search(r"https://\S+challenge=\S+", process.output), 20, lambda: process.output).group()


with Up() as up:
    provider = Provider(9801, "/tmp/provider")
    provider.user = {"sub": "u-1", "preferred_username": "kim"}
    up.api.make("identity-providers", name="corp", issuer=provider.issuer, client_id="adit", client_secret=provider.secret,
                ca=provider.ca, create_users=True)
    new = lambda: Browser(up.var / "ca.pem", provider.dir / "ca.pem")

    def code_for(url):
        browser = new()
        page = browser(browser(browser(url).location).location)
        check(page.status == 303 and page.location.startswith("http://127.0.0.1:"), page)
        return page.location

    process, url = begin(FILE)
    port = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["port"][0]
    check(visit(f"http://127.0.0.1:{port}/favicon.ico") == "404")
    back = code_for(url)
    check(f":{port}/" in back, back)
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)["code"][0]
    redeem = lambda code, verifier: up.api("POST", "/identity-providers/corp/redeem", {"code": code, "verifier": verifier})
    check(redeem(code, "A" * 43).status == 403, "another terminal redeems the code")
    check("Logged in" in visit(back))
    check(process.wait(20) == 0, process.output)
    token = pathlib.Path(FILE).read_text().strip()
    me = Api(8443, up.var / "ca.pem", token)("GET", "/me")
    check(me.body["user"]["name"] == "kim" and pathlib.Path(FILE).stat().st_mode & 0o777 == 0o600, me)
    check(code not in process.output and token not in process.output)

    # A code counts once, and only as it is; nobody but the loopback address gets one.
    process, url = begin("/tmp/other")
    check("Logged in" in visit(back.replace(f":{port}/", ":" + urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["port"][0] + "/")))
    check(process.wait(20) == 1 and not pathlib.Path("/tmp/other").exists(), process.output)
    for bad in ("port=80", "port=1024", "challenge=" + "A" * 43, "port=1024&challenge=short", "port=127.0.0.1&challenge=" + "A" * 43):
        page = new()(f"{up.api.base}/identity-providers/corp/log-in?{bad}")
        check(page.status in (409, 422), bad, page)

# it shows the demo page through CONNECT, absolute form and SOCKS5, and not without the proxy
# on PostgreSQL too
import re

from harness import check
from up import Up

URL = "http://hello.demo.internal/"

with Up() as up:
    pages = [up.curl(URL), up.curl("--proxytunnel", URL)]
    user, secret = up.curlrc()
    pages.append(up.curl("--proxy", "socks5h://127.0.0.1:1080", URL))
    for page in pages:
        check(page.returncode == 0 and "Hello" in page.stdout, page)
        check("grant   hello-demo" in page.stdout and "agent   demo-agent" in page.stdout, page.stdout)
        check(f"process {up.pid('adit-agent')} (adit-agent)" in page.stdout, page.stdout)
    nonces = {re.search(r"nonce +([0-9a-f]{32})", page.stdout).group(1) for page in pages}
    check(len(nonces) == 1, nonces)

    direct = up.curl("--noproxy", "*", URL)
    check(direct.returncode == 6, "without the proxy the name must not resolve", direct)
    wrong = up.curl("--proxy-user", f"{user}:{secret[:-1]}x", "-D", "-", URL)
    check("407" in wrong.stdout and "auth-failed" in wrong.stdout, wrong)

    docs = up.curl("--noproxy", "*", "--cacert", up.var / "ca.pem", "https://127.0.0.1:8443/docs")
    check(docs.returncode == 0 and "<html" in docs.stdout.lower(), docs)

# it lets no stored or reflected text run in a browser, no other page frame ours, and no other site's form change anything
# timeout: 180
import http.server
import threading

from browser import Browser, visit
from harness import check, wait_until
from up import Up

API = "https://127.0.0.1:8443"
PAYLOADS = ["<script>window.hit=1</script>", "<img src=x onerror=window.hit=1>", "\"><svg onload=window.hit=1>", "';window.hit=1;//"]
FORM = f"""<form id=f method=post enctype=text/plain action="{API}/api/v1/users">
<input name='{{"name":"forged","x":"' value='"}}'></form><script>document.getElementById("f").submit()</script>"""
FRAME = f"""<iframe src="{API}/docs"></iframe>"""


class Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (FORM if self.path == "/form" else FRAME).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


threading.Thread(target=http.server.HTTPServer(("127.0.0.1", 9999), Elsewhere).serve_forever, daemon=True).start()
with Up() as up:
    for i, text in enumerate(PAYLOADS):
        up.api.make("users", name=f"user{i}", description=text)
        up.api("GET", "/users", headers={"User-Agent": text, "X-Trace": text})
        up.api("GET", "/users?q=" + "%" + "%".join(f"{b:02x}" for b in text.encode()))
    token = up.token()
    browser = Browser("--ignore-certificate-errors", "--no-proxy-server")
    page = visit(browser)
    page(API + "/docs")
    wait_until(lambda: "/api/v1/users" in page.evaluate("document.body.innerText"), 30, "the page is made")
    check(page.evaluate("document.querySelectorAll('details').length") > 50, "operations are missing")
    check(page.evaluate("performance.getEntriesByType('resource').every((e) => e.name.startsWith(location.origin + '/'))"),
          "it loads from elsewhere")
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for text in PAYLOADS:
        page.evaluate(f"(() => {{ const f = document.getElementById('find'); f.value = {text!r}; "
                      "f.dispatchEvent(new Event('input')); })()")
    blocked = "(() => { const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.append(s); })()"
    page.evaluate(blocked)
    check(page.evaluate("window.hit === undefined"), "a script that is not ours ran on /docs")

    for path in ("users", "audit-events", "groups", "users/user0"):
        seen = page.evaluate(f"fetch('/api/v1/{path}', {{ headers: {{ Authorization: 'Bearer {token}' }} }})"
                             ".then(async (a) => [a.status, a.headers.get('content-type'), a.headers.get('x-content-type-options'),"
                             " a.headers.get('content-security-policy')].join(' '))")
        check(seen.startswith("200 application/json nosniff default-src 'none'"), path, seen)
    for path in ("/api/v1/%3Cscript%3Ewindow.hit=1%3C/script%3E", "/docs/%3Cimg%20src=x%20onerror=window.hit=1%3E", "/api/v1/login-sessions"):
        page(API + path)
        check("json" in page.evaluate("document.contentType") and page.evaluate("window.hit === undefined"), path)

    said = []
    browser.handlers["Log.entryAdded"] = lambda params: said.append(params["entry"]["text"])
    browser.handlers["Runtime.consoleAPICalled"] = lambda params: said.append(str(params["args"]))
    browser.call("Log.enable", page.session)
    page("http://127.0.0.1:9999/frame")
    wait_until(lambda: page.evaluate("1") and any("frame" in text and "8443" in text for text in said), 30,
               lambda: f"the browser refuses to frame /docs: {said}")
    page("http://127.0.0.1:9999/form")
    wait_until(lambda: page.evaluate("location.href").startswith(API), 30, "the form was sent")
    check(up.api("GET", "/users/forged").status == 404, "another site's form made a user")
    browser.process.kill()

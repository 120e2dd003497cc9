# it serves PAC links over TLS that send what a user's grants cover to the relay and nothing else, in an independent interpreter and in Chromium
# timeout: 240
import http.client
import itertools
import json
import os
import pathlib
import random
import re
import signal
import ssl
import subprocess

from browser import Browser, visit
from harness import check, wait_until
from up import BIN, Up

VAR = pathlib.Path("/tmp/var")
PROXY = "HTTPS localhost:8081"
# A PAC interpreter that has nothing of ours: the script runs in a context of its own, as browsers do it.
INTERPRETER = """
const vm = require("vm"), { script, questions, dns } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const called = [], box = { dnsResolve: (host) => { called.push(host); return dns[host] || null; } };
vm.createContext(box);
vm.runInContext(script, box, { timeout: 2000 });
const answers = questions.map(([url, host]) => {
    box.url = url; box.host = host;
    return vm.runInContext("FindProxyForURL(url, host)", box, { timeout: 2000 });
});
console.log(JSON.stringify({ answers, called, globals: Object.keys(box) }));
"""


def ask(path, method="GET", host="localhost", **headers):
    context = ssl.create_default_context(cafile=VAR / "door.pem")
    connection = http.client.HTTPSConnection(host, 8081, timeout=20, context=context)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


def run_script(script, questions, dns=None):
    done = subprocess.run(["node", "-e", INTERPRETER], capture_output=True, text=True, timeout=60,
                          input=json.dumps({"script": script, "questions": questions, "dns": dns or {}}))
    check(done.returncode == 0, done)
    return json.loads(done.stdout)


def grant(up, user, name, hosts, ports, **profile):
    up.api.make("destination-profiles", name=name, hosts=hosts, ports=ports, agent_group="demo", **profile)
    up.api.make("grants", user=user, destination_profile=name)


def check_refused(path, why):
    status, headers, text = ask(path)
    check(status == 404 and "not-found" in text, why, status, text)


def check_targets(script):
    yes = [("http://hello.demo.internal/", "hello.demo.internal"), ("https://wiki.corp.example/a?b", "wiki.corp.example"),
           ("https://WIKI.corp.example./", "WIKI.corp.example."), ("http://deep.in.corp.example:8080/", "deep.in.corp.example"),
           ("http://u:p@deep.in.corp.example:8085/", "deep.in.corp.example"), ("http://10.20.30.40/", "10.20.30.40"),
           ("http://[2001:db8::7]/", "2001:db8::7"), ("http://[2001:db8::7]/", "[2001:db8::7]"),
           ("http://[2001:db8:0:0:0:0:0:7]/", "2001:db8:0:0:0:0:0:7"), ("http://[::ffff:10.20.30.40]/", "::ffff:10.20.30.40"),
           ("http://[::ffff:a14:1e28]/", "::ffff:a14:1e28"), ("http://nowhere:7000/", "nowhere"),
           ("http://inside:7000/", "inside"), ("wss://wiki.corp.example/", "wiki.corp.example")]
    no = [("http://wiki.corp.example/", "wiki.corp.example"), ("https://wiki.corp.example:444/", "wiki.corp.example"),
          ("https://xwiki.corp.example/", "xwiki.corp.example"), ("https://wiki.corp.example.evil/", "wiki.corp.example.evil"),
          ("http://in.corp.example:8080/", "in.corp.example"), ("http://deep.in.corp.example:8086/", "deep.in.corp.example"),
          ("http://10.21.0.1/", "10.21.0.1"), ("http://10.20.30.40:81/", "10.20.30.40"), ("http://[2001:db9::7]/", "2001:db9::7"),
          ("http://10.20.30.40.example/", "10.20.30.40.example"), ("http://secret.example/", "secret.example"),
          ("http://outside:7000/", "outside"), ("http://nowhere:7001/", "nowhere"), ("http://constructor/", "constructor"),
          ("http://toString/", "toString"), ("http://__proto__/", "__proto__"), ("http://hasOwnProperty/", "hasOwnProperty"), ("nothing", "hello.demo.internal")]
    ran = run_script(script, yes + no, {"inside": "172.16.5.5", "outside": "192.0.2.5"})
    for question, answer in zip(yes + no, ran["answers"]):
        check(answer == (PROXY if question in yes else "DIRECT"), question, answer)
    check(set(ran["called"]) <= {"nowhere", "inside", "outside"}, ran["called"])


def check_fuzzed(script):
    """Whatever is asked for, the answer is one of two, and there is one soon."""
    dice = random.Random(7)
    pieces = ["wiki.corp.example", "\"", "'", "\\", "\n", "\u2028", "</script>", "${1}", "..", "[", "]", ":", "::", "%00", "\0",
              "10.20.30.40", "999.1.1.1", "é", "a" * 300, "__proto__", "@", "//", "http://", ".", "PROXY evil:1", "; DIRECT"]
    hosts = ["".join(dice.choices(pieces, k=dice.randint(0, 5))) for _ in range(3000)]
    ran = run_script(script, [["http://" + host + "/", host] for host in hosts])
    check(set(ran["answers"]) <= {PROXY, "DIRECT"}, set(ran["answers"]))
    check("evil" not in "".join(ran["globals"]), ran["globals"])


def check_hostile_names(up):
    """Names that a script might trip over are refused, or come out as the names that they are."""
    hostile = ["\");evil();(\"", "a\nb", "a\\u0022", "</script>", "a'b", "é.example", "a b", "*.*", "x\u2028y", "a;b", "-", "__proto__"]
    for number, name in enumerate(hostile):
        answer = up.api("POST", "/destination-profiles", {"name": f"hostile{number}", "hosts": [name], "ports": ["80"],
                                                          "agent_group": "demo"})
        check(answer.status in (201, 422), name, answer)
        if answer.status == 201:
            up.api.make("grants", user="demo", destination_profile=f"hostile{number}")


VAR.mkdir(mode=0o700)
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", VAR / "door.key",
                "-out", VAR / "door.pem"], check=True, capture_output=True)
os.chmod(VAR / "door.key", 0o600)
(VAR / "relay.yaml").write_text(f"https_listen: 127.0.0.1:8081\ndoor_certificate: {VAR}/door.pem\ndoor_key: {VAR}/door.key\n")
with Up(env={"ADIT_CONTROLPLANE_PAC_URL": "https://localhost:8081"}) as up:
    grant(up, "demo", "wiki", ["wiki.corp.example"], ["443"])
    grant(up, "demo", "deep", ["*.in.corp.example"], ["8080-8085"])
    grant(up, "demo", "nets", ["10.20.0.0/16", "2001:db8::/32"], ["80"])
    grant(up, "demo", "resolved", ["172.16.0.0/12"], ["7000"], match_resolved=True)
    up.api.make("destination-profiles", name="others", hosts=["secret.example"], ports=["80"], agent_group="demo")
    check_hostile_names(up)

    shown = subprocess.run([BIN / "adit", "pac", "create", "laptop", "--user", "demo", "--secret-file", "-", "--wait", "--var", VAR],
                           capture_output=True, text=True)
    check(shown.returncode == 0, shown)
    path, link, secret = re.search(r"https://localhost:8081(/pac/(\w{26})/([\w-]{43}))", shown.stdout).groups()
    status, headers, script = ask(path)
    check(status == 200 and headers["Content-Type"] == "application/x-ns-proxy-autoconfig", status, headers)
    check("private" in headers["Cache-Control"] and headers["ETag"], headers)
    user, credential = up.curlrc()
    check(credential not in script and secret not in script and "SOCKS" not in script and "secret.example" not in script, script)
    check(ask(path, **{"If-None-Match": headers["ETag"]})[0] == 304)
    check(ask(path, "HEAD")[2] == "" and ask(path, "POST")[0] == 405)
    check_targets(script)
    check_fuzzed(script)

    for wrong in (path[:-1] + ("A" if path[-1] != "A" else "B"), f"/pac/{link}/", f"/pac/{link}", "/pac/", f"/pac/{secret}/{link}",
                  path + "/", path + "?x", path.replace(link, "0" * 26)):
        check_refused(wrong, wrong)
    wait_until(lambda: up.api("GET", "/pac-links/laptop").body.get("last_used_at"), 20,
               lambda: f"its last use is known: {up.api('GET', '/pac-links/laptop')}")
    kept = up.api("GET", "/pac-links").text + up.api("GET", "/audit-events?limit=500").text
    check(secret not in kept, "the secret is shown again")

    browser = Browser("--proxy-pac-url=https://localhost:8081" + path, "--ignore-certificate-errors")
    page = visit(browser, user, credential)
    text = page("http://hello.demo.internal/")
    check("Hello" in text and "agent   demo-agent" in text, text)
    check("ERR_NAME_NOT_RESOLVED" in page("http://secret.example/") or "Hello" not in page("http://secret.example/"))
    browser.process.kill()
    asked = up.api("GET", "/route-decisions?limit=500").text + up.api("GET", "/streams?limit=500").text
    check("secret.example" not in asked and "hello.demo.internal" in asked, "what is not granted went to the relay")

    control = up.pid("adit-controlplane")
    os.kill(control, signal.SIGSTOP)
    check(ask(path)[0] == 200, "it needs the control plane")
    os.kill(control, signal.SIGCONT)
    wait_until(up.is_answering, 30, "the control plane is back")

    up.api("PATCH", "/users/demo?wait=applied", {"status": "disabled"})
    check_refused(path, "the user is off")
    up.api("PATCH", "/users/demo?wait=applied", {"status": "active"})
    check(ask(path)[0] == 200)
    check(up.api("DELETE", "/pac-links/laptop?wait=applied").status == 204)
    check_refused(path, "it was deleted")

for log in itertools.chain(VAR.rglob("*.log"), VAR.rglob("*.db*")):
    check(secret.encode() not in log.read_bytes(), "the secret is in", log)

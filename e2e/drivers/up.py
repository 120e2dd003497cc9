"""A whole Adit on this machine, and what one does with it."""
import glob
import http.client
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request

from harness import check, wait_until

BIN = pathlib.Path(os.environ["ADIT_BIN"])


def is_sanitized():
    return b"__asan_init" in (BIN / "adit-relay").read_bytes()

START_S = 60
STORE = "ADIT_CONTROLPLANE_STORE"


class Answer:
    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text
        is_json = "json" in headers.get("Content-Type", "")
        self.body = json.loads(text) if is_json and text else None

    def __repr__(self):
        return f"{self.status} {self.text[:400]}"


class Api:
    """The REST API: api("POST", "/users", {...}) -> Answer."""

    def __init__(self, port, ca_file, token):
        self.base, self.token = f"https://127.0.0.1:{port}/api/v1", token
        context = ssl.create_default_context(cafile=str(ca_file))
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))

    def __call__(self, method, path, body=None, headers=()):
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            self.base + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Bearer " + self.token, "Content-Type": kind,
                     **({"If-Match": "*"} if method in ("PATCH", "DELETE") else {}), **dict(headers)})
        try:
            return self._ask(request)
        except http.client.IncompleteRead as error:     # killed in mid-answer
            raise ConnectionResetError("the answer was cut") from error

    def _ask(self, request):
        try:
            with self.opener.open(request, timeout=40) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as answer:
            return Answer(answer.code, answer.headers, answer.read().decode())

    def make(self, resource, /, **body):
        """Creates an object and waits until the relays run it; its JSON."""
        answer = self("POST", f"/{resource}?wait=applied", body)
        check(answer.status == 201, "POST", resource, body, answer)
        return answer.body


class Process:
    """A program of ours with its output in a list of lines."""

    def __init__(self, *args, stdin=None, env=None):
        self.lines = []
        self.process = subprocess.Popen(
            [str(a) for a in args], stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        if stdin is not None:
            self.process.stdin.write(stdin)
            self.process.stdin.close()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait(self, seconds):
        code = self.process.wait(seconds)
        self.reader.join(5)
        return code

    def signal(self, number):
        self.process.send_signal(number)


class Up:
    """adit up on a state directory of its own; used with `with`."""

    def __init__(self, *args, var="/tmp/var", port_base=0, env=None, waits_for="Try:"):
        self.var, self.port_base, self.waits_for = pathlib.Path(var), port_base, waits_for
        self.command = [BIN / "adit", "up", "--var", var, *args]
        if port_base:
            self.command += ["--port-base", port_base]
        self.env = dict(env or {})
        self.agents = []

    def __enter__(self):
        if os.environ.get("ADIT_E2E_STORE") == "postgres" and STORE not in self.env:
            from postgres import the_server

            self.env[STORE] = the_server().url
        self.process = Process(*self.command, env=self.env)
        try:
            wait_until(lambda: self.waits_for in self.output or self.process.process.poll() is not None,
                       START_S, "the screen of adit up")
            check(self.waits_for in self.output, self.output)
        except BaseException:
            self.show_logs()
            raise
        self.api = Api(8443 + self.port_base, self.var / "ca.pem", self.token())
        return self

    def __exit__(self, kind, value, trace):
        for agent in self.agents:
            agent.stop()
        if self.process.process.poll() is None:
            self.process.signal(signal.SIGINT)
            code = self.process.wait(15)
        else:
            code = self.process.process.returncode
        if kind:
            self.show_logs()
        else:
            check(code == 0, "adit up ended with", code, self.output)
            self.check_sanitizers()

    def check_sanitizers(self):
        texts = [agent.process.output for agent in self.agents]
        texts += [log.read_text(errors="replace") for log in (self.var / "log").glob("*.log")]
        for text in texts:
            check("Sanitizer" not in text and "runtime error" not in text, text[-6000:])

    def show_logs(self):
        print(self.output)
        for log in sorted((self.var / "log").glob("*.log")):
            print(f"--- {log.name}")
            print("\n".join(line[:240] for line in log.read_text(errors="replace").splitlines()[-12:]))
        sys.stdout.flush()

    @property
    def output(self):
        return self.process.output

    def token(self):
        text = (self.var / "credentials").read_text()
        return next(word for word in text.replace('"', " ").replace("=", " ").split()
                    if word.startswith("adit_"))

    def curlrc(self):
        """user, secret of the demo's proxy credential."""
        line = next(line for line in (self.var / "demo.curlrc").read_text().splitlines()
                    if line.startswith("proxy-user"))
        return line.split('"')[1].split(":", 1)

    def curl(self, *args, config="demo.curlrc"):
        """curl with the demo's proxy settings; .returncode, .stdout, .stderr."""
        return subprocess.run(["curl", "-sS", "--max-time", "30", "-K", self.var / config,
                               *[str(a) for a in args]], capture_output=True, text=True)

    def pid(self, program):
        """The process that adit up runs now under that name (adit-relay …), or None."""
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if not entry.name.isdigit():
                    continue
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                exe = os.readlink(entry / "exe").removesuffix(" (deleted)")     # it was built again meanwhile
                if parent == self.process.pid and exe.endswith("/" + program):
                    return int(entry.name)
            except OSError:
                continue
        return None

    def sql(self, text):
        """What the database itself answers: lines of columns with | between."""
        url, database = self.env.get(STORE), self.var / "controlplane/adit.db"
        command = ["psql", "-XAtq", "-d", url, "-c", text] if url else ["sqlite3", "-readonly", database, text]
        done = subprocess.run(command, capture_output=True, text=True)
        check(done.returncode == 0, done)
        return done.stdout.splitlines()

    def verify_audit(self):
        """What adit-controlplane audit verify says of the trail."""
        return subprocess.run([BIN / "adit-controlplane", "audit", "verify", "--data-dir", self.var / "controlplane"],
                              capture_output=True, text=True, env={**os.environ, **self.env})

    def is_answering(self):
        """Whether the control plane answers."""
        try:
            return self.api("GET", "/me").status == 200
        except OSError:
            return False

    def allow(self, name, hosts, ports, agent_group="demo", user="demo", **profile):
        """A profile and a grant for the user; the grant."""
        self.api.make("destination-profiles", name=name, hosts=hosts, agent_group=agent_group,
                      ports=[str(p) for p in ports], **profile)
        return self.api.make("grants", name=name, user=user, destination_profile=name)

    def add_user(self, name):
        """A user with a proxy credential: (name, secret)."""
        self.api.make("users", name=name, role="user")
        return name, self.api.make("proxy-credentials", user=name, name=name)["secret"]

    def add_agent(self, name, *args, group=None, **more):
        """One more agent, joined as the guide says, in an agent group of its own."""
        agent = Agent(self, name, *args, **more)
        self.agents.append(agent)
        if group:
            self.api.make("agent-groups", name=group)
            answer = self.api("PUT", f"/agent-groups/{group}/members/{name}?wait=applied", {})
            check(answer.status in (200, 201), answer)
        return agent


class Agent:
    """An agent: `there` calls what starts it (in another namespace), `env` is added to its
    environment, `join_args` are options of its join."""

    def __init__(self, up, name, *args, there=lambda call: call(), env=None, join_args=()):
        self.up, self.name, self.dir = up, name, up.var / f"agent-{name}"
        self.there, self.env = there, env
        token = up.api.make("join-tokens", kind="agent", agent_name=name)["token"]
        joined = there(lambda: subprocess.run(
            [BIN / "adit", "agent", "join", "-", "--data-dir", self.dir, *join_args],
            input=token, capture_output=True, text=True, timeout=25, env={**os.environ, **(env or {})}))
        check(joined.returncode == 0, joined)
        self.command = [BIN / "adit", "agent", "--data-dir", self.dir, "--name", name,
                        "--drain-ms", "1s", *args]
        self.start()

    def start(self):
        self.process = self.there(lambda: Process(*self.command, env=self.env))
        wait_until(self.is_connected, 20, lambda: f"agent {self.name} is connected\n{self.process.output}")

    def is_connected(self):
        answer = self.up.api("GET", f"/agents/{self.name}")
        return answer.body and answer.body.get("connected")

    def stop(self):
        if self.process.process.poll() is None:
            self.process.signal(signal.SIGTERM)
            self.process.wait(10)


def days_later(n):
    """The environment of programs for which it is n days later (or earlier); their timers go on as they are."""
    return {"LD_PRELOAD": glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")[0],
            "FAKETIME": f"{n:+}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "ASAN_OPTIONS": "verify_asan_link_order=0"}


def closed_network(up, group="inner", hosts=("*.corp.test",), names=None, ports=("1-65535",)):
    """A closed network with a DNS server, the line server on port 7000, and an agent that
    reaches it: (inside, dns, agent).  The user demo may reach the hosts."""
    from inside import THERE_IP, Dns, Inside, line_server

    inside = Inside()
    dns = Dns(inside, names or {"files.corp.test": [THERE_IP]})
    inside.serve(line_server, 7000)
    agent = up.add_agent(group, "--dns-servers", THERE_IP, group=group)
    up.allow(group, list(hosts), list(ports), agent_group=group)
    return inside, dns, agent


def second_controlplane(up, env=None):
    """A control plane beside the one of adit up, on the same database; .api is its API."""
    second = Process(BIN / "adit-controlplane", "--data-dir", "/tmp/second", "--key-file", up.var / "controlplane/kek",
                     "--api-listen", "127.0.0.1:18443", "--internal-listen", "127.0.0.1:18444",
                     "--admin-listen", "127.0.0.1:19100", env={STORE: up.env[STORE], **(env or {})})
    wait_until(lambda: "controlplane.ready" in second.output, 40, lambda: second.output)
    second.api = Api(18443, up.var / "ca.pem", up.token())
    return second

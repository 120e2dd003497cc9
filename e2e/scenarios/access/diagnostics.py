# it tries targets from where agents are: names, ports, certificates, under the checks of a stream; keeps what was found
# on PostgreSQL too
# timeout: 240
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import threading

from harness import check, wait_until
from inside import THERE_IP
from raw_tunnel import DATA, FIN, HELLO, OPEN, OPEN_OK, RawTunnel, frame
from up import BIN, Api, Up, closed_network, days_later

CERTS = pathlib.Path("/tmp/certs")
NAMES = {"files.corp.test": [THERE_IP], "both.corp.test": ["fd99::77", THERE_IP], "hole.corp.test": ["10.99.0.3"],
         "metadata.corp.test": ["169.254.169.254"], "good.corp.test": [THERE_IP], "old.corp.test": [THERE_IP],
         "self.corp.test": [THERE_IP], "other.test": [THERE_IP]}


def openssl(*words, env=None):
    subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=CERTS, env={**os.environ, **(env or {})})


def make_certificates():
    """An authority, a good and an expired certificate of it, and one of nobody."""
    CERTS.mkdir()
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")
    openssl(*new, "-subj", "/CN=Corp CA", "-keyout", "ca.key", "-out", "ca.pem")
    for name, days, signed in ("good", 0, True), ("old", -90, True), ("self", 0, False):
        by = ("-CA", "ca.pem", "-CAkey", "ca.key") if signed else ()
        openssl(*new, *by, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}.corp.test", "-addext",
                "basicConstraints=critical,CA:FALSE", "-keyout", f"{name}.key", "-out", f"{name}.pem",
                env=days_later(days) if days else None)


def tls_server(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTS / f"{name}.pem", CERTS / f"{name}.key")
    context.set_alpn_protocols(["http/1.1"])

    def handle(connection):
        with context.wrap_socket(connection, server_side=True) as stream:
            heard.append(stream.recv(100))
    return handle


class RawAgent(RawTunnel):
    """An agent byte by byte that answers PINGs, and each diagnosis with the same."""

    def __init__(self, up, name, features, says=b""):
        agent = up.add_agent(name)
        agent.stop()
        super().__init__(agent.dir / "member.pem", up.var / "ca.pem")
        self.name, self.says = name, says
        check(self.upgrade() == 101 and self.read()[0] == HELLO)
        self.hello(starts=1000, features=features)
        threading.Thread(target=self.serve, daemon=True).start()
        wait_until(agent.is_connected, 20, f"{name} is connected")

    def serve(self):
        try:
            while message := self.read(60):
                self.answer_pings(message)
                while len(message) >= 8:
                    kind, _, n, stream = struct.unpack_from(">BBHI", message)
                    message = message[8 + n:]
                    if kind == OPEN:
                        self.reply(stream)
        except OSError:
            pass                            # it was closed

    def reply(self, stream):
        self.say(frame(OPEN_OK, b"\x04\x00\x08" + bytes(8), stream))
        for at in range(0, len(self.says), 8000):
            self.say(frame(DATA, struct.pack(">Q", at) + self.says[at:at + 8000], stream))
        self.say(frame(FIN, struct.pack(">Q", len(self.says)), stream))


def cli(up, *words, token=None):
    more = ["--token-file", token] if token else []
    return subprocess.run([BIN / "adit", *words, "--var", up.var, *more], capture_output=True, text=True, timeout=60)


def diagnose(up, target, by="agent", name="inner", api=None, **more):
    """The finished diagnosis, and its only result's steps by their names."""
    host, port = target.rsplit(":", 1)
    api = api or up.api
    made = api("POST", "/diagnostics", {by: name, "host": host, "port": int(port), **more})
    check(made.status == 202 and made.headers["Location"].endswith(made.body["id"]), made)
    done = api("GET", f"/diagnostics/{made.body['id']}?finished=true")
    check(done.status == 200 and done.body["state"] == "finished", done)
    result = done.body["results"][0]
    return done.body, {s["step"]: s for s in result.get("found", {}).get("steps", [])}


heard = []
make_certificates()
with Up(env={"ADIT_CONTROLPLANE_DIAGNOSTICS_PER_MINUTE": "100"}) as up:
    inside, dns, agent = closed_network(up, names=NAMES)
    agent.stop()
    agent.env = {"SSL_CERT_FILE": str(CERTS / "ca.pem")}
    agent.start()
    touched = inside.socket(socket.SOCK_STREAM, 7100)
    touched.listen(5)
    touched.setblocking(False)
    for port, name in enumerate(("good", "old", "self"), 7443):
        inside.serve(tls_server(name), port)
    hole = inside.socket(socket.SOCK_STREAM, 7000, "10.99.0.3")     # its queue is full: it takes nobody
    hole.listen(0)
    crowd = [socket.socket() for _ in range(3)]
    for s in crowd:
        s.setblocking(False)
        s.connect_ex(("10.99.0.3", 7000))

    wait_until(lambda: diagnose(up, "files.corp.test:7000")[0]["reason"] == "ok", 20, "the agent is back")

    # A name that resolves, a port that listens.
    body, steps = diagnose(up, "files.corp.test:7000")
    check(body["reason"] == "ok" and list(steps) == ["resolve", "connect"], body)
    check(steps["resolve"]["addresses"] == [{"address": THERE_IP, "reason": "ok"}], steps)
    check(steps["resolve"]["server"] == f"{THERE_IP}:53" and steps["resolve"]["resolved_by"].startswith("dns"), steps)
    check(steps["connect"]["address"] == f"{THERE_IP}:7000", steps)

    # What does not go well, each in its step.
    for target, reason, step in [
            ("nothing.corp.test:7000", "resolve-failed", "resolve"), ("files.corp.test:7999", "dial-refused", "connect"),
            ("hole.corp.test:7000", "dial-timeout", "connect"), ("metadata.corp.test:80", "target-forbidden", "connect"),
            ("other.test:7000", "target-forbidden", "connect"), ("127.0.0.1:22", "target-forbidden", "connect")]:
        body, steps = diagnose(up, target, timeout_ms=3000)
        check(body["reason"] == reason and steps[step]["reason"] == reason and list(steps)[-1] == step, target, body)
        if reason == "target-forbidden":
            check(not steps["connect"]["tries"] and steps["resolve"]["addresses"][0]["reason"] == reason, target, steps)

    # Both families in their turns: the first answers nothing, the second is tried 250 ms later.
    body, steps = diagnose(up, "both.corp.test:7000")
    tries = steps["connect"]["tries"]
    check(body["reason"] == "ok" and {t["address"] for t in tries} <= {"[fd99::77]:7000", f"{THERE_IP}:7000"}, tries)
    check(tries[-1]["reason"] == "ok" and tries[-1]["address"] == f"{THERE_IP}:7000", tries)

    # Certificates: good, expired, of nobody; and no TLS at all.
    for target, reason, verified in [("good.corp.test:7443", "ok", True), ("old.corp.test:7444", "tls-unverified", False),
                                     ("self.corp.test:7445", "tls-unverified", False)]:
        body, steps = diagnose(up, target, tls=True)
        tls = steps["tls"]
        check(body["reason"] == reason and tls["verified"] is verified and tls["version"] == "TLSv1.3", target, tls)
        check(tls["alpn"] == "http/1.1" and tls["cipher"] and len(tls["certificates"][0]["fingerprint"]) == 64, tls)
        check(tls["certificates"][0]["names"] == [target.split(":")[0]], tls)
        check("PRIVATE" not in json.dumps(body) and "key" not in tls["certificates"][0], body)
    check("expired" in diagnose(up, "old.corp.test:7444", tls=True)[1]["tls"]["detail"])
    check(diagnose(up, "good.corp.test:7443", tls=True, server_name="mail.corp.test")[0]["reason"] == "tls-unverified")
    check(diagnose(up, "files.corp.test:7000", tls=True)[0]["reason"] == "tls-failed")
    check(not any(heard), "nothing but the handshake was sent", heard)

    # By group and by profile: each member; a profile permits no more than it names.
    second = up.add_agent("second", "--dns-servers", THERE_IP)
    check(up.api("PUT", "/agent-groups/inner/members/second?wait=applied", {}).status in (200, 201))
    body, _ = diagnose(up, "files.corp.test:7000", "agent_group", "inner")
    check(sorted((r["agent_name"], r["reason"]) for r in body["results"]) == [("inner", "ok"), ("second", "ok")], body)
    second.stop()
    wait_until(lambda: not second.is_connected(), 20, "the second agent is gone")
    body, _ = diagnose(up, "files.corp.test:7000", "destination_profile", "inner")
    check(body["reason"] == "no-agent", body)
    check(sorted(r["reason"] for r in body["results"]) == ["no-agent", "ok"], body)
    body, _ = diagnose(up, "other.test:7000", "destination_profile", "inner")
    check({r["reason"] for r in body["results"]} == {"no-grant"}, body)

    # A lock outranks operators too; nothing is sent.
    lock = up.api.make("locks", network=THERE_IP)
    check(diagnose(up, f"{THERE_IP}:7100")[0]["reason"] == "locked")
    check(up.api("DELETE", f"/locks/{lock['id']}?wait=applied").status == 204)
    try:
        touched.accept()
        check(False, "somebody dialled a port that nobody may reach")
    except BlockingIOError:
        pass

    # An agent of the release before knows no diagnoses, and is not asked; one that lies is not believed.
    raw = RawAgent(up, "older", features=[])
    check(diagnose(up, "files.corp.test:7000", name="older")[0]["reason"] == "unsupported")
    for said in (b"no JSON", b'{"steps":7}', b'{"reason":"ok","steps":[]}' + b" " * 50000):
        raw = RawAgent(up, f"liar{len(said)}", features=["diagnose"], says=said)
        body, _ = diagnose(up, "files.corp.test:7000", name=raw.name)
        check(body["reason"] == "protocol-error" and "found" not in body["results"][0], said[:40], body)

    # Who may: a user what he may reach, by his own name; he sees his own alone.
    up.api.make("users", name="uwe", role="user")
    token = up.api.make("api-tokens", user="uwe", name="uwe")["token"]
    uwe = Api(8443, up.var / "ca.pem", token)
    ask = {"host": "files.corp.test", "port": 7000}
    check(uwe("POST", "/diagnostics", {"user": "uwe", **ask}).body["reason"] == "no-grant")
    up.api.make("grants", name="uwe", user="uwe", destination_profile="inner")
    body, steps = diagnose(up, "files.corp.test:7000", "user", "uwe", api=uwe)
    check(body["reason"] == "ok" and body["results"][0]["agent_name"] == "inner", body)
    check(uwe("POST", "/diagnostics", {"agent": "inner", **ask}).status == 403)
    check(uwe("POST", "/diagnostics", {"user": "demo", **ask}).status == 404)
    check([d["id"] for d in uwe("GET", "/diagnostics").body["items"]] == [body["id"]])
    foreign = up.api("GET", "/diagnostics?reason=tls-unverified&limit=1").body["items"][0]["id"]
    check(uwe("GET", f"/diagnostics/{foreign}").status == 404 and up.api("GET", f"/diagnostics/{body['id']}").status == 200)

    # What is asked wrongly.
    for wrong, status in [({**ask}, 422), ({**ask, "agent": "inner", "user": "demo"}, 422), ({**ask, "agent": "nobody"}, 409),
                          ({"agent": "inner", "host": "*.corp.test", "port": 80}, 422), ({**ask, "agent": "inner", "server_name": "a"}, 422),
                          ({**ask, "agent": "inner", "timeout_ms": 60000}, 422), ({**ask, "agent": "inner", "port": 0}, 422)]:
        answer = up.api("POST", "/diagnostics", wrong)
        check(answer.status == status, wrong, answer)

    # In the audit, and on the terminal.
    events = up.api("GET", "/audit-events?action=diagnostics.create&actor=uwe&outcome=ok").body["items"]
    check(len(events) == 1 and events[0]["object"]["id"] == body["id"] and events[0]["after"]["host"] == "files.corp.test", events)
    told = cli(up, "diagnose", "old.corp.test:7444", "--agent", "inner", "--tls")
    check(told.returncode == 1 and "tls-unverified" in told.stdout and "CN=Corp CA" in told.stdout, told)
    told = cli(up, "diagnose", "files.corp.test:7000", "--profile", "inner", "--output", "json")
    check(told.returncode == 1 and json.loads(told.stdout)["reason"] == "no-agent", told)
    (up.var / "uwe.token").write_text(token)
    told = cli(up, "diagnose", "files.corp.test:7000", token=up.var / "uwe.token")
    check(told.returncode == 0 and "agent inner: ok" in told.stdout, told)
    told = cli(up, "diagnostic", "list", "--reason", "resolve-failed")
    check(told.returncode == 0 and "nothing.corp.test" in told.stdout, told)

    # Bounds: so many in a minute.
    def refused():
        answer = uwe("POST", "/diagnostics", {"user": "uwe", **ask})
        return answer if answer.status in (429, 503) else None
    answer = wait_until(refused, 60, "diagnoses have a bound")
    check(answer.body["reason"] in ("rate-limited", "overload") and int(answer.headers["Retry-After"]) > 0, answer)

# it leaves no secret in command lines, environments, logs, database, metrics, pages or readable files
import base64
import json
import os
import pathlib
import re
import subprocess

import totp
from attack import HTTP, basic, http_request, metrics, post_from, say
from harness import check
from up import BIN, Api, Up

PASSWORD = "canary-password-5f1c"
PROGRAMS = ("adit-controlplane", "adit-relay", "adit-agent")


def forms(secret):
    """The ways in which a secret may lie about."""
    raw = secret.encode()
    if re.fullmatch("[0-9a-f]{40}", secret):        # bytes that are no text
        yield bytes.fromhex(secret)
    yield from (raw, base64.b64encode(raw).rstrip(b"=")[:-1], raw.hex().encode(), raw.hex().upper().encode())
    for user in (b"demo:", b"victim:"):
        yield base64.b64encode(user + raw).rstrip(b"=")[:-1]


def places(up):
    """Everything that somebody may read who should know no secret: name, bytes."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            for file in ("cmdline", "environ"):
                try:
                    yield f"{file} of {os.readlink(entry / 'exe')}", (entry / file).read_bytes()
                except OSError:
                    continue                # it ended, or is the kernel's
    for path in up.var.rglob("*"):
        if path.is_file() and path.name not in MAY_HOLD:
            yield str(path), path.read_bytes()
    for port in (9100, 9101):
        yield f"metrics {port}", metrics(port).encode()
    for name in ("users", "proxy-credentials", "api-tokens", "join-tokens", "login-sessions", "audit-events", "agents", "pac-links",
                 "relays", "route-decisions", "streams", "identity-providers", "service-accounts"):
        yield name, up.api("GET", f"/{name}?limit=500").text.encode()
    for name in ("keys", "config?owner=nobody", "status", "audit-events/checkpoints", "me"):
        yield name, up.api("GET", f"/{name}").text.encode()
    bundle = pathlib.Path("/tmp/bundle")
    subprocess.run([BIN / "adit", "doctor", "--var", up.var, "--bundle", bundle], capture_output=True, timeout=60)
    yield "support bundle", bundle.read_bytes()
    yield "screen", up.output.encode()


MAY_HOLD = {"credentials", "demo.curlrc"}   # made to be read by who started it, 0600
with Up() as up:
    demo, admin = up.curlrc()[1], up.token()
    up.api.make("users", name="victim", password=PASSWORD)
    api_token = up.api.make("api-tokens", name="canary")["token"]
    credential = up.api.make("proxy-credentials", user="victim", name="canary")["secret"]
    kept = [up.api("POST", "/proxy-credentials", {"user": "victim", "name": "kept"}, {"Idempotency-Key": "canary-0001"})
            for _ in range(2)]
    check([a.status for a in kept] == [201, 201], kept)
    pac = up.api.make("pac-links", user="victim", name="canary")["link"].rsplit("/", 1)[1]
    client_secret = "canary-client-secret-77ab"
    up.api.make("identity-providers", name="canary", issuer="https://login.test", client_id="adit", client_secret=client_secret)
    session = up.api("POST", "/login-sessions", {"user": "victim", "password": PASSWORD}).body["token"]
    totp_secret, recovery = totp.enrol(Api(8443, up.var / "ca.pem", session), "victim")
    join_token = up.api.make("join-tokens", kind="agent", agent_name="canary")["token"]
    body = join_token.split(".", 1)[1]
    join_secret = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["secret"]
    secrets = {"the demo's credential": demo, "the admin's token": admin, "a password": PASSWORD, "an API token": api_token, "a PAC link": pac,
               "a proxy credential": credential, "one whose answer is kept": kept[0].body["secret"], "a join token": join_token, "its secret": join_secret,
               "a provider's client secret": client_secret, "a session's token": session, "the secret of a second factor": totp_secret,
               "the same in bytes": base64.b32decode(totp_secret).hex(), "a recovery code": recovery[0],
               "a wrong secret": "adp_canary-wrong", "a wrong password": "canary-wrong-password"}
    post_from("127.0.0.1", "/api/v1/login-sessions", {"user": "victim", "password": PASSWORD, "code": recovery[1]})
    post_from("127.0.0.1", "/api/v1/login-sessions", {"user": "victim", "password": secrets["a wrong password"]})
    pages = [say(HTTP, http_request("http://hello.demo.internal/", "hello.demo.internal", basic(*login)))
             for login in (("demo", demo), ("demo", secrets["a wrong secret"]), ("victim", credential))]
    joined = subprocess.run([BIN / "adit-agent", "join", "-", "--data-dir", up.var / "canary"], input=join_token,
                            capture_output=True, text=True, timeout=30)
    check(joined.returncode == 0, joined)
    wrong = up.api("POST", "/users", {"name": "x", "password": PASSWORD, "nonsense": api_token})
    seen = [*places(up), ("pages", b"".join(pages)), ("join's output", joined.stdout.encode()), ("a refusal", wrong.text.encode())]
    found = [(name, what) for name, bytes_ in seen for what, secret in secrets.items()
             if any(form in bytes_ for form in forms(secret))]
    check(not found, found)
    check(len(seen) > 40 and any(name.endswith(".db") for name, _ in seen), [name for name, _ in seen])
    keys = [name for name, bytes_ in seen if b"PRIVATE KEY" in bytes_ and "/tmp/var" not in name]
    check(not keys, keys)
    for path in up.var.rglob("*"):
        loose = path.lstat().st_mode & (0o077 if path.is_file() else 0o022)
        is_public = path.name in ("ca.pem",) or path.is_socket()
        check(is_public or not loose, path, oct(path.lstat().st_mode))
    check((up.var.stat().st_mode & 0o077) == 0, "others can look into the state directory")
    for program in PROGRAMS:
        limits = pathlib.Path(f"/proc/{up.pid(program)}/limits").read_text()
        check(re.search(r"Max core file size +0 +0 ", limits), program, "may dump its memory", limits)
    print(f"{len(seen)} places, {len(secrets)} secrets, none found")

# it lets an imported user in by the password he chose, asked of the control plane alone, until he takes a credential
# on PostgreSQL too
import os
import pathlib
import re
import signal
import subprocess

from harness import check, wait_until
from places import counted, metrics
from up import Api, Up

PASSWORD = "correct horse"


def bcrypt(password, cost="10"):
    code = ("import ctypes, sys; c = ctypes.CDLL('libcrypt.so.1'); c.crypt.restype = ctypes.c_char_p;"
            "print(c.crypt(sys.argv[1].encode(), sys.argv[2].encode()).decode())")
    return subprocess.run(["python3", "-c", code, password, f"$2a${cost}$abcdefghijklmnopqrstuu"],
                          capture_output=True, text=True, check=True).stdout.strip()


def http(up, user, password):
    """The status of a page of the demo through the HTTP door."""
    told = up.curl("-o", "/dev/null", "-w", "%{http_code}", "--proxy-user", f"{user}:{password}", "http://hello.demo.internal/")
    return int(told.stdout or 0)


def socks(up, user, password):
    told = subprocess.run(["curl", "-sS", "--max-time", "20", "--proxy", "socks5h://127.0.0.1:1080", "--proxy-user",
                           f"{user}:{password}", "-o", "/dev/null", "-w", "%{http_code}", "http://hello.demo.internal/"],
                          capture_output=True, text=True)
    return told.returncode, told.stdout


def asks(reason="ok"):
    return counted("adit_relay_password_asks_total", reason)


with Up() as up:
    made = bcrypt(PASSWORD)
    up.api.make("users", name="ines", password_hash=made, door_password=True)
    up.api.make("users", name="otto", password_hash=made)
    profile = up.api("GET", "/grants?limit=1").body["items"][0]["destination_profile"]
    for user in ("ines", "otto"):
        up.api.make("grants", name=f"{user}-demo", user=user, destination_profile=profile)
    for body, status in (({"password_hash": "$2a$31$" + made[7:]}, 422), ({"password_hash": "x" * 60}, 422),
                         ({"password_hash": made, "password": "another one"}, 409)):
        answer = up.api("PATCH", "/users/otto", body)
        check(answer.status == status, body, answer)

    # Both doors take it; the control plane is asked once, and asked again when it was wrong.
    check(http(up, "ines", PASSWORD) == 200, up.curl("-v", "--proxy-user", f"ines:{PASSWORD}", "http://hello.demo.internal/"))
    check(socks(up, "ines", PASSWORD) == (0, "200"), socks(up, "ines", PASSWORD))
    check(asks() >= 1)
    for tries in (http, lambda *a: 407 if socks(*a)[0] else 0):
        check(tries(up, "ines", "wrong horse") in (407, 429) and tries(up, "otto", PASSWORD) == 407)
    check(asks("auth-failed") >= 1 and asks("ok") <= 4, metrics())
    before = asks()
    check(http(up, "ines", PASSWORD) == 200 and asks() == before)
    decision = up.api("GET", "/route-decisions?user=ines&limit=5").body["items"]
    check(any(d["reason"] == "ok" for d in decision), decision)

    # No verifier of it is where a relay or a log could have it from.
    kept = [p for p in up.var.rglob("*") if p.is_file() and "controlplane" not in p.parts and p.stat().st_size < 1 << 26]
    check(any("relay" in p.parts for p in kept), kept)
    for path in kept + [up.var / "log/controlplane.log"]:
        text = path.read_bytes()
        check(made.encode()[7:] not in text and b"$argon2id" not in text and PASSWORD.encode() not in text, path)

    # The control plane is away: who was known goes on, who was not is told so.
    control = up.pid("adit-controlplane")
    os.kill(control, signal.SIGSTOP)
    check(http(up, "ines", PASSWORD) == 200)
    os.kill(control, signal.SIGCONT)

    # It was hashed anew when it was right, and logs in to the API.
    told = Api(8443, up.var / "ca.pem", "none")("POST", "/login-sessions", {"user": "ines", "password": PASSWORD})
    check(told.status == 201, told)
    check(Api(8443, up.var / "ca.pem", "none")("POST", "/login-sessions", {"user": "otto", "password": PASSWORD}).status == 201)

    # Another password ends what relays remember; so does a credential; so does a lock, for its time.
    check(up.api("PATCH", "/users/ines?wait=applied", {"password": "another horse"}).status == 200)
    wait_until(lambda: http(up, "ines", PASSWORD) in (407, 429), 10)
    wait_until(lambda: http(up, "ines", "another horse") == 200, 20)
    lock = up.api.make("locks", user="ines")["id"]
    check(http(up, "ines", "another horse") == 403)
    check(up.api("DELETE", f"/locks/{lock}?wait=applied").status == 204)
    check(http(up, "ines", "another horse") == 200)
    secret = up.api.make("proxy-credentials", user="ines", name="ines")["secret"]
    check(http(up, "ines", "another horse") == 407 and http(up, "ines", secret) == 200)
    check(re.search(r'password-[0-9a-z]{26}', "".join(p.read_text(errors="replace") for p in
                                                    (up.var / "relay").rglob("*") if p.is_file())) is not None
          or not pathlib.Path(up.var / "relay").exists())

    # And whoever fails again and again waits.
    up.api.make("users", name="rosa", password_hash=made, door_password=True)
    wait_until(lambda: http(up, "rosa", "guess") == 429, 30)

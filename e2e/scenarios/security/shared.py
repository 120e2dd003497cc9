# it slows down who guesses at one control plane also at the other, takes a code once, and rotates keys for both
# timeout: 200
import os
import signal
import time

import totp
from harness import check, wait_until
from postgres import Postgres
from up import BIN, STORE, Api, Process, Up

PASSWORD, URL = "correct horse battery", "http://hello.demo.internal/"


def start_second(up, url):
    program = Process(BIN / "adit-controlplane", "--data-dir", "/tmp/second", "--key-file", up.var / "controlplane/kek",
                      "--api-listen", "127.0.0.1:18443", "--internal-listen", "127.0.0.1:18444", "--admin-listen", "",
                      env={STORE: url})
    wait_until(lambda: "controlplane.ready" in program.output, 40, lambda: program.output)
    return program


def log_in(api, user, password=PASSWORD, **more):
    return api("POST", "/login-sessions", {"user": user, "password": password, **more})


def number_of(api, name):
    return api("GET", f"/keys/{name}").body["number"]


postgres = Postgres()
with Up(env={STORE: postgres.url}) as up:
    second = start_second(up, postgres.url)
    other = Api(18443, up.var / "ca.pem", up.token())
    for name in ("victim", "careful"):
        up.api.make("users", name=name, password=PASSWORD)

    # Guessed at here, slowed down there; and still when that one was killed and came back.
    wait_until(lambda: log_in(up.api, "victim", "wrong guess").status == 429, 30, "guesses are slowed down here")
    wait_until(lambda: [log_in(up.api, "victim", "wrong guess").status,
                        int(log_in(other, "victim", "wrong guess").headers["Retry-After"] or 0) >= 2][1], 40,
               "and slowed down there")
    second.signal(signal.SIGKILL)
    second.wait(20)
    second = start_second(up, postgres.url)
    check(log_in(other, "nobody-at-all", "wrong guess").status == 429, "a restart forgave the source")

    # A code is good once, whoever takes it.
    careful = Api(8443, up.var / "ca.pem", up.api.make("api-tokens", user="careful", name="careful")["token"])
    secret, recovery = totp.enrol(careful, "careful")
    check(careful("POST", "/users/careful/totp", {"code": recovery[0]}).status == 201, "a recovery code is taken here")
    there = Api(18443, up.var / "ca.pem", careful.token)
    check(there("POST", "/users/careful/totp", {"code": recovery[0]}).status == 409, "and again there")
    ahead = {"code": totp.code(secret, time.time() + totp.STEP_S)}
    check(there("POST", "/users/careful/totp", ahead).status == 201, "a code is taken there")
    check(careful("POST", "/users/careful/totp", ahead).status == 409, "and again here")

    # A rotation that one begins is the other's too; the relay follows, whoever leads.
    check(other("POST", "/keys/state/rotate", {"overlap_s": 0}).status == 200)
    wait_until(lambda: number_of(up.api, "state") == 2, 60, "the state's key is another")
    wait_until(lambda: "previous" not in other("GET", "/keys/state").body, 60, "the one before has ended")
    made = other("POST", "/proxy-credentials?wait=applied", {"user": "demo", "name": "late"})
    check(made.status == 201, made)
    os.kill(up.pid("adit-controlplane"), signal.SIGKILL)
    check(other("POST", "/users?wait=applied", {"name": "by-the-other"}).status in (201, 202))
    wait_until(up.is_answering, 30, "the first answers again")
    up.api.make("users", name="by-the-first")
    check("Hello" in up.curl(URL).stdout)

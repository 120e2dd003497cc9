# it answers status, doctor, explain and reason, also when everything is dead
import json
import pathlib
import re
import subprocess

from harness import check, wait_until
from up import BIN, Up


def adit(*words):
    return subprocess.run([BIN / "adit", *[str(w) for w in words]], capture_output=True, text=True)


with Up() as up:
    here = ("--var", up.var)
    status = wait_until(lambda: (s := adit("status", *here)).returncode == 0 and s, 20, "status is good")
    check("good" in status.stdout and "demo-agent" in status.stdout, status)
    check(json.loads(adit("status", "--output", "json", *here).stdout)["health"] == "good")
    check("\x1b" not in status.stdout, "colours without a terminal")

    bundle = pathlib.Path("/tmp/bundle")
    doctor = adit("doctor", *here, "--bundle", bundle)
    check(doctor.returncode == 0 and "[FAIL]" not in doctor.stdout, doctor)
    check(re.search(r"\[ OK \] tunnel", doctor.stdout), doctor.stdout)
    text = bundle.read_text()
    check(not re.search(r"adp_|adit_[A-Za-z0-9_-]{40}|PRIVATE", text) and "relay.log" in text)

    yes = adit("explain", *here, "demo", "hello.demo.internal:80")
    check(yes.returncode == 0 and "allowed" in yes.stdout, yes)
    check(adit("explain", *here, "demo", "Hello.Demo.internal.:80").returncode == 0, "as a door takes it")
    no = adit("explain", *here, "demo", "elsewhere.internal:80")
    check(no.returncode == 1 and "no-grant" in no.stdout and "what to do" in no.stdout, no)
    check(adit("explain", *here, "demo").returncode == 2)
    nobody = adit("explain", *here, "nobody", "hello.demo.internal:80")
    check(nobody.returncode == 2 and "not-found" in nobody.stderr and "what to do: Check" in nobody.stderr, nobody)
    at = adit("explain", *here, "demo", "hello.demo.internal:80", "--at", "noon")
    check(at.returncode == 2 and at.stderr.count("must be") == 1, at)
    problem = json.loads(adit("api", *here, "GET", "/users/nobody").stdout)
    link, _, code = problem["type"].partition("#")
    page = subprocess.run(["curl", "-sS", "--cacert", f"{up.var}/ca.pem", f"https://127.0.0.1:8443{link}"],
                          capture_output=True, text=True)
    check(code == "not-found" and f'<dt id="{code}">' in page.stdout, problem, page)
    made = adit("api", *here, "POST", "/users", '{"name":"from-cli"}')
    check(made.returncode == 0 and json.loads(made.stdout)["name"] == "from-cli", made)
    again = adit("api", *here, "POST", "/users", '{"name":"from-cli"}')
    check(again.returncode == 1 and "conflict" in again.stderr, again)

dead = adit("status", *here)
check(dead.returncode == 2 and "adit up" in dead.stdout, dead)
check(json.loads(adit("status", "--output", "json", *here).stdout)["health"] == "down")
check("no-grant" in adit("reason", "no-grant").stdout and adit("reason", "no-grnt").returncode == 1)
check("nearest is: adit status" in adit("statuss").stderr)
wrong = adit("status", "--vra", "x")
check(wrong.returncode == 2 and "var" in wrong.stderr, wrong)
for command in ("up", "status", "doctor", "explain", "api"):
    check("--var" in adit(command, "--help").stdout, command)
check("--var" in adit("join-token", "create", "--help").stdout)

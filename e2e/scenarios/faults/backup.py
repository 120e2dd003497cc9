# it takes all that is kept from SQLite to PostgreSQL and back by backup and restore, and relays follow the raised epoch
# timeout: 180
import os
import pathlib
import re
import subprocess

from harness import check, wait_until
from postgres import Postgres
from up import BIN, STORE, Up

URL = "http://hello.demo.internal/"
VAR = pathlib.Path("/tmp/var")


def controlplane(*args, store=""):
    return subprocess.run([BIN / "adit-controlplane", *args, "--data-dir", VAR / "controlplane"],
                          capture_output=True, text=True, env={**os.environ, STORE: store})


def told(done):
    """(epoch, revision) that backup or restore tells of."""
    check(done.returncode == 0, done)
    return tuple(int(n) for n in re.search(r"epoch (\d+), revision (\d+)", done.stderr).groups())


def check_all_there(up, name):
    wait_until(lambda: "Hello" in up.curl(URL).stdout, 30, lambda: f"the page comes: {up.curl(URL)}")
    check(up.api("GET", "/users/keeper").status == 200, "a user is gone")
    check(up.api("GET", "/users/later").status == 404, "what came after the backup is there")
    up.api.make("users", name=name)             # relays take what is new
    verify = up.verify_audit()
    check(verify.returncode == 0 and "whole" in verify.stdout, verify)


postgres = Postgres()
with Up() as up:
    up.api.make("users", name="keeper")
    secret = up.curlrc()[1]
    first = told(controlplane("backup", "--backup-file", "/tmp/first"))     # while it serves
    up.api.make("users", name="later")
check(os.stat("/tmp/first").st_mode & 0o777 == 0o600, "others can read it")
text = pathlib.Path("/tmp/first").read_text()
check("keeper" in text and secret not in text and "PRIVATE KEY" not in text, "secrets in the clear")

refused = controlplane("restore", "--backup-file", "/tmp/first")
check(refused.returncode != 0 and "has data in it" in refused.stderr, refused)
plan = controlplane("migrate", "--plan", store=postgres.url)
check("0001 initial" in plan.stdout, plan)
second = told(controlplane("restore", "--backup-file", "/tmp/first", store=postgres.url))
check(second[0] > first[0], first, second)
with Up(env={STORE: postgres.url}) as up:
    check_all_there(up, "second")
    check(controlplane("migrate", "--finalize", store=postgres.url).stdout == "nothing to do\n")
    check(controlplane("migrate", "--plan", store=postgres.url).stdout == "nothing to do\n")
    piped = controlplane("backup", store=postgres.url)
    told(piped)
pathlib.Path("/tmp/second").write_text(piped.stdout)

for left in VAR.glob("controlplane/adit.db*"):
    left.unlink()
cut = "".join(piped.stdout.splitlines(keepends=True)[:-3])
pathlib.Path("/tmp/cut").write_text(cut)
refused = controlplane("restore", "--backup-file", "/tmp/cut")
check(refused.returncode != 0 and "damaged" in refused.stderr, refused)
third = told(controlplane("restore", "--backup-file", "/tmp/second"))
check(third[0] > second[0], second, third)
with Up() as up:
    check(up.api("GET", "/users/second").status == 200, "a user is gone")
    check_all_there(up, "third")

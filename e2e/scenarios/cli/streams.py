# it lists streams and cuts those that a filter finds, if they are as many as was said
import json
import os
import subprocess

from clients import connect
from harness import check, wait_until
from up import BIN, Up, closed_network


def adit(*words):
    return subprocess.run([BIN / "adit", "stream", *[str(w) for w in words]], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "ADIT_CLI_VAR": "/tmp/var"})


def open_echo(credential):
    stream = connect("files.corp.test:7000", credential)
    stream.sendall(b"echo\n")
    check(lives(stream))
    return stream


def lives(stream):
    stream.sendall(b"still here")
    return stream.recv(100) != b""


def is_cut(stream):
    stream.settimeout(10)
    try:
        return stream.recv(100) == b""
    except ConnectionResetError:
        return True


def count(*words):
    return len(json.loads(adit("list", "--state", "open", "--output", "json", *words).stdout)["items"])


with Up() as up:
    closed_network(up)
    other = up.add_user("other")
    up.api.make("grants", name="others", user="other", destination_profile="inner")
    mine = [open_echo(up.curlrc()) for _ in range(3)]
    theirs = open_echo(other)
    wait_until(lambda: count("--user", "demo") == 3 and count("--user", "other") == 1, 15, "all are reported")

    # Not before somebody said how many; not when there are more; not without a filter.
    asked = adit("cut", "--user", "demo")
    check(asked.returncode == 1 and "3 streams would be cut" in asked.stdout and "--expect 3" in asked.stdout, asked)
    wrong = adit("cut", "--user", "demo", "--expect", "2")
    check(wrong.returncode == 1 and "3 open streams match, not 2" in wrong.stderr, wrong)
    check(adit("cut").returncode == 2 and adit("cut", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "--user", "demo").returncode == 2)
    check(adit("cut", "--user", "demo", "--expect", "3", "--dry-run").returncode == 0)
    check(up.api("POST", "/streams/cut?user=demo").body["errors"][0]["pointer"] == "?expected")
    check(all(lives(s) for s in mine), "cut all the same")

    done = adit("cut", "--user", "demo", "--host", "files.corp.test", "--expect", "3", "--wait")
    check(done.returncode == 0 and done.stdout == "3 streams cut\n", done)
    check(all(is_cut(s) for s in mine), "a stream that was cut goes on")
    check(lives(theirs), "another's stream was cut")
    trail = up.api("GET", "/audit-events?action=streams.cut&outcome=ok").body["items"]
    check(len(trail) == 3 and all(e["object"]["kind"] == "stream" for e in trail), trail)
    one = adit("list", "--user", "other", "--output", "id").stdout.strip()
    check(adit("cut", one).returncode == 0 and is_cut(theirs))

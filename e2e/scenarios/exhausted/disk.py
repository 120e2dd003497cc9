# it serves on a full disk, refuses what it cannot keep with a code, loses nothing it had, and comes back
# timeout: 120
import pathlib
import subprocess

from clients import connect
from harness import check, wait_until
from up import Up, closed_network

VAR, BALLAST = pathlib.Path("/tmp/var"), pathlib.Path("/tmp/var/ballast")
SIZE_MIB = 64


def fill():
    """Until not one byte more goes in."""
    with open(BALLAST, "ab", buffering=0) as file:
        for n in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(n))
            except OSError:
                continue


def echoes(stream):
    stream.sendall(b"here")
    return stream.recv(100) == b"here"


def fetches(credential):
    with connect("files.corp.test:7000", credential) as s:
        s.sendall(b"echo\n")
        return echoes(s)


def group(up, name):
    return up.api("POST", "/groups", {"name": name})


def write_until_refused(up):
    """What was said yes to; and the first refusal."""
    kept = []
    for n in range(3000):
        fill()
        answer = group(up, f"g{n}")
        if answer.status != 201:
            return kept, answer
        kept.append(f"g{n}")
    raise AssertionError("the disk never was too full")


def refusal_name(kept):
    return f"g{len(kept)}"


VAR.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=700", "tmpfs", VAR], check=True)
programs = ("adit-relay", "adit-controlplane", "adit-agent")
with Up() as up:
    closed_network(up)
    living = connect("files.corp.test:7000", up.curlrc())
    living.sendall(b"echo\n")
    pids = [up.pid(program) for program in programs]

    kept, refusal = write_until_refused(up)
    check(refusal.status == 503 and refusal.body["reason"] == "overload", refusal)
    check("disk" in refusal.text, refusal)
    fill()
    check(echoes(living) and fetches(up.curlrc()), "streams need no disk")
    check(up.api("GET", "/users/demo").status == 200, "reading needs no disk")

    BALLAST.unlink()
    wait_until(lambda: group(up, "after").status in (201, 409), 30, "it writes again")
    gone = [name for name in kept if up.api("GET", f"/groups/{name}").status != 200]
    check(not gone, "what was said yes to is gone", gone)
    check(group(up, refusal_name(kept)).status == 201, "what was refused is half there")
    late = up.add_user("late")              # the relay hears of him, and lets him in
    up.api.make("grants", name="late", user="late", destination_profile="inner")
    check(fetches(late))
    check(echoes(living) and fetches(up.curlrc()))
    check(pids == [up.pid(program) for program in programs], "a program was started again")

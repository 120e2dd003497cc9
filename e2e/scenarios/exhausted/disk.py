# it serves on a full disk, refuses what it cannot keep with a code, loses nothing it had, and comes back
# timeout: 120
from clients import connect
from full_disk import Disk
from harness import check, wait_until
from up import Up, closed_network


def echoes(stream):
    stream.sendall(b"here")
    return stream.recv(100) == b"here"


def fetches(credential):
    with connect("files.corp.test:7000", credential) as s:
        s.sendall(b"echo\n")
        return echoes(s)


def group(up, name):
    return up.api("POST", "/groups", {"name": name})


disk = Disk("/tmp/var")
programs = ("adit-relay", "adit-controlplane", "adit-agent")
with Up() as up:
    closed_network(up)
    living = connect("files.corp.test:7000", up.curlrc())
    living.sendall(b"echo\n")
    pids = [up.pid(program) for program in programs]

    kept, refused, refusal = disk.write_until_refused(up)
    check(refusal.status == 503 and refusal.body["reason"] == "overload", refusal)
    check("disk" in refusal.text, refusal)
    disk.fill()
    check(echoes(living) and fetches(up.curlrc()), "streams need no disk")
    check(up.api("GET", "/users/demo").status == 200, "reading needs no disk")

    disk.free()
    wait_until(lambda: group(up, "after").status in (201, 409), 30, "it writes again")
    gone = [name for name in kept if up.api("GET", f"/groups/{name}").status != 200]
    check(not gone, "what was said yes to is gone", gone)
    check(group(up, refused).status == 201, "what was refused is half there")
    late = up.add_user("late")              # the relay hears of him, and lets him in
    up.api.make("grants", name="late", user="late", destination_profile="inner")
    check(fetches(late))
    check(echoes(living) and fetches(up.curlrc()))
    check(pids == [up.pid(program) for program in programs], "a program was started again")

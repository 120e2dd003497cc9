# it bears a database server whose disk is full: writes are refused with a code, reads go on, nothing is lost, it comes back
# timeout: 180
from full_disk import Disk
from harness import check, wait_until
from postgres import Postgres
from up import STORE, Up
from writes import GONE

URL = "http://hello.demo.internal/"
FOLDER = "/tmp/disk"


def writes(name):
    """Whether a group of that name is there, made now or before."""
    try:
        return up.api("POST", "/groups", {"name": name}).status in (201, 409)
    except GONE:
        return False


def check_kept(names, refused):
    gone = [name for name in names if up.api("GET", f"/groups/{name}").status != 200]
    check(not gone, "what was said yes to is gone", gone)
    check(up.api("POST", "/groups", {"name": refused}).status == 201, "what was refused is half there")


def is_logging():
    """Whether the server still finds room for its log of changes."""
    disk.fill()
    return postgres.try_sql("SELECT pg_switch_wal(), pg_logical_emit_message(true, '', 'more')").returncode == 0


disk = Disk(FOLDER, mib=192, mode="755")
postgres = Postgres(FOLDER + "/postgres")
with Up(env={STORE: postgres.url}) as up:
    controlplane = up.pid("adit-controlplane")

    # Tables cannot grow: the server refuses what it cannot keep, and goes on.
    kept, refused, refusal = disk.write_until_refused(up)
    check(refusal.status == 503 and refusal.body["reason"] == "overload" and "disk" in refusal.text, refusal)
    disk.fill()
    check(up.api("GET", "/users/demo").status == 200, "reading needs no disk")
    check("Hello" in up.curl(URL).stdout, "traffic needs no disk")
    disk.free()
    wait_until(lambda: writes("after"), 30, "it writes again")
    check_kept(kept, refused)

    # Its log of changes cannot grow: then PostgreSQL gives up, and is away.
    wait_until(lambda: not is_logging(), 30, "the log of changes is full")
    away = up.api("POST", "/groups", {"name": "while-away"})
    check(away.status == 503 and away.body["reason"] in ("store-unavailable", "overload"), away)
    check("Hello" in up.curl(URL).stdout, "traffic needs no database")
    disk.free()
    postgres.revive()
    wait_until(lambda: writes("again"), 30, "it writes again")
    check_kept([*kept, refused, "after"], "while-away")
    up.api.make("users", name="late")       # the relay hears of him
    check(up.pid("adit-controlplane") == controlplane, "the control plane was started again")

# it lives through a wall clock that jumps an hour: no link is lost, no stream cut, no access ends early
# timeout: 90
import datetime
import itertools
import mmap
import pathlib
import subprocess

from attack import metric
from clients import Refused, connect
from harness import check, wait_until
from up import Up, closed_network

URL, OFFSET, LIBRARY = "http://hello.demo.internal/", pathlib.Path("/tmp/offset"), "/tmp/jump.so"
SOURCE = pathlib.Path(__file__).parents[2] / "drivers/jump.c"


def jump(up, seconds):
    """All programs' wall clocks jump to that far from the real one."""
    def told():
        at = up.api("POST", "/groups", {"name": f"g{next(numbers)}"}).body["created_at"]
        return datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
    before, offset[0] = told() - offset[0], seconds
    check(abs(told() - seconds - before) < 60, "the clock did not jump to", seconds)


def try_connect(login):
    """Just after a jump the control plane may think that no relay is there to wait for."""
    try:
        return connect("files.corp.test:7000", login)
    except Refused:
        return None


def still_well(up, stream, what):
    stream.sendall(b"still here")
    check(stream.recv(100) == b"still here", what)
    check("Hello" in up.curl(URL).stdout, "no page", what)
    check(up.api("PATCH", "/users/demo?wait=applied", {"description": what}).status == 200, "no change gets through", what)


subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", LIBRARY, SOURCE], check=True)
OFFSET.write_bytes(bytes(8))
with open(OFFSET, "r+b") as file:
    offset = memoryview(mmap.mmap(file.fileno(), 8)).cast("l")
numbers = itertools.count()
with Up(env={"LD_PRELOAD": LIBRARY, "JUMP_FILE": str(OFFSET), "ASAN_OPTIONS": "verify_asan_link_order=0"}) as up:
    closed_network(up)
    stream = connect("files.corp.test:7000", up.curlrc())
    stream.sendall(b"echo\n")
    still_well(up, stream, "before")
    links, lost = metric("adit_relay_links"), metric("adit_relay_links_lost_total")
    for seconds in (3600, -3600, 0):
        jump(up, seconds)
        still_well(up, stream, f"at {seconds:+d} s")
    check(metric("adit_relay_links") == links and metric("adit_relay_links_lost_total") == lost, "links were lost by a jump")
    check(metric("adit_relay_streams_cut_total") == 0, "streams were cut by a jump")

    # What ends by the clock ends when the clock says so, also by a jump.
    end = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    name, secret = up.add_user("timed")
    up.api.make("grants", name="timed", user="timed", destination_profile="inner", ends_at=end)
    timed = wait_until(lambda: try_connect((name, secret)), 15, "the new grant counts")
    timed.sendall(b"echo\n")
    jump(up, 3600)
    timed.settimeout(10)
    try:
        check(timed.recv(100) == b"", "a grant that ended went on")
    except ConnectionResetError:            # a reset is a cut too
        pass
    still_well(up, stream, "after the grant's end")

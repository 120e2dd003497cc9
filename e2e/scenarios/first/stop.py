# it drains on Ctrl-C and says so, ends at once on the second, and leaves nothing behind
import os
import pathlib
import signal

from clients import connect
from harness import check, wait_until
from up import Up


def programs():
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                exe = os.readlink(entry / "exe")
            except OSError:
                continue
            if "/adit" in exe:
                found.append(exe)
    return found


with Up() as up:
    open_stream = connect("hello.demo.internal:80", up.curlrc())
    up.process.signal(signal.SIGINT)
    wait_until(lambda: "streams have 3 s to finish" in up.output, 2)
    up.process.signal(signal.SIGINT)
    check(up.process.wait(2) == 0, up.output)
    check("Stopped" in up.output and not programs(), up.output, programs())

with Up() as up:
    pids = {name: up.pid(name) for name in ("adit-controlplane", "adit-relay", "adit-agent")}
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait(5)
    wait_until(lambda: not programs(), 10, "the children of a killed adit up end")
    up.process.process.returncode = 0

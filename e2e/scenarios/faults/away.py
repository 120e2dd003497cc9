# it serves from disk while the control plane is away, even after the relay is killed
import os
import signal

from harness import check, wait_until
from up import Up

URL = "http://hello.demo.internal/"

with Up() as up:
    control = up.pid("adit-controlplane")
    os.kill(control, signal.SIGSTOP)
    check("Hello" in up.curl(URL).stdout, "with the control plane frozen")

    relay = up.pid("adit-relay")
    os.kill(relay, signal.SIGKILL)
    wait_until(lambda: up.pid("adit-relay") not in (None, relay), 10, "the relay is started again")
    page = wait_until(lambda: "Hello" in (out := up.curl(URL).stdout) and out, 30, "the page comes back")
    check("grant   not known now" in page, "the page says what it could not ask", page)
    os.kill(control, signal.SIGCONT)
    wait_until(lambda: "agent   demo-agent" in up.curl(URL).stdout, 15, "the control plane is asked again")

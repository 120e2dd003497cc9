# it comes back by itself after 10 days off and after 60, and refuses an agent of others by then, with the cure
# timeout: 180
import os
import subprocess

from harness import check, wait_until
from up import BIN, Process, Up, days_later

URL = "http://hello.demo.internal/"


def certificate_end(up):
    done = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in", up.var / "agent/member.pem"],
                          capture_output=True, text=True)
    return done.stdout


with Up() as up:
    check("Hello" in up.curl(URL).stdout)
    own = up.add_agent("own")
    first = certificate_end(up)
with Up(env=days_later(10)) as up:          # 3 days after its end: the agent may renew, and does
    wait_until(lambda: certificate_end(up) != first, 30, "the agent has a new certificate")
    wait_until(lambda: "Hello" in up.curl(URL).stdout, 20, "the page comes")
with Up(env=days_later(60)) as up:          # too late for relay and demo agent: adit up joins them anew
    check("Hello" in up.curl(URL).stdout)
    late = Process(*own.command, env=days_later(60))
    wait_until(lambda: "certificate-expired" in late.output, 20, lambda: late.output)
    late.process.kill()
    told = subprocess.run([BIN / "adit", "api", "--var", up.var, "GET", "/agents/own"], capture_output=True,
                          text=True, env={**os.environ, **days_later(60)})
    check('"connected":false' in told.stdout, "an agent was let in 53 days after its end", told)
reason = subprocess.run([BIN / "adit", "reason", "certificate-expired"], capture_output=True, text=True)
check("join again" in reason.stdout, reason)

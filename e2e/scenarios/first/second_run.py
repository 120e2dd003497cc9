# it starts again with the same state, the same credential and the same hint
from harness import check
from up import Up

with Up() as up:
    first = (up.var / "demo.curlrc").read_text()
    screen = [line for line in up.output.splitlines() if "proved" not in line and "Stop" not in line]
    up.api.make("users", name="keeper")
with Up() as up:
    check((up.var / "demo.curlrc").read_text() == first, "the credential changed")
    again = [line for line in up.output.splitlines() if "proved" not in line and "Stop" not in line]
    check(again == screen[:len(again)], screen, again)
    check(up.api("GET", "/users/keeper").status == 200, "the user is gone")
    check("Hello" in up.curl("http://hello.demo.internal/").stdout)
with Up("--reset") as up:
    check(up.api("GET", "/users/keeper").status == 404, "--reset kept the user")
    check("Hello" in up.curl("http://hello.demo.internal/").stdout)

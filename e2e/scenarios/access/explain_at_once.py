# it explains what was written a moment before, by names and by ids
# timeout: 60
import subprocess

from harness import check
from up import BIN, Up

with Up() as up:
    up.api.make("agent-groups", name="west")
    up.api.make("users", name="ann", role="user")
    for n in range(10):
        profile = up.api("POST", "/destination-profiles", {"name": f"p{n}", "hosts": [f"h{n}.test"], "ports": ["80"],
                                                           "agent_group": "west"}).body
        grant = up.api("POST", "/grants", {"name": f"g{n}", "user": "ann", "destination_profile": f"p{n}"}).body
        told = up.api("GET", f"/access/explain?user=ann&host=h{n}.test&port=80").body
        check(told["reason"] == "no-agent", n, told)
        check(told["grant"] == grant["id"] and told["grant_name"] == f"g{n}", told)
        check(told["profile"] == profile["id"] and told["profile_name"] == f"p{n}", told)
        check(told["agent_group_name"] == "west", told)
        check(up.api("DELETE", f"/grants/g{n}").status == 204)
        told = up.api("GET", f"/access/explain?user=ann&host=h{n}.test&port=80").body
        check(told["reason"] == "no-grant", n, told)
    demo = subprocess.run([BIN / "adit", "explain", "--var", up.var, "demo", "hello.demo.internal:80"],
                          capture_output=True, text=True)
    grant = up.api("GET", "/grants/hello-demo").body["id"]
    check(f"hello-demo ({grant})" in demo.stdout and "demo-agent (" in demo.stdout, demo.stdout, demo.stderr)

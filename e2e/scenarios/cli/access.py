# it says what a user is granted, through his groups too, and who is granted a target
import json
import os
import subprocess

from harness import check
from up import BIN, Api, Up


def adit(*words):
    return subprocess.run([BIN / "adit", "access", *words], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "ADIT_CLI_VAR": "/tmp/var"})


def grants(*words):
    return sorted(i["grant"]["name"] for i in json.loads(adit(*words, "--output", "json").stdout)["items"])


with Up() as up:
    answer = up.api("PUT", "/config?owner=me", {
        "users": [{"name": "ann"}, {"name": "ben"}],
        "groups": [{"name": "inner", "members": ["ann"]}, {"name": "outer", "members": [{"name": "inner", "kind": "group"}]}],
        "agent-groups": [{"name": "site"}],
        "destination-profiles": [
            {"name": "wiki", "hosts": ["*.wiki.test"], "ports": ["80", "8000-8100"], "agent_group": "site"},
            {"name": "net", "hosts": ["10.0.0.0/8"], "ports": ["80"], "agent_group": "site", "match_resolved": True}],
        "grants": [{"name": "by-group", "group": "outer", "destination_profile": "wiki"},
                   {"name": "over", "user": "ann", "destination_profile": "wiki", "ends_at": "2020-01-01T00:00:00Z"},
                   {"name": "net", "user": "ben", "destination_profile": "net"},
                   {"name": "whole", "user": "ben", "agent_group": "site"}]})
    check(answer.status == 200, answer)
    check(grants("ann") == ["by-group", "over"] and grants("ben") == ["net", "whole"])
    table = adit("ann")
    check(table.returncode == 0 and "outer" in table.stdout and "*.wiki.test" in table.stdout, table)
    check(grants("a.wiki.test:8042") == ["by-group", "over", "whole"], grants("a.wiki.test:8042"))
    check(grants("wiki.test:443") == ["whole"] and grants("10.1.2.3:80") == ["net", "whole"])
    check(grants("ann", "A.wiki.test.:80") == ["by-group", "over"] and adit("ann", "10.1.2.3:80").returncode == 1)
    items = up.api("GET", "/access/effective?host=x.test&port=80").body["items"]
    check([i.get("if_resolved") for i in items if i["grant"]["name"] == "net"] == [True], items)
    items = up.api("GET", "/access/effective?user=ann").body["items"]
    check({i["grant"]["name"]: i["in_force"] for i in items} == {"by-group": True, "over": False}, items)
    check(adit("nobody").returncode == 2 and adit().returncode == 2 and adit("a", "b").returncode == 2)
    check(up.api("GET", "/access/effective").status == 409 and up.api("GET", "/access/effective?user=ann&port=0").status == 422)
    token = up.api.make("api-tokens", user="ann", name="ann")["token"]
    ann = Api(8443, up.var / "ca.pem", token)
    check([ann("GET", f"/access/effective?{q}").status for q in ("user=ann", "user=ben", "host=a.test&port=80")] == [200, 404, 403])

# it nests groups eight deep and no deeper, never in a ring, and what a group may its members' members may
# timeout: 120
from harness import check
from up import Up


def put(group, member, query="?wait=applied"):
    return up.api("PUT", f"/groups/{group}/members/{member}{query}", {})


def explained():
    told = up.api("GET", "/access/explain?user=kim&host=wiki.corp.test&port=443")
    return told.body["allowed"] or told.body["reason"]


with Up() as up:
    for n in range(1, 12):
        up.api.make("groups", name=f"g{n}")
    up.api.make("users", name="kim")
    up.api.make("destination-profiles", name="wiki", hosts=["wiki.corp.test"], ports=["443"], agent_group="demo")
    check(put("g1", "kim").status in (200, 201))
    depth = next(n for n in range(1, 11) if put(f"g{n + 1}", f"g{n}").status not in (200, 201))
    check(depth == 8, "groups above each other", depth)
    refused = put("g9", "g8")
    check(refused.status == 409 and "8 deep" in refused.body["detail"], refused)
    for a, b in (("g1", "g1"), ("g1", "g2"), ("g1", "g8"), ("g4", "g7")):
        ring = put(a, b)
        check(ring.status == 409 and "itself" in ring.body["detail"], a, b, ring)
    check(explained() == "no-grant", explained())
    up.api.make("grants", name="wiki", group="g8", destination_profile="wiki")
    check(explained() is not False and explained() != "no-grant", explained())
    check("wiki" in up.api("GET", "/access/effective?user=kim").text)
    check(up.api("DELETE", "/groups/g5/members/g4?wait=applied").status in (202, 204))
    check(explained() == "no-grant", explained())
    check(put("g9", "g8").status in (200, 201), "the lower half is elsewhere now")

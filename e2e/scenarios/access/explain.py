# it explains what happens: 10,000 generated pairs of user and target, asked and tried
# timeout: 400
import concurrent.futures
import random

from clients import Refused, connect
from harness import check
from up import Up, closed_network

USERS, PROFILES, GRANTS, PAIRS = 20, 30, 120, 10_000
HOSTS = ["a.corp.test", "b.corp.test", "x.b.corp.test", "10.99.0.2", "10.99.0.3", "c.other.test"]
PATTERNS = HOSTS + ["*.corp.test", "*.b.corp.test", "10.99.0.0/24", "10.99.0.2/31"]
PORTS = [7000, 7001, 9999]


def make_world(up, rng):
    credentials = {}
    for n in range(USERS):
        name = f"e{n}"
        up.api("POST", "/users", {"name": name, "status": rng.choice(["active"] * 9 + ["disabled"])})
        credentials[name] = up.api("POST", "/proxy-credentials", {"user": name}).body["secret"]
    for n in range(PROFILES):
        up.api("POST", "/destination-profiles", {
            "name": f"p{n}", "hosts": rng.sample(PATTERNS, rng.randint(1, 3)), "agent_group": "inner",
            "ports": rng.sample(["7000", "7001", "7000-7999", "9999"], rng.randint(1, 2))})
    for n in range(GRANTS):
        more = {"source_networks": ["192.0.2.0/24"]} if rng.random() < 0.2 else {}
        up.api("POST", "/grants", {"user": f"e{rng.randrange(USERS)}",
                                   "destination_profile": f"p{rng.randrange(PROFILES)}", **more})
    up.api.make("locks", user="e0")
    return credentials


def asked(api, user, host, port):
    answer = api("GET", f"/access/explain?user={user}&host={host}&port={port}")
    check(answer.status == 200, answer)
    return "allowed" if answer.body["allowed"] else answer.body["reason"]


def tried(user, secret, host, port):
    try:
        connect(f"{host}:{port}", (user, secret)).close()
        return "allowed"
    except Refused as refused:
        return refused.reason


with Up() as up:
    inside, _, _ = closed_network(up, names={host: ["10.99.0.2"] for host in HOSTS if host[0] != "1"})
    inside.serve(lambda c: c.recv(1), 7001)
    inside.serve(lambda c: c.recv(1), 9999)
    inside.serve(lambda c: c.recv(1), 7000, "10.99.0.3")
    inside.serve(lambda c: c.recv(1), 7001, "10.99.0.3")
    inside.serve(lambda c: c.recv(1), 9999, "10.99.0.3")
    rng = random.Random(11)
    credentials = make_world(up, rng)
    questions = sorted((user, host, port) for user in credentials for host in HOSTS for port in PORTS)
    pairs = [rng.choice(questions) for _ in range(PAIRS)]
    told = {question: asked(up.api, *question) for question in questions}

    def differs(pair):
        user, host, port = pair
        saw = tried(user, credentials[user], host, port)
        return None if saw == told[pair] else (pair, told[pair], saw)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        wrong = [w for w in pool.map(differs, pairs) if w]
    check(not wrong, f"{len(wrong)} of {PAIRS} differ:", wrong[:10])
    print(sorted({(told[pair]) for pair in pairs}))

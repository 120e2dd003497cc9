# it dials exactly the address that it checked, however often the name's answer flips
import collections
import concurrent.futures
import itertools

from attack import Canary
from clients import Refused, connect, socks5
from harness import check
from inside import Pattern, receive_to_end
from up import Up, closed_network

GOOD, PORT = "10.99.0.2", 7000
BAD = {"flip": ["127.0.0.1"], "own": ["10.99.0.1"], "meta": ["169.254.169.254"], "both": ["127.0.0.1", GOOD]}


class Flipping(dict):
    """The first look-up (A and AAAA) is answered well, the second badly, and so on."""

    def get(self, name, default=None):
        if name not in self:
            return default
        self.asked[name] += 1
        return self[name][(self.asked[name] - 1) // 2 % 2]

    asked = collections.Counter()


def fetch(door, name):
    """What came of it: "page", or why it was refused."""
    try:
        stream = door(f"{name}.corp.test")
    except Refused as refused:
        return refused.reason or refused.status
    stream.sendall(b"send rebinding 3000\n")
    check(receive_to_end(stream) == (3000, Pattern("rebinding", 3000).sha256()), name)
    return "page"


with Up() as up:
    names = Flipping({f"{name}.corp.test": [[GOOD], bad] for name, bad in BAD.items()})
    inside, dns, _ = closed_network(up, names=names)
    dns.ttl_s = 0
    canary, login = Canary(), up.curlrc()
    for address in ("127.0.0.1", "10.99.0.1"):
        canary.listen(address, PORT)
    doors = (lambda host: connect(f"{host}:{PORT}", login), lambda host: socks5(host, PORT, login))
    work = list(itertools.product(doors, list(BAD) * 25))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        saw = list(pool.map(lambda job: (job[1], fetch(*job)), work))
    outcomes = {name: {what for who, what in saw if who == name} for name in BAD}
    check(not canary.hits, "dialled what it had not checked:", canary.hits[:5])
    check(outcomes["both"] == {"page"}, "a good address beside a bad one was not used", outcomes)
    for name in ("flip", "own", "meta"):    # 2: SOCKS5's "not allowed by the ruleset"
        check(outcomes[name] <= {"page", "target-forbidden", 2}, outcomes)
    check(any("target-forbidden" in what for what in outcomes.values()), "no bad answer was ever used", outcomes)
    asked = len([kind for _, kind in dns.queries if kind == 1])
    check(2 * len(BAD) < asked <= len(work), "asked again for one stream:", asked, len(work))
    print(f"{len(work)} streams, {asked} questions: {outcomes}")

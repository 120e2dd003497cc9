# it keeps names: fresh for their TTL, stale while the DNS is dead, for a bounded time; what is not there too
# timeout: 180
import re
import time

from attack import metrics
from clients import Refused, connect
from harness import check, wait_until
from inside import THERE_IP, Pattern, receive_to_end
from up import Up, closed_network

BOTH = (1, 28)
SERVER = f"{THERE_IP}:53"


def fetch(up, target="files.corp.test:7000"):
    stream = connect(target, up.curlrc())
    stream.sendall(b"send names 5000\n")
    check(receive_to_end(stream) == (5000, Pattern("names", 5000).sha256()))


def refusal(up, target):
    try:
        connect(target, up.curlrc()).close()
    except Refused as refused:
        return refused.reason
    return "ok"


def counted(name, **labels):
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"(?m)^adit_agent_{name}{re.escape('{' + wanted + '}') if wanted else ''} (\d+)", metrics(9102))
    return int(found.group(1))


def asked(dns, name="files.corp.test"):
    return sum(1 for asked, kind in dns.queries if asked == name and kind == 1)


def how(up):
    """How the stream opened last was resolved."""
    items = [i for i in up.api("GET", "/streams?limit=100").body["items"] if i["host"] == "files.corp.test"]
    return max(items, key=lambda i: (i["opened_at"], i["id"])).get("resolved_by") if items else None


def all_ways(up):
    return {i.get("resolved_by") for i in up.api("GET", "/streams?limit=100").body["items"] if i["host"] == "files.corp.test"}


with Up() as up:
    inside, dns, agent = closed_network(up)
    agent.stop()
    agent.command += ["--admin-listen", "127.0.0.1:9102", "--dns-fresh-ms", "8s", "--dns-stale-ms", "6s",
                      "--dns-negative-ms", "2s"]
    agent.start()

    # Fresh: asked once, whatever its TTL promises beyond the bound.
    dns.ttl_s = 3600
    fetch(up)
    fetch(up)
    check(asked(dns) == 1 and counted("lookups_total", outcome="miss") == 1, dns.queries)
    wait_until(lambda: all_ways(up) == {f"dns {SERVER}", f"dns-cache {SERVER}"}, 20, lambda: all_ways(up))
    check(counted("lookups_total", outcome="fresh") >= 1 and counted("names") == 1)

    # In use it is asked for ahead of its end: nobody waits for the DNS.
    def goes_on():
        fetch(up)
        return counted("dns_ahead_total") >= 1 and asked(dns) >= 2
    wait_until(goes_on, 30, lambda: dns.queries)

    # The DNS dies.  What was known goes on, past its time, and not for ever.
    dns.silent = BOTH

    def is_stale():
        fetch(up)
        return how(up) == f"dns-stale {SERVER}"
    wait_until(is_stale, 40, lambda: how(up))
    check(counted("lookups_total", outcome="stale") >= 1)
    wait_until(lambda: refusal(up, "files.corp.test:7000") == "resolve-failed", 60, "the stale answer ends")

    # It is back; so is the name, as soon as the failure is forgotten.
    dns.silent = ()
    wait_until(lambda: refusal(up, "files.corp.test:7000") == "ok", 20, "the name is back")

    # A name that is not there is asked for once for a while.
    started = time.monotonic()
    reasons = [refusal(up, "nothing.corp.test:7000") for _ in range(5)]
    took_s = time.monotonic() - started
    check(reasons == ["resolve-failed"] * 5, reasons)
    check(asked(dns, "nothing.corp.test") <= 1 + took_s / 2, took_s, dns.queries)
    check(counted("lookups_total", outcome="negative") >= 1)

    # One family that is never answered holds nobody up for long.
    dns.silent = (28,)
    dns.names["v4.corp.test"] = [THERE_IP]
    started = time.monotonic()
    fetch(up, "v4.corp.test:7000")
    check(time.monotonic() - started < 4, time.monotonic() - started)

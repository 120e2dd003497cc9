# it checks passwords without delaying anybody, slows down who guesses, and locks nobody out by it
# timeout: 150
import concurrent.futures
import itertools
import math
import os
import signal
import statistics
import threading
import time
import urllib.request

from attack import post_from, resident_kib
from harness import check, wait_until
from up import Up

RIGHT = "correct horse battery"


def log_in(source, user, password="wrong guess"):
    """(status, Retry-After)"""
    return post_from(source, "/api/v1/login-sessions", {"user": user, "password": password})


def waits(source, user):
    """For how many seconds a guess from there has to wait now; 0: it was checked, and wrong."""
    status, seconds = log_in(source, user)
    check(status in (401, 429), status)
    return int(seconds or 0)


def least_seconds(user, network):
    """The shortest of some guesses that were checked, each from a source of its own."""
    def one(source):
        since = time.monotonic()
        status = log_in(source, user)[0]
        check(status in (401, 429), status)
        return time.monotonic() - since if status == 401 else math.inf
    return min(one(f"127.0.{network}.{n}") for n in range(1, 6))


def answer_times(stop):
    """How long /healthz and the API take meanwhile, in seconds."""
    opener, times = urllib.request.build_opener(urllib.request.ProxyHandler({})), {"healthz": [], "api": []}
    while not stop.is_set():
        for name, ask in (("healthz", lambda: opener.open("http://127.0.0.1:9100/healthz", timeout=10).read()),
                          ("api", lambda: up.api("GET", "/me"))):
            since = time.monotonic()
            ask()
            times[name].append(time.monotonic() - since)
    return times


with Up() as up:
    up.api.make("users", name="victim", password=RIGHT)
    up.api.make("users", name="neighbour", password=RIGHT)
    check(log_in("127.0.0.200", "victim", RIGHT)[0] == 201, "the right password")
    control, stop = up.pid("adit-controlplane"), threading.Event()

    # 0. Somebody who is not there costs as much as somebody who is.
    known, unknown = least_seconds("neighbour", 4), least_seconds("nobody-there", 5)
    check(0.2 < unknown / known < 5, "tells who exists by its time:", known, unknown)

    # 1. A crowd: 90 guesses from 30 sources at once.
    before = resident_kib(control)
    with concurrent.futures.ThreadPoolExecutor(61) as pool:
        clock = pool.submit(answer_times, stop)
        told = list(pool.map(lambda n: log_in(f"127.0.1.{n % 30}", f"user-{n}")[0], range(90)))
        stop.set()
        times = clock.result()
    check(set(told) <= {401, 429, 503} and told.count(401) >= 20, {s: told.count(s) for s in set(told)})
    for name, seen in times.items():
        check(statistics.median(seen) < 0.25, name, "took", statistics.median(seen), "s of", len(seen))
    check(resident_kib(control) - before < 128 * 1024, "grew by KiB", resident_kib(control) - before)

    # 2. Many sources at one account: it slows down for strangers, not for him who is at home.
    stranger = itertools.count(1)
    wait_until(lambda: waits(f"127.0.3.{next(stranger)}", "victim") >= 2, 20, "the account slows down")
    check(next(stranger) < 200, "strangers guess freely")
    check(log_in("127.0.3.254", "victim", RIGHT)[0] == 429, "a stranger's right guess passes the delay")
    check(log_in("127.0.0.200", "victim", RIGHT)[0] == 201, "strangers locked the user out")

    # 3. One source that guesses names; its neighbour's log-ins neither suffer nor help it.
    check(log_in("127.0.2.1", "neighbour", RIGHT)[0] == 201)
    name = itertools.count(1)
    wait_until(lambda: waits("127.0.2.1", f"name-{next(name)}") >= 7, 30, "the source slows down")
    check(log_in("127.0.2.1", "neighbour", RIGHT)[0] == 201, "it locked its neighbour out")
    check(waits("127.0.2.1", "other"), "a good log-in wiped out what was tried on others")
    check(log_in("127.0.200.200", "nobody-else")[0] == 401, "another source pays for it")
    os.kill(control, signal.SIGKILL)
    wait_until(lambda: up.pid("adit-controlplane") not in (None, control) and up.is_answering(), 15, "it is back")
    check(waits("127.0.2.1", "other"), "a restart forgave the source")
    print({name: f"median {statistics.median(seen) * 1000:.0f} ms, max {max(seen) * 1000:.0f} ms" for name, seen in times.items()})

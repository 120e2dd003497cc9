# it bears a thousand log-ins at once: health and the API answer, memory is bounded, and who is right gets in afterwards
# timeout: 120
import collections
import http.client
import ssl
import subprocess
import sys
import threading

from attack import post_from, resident_kib
from harness import check, wait_until
from up import Up

LOG_INS, SOURCES, RIGHT = 1000, 20, "correct horse battery"
P99_S = 0.5             # the design's 0.1 s on a machine of its own
CLOCK = """
import sys, time, urllib.request
ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
while True:
    since = time.monotonic()
    ask("http://127.0.0.1:9100/healthz", timeout=10).read()
    print(time.monotonic() - since, flush=True)
    time.sleep(0.005)
"""
start = threading.Event()
told = collections.Counter()


def log_in(number):
    """One of the thousand: connected before, so that all of them ask in the same moment."""
    context = ssl.create_default_context(cafile="/tmp/var/ca.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", 8443, timeout=60, context=context,
                                             source_address=(f"127.0.7.{1 + number % SOURCES}", 0))
    body = f'{{"user":"user-{number}","password":"wrong guess"}}'
    try:
        connection.connect()
        start.wait(60)
        connection.request("POST", "/api/v1/login-sessions", body, {"Content-Type": "application/json"})
        told[connection.getresponse().status] += 1
    except OSError as error:
        told[type(error).__name__] += 1
    finally:
        connection.close()


with Up(env={"ADIT_CONTROLPLANE_QUEUE_MAX": "64", "ADIT_CONTROLPLANE_CONNECTIONS_MAX": "1200",
             "ADIT_CONTROLPLANE_HEAD_MS": "90s"}) as up:
    up.api.make("users", name="victim", password=RIGHT)
    control = up.pid("adit-controlplane")
    threads = [threading.Thread(target=log_in, args=(n,)) for n in range(LOG_INS)]
    for thread in threads:
        thread.start()
    wait_until(lambda: threading.active_count() >= LOG_INS, 30, "they are all there")
    before = resident_kib(control)
    clock = subprocess.Popen([sys.executable, "-c", CLOCK], stdout=subprocess.PIPE, text=True)
    clock.stdout.readline()                 # in a process of its own, which has begun
    start.set()
    for thread in threads:
        thread.join(90)
    clock.terminate()
    seen = sorted(float(line) for line in clock.communicate()[0].splitlines(True) if line.endswith("\n"))
    grown = resident_kib(control) - before
    check(sum(told.values()) == LOG_INS and set(told) <= {401, 429, 503}, told)
    check(told[401] > 10 and told[503] > 100, "the queue has no bound, or nobody was checked", told)
    check(grown < 128 * 1024, "grew by KiB", grown)
    p99 = seen[int(len(seen) * 0.99)]
    check(up.api("GET", "/me").status == 200)
    wait_until(lambda: post_from("127.0.0.200", "/api/v1/login-sessions", {"user": "victim", "password": RIGHT})[0] == 201,
               30, "who is right gets in")
    print(f"{dict(told)}, grew by {grown} KiB, /healthz p50 {seen[len(seen) // 2] * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms of {len(seen)}")
    check(p99 < P99_S, "/healthz waits for log-ins", p99)

# it keeps its metrics and memory as they are, however many hosts and users strangers name
# timeout: 300
import concurrent.futures
import os

from attack import HTTP, basic, http_request, metrics, resident_kib, say
from harness import check
from up import Up

NAMES, WARM, AT_ONCE = int(os.environ.get("NAMES", "3000")), 300, 8
GROWTH_KIB = 48 * 1024


def series():
    return {port: len(metrics(port).splitlines()) for port in (9100, 9101)}


def name_one(number):
    """A host that nobody named before: by a user who may not, or by somebody who is none."""
    target = f"host-{number}.names.test:{1 + number % 65535}"
    who = basic("demo", secret) if number % 2 else basic(f"user-{number}", "adp_wrong")
    say(HTTP, http_request(target, target, who, method="CONNECT"))


with Up() as up, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
    _, secret = up.curlrc()
    list(pool.map(name_one, range(WARM)))       # what is made for the first ones is made once
    pids = {program: up.pid(program) for program in ("adit-relay", "adit-controlplane")}
    before, held = series(), {program: resident_kib(pid) for program, pid in pids.items()}
    list(pool.map(name_one, range(WARM, WARM + NAMES)))
    after = series()
    check(all(after[port] < before[port] + 40 for port in before), "names became label values", before, after)
    text = metrics(9100) + metrics(9101)
    check("names.test" not in text and "user-1" not in text, "a stranger's word stands in the metrics")
    for program, pid in pids.items():
        grown = resident_kib(pid) - held[program]
        check(up.pid(program) == pid and grown < GROWTH_KIB, program, "grew by KiB", grown)
        print(f"{program}: {NAMES} names, {grown} KiB more")

# it loses no acknowledged write, and halves none, when the database's primary dies and its standby takes over
# timeout: 120
import os
import random
import time

from harness import check, wait_until
from postgres import Pair
from up import STORE, Up
from writes import Writers

TIMES = int(os.environ.get("ADIT_KILLS", "2"))
URL = "http://hello.demo.internal/"
random.seed(int(os.environ.get("ADIT_SEED", "1")))


def fail_over():
    """Seconds from the death of the one until the other has taken a write."""
    began = time.monotonic()
    pair.fail_over()
    before = writers.count
    wait_until(lambda: writers.count > before + len(writers.all), 60, lambda: f"writes are taken\n{up.output}")
    return time.monotonic() - began


pair = Pair()
with Up(env={STORE: pair.url, "ADIT_CONTROLPLANE_RATE_PER_S": "0"}) as up:
    controlplane, pauses = up.pid("adit-controlplane"), []
    with Writers(up) as writers:
        for n in range(TIMES):
            if n:
                pair.rejoin()
            writers.wait_for_some()
            pauses.append(fail_over())
            if n % 10 == 0:
                check("Hello" in up.curl(URL).stdout, "traffic does not need the database")
    wait_until(up.is_answering, 30, "the API answers")
    writers.check_kept()
    up.api.make("users", name="last")       # the relay follows
    check(up.pid("adit-controlplane") == controlplane, "the control plane was started again")
    print(f"{TIMES} fail-overs, {writers.count} acknowledged writes, at most {max(pauses):.1f} s without one")

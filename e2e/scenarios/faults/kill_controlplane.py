# it loses no acknowledged write, and halves none, when the control plane is killed at random moments under writes
# on PostgreSQL too
# timeout: 120
import os
import random
import signal
import time

from harness import check, wait_until
from up import Up
from writes import Writers

TIMES = int(os.environ.get("ADIT_KILLS", "5"))
random.seed(int(os.environ.get("ADIT_SEED", "1")))


def kill():
    """Seconds until another one runs and has taken a write."""
    victim = wait_until(lambda: up.pid("adit-controlplane"), 20, "the control plane runs")
    os.kill(victim, signal.SIGKILL)
    began, before = time.monotonic(), writers.count
    wait_until(lambda: up.pid("adit-controlplane") not in (None, victim), 20, "it is started again")
    wait_until(lambda: writers.count > before + len(writers.all), 60, lambda: f"it takes writes\n{up.output}")
    return time.monotonic() - began


with Up(env={"ADIT_CONTROLPLANE_RATE_PER_S": "0"}) as up:
    with Writers(up) as writers:
        pauses = []
        for _ in range(TIMES):
            writers.wait_for_some()
            pauses.append(kill())
    wait_until(up.is_answering, 30, "the API answers")
    writers.check_kept()
    up.api.make("users", name="last")       # the relay follows
    print(f"{TIMES} kills, {writers.count} acknowledged writes, at most {max(pauses):.1f} s without one")

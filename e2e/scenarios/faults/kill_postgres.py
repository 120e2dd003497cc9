# it loses no acknowledged write when the database server or the control plane is killed under writes
# timeout: 300
import os
import random
import signal

from harness import check, wait_until
from postgres import Postgres
from up import STORE, Up
from writes import Writers

TIMES = int(os.environ.get("ADIT_KILLS", "4"))
random.seed(int(os.environ.get("ADIT_SEED", "1")))


def kill_postgres():
    postgres.kill()
    wait_until(lambda: any(writer.refusals for writer in writers.all), 30, "a write is refused")
    postgres.start()


def kill_controlplane():
    victim = wait_until(lambda: up.pid("adit-controlplane"), 20, "the control plane runs")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: up.pid("adit-controlplane") not in (None, victim), 20, "it is started again")


postgres = Postgres()
with Up(env={STORE: postgres.url, "ADIT_CONTROLPLANE_RATE_PER_S": "0"}) as up:
    with Writers(up) as writers:
        for kill in random.sample([kill_postgres, kill_controlplane] * TIMES, 2 * TIMES):
            writers.wait_for_some()
            kill()
    wait_until(up.is_answering, 30, "the API answers")
    check(writers.count > 2 * TIMES and any(writer.refusals for writer in writers.all), writers.count)
    writers.check_kept()
    print(f"{2 * TIMES} kills, {writers.count} acknowledged writes")

# it carries mixed traffic for 30 minutes without growing, and every byte is in its place
# timeout: 2400
import concurrent.futures
import os
import random
import time

from clients import connect, socks5
from harness import check, wait_until
from inside import Pattern, receive_to_end
from up import Up, closed_network

MINUTES, WARM_UP_MINUTES = 30, 5
PROGRAMS = ("adit-relay", "adit-controlplane")


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


with Up() as up:
    closed_network(up)
    credential, pids = up.curlrc(), {name: up.pid(name) for name in PROGRAMS}
    end = time.monotonic() + MINUTES * 60

    def traffic(worker):
        rng, done = random.Random(worker), 0
        while time.monotonic() < end:
            seed, size = f"{worker}-{done}", rng.choice((100, 20_000, 2_000_000))
            stream = (connect("files.corp.test:7000", credential) if done % 2 else
                      socks5("files.corp.test", 7000, credential))
            with stream:
                stream.sendall(f"send {seed} {size}\n".encode())
                check(receive_to_end(stream) == (size, Pattern(seed, size).sha256()), seed, size)
            done += 1
        return done

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        workers = [pool.submit(traffic, n) for n in range(8)]
        wait_until(lambda: time.monotonic() > end - (MINUTES - WARM_UP_MINUTES) * 60,
                   WARM_UP_MINUTES * 60 + 60, "warm")
        warm = {name: resident_kib(pid) for name, pid in pids.items()}
        count = sum(worker.result() for worker in workers)
    for name, pid in pids.items():
        check(up.pid(name) == pid, name, "was restarted")
        grown = resident_kib(pid) - warm[name]
        print(f"{name}: {warm[name]} KiB when warm, {grown:+} at the end")
        check(grown < max(4096, warm[name] // 50), name, "grew by KiB:", grown)
    wait_until(lambda: descriptors(pids["adit-relay"]) < 100, 20, "the relay closed what it had opened")
    print(f"{count} transfers in {MINUTES} minutes")

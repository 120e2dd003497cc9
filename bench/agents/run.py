#!/usr/bin/env python3
"""run.py --bin DIR --crowd FILE [--agents N] [--minutes M]: idle agents on one relay.

What the relay holds for each of them, and what keeping them costs it.  bench/README.md has the figures.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench" / "tunnel"), str(ROOT / "e2e" / "drivers")]
import machine

USES_MAX = 10000
FOUND_S = 2.0
JOIN_S = 0.5


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", required=True, help="where Adit's programs are")
    p.add_argument("--crowd", required=True, help="the program of crowd.c")
    p.add_argument("--agents", type=int, default=15000)
    p.add_argument("--at-once", type=int, default=16, help="agents that join at the same time")
    p.add_argument("--minutes", type=float, default=10)
    p.add_argument("--out")
    p.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return p.parse_args()


def tokens(up, agents):
    """Each has a bounded number of uses."""
    while agents > 0:
        uses = min(agents, USES_MAX)
        yield up.api.make("join-tokens", kind="agent", uses=uses)["token"]
        agents -= uses


def look(pid):
    return {"resident": machine.resident_bytes([pid]), "private": machine.private_bytes([pid]),
            "cpu_s": machine.cpu_s([pid])}


def wait_for(crowd, word, seconds):
    machine.wait_until(lambda: crowd.poll() is not None or word in crowd.log.read_text(), seconds, f"{word} of the crowd")
    for line in crowd.log.read_text().splitlines():
        if line.startswith(word):
            return line
    raise RuntimeError(crowd.log.read_text())


def start_crowd(options, lines):
    log = pathlib.Path("/run/crowd.log")
    with open(log, "w") as out:
        crowd = subprocess.Popen([options.crowd, str(options.agents), str(options.at_once)],
                                 stdin=subprocess.PIPE, stdout=out, stderr=out, text=True)
    crowd.log = log
    crowd.stdin.write("\n".join([*lines, "", ""]))
    crowd.stdin.flush()
    return crowd


def per_minute(pid, minutes):
    """CPU of each minute, as a share of one core."""
    shares, before = [], machine.cpu_s([pid])
    while minutes > 0:
        part = min(minutes, 1)
        machine.rest(part * 60)
        now = machine.cpu_s([pid])
        shares.append(round((now - before) / (part * 60), 4))
        before, minutes = now, minutes - part
        print(f"CPU of a core: {shares[-1]:.1%}", flush=True)
    return shares


def measure(options, up):
    relay = up.pid("adit-relay")
    machine.rest(FOUND_S)
    before = look(relay)
    crowd = start_crowd(options, list(tokens(up, options.agents)))
    print(wait_for(crowd, "up", 60 + options.agents * JOIN_S), flush=True)
    machine.rest(FOUND_S)
    there = look(relay)
    shares = per_minute(relay, options.minutes)
    after = look(relay)
    crowd.stdin.close()
    end = json.loads(wait_for(crowd, "end", 30)[4:])
    machine.rest(15)
    return {"agents": options.agents, "before": before, "there": there, "after": after, "left": look(relay),
            "each_resident": round((after["resident"] - before["resident"]) / options.agents),
            "each_private": round((after["private"] - before["private"]) / options.agents),
            "cpu_of_a_core": shares, "crowd": end}


def main():
    options = parse()
    if not options.inside:
        os.execvp("unshare", ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--kill-child",
                              sys.executable, __file__, "--inside", *sys.argv[1:]])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ["ADIT_BIN"] = options.bin
    from up import Up
    with Up(var="/run/var") as up:
        result = measure(options, up)
    print(json.dumps(result, indent=1))
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

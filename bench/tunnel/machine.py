"""Processes of this machine: who uses how much of it."""
import os
import pathlib
import subprocess
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
_never = threading.Event()


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        _never.wait(0.005)


def rest(seconds):
    _never.wait(seconds)


def _all():
    """pid: (parent, CPU seconds of it and of its children that ended, resident bytes)"""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            field = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        cpu = sum(int(n) for n in field[11:15]) / TICK
        found[int(entry.name)] = (int(field[1]), cpu, int(field[21]) * PAGE)
    return found


def _tree(found, roots):
    members, more = set(), set(roots) & set(found)
    while more:
        members |= more
        more = {pid for pid, row in found.items() if row[0] in more} - members
    return members


def cpu_s(roots):
    found = _all()
    return sum(found[pid][1] for pid in _tree(found, roots))


def all_cpu_s():
    """What all processes of the machine have used: ours and strangers'."""
    field = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(field[i]) for i in (0, 1, 2, 5, 6)) / TICK


def resident_bytes(roots):
    found = _all()
    return sum(found[pid][2] for pid in _tree(found, roots))


def private_bytes(roots):
    total = 0
    for pid in _tree(_all(), roots):
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    return total


class Program:
    """A process that this run started, with its children."""

    def __init__(self, command, log, env=None):
        with open(log, "ab") as out:
            self.process = subprocess.Popen(command.split(" "), stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, env={**os.environ, **(env or {})})
        self.pid = self.process.pid

    def kill(self):
        for pid in sorted(_tree(_all(), [self.pid]), reverse=True):
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        self.process.wait()

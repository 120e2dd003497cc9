#!/usr/bin/env python3
"""The REST API of a real control plane under load by wrk: authenticated reads, audited writes, and reads
while many log-ins are hashed.

    bench/rest/rest.py [--bin build/bin] [--dir build/bench-rest] [--seconds 4] [--logins 1000]

SQLite lies on the file system of --dir (not /tmp, if that is memory).  Root is needed: a run has namespaces
of its own.  Prints; asserts nothing.
"""
import argparse
import http.client
import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "e2e" / "drivers"))
BASE = "https://127.0.0.1:8443/api/v1"
USERS = 1000

# Names that differ over all threads; what was refused is counted by wrk as "Non-2xx".
WRITES = """
local next_thread = 0
function setup(thread) thread:set("number", next_thread); next_thread = next_thread + 1 end
local count = 0
function request()
  count = count + 1
  return wrk.format("POST", nil, nil, string.format('{"name":"%s-%d-%d","role":"user"}', RUN, number, count))
end
"""


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def milliseconds(text):
    number, unit = re.match(r"([\d.]+)(us|ms|s|m)$", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[unit]


class Load:
    def __init__(self, up, args):
        self.up, self.args, self.pid = up, args, up.pid("adit-controlplane")

    def run(self, it, path, connections, script=None):
        command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{self.args.seconds}s", "--latency",
                   "-H", "Authorization: Bearer " + self.up.api.token, "-H", "Content-Type: application/json"]
        if script:
            file = pathlib.Path(self.args.dir) / "load.lua"
            file.write_text(f"RUN = 'w{time.time_ns()}'\n" + script)
            command += ["-s", str(file)]
        cpu = cpu_s(self.pid)
        text = subprocess.run(command + [BASE + path], capture_output=True, text=True, check=True).stdout
        cpu = cpu_s(self.pid) - cpu
        requests = int(re.search(r"(\d+) requests in", text).group(1))
        rate = float(re.search(r"Requests/sec: +([\d.]+)", text).group(1))
        p = {at: milliseconds(re.search(rf"{at}% +(\S+)", text).group(1)) for at in (50, 99)}
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        print(f"{it:42} {rate:8.0f}/s  p50 {p[50]:7.2f} ms  p99 {p[99]:7.2f} ms  CPU {cpu / requests * 1e6:6.0f} us"
              + (f"  {wrong.group(1)} of {requests} not 2xx" if wrong else ""), flush=True)


def logins(count, done):
    """That many, each for another user from another address: none is answered without hashing."""
    from concurrent.futures import ThreadPoolExecutor
    answers = {}
    context = ssl._create_unverified_context()

    def one(n):
        connection = http.client.HTTPSConnection("127.0.0.1", 8443, context=context, timeout=60,
                                                 source_address=(f"127.1.{n // 250}.{n % 250 + 1}", 0))
        body = json.dumps({"user": f"user-{n % USERS}", "password": f"wrong-{n:030}"})
        connection.request("POST", "/api/v1/login-sessions", body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        answers[status] = answers.get(status, 0) + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(count)))
    done.append(answers)


def plain(load):
    load.run("read one user by name, 16 at once", "/users/user-7", 16)
    load.run("read a page of 50 users, 16 at once", "/users?limit=50", 16)
    load.run("who am I, 16 at once", "/me", 16)
    load.run("make users, 16 at once", "/users", 16, WRITES)
    load.run("read one user by name, alone", "/users/user-7", 1)
    load.run("make users, one after the other", "/users", 1, WRITES)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=str(ROOT / "build" / "bin"))
    parser.add_argument("--dir", default=str(ROOT / "build" / "bench-rest"))
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--logins", type=int, default=1000)
    parser.add_argument("--only-logins", action="store_true")
    args = parser.parse_args()
    args.dir = str(pathlib.Path(args.dir).absolute())
    if os.environ.get("ADIT_BENCH_INSIDE") != "1":
        os.environ.update(ADIT_BENCH_INSIDE="1", ADIT_BIN=str(pathlib.Path(args.bin).absolute()))
        os.execvp("unshare", ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--kill-child",
                              sys.executable, __file__, *sys.argv[1:]])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    shutil.rmtree(args.dir, ignore_errors=True)
    from up import Up
    with Up(var=args.dir, env={"ADIT_CONTROLPLANE_RATE_PER_S": "0"}) as up:
        load = Load(up, args)
        for n in range(USERS):
            up.api("POST", "/users", {"name": f"user-{n}", "role": "user"})
        if not args.only_logins:
            plain(load)
        done = []
        hashing = threading.Thread(target=logins, args=(args.logins, done))
        hashing.start()
        while hashing.is_alive():
            load.run("read one user while log-ins are hashed", "/users/user-7", 1)
        print("the log-ins' answers:", json.dumps(done[0]))


if __name__ == "__main__":
    main()

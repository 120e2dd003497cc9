#!/usr/bin/env python3
"""The real programs with states of 100 to 100,000 users, credentials and grants, a tenth of profiles.

    bench/scale/scale.py [--bin build/bin] [--dir build/bench-scale] [SIZE ...]

For each size: how long the control plane takes to compile the state and the relay to load it, how long
a change takes until the relay runs it (also beside a snapshot), what a stream feels of a whole load,
what the relay weighs.  Root is needed: a run has namespaces of its own.  Prints; asserts nothing.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "e2e" / "drivers"))
AGENTS = 100
PING_PORT = 7007
SNAPSHOT_S = 62         # the control plane makes a snapshot at most once a minute
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(kind, number):
    digits = ""
    for _ in range(10):
        digits = ALPHABET[number % 32] + digits
        number //= 32
    return "01M7Z" + kind + "0000000000" + digits


class World:
    """What stands in the control plane's database after so many users were made."""

    def __init__(self, size):
        self.size, self.profiles = size, max(size // 10, 1)
        self.objects, self.refs, self.secrets, self.records = [], [], [], []

    def add(self, kind, id_, name, doc, record_kind, record, refs=()):
        self.objects.append((id_, kind, name, 1, 1, 1, id_, "", json.dumps(doc)))
        self.refs += [(id_, field, to) for field, to in refs]
        self.records.append((record_kind, id_, json.dumps(record)))

    def fill(self):
        for n in range(AGENTS):
            agent, group = ulid("A", n), ulid("B", n)
            self.add("agent", agent, f"agent-{n}", {"status": "active", "labels": {"n": str(n)}},
                     "agent", {"name": f"agent-{n}", "active": True, "generation": 1})
            self.add("agent-group", group, f"agents-{n}", {"routing_mode": "priority", "selector": {"n": str(n)}},
                     "agentgroup", {"name": f"agents-{n}", "mode": "priority", "members": [
                         {"agent": agent, "priority": 100, "weight": 1, "enabled": True}]})
        for n in range(self.profiles):
            group, hosts, ports = ulid("B", n % AGENTS), [f"host-{n}.example"], ["443"]
            self.add("destination-profile", ulid("P", n), f"profile-{n}",
                     {"hosts": hosts, "ports": ports, "match_resolved": False, "allow_special": False,
                      "agent_group": group},
                     "profile", {"name": f"profile-{n}", "hosts": hosts, "ports": ports, "agentgroup": group},
                     [("agent_group", group)])
        for n in range(self.size):
            self.user(n)
        return self

    def user(self, n):
        user, credential, grant, profile = ulid("V", n), ulid("C", n), ulid("G", n), ulid("P", n % self.profiles)
        hash_ = f"{n:064x}"
        self.add("user", user, f"user-{n}", {"status": "active", "role": "user"},
                 "user", {"name": f"user-{n}", "active": True})
        self.add("proxy-credential", credential, f"credential-{n}", {"user": user},
                 "credential", {"user": user, "hash": hash_}, [("user", user)])
        self.secrets.append((credential, "credential", hash_.encode(), hash_[:12], 1))
        self.add("grant", grant, f"grant-{n}", {"user": user, "destination_profile": profile},
                 "grant", {"subject_kind": "user", "subject": user, "profile": profile},
                 [("user", user), ("destination_profile", profile)])

    def write(self, path):
        """As after a restore: a new epoch, so that relays ask for the whole."""
        db = sqlite3.connect(path)
        for table, rows in (("objects", self.objects), ("refs", self.refs), ("secrets", self.secrets),
                            ("state_records", self.records)):
            if rows:
                db.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)
        db.execute("UPDATE position SET epoch = epoch + 1, revision = revision + 1")
        db.commit()
        db.close()


class Program:
    def __init__(self, command, log):
        self.command, self.log = command, log

    def start(self):
        self.log.touch()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log.open("ab"),
                                        stderr=subprocess.STDOUT)
        self.started = time.time()
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def events(self, name, since=0.0):
        for line in self.log.read_text(errors="replace").splitlines():
            if f'"{name}"' in line and (event := json.loads(line)) and when(event) >= since:
                yield event

    def wait(self, name, seconds, since=0.0, condition=lambda event: True):
        end = time.time() + seconds
        while time.time() < end:
            for event in self.events(name, since):
                if condition(event):
                    return event
            time.sleep(0.02)
        raise SystemExit(f"{self.command[0]}: no {name} in {seconds} s\n{self.log.read_text()[-2000:]}")

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0


def when(event):
    from datetime import datetime
    return datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()


class Ping(threading.Thread):
    """One byte there and back on one stream, a thousand times a second at most."""

    def __init__(self, credential):
        from clients import connect
        super().__init__(daemon=True)
        server = socket.create_server(("127.0.0.1", PING_PORT))
        threading.Thread(target=self._echo, args=(server,), daemon=True).start()
        self.stream = connect(f"127.0.0.1:{PING_PORT}", credential)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.taken = []         # (when, milliseconds)
        self.start()

    @staticmethod
    def _echo(server):
        connection = server.accept()[0]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(4096):
            connection.sendall(data)

    def run(self):
        while True:
            started = time.time()
            self.stream.sendall(b"x")
            if not self.stream.recv(1):
                return
            self.taken.append((started, (time.time() - started) * 1e3))
            time.sleep(0.001)

    def said(self, since, until):
        taken = sorted(ms for at, ms in self.taken if since <= at <= until)
        if not taken:
            return "-"
        return f"{taken[len(taken) // 2]:.2f}/{taken[len(taken) * 99 // 100]:.1f}/{taken[-1]:.1f}"


def begin(args):
    """A state directory with a relay and an agent that have joined, and the programs' commands."""
    from up import Up
    shutil.rmtree(args.dir, ignore_errors=True)
    with Up(var=args.dir) as up:
        commands = {}
        for name in ("adit-controlplane", "adit-relay", "adit-agent"):
            text = pathlib.Path(f"/proc/{up.pid(name)}/cmdline").read_text()
            commands[name] = [word for word in text.split("\0") if word]
        commands["adit-agent"] += ["--allow-special", f"127.0.0.1/32:{PING_PORT}"]
        up.allow("ping", ["127.0.0.1"], [PING_PORT], allow_special=True)
        credential = up.curlrc()
        api = up.api
    logs = pathlib.Path(args.dir) / "bench"
    logs.mkdir()
    return {name: Program(command, logs / f"{name}.log") for name, command in commands.items()}, api, credential


def changes(api, relay, world, count):
    """From the request's begin to the relay's word that it is in force: milliseconds."""
    taken = []
    for i in range(count):
        started = time.time()
        answer = api("POST", "/grants", {"name": f"new-{started:.6f}".replace(".", "-"),
                                         "user": ulid("V", i * 7919 % world.size),
                                         "destination_profile": ulid("P", (i * 104729 + 1) % world.profiles)})
        if answer.status != 201:
            raise SystemExit(f"POST /grants: {answer}")
        revision = int(answer.headers["Adit-Revision"].split(".")[-1])
        event = relay.wait("state.applied", 30, started - 1, lambda e: e["revision"] >= revision)
        taken.append((when(event) - started) * 1e3)
    return sorted(taken)


def told(taken):
    return f"{statistics.median(taken):.0f}/{taken[len(taken) * 99 // 100]:.0f}"


def measure(size, args):
    programs, api, credential = begin(args)
    control, relay, agent = (programs[name] for name in ("adit-controlplane", "adit-relay", "adit-agent"))
    for program in (control, relay, agent):
        program.start()
    relay.wait("link.up", 30)
    end = time.time() + 30
    while True:
        try:
            ping = Ping(credential)
            break
        except Exception:
            if time.time() > end:
                raise
            time.sleep(0.2)
    time.sleep(3)
    before = ping.said(time.time() - 3, time.time())
    control.stop()
    world = World(size).fill()
    world.write(next(pathlib.Path(args.dir).glob("controlplane/*.db")))
    relay_cpu, small_mib = relay.cpu_s(), relay.resident_mib()
    control.start()
    published = control.wait("state.published", 120, control.started - 0.01)
    applied = relay.wait("state.applied", 120, control.started, lambda e: e["revision"] >= published["revision"])
    time.sleep(1)
    during = ping.said(control.started, when(applied) + 0.5)
    load_s = relay.cpu_s() - relay_cpu
    plain = changes(api, relay, world, args.changes)
    time.sleep(max(0.0, SNAPSHOT_S - (time.time() - when(published))))
    cpu, relay_cpu = control.cpu_s(), relay.cpu_s()
    beside = changes(api, relay, world, args.changes)
    each = (control.cpu_s() - cpu) / args.changes * 1e3, (relay.cpu_s() - relay_cpu) / args.changes * 1e3
    print(f"{size:7} | {when(published) - control.started:5.2f} | {when(applied) - when(published):5.2f}, CPU {load_s:5.2f} | "
          f"{told(plain)} | {told(beside)} | {before} | {during} | {small_mib:.0f} -> {relay.resident_mib():.0f} | "
          f"{control.resident_mib():.0f} | {each[0]:.1f}, {each[1]:.1f}", flush=True)
    for program in (agent, relay, control):
        program.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=str(ROOT / "build" / "bin"))
    parser.add_argument("--dir", default=str(ROOT / "build" / "bench-scale"))
    parser.add_argument("--changes", type=int, default=30)
    parser.add_argument("sizes", type=int, nargs="*", default=[100, 1000, 10000, 100000])
    args = parser.parse_args()
    args.dir = str(pathlib.Path(args.dir).absolute())
    if os.environ.get("ADIT_BENCH_INSIDE") != "1":
        os.environ.update(ADIT_BENCH_INSIDE="1", ADIT_BIN=str(pathlib.Path(args.bin).absolute()))
        os.execvp("unshare", ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--kill-child",
                              sys.executable, __file__, *sys.argv[1:]])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print("   size | compiled s | loaded s | change ms p50/p99 | beside a snapshot | ping ms p50/p99/max | "
          "during the load | relay MiB | control plane MiB | CPU ms a change: control plane, relay")
    for size in args.sizes:
        measure(size, args)


if __name__ == "__main__":
    main()

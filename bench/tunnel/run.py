#!/usr/bin/env python3
"""run.py [--peers A,B] [--tests T,U] [--rounds N] [--seconds S] [--out FILE]: tunnels side by side.

One interleaved run: each test goes over all peers before the next, the first peer rotates.
bench/README.md says what the figures mean.
"""
import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import machine
from peers import ADIT, ADIT_AGENT, ADIT_CONTROL, ADIT_RELAY, PEERS

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = 5000
BULK = {"down1": ("down", 1), "up1": ("up", 1), "down16": ("down", 16), "up16": ("up", 16)}
TESTS = [*BULK, "short", "ping", "beside", "memory", "recover"]
CROWD, STALLED = 500, 50
HOLDS = (1000, 5000)
STEADY_S = 6        # a link of Adit that ends sooner counts as a try that failed, and waits


class Tunnel:
    """A peer of the table, its two ends and its door."""

    def __init__(self, name, row, place, number):
        self.name, self.row, self.place = name, row, place
        self.dir = place.work / name
        self.dir.mkdir(parents=True, exist_ok=True)
        ports = {letter: 5100 + number * 10 + i for i, letter in enumerate("abcd")}
        self.words = dict(ports, dir=self.dir, bin=place.peer_bin, pem=place.pem, target=TARGET)
        self.door = ["tcp", self.fill(row["door"]), TARGET, "-"]
        self.secret = ""
        self.server = self.agent = None
        for file, text in row.get("files", {}).items():
            (self.dir / file).write_text(self.fill(text))
        for command in row.get("once", ()):
            subprocess.run(self.fill(command).split(" "), check=True)

    def fill(self, text):
        for word, value in self.words.items():
            text = text.replace("{%s}" % word, str(value))
        return text

    def run(self, command, tag):
        return machine.Program(self.fill(command), self.dir / f"{tag}.log")

    def start_server(self):
        if self.row["server"]:
            self.server = self.run(self.row["server"], "server")

    def start(self):
        self.start_server()
        if self.row["agent"]:
            machine.wait_until(lambda: is_open(int(self.fill(self.row.get("ready", "{a}")))), 10,
                               f"{self.name}'s server listens")
            self.agent = self.run(self.row["agent"], "agent")
        try:
            machine.wait_until(self.works, 15, f"{self.name} carries a byte")
        except TimeoutError:
            for log in self.dir.glob("*.log"):
                print(f"--- {log}\n{log.read_text(errors='replace')[-2000:]}")
            raise

    def works(self):
        try:
            load = subprocess.run([*self.load_command(), "hold", "1"], input=b"", timeout=2,
                                  capture_output=True, env=self.load_env())
        except subprocess.TimeoutExpired:
            return False
        return b'"count":1' in load.stdout

    def load_command(self):
        return [str(self.place.tools / "load"), *map(str, self.door)]

    def load_env(self):
        return {**os.environ, "LOAD_SECRET": self.secret}

    def roots(self):
        return [p.pid for p in (self.server, self.agent) if p]

    def stop(self):
        for program in (self.agent, self.server):
            if program:
                program.kill()
        self.server = self.agent = None

    def version(self):
        command = self.row.get("version")
        if not command:
            return ""
        said = subprocess.run(self.fill(command).split(), capture_output=True, text=True)
        lines = (said.stdout + said.stderr).split("\n")
        return next((line for line in lines if any(c.isdigit() for c in line)), "")


class Adit(Tunnel):
    """Enrolled by adit up, then its programs one by one, so that each can be killed."""

    def __init__(self, name, row, place, number):
        agent = ADIT_AGENT + row.get("agent_words", "")
        super().__init__(name, dict(row, door=str(row["port"]), ready="7443", server=ADIT_RELAY, agent=agent),
                         place, number)
        self.words["adit"] = place.adit_bin
        self.control = None
        self.enrol()
        self.door = [row["door_kind"], row["port"], TARGET, "demo"]

    def enrol(self):
        sys.path.insert(0, str(ROOT / "e2e" / "drivers"))
        os.environ["ADIT_BIN"] = str(self.place.adit_bin)
        from up import Up
        with Up(var=str(self.dir)) as up:
            agent = up.add_agent("bench", "--allow-special", f"127.0.0.1/32:{TARGET}", group="bench")
            up.allow("bench", ["127.0.0.1/32"], [TARGET], agent_group="bench", allow_special=True)
            self.secret = up.curlrc()[1]
            agent.stop()

    def start(self):
        self.control = self.run(ADIT_CONTROL, "control")
        machine.wait_until(lambda: is_open(8444), 10, "the control plane listens")
        super().start()

    def stop(self):
        super().stop()
        if self.control:
            self.control.kill()
        self.control = None

    def version(self):
        commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                                capture_output=True, text=True).stdout.strip()
        return f"{commit}, log level info"


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


# --- one measurement ------------------------------------------------------------------------
def read_until(pipe, word, so_far=b""):
    while word not in so_far:
        more = os.read(pipe.fileno(), 65536)
        if not more:
            raise RuntimeError(f"the load ended early: {so_far!r}")
        so_far += more
    return so_far


def measure(tunnel, *test, during=None):
    """The load's own figures, and CPU between its "begin" and its "end"."""
    load = subprocess.Popen([*tunnel.load_command(), *map(str, test)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, env=tunnel.load_env())
    try:
        said = read_until(load.stdout, b"begin\n")
        at, cpu, all_cpu, ours = (time.monotonic(), machine.cpu_s(tunnel.roots()), machine.all_cpu_s(),
                                  machine.cpu_s([os.getpid()]))
        control = machine.cpu_s(control_of(tunnel))
        said = read_until(load.stdout, b"end ", said)
        cpu = machine.cpu_s(tunnel.roots()) - cpu
        control = machine.cpu_s(control_of(tunnel)) - control
        strangers = machine.all_cpu_s() - all_cpu - (machine.cpu_s([os.getpid()]) - ours)
        seconds = time.monotonic() - at
        said = read_until(load.stdout, b"}\n", said)
        figures = json.loads(said.split(b"end ")[1])
        if during:
            during(figures)
    finally:
        load.stdin.close()
        load.wait(20)
    figures.update(cpu_s=round(cpu, 3), strangers=round(max(0, strangers) / max(seconds, .01), 2))
    if control_of(tunnel):
        figures["control_cpu_s"] = round(control, 3)
    if figures.get("bytes"):
        figures["cpu_s_gb"] = round(cpu / figures["bytes"] * 1e9, 3)
    if test[0] == "short" and figures["count"]:
        figures["cpu_us"] = round(cpu / figures["count"] * 1e6, 1)
    return figures


def control_of(tunnel):
    control = getattr(tunnel, "control", None)
    return [control.pid] if control else []


def measure_stalled(tunnel, seconds, number):
    """A crowd's messages with and without readers that stand still beside it; who is first changes."""
    order = (0, STALLED) if number % 2 else (STALLED, 0)
    by = {stalled: measure(tunnel, "crowd", CROWD, stalled, seconds) for stalled in order}
    figures = {name: by[STALLED][name] for name in ("count", "p50_us", "p99_us", "cpu_s", "strangers")}
    figures.update(p99_alone_us=by[0]["p99_us"], p50_alone_us=by[0]["p50_us"],
                   errors=by[0]["errors"] + by[STALLED]["errors"])
    if by[0]["p99_us"] > 0:
        figures["p99_ratio"] = round(by[STALLED]["p99_us"] / by[0]["p99_us"], 3)
    return figures


def measure_memory(tunnel):
    """A fresh pair: at rest, with idle streams, after them."""
    tunnel.stop()
    tunnel.start()
    machine.rest(0.5)
    rest = machine.resident_bytes(tunnel.roots())
    figures = {"rest": rest, "rest_private": machine.private_bytes(tunnel.roots())}
    if tunnel.server:
        figures["server_rest"] = machine.resident_bytes([tunnel.server.pid])
        figures["server_private"] = machine.private_bytes([tunnel.server.pid])
    for streams in HOLDS:
        def look(held):
            machine.rest(1.0)
            held["resident"] = machine.resident_bytes(tunnel.roots())
        held = measure(tunnel, "hold", streams, during=look)
        if held["count"]:
            figures[f"each_{streams}"] = round((held["resident"] - rest) / held["count"])
        figures[f"open_{streams}"] = held["count"]
        machine.rest(1.0)
    figures["after"] = machine.resident_bytes(tunnel.roots())
    return figures


def measure_recovery(tunnel):
    """The server, up for a while, is killed and started again at once: until a new connection works."""
    if not tunnel.server:
        return None
    machine.rest(STEADY_S)
    tunnel.server.kill()
    tunnel.start_server()
    started = time.monotonic()
    try:
        machine.wait_until(tunnel.works, 12, "a connection works")
    except TimeoutError as error:
        tunnel.stop()
        tunnel.start()
        return {"failed": str(error)}
    return {"ms": round((time.monotonic() - started) * 1000)}


def run_test(tunnel, test, seconds, number):
    if test in BULK:
        return measure(tunnel, "bulk", *BULK[test], seconds)
    if test == "short":
        return measure(tunnel, "short", 32, seconds)
    if test in ("ping", "beside"):
        return measure(tunnel, "ping", "alone" if test == "ping" else "beside", seconds)
    if test == "stalled":
        return measure_stalled(tunnel, seconds, number)
    return measure_memory(tunnel) if test == "memory" else measure_recovery(tunnel)


# --- the run --------------------------------------------------------------------------------
class Place:
    def __init__(self, options):
        self.work = pathlib.Path("/run/bench")
        self.work.mkdir(parents=True)
        self.tools = pathlib.Path(options.tools)
        self.adit_bin = pathlib.Path(options.bin)
        self.peer_bin = pathlib.Path(options.peer_bin)
        self.pem = self.work / "both.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-days", "2", "-subj", "/CN=bench", "-keyout", self.work / "key.pem",
                        "-out", self.work / "cert.pem"], check=True, capture_output=True)
        self.pem.write_text((self.work / "cert.pem").read_text() + (self.work / "key.pem").read_text())


def available(place, names):
    """The tunnels that can be started; says which cannot."""
    tunnels = []
    rows = {**{n: (Adit, row) for n, row in ADIT.items()}, **{n: (Tunnel, row) for n, row in PEERS.items()}}
    for number, (name, (kind, row)) in enumerate(rows.items()):
        program = (row.get("server") or "sh").split()[0].replace("{bin}", str(place.peer_bin))
        if names and name not in names:
            continue
        if not shutil.which(program):
            print(f"{name}: {program} is not here: left out", flush=True)
            continue
        tunnel = kind(name, row, place, number)
        tunnels.append(tunnel)
    return tunnels


def is_exclusive(tunnel):
    return isinstance(tunnel, Adit)


def run(options, place):
    tunnels = available(place, options.peers)
    # The two doors of Adit share one installation's ports: one set of programs serves both.
    lead = next((t for t in tunnels if is_exclusive(t)), None)
    results = {t.name: {} for t in tunnels}
    for t in tunnels:
        if is_exclusive(t) and t is not lead:
            t.stop, t.start, t.start_server = (lambda: None,) * 3
            t.secret, t.roots = lead.secret, lead.roots
        t.start()
    for number in range(options.rounds):
        order = tunnels[number % len(tunnels):] + tunnels[:number % len(tunnels)]
        for test in options.tests:
            for t in order:
                if test in ("memory", "recover") and (t.name == "direct" or is_exclusive(t) and t is not lead):
                    continue
                if test == "memory" and number >= options.memory_rounds:
                    continue
                try:
                    figures = run_test(t, test, options.seconds, number)
                except (RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
                    figures = {"failed": str(error)}
                results[t.name].setdefault(test, []).append(figures)
                print(f"{t.name:13} {test:8} {json.dumps(figures)}", flush=True)
    document = {"when": time.strftime("%F %T"), "cores": os.cpu_count(), "load": os.getloadavg(),
                "rounds": options.rounds, "seconds": options.seconds,
                "peers": {t.name: {"cipher": t.row.get("cipher", "TLS 1.3 AES-128-GCM"),
                                   "version": t.version()} for t in tunnels},
                "results": results}
    for t in tunnels:
        t.stop()
    return document


def parse():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    words = lambda text: text.split(",") if text else []
    p = argparse.ArgumentParser()
    p.add_argument("--bin", required=True, help="where Adit's programs are")
    p.add_argument("--tools", required=True, help="where load and target are")
    p.add_argument("--peer-bin", default=str(cache / "adit-bench" / "bin"))
    p.add_argument("--peers", type=words, default=[])
    p.add_argument("--tests", type=words, default=TESTS)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--memory-rounds", type=int, default=1)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--out")
    p.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return p.parse_args()


def main():
    options = parse()
    if not options.inside:      # namespaces of its own: ports, /run, processes; all ends with it
        os.execvp("unshare", ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--kill-child",
                              sys.executable, __file__, "--inside", *sys.argv[1:]])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.makedirs("/run/sshd")
    target = machine.Program(f"{options.tools}/target {TARGET}", "/dev/null")
    try:
        document = run(options, Place(options))
    finally:
        target.kill()
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(document, indent=1))
    from report import tables
    print(tables(document))


if __name__ == "__main__":
    main()

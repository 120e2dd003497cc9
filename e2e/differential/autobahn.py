#!/usr/bin/env python3
"""autobahn.py [--build DIR] [--only client|relay]: both ends of a tunnel's WebSocket against Autobahn.

lib/ws is the client of its fuzzing server; lib/ws/server and lib/ws/conn, the relay's end, with TLS
and without, are the server of its fuzzing client.  Cases 1 to 7, 9 and 10; no compression is offered, so 12 and 13
do not apply.  Needs wstest: named by ADIT_WSTEST, in PATH, or in .venv-wstest/, where "tools/setup
long" puts it when there is a Python 2.7.
"""
import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "drivers"))
from harness import wait_until                                  # noqa: E402

CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
CLIENT_ROOMS = ["http1", "ws", "crypto", "base"]
RELAY_ROOMS = ["ws_server", "ws_conn", "ws", "http1", "net", "crypto", "base"]
RELAY_LIBRARIES = ["-luv", "-lcares", "-lcmocka"]
LIMIT = 600         # seconds for all cases; they take some ten


def driver_build(build, here, name, rooms, more):
    archives = [f"{build}/lib/lib_{room}.a" for room in rooms]
    subprocess.run(["make", "-s", f"BUILD={build}"] + archives, cwd=ROOT, check=True)
    subprocess.run(["cc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-I.", "-o", str(here / name),
                    f"e2e/differential/{name}.c"] + archives + more + ["-lssl", "-lcrypto", "-largon2"], cwd=ROOT, check=True)


def server_start(wstest, here):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    spec = here / "spec.json"
    spec.write_text(json.dumps({"url": f"ws://127.0.0.1:{port}", "outdir": str(here / "report"), "cases": CASES,
                                "exclude-cases": [], "exclude-agent-cases": {}}))
    log = open(here / "log", "wb")
    server = subprocess.Popen([wstest, "-m", "fuzzingserver", "-s", str(spec), "-w", str(here)],
                              stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=here)

    def listens():
        if server.poll() is not None:
            raise AssertionError((here / "log").read_text())
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, 30, "wstest listens")
    return server, port


def find_wstest():
    here = ROOT / ".venv-wstest/bin/wstest"
    return os.environ.get("ADIT_WSTEST") or shutil.which("wstest") or (str(here) if here.exists() else None)


def client(wstest, build, here):
    """{(agent, case): result} of our client."""
    driver_build(build, here, "ws_echo", CLIENT_ROOMS, [])
    server, port = server_start(wstest, here)
    try:
        subprocess.run([str(here / "ws_echo"), str(port)], check=True, timeout=LIMIT)
        wait_until((here / "report" / "index.json").exists, 10, "the report is written")
    finally:
        server.terminate()
        server.wait(10)
    return results(here)


def relay(wstest, build, here):
    """The same of the relay's end, with TLS and without."""
    driver_build(build, here, "ws_relay", RELAY_ROOMS, RELAY_LIBRARIES)
    found = {}
    for agent, scheme, options in (("relay", "wss", []), ("relay-plain", "ws", ["--plain"])):
        server = subprocess.Popen([str(here / "ws_relay")] + options, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            url = f"{scheme}://127.0.0.1:{int(server.stdout.readline())}/tunnel"
            spec = here / "spec.json"
            spec.write_text(json.dumps({"outdir": str(here / "report"), "cases": CASES, "exclude-cases": [],
                                        "servers": [{"agent": agent, "url": url, "protocols": ["adit.v1"]}],
                                        "exclude-agent-cases": {}}))
            with open(here / "log", "wb") as log:
                subprocess.run([wstest, "-m", "fuzzingclient", "-s", str(spec)], stdin=subprocess.DEVNULL, stdout=log,
                               stderr=log, cwd=here, timeout=LIMIT, check=True)
            found |= results(here)
        finally:
            server.terminate()
            if server.wait(10):
                raise AssertionError(f"ws_relay ended with {server.returncode}")
    return found


def results(here):
    agents = json.loads((here / "report" / "index.json").read_text())
    return {(agent, case): (r["behavior"], r["behaviorClose"]) for agent, cases in agents.items()
            for case, r in cases.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", choices=("client", "relay"))
    options = parser.parse_args()
    wstest = find_wstest()
    if not wstest:
        print("autobahn: 0 passed, 0 failed, 1 skipped (wstest is not installed)")
        return 0
    found = {}
    for end in (client, relay):
        if options.only in (None, end.__name__):
            with tempfile.TemporaryDirectory() as directory:
                found |= end(wstest, options.build, pathlib.Path(directory))
    bad = {key: r for key, r in found.items() if not set(r) <= set(GOOD)}
    for (agent, case), r in sorted(found.items()):
        if (agent, case) in bad or "NON-STRICT" in r:
            print(f"{'FAILED' if (agent, case) in bad else 'non-strict'}: {agent} {case}: {r[0]}, close {r[1]}")
    agents = {agent for agent, _ in found}
    print(", ".join(f"{agent}: {sum(a == agent for a, _ in found)} cases" for agent in sorted(agents)))
    print(f"autobahn: {len(found) - len(bad)} passed, {len(bad)} failed, 0 skipped")
    return 1 if bad or len(agents) < (1 if options.only == "client" else 2) else 0


sys.exit(main())

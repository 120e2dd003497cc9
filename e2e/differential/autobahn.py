#!/usr/bin/env python3
"""autobahn.py [--build DIR]: lib/ws as the client of Autobahn's fuzzing server.

Cases 1 to 7, 9 and 10; no compression is offered, so 12 and 13 do not apply.  Needs wstest, in
PATH or named by ADIT_WSTEST (a Python 2.7 virtual environment: pip install autobahntestsuite).
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
ROOMS = ["http1", "ws", "crypto", "base"]
LIMIT = 600         # seconds for all cases; they take some ten


def client_build(build, here):
    archives = [f"{build}/lib/lib_{room}.a" for room in ROOMS]
    subprocess.run(["make", "-s", f"BUILD={build}"] + archives, cwd=ROOT, check=True)
    subprocess.run(["cc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-I.", "-o", str(here / "ws_echo"),
                    "e2e/differential/ws_echo.c"] + archives + ["-lssl", "-lcrypto", "-largon2"], cwd=ROOT, check=True)


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    options = parser.parse_args()
    wstest = os.environ.get("ADIT_WSTEST") or shutil.which("wstest")
    if not wstest:
        print("autobahn: 0 passed, 0 failed, 1 skipped (wstest is not installed)")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        here = pathlib.Path(directory)
        client_build(options.build, here)
        server, port = server_start(wstest, here)
        try:
            subprocess.run([str(here / "ws_echo"), str(port)], check=True, timeout=LIMIT)
            wait_until((here / "report" / "index.json").exists, 10, "the report is written")
        finally:
            server.terminate()
            server.wait(10)
        results = json.loads((here / "report" / "index.json").read_text())["adit"]
    bad = {case: r for case, r in results.items() if r["behavior"] not in GOOD or r["behaviorClose"] not in GOOD}
    for case, r in sorted(bad.items()):
        print(f"FAILED {case}: {r['behavior']}, close {r['behaviorClose']}")
    for case, r in sorted(results.items()):
        if r["behavior"] == "NON-STRICT":
            print(f"non-strict: {case}")
    print(f"autobahn: {len(results) - len(bad)} passed, {len(bad)} failed, 0 skipped")
    return 1 if bad or not results else 0


sys.exit(main())

#!/usr/bin/env python3
"""http1.py [--build DIR] [-v] [WORD…]: lib/http1 beside HAProxy and nginx.

Every case of http1_cases.py (those whose name contains a WORD) goes through each reference to an
upstream that records what arrives, and through http1_probe.c.  The requests that ours takes must
be, one by one and byte for byte of content, those that the reference forwards; refusing more than
the reference is right, taking more is not, unless LENIENT says why.
"""
import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import queue
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "drivers")]
from http1_cases import all_cases                               # noqa: E402
from harness import wait_until                                  # noqa: E402

LANES = 6
SLOW = 5            # seconds that a connection may take; the references' own limits are far below

# (reference, pattern of the case's name): why ours may take what the reference refuses.
LENIENT = [
    ("nginx", r"\\t", "a tab is white space around a value (RFC 9110 section 5.6.3)"),
    ("nginx", r"^line b'get ", "a method is any token (RFC 9110 section 9.1)"),
    ("nginx", r"^length b'(0|00|4)'", "the rest of the body makes such a method"),
    ("nginx", r"%00", "a path is the origin's; nobody here decodes it"),
    ("nginx", r"^line b'OPTIONS \*", "it serves no OPTIONS *"),
    ("nginx", r"^line b'CONNECT", "it serves no CONNECT"),
    ("nginx", r"^host b'Host: a\.\.b", "names are judged where they are used"),
]


class Upstream:
    """Records requests as a reference forwards them: (method, path, content, is whole)."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.requests, self.open = [], 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            with self.lock:
                self.open += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        connection.settimeout(SLOW)
        try:
            with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
                while self.serve_one(connection, stream):
                    pass
        finally:
            with self.lock:
                self.open -= 1

    def serve_one(self, connection, stream):
        head = []
        while not head or head[-1].strip():
            head.append(stream.readline(1 << 20))
            if not head[-1].endswith(b"\n"):
                return False
        method, target = (head[0].split(b" ") + [b"(no request line)"])[:2]
        content, is_whole = read_content(stream, b"".join(head[1:]))
        with self.lock:
            path = re.sub(rb"^http://[^/]*/?", b"/", target, flags=re.I)
            self.requests.append((method, path, content, is_whole))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return is_whole and method != b"CONNECT"

    def take(self):
        wait_until(lambda: self.open == 0, SLOW, "the reference lets go of the upstream")
        with self.lock:
            taken, self.requests = self.requests, []
        return taken


def read_content(stream, fields):
    """What a reference writes is plain: one length or chunks."""
    lengths = re.findall(rb"(?im)^content-length: *(\d+)\r?$", fields)
    is_chunked = re.search(rb"(?im)^transfer-encoding: *chunked\r?$", fields)
    if len(lengths) > 1 or (lengths and is_chunked):
        return b"(forwarded in two framings)", True
    if not is_chunked:
        wanted = int(lengths[0]) if lengths else 0
        content = stream.read(wanted)
        return content, len(content) == wanted
    content = b""
    while True:
        line = stream.readline(1000)
        size = re.match(rb"([0-9a-fA-F]+)", line)
        if not size:
            return content, False
        part = stream.read(int(size[1], 16))
        content += part
        end = stream.readline(1000)
        if int(size[1], 16) == 0:
            while end.strip():
                end = stream.readline(1000)
            return content, end.endswith(b"\n")


HAPROXY = """
defaults
    mode http
    retries 0
    http-reuse never
    timeout connect 2s
    timeout server 2s
    timeout client 1s
    timeout http-request 1s
    timeout http-keep-alive 50ms
"""
HAPROXY_LANE = """
listen lane{lane}
    bind 127.0.0.1:{port}
    server upstream 127.0.0.1:{upstream}
"""
NGINX = """
daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/nginx.log crit; user root;
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;
    client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 50ms; lingering_close off;
    proxy_http_version 1.1; proxy_set_header Connection close; proxy_connect_timeout 2s; proxy_read_timeout 2s;
"""
NGINX_LANE = "    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }}\n"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Reference:
    """A reference with lanes of its own: a port and an upstream each."""

    def __init__(self, name, here):
        self.name, self.upstreams = name, [Upstream() for _ in range(LANES)]
        self.ports = [free_port() for _ in range(LANES)]
        lanes = [dict(lane=i, port=self.ports[i], upstream=self.upstreams[i].port) for i in range(LANES)]
        self.file, self.log = here / f"{name}.conf", open(here / f"{name}.out", "w+b")
        if name == "haproxy":
            self.file.write_text(HAPROXY + "".join(HAPROXY_LANE.format(**lane) for lane in lanes))
            command = ["haproxy", "-db", "-q", "-f", str(self.file)]
        else:
            self.file.write_text(NGINX.format(here=here) + "".join(NGINX_LANE.format(**lane) for lane in lanes) + "}\n")
            command = ["nginx", "-p", str(here), "-c", str(self.file)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(self.is_up, 10, f"{name} listens")

    def is_up(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise AssertionError(f"{self.name} ended: {self.log.read().decode()}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.ports[-1]), 1).close()
            return True
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def run(self, lane, text):
        """What the upstream of that lane saw of one connection."""
        deadline = time.monotonic() + SLOW
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.ports[lane]), 2) as s:
                s.settimeout(SLOW)
                s.sendall(text)
                while s.recv(65536) and time.monotonic() < deadline:
                    pass
        return self.upstreams[lane].take()


def probe_build(build, here):
    archives = [f"{build}/lib/lib_http1.a", f"{build}/lib/lib_base.a"]
    subprocess.run(["make", "-s", f"BUILD={build}"] + archives, cwd=ROOT, check=True)
    subprocess.run(["cc", "-std=gnu17", "-O1", "-Wall", "-Wextra", "-I.", "-o", str(here / "probe"),
                    "e2e/differential/http1_probe.c"] + archives, cwd=ROOT, check=True)


def probe_run(here, texts):
    """For each text: the whole requests that ours takes, and how the connection ends."""
    stdin = b"".join(b"%d\n%s" % (len(text), text) for text in texts)
    out = subprocess.run([str(here / "probe")], input=stdin, capture_output=True, check=True).stdout
    answers = []
    for answer in out.split(b"\n\n")[:len(texts)]:
        lines = [line.split(b"\t") for line in answer.split(b"\n")]
        taken = [(line[1], line[2], bytes.fromhex(line[3].decode())) for line in lines
                 if line[0] == b"request" and line[4] == b"whole"]
        answers.append((taken, lines[-1][1].decode()))
    assert len(answers) == len(texts)
    return answers


def judge(reference, name, ours, forwarded):
    """(what is wrong or None, whether ours took less)"""
    theirs = [request[:3] for request in forwarded if request[3]]
    for a, b in zip(ours, theirs):
        if a != b:
            return f"ours takes {a}, {reference} forwards {b}", False
    if len(ours) > len(theirs):
        if any(r == reference and re.search(pattern, name) for r, pattern, _ in LENIENT):
            return None, False
        return f"ours takes {ours}, {reference} forwards only {theirs}", False
    return None, len(ours) < len(theirs)


def differences(reference, cases, answers, verbose):
    """Runs every case through one reference; (passed, failed, stricter)."""
    lanes = queue.Queue()
    for lane in range(LANES):
        lanes.put(lane)

    def one(name):
        lane = lanes.get()
        try:
            return name, reference.run(lane, cases[name])
        finally:
            lanes.put(lane)

    counts = [0, 0, 0]
    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        for name, forwarded in pool.map(one, cases):
            ours, end = answers[name]
            wrong, is_stricter = judge(reference.name, name, ours, forwarded)
            counts[1 if wrong else 0] += 1
            counts[2] += is_stricter
            if wrong:
                print(f"FAILED {reference.name}: {name}: {wrong}; ours ends: {end}")
            elif verbose and is_stricter:
                print(f"stricter than {reference.name}: {name}: {end}")
    return counts


def own_network():
    """Every port is free in a network namespace of its own; that takes root."""
    if os.geteuid() == 0 and shutil.which("unshare") and "ADIT_OWN_NETWORK" not in os.environ:
        os.environ["ADIT_OWN_NETWORK"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                              sys.executable] + sys.argv)


def main():
    own_network()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("-v", "--verbose", action="store_true", help="also where ours refuses more")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    cases = {name: text for name, text in all_cases().items()
             if not options.words or any(word in name for word in options.words)}
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as directory:
        here = pathlib.Path(directory)
        probe_build(options.build, here)
        answers = dict(zip(cases, probe_run(here, list(cases.values()))))
        for name in ("haproxy", "nginx"):
            if not shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin"):
                print(f"skipped: {name} is not installed")
                skipped += len(cases)
                continue
            reference = Reference(name, here)
            try:
                counts = differences(reference, cases, answers, options.verbose)
            finally:
                reference.stop()
            passed, failed = passed + counts[0], failed + counts[1]
            print(f"{name}: {counts[2]} of {len(cases)} cases are refused by ours and taken by it")
    print(f"http1 differential: {passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not passed else 0)


main()

# it lives through system calls that fail, says nothing wrong meanwhile, and serves as before afterwards
# timeout: 600
import itertools
import os
import signal
import subprocess
import threading
import time

from association import Association
from clients import Refused, connect
from harness import check, wait_until
from inside import Pattern, receive_to_end
from up import Up, closed_network

SIZE, FETCHES, FETCH_S, ROUNDS, WAIT_S = 60_000, 6, 5, 5, 15
RELAY, AGENT, CONTROL = "adit-relay", "adit-agent", "adit-controlplane"

# program, call, error, which of them: from the first on, every so many.  epoll_ctl of relay and control
# plane is not here: docs/decisions/link-carriers.md.  Nor is brk: it answers with an address and never with
# an error, so the C library takes an error made up for it as memory, and touches what is not there.
ROWS = [
    (RELAY, "accept4", "EMFILE", "1+2"), (RELAY, "accept4", "ECONNABORTED", "1+2"),
    (RELAY, "epoll_wait,epoll_pwait", "EINTR", "1+3"),
    (RELAY, "sendmsg,sendto,writev", "ENOBUFS", "5+9"), (RELAY, "sendmsg,sendto,write,writev", "EINTR", "3+5"),
    (RELAY, "recvmsg,recvfrom,readv", "ECONNRESET", "9+13"), (RELAY, "read,recvfrom", "EINTR", "3+5"),
    (RELAY, "setsockopt,getsockopt", "EINVAL", "1+1"), (RELAY, "openat", "EIO", "1+1"),
    (RELAY, "fsync,fdatasync,rename,renameat", "EIO", "1+1"),
    (RELAY, "mmap", "ENOMEM", "2+3"), (RELAY, "socket", "EMFILE", "1+2"),
    (RELAY, "shutdown", "ENOTCONN", "1+1"), (RELAY, "openat", "EMFILE", "1+1"),
    (AGENT, "connect", "ENETUNREACH", "1+2"), (AGENT, "connect", "ETIMEDOUT", "1+2"), (AGENT, "socket", "ENFILE", "1+2"),
    (AGENT, "epoll_wait,epoll_pwait", "EINTR", "1+3"), (AGENT, "epoll_ctl", "ENOMEM", "1+3"),
    (AGENT, "fsync,fdatasync,rename,renameat", "EIO", "1+1"),
    (AGENT, "setsockopt,getsockopt", "EINVAL", "1+1"), (AGENT, "shutdown", "ENOTCONN", "1+1"),
    (CONTROL, "accept4", "EMFILE", "1+2"), (CONTROL, "getsockname,getpeername,setsockopt", "EINVAL", "1+1"),
    (CONTROL, "fsync,fdatasync", "EIO", "1+2"), (CONTROL, "pwrite64,write", "EIO", "4+5"), (CONTROL, "pread64", "EIO", "4+5"),
    (CONTROL, "epoll_wait,epoll_pwait,poll,select", "EINTR", "1+3"), (CONTROL, "mmap", "ENOMEM", "2+3"),
]
# After these the agent may wait 8 s before it dials again.
LATER = [
    (AGENT, "sendmsg,writev,write", "EPIPE", "7+11"),
    (AGENT, "recvfrom,recvmsg,read,readv", "ECONNRESET", "9+13"), (AGENT, "mmap", "ENOMEM", "2+3"),
    (AGENT, "sendmsg,writev,write,recvfrom,read", "EIO", "3+5"), (RELAY, "mmap,mremap", "ENOMEM", "1+1"),
]
ALL = ROWS + (LATER if os.environ.get("ADIT_LONG") else [])


def fetch(up, n):
    """"ok", or how it failed; never other bytes with a clean end."""
    try:
        with connect("files.corp.test:7000", up.curlrc()) as stream:
            stream.settimeout(FETCH_S)
            stream.sendall(f"send {n} {SIZE}\n".encode())
            got = receive_to_end(stream)
    except (Refused, OSError, AssertionError) as error:
        return repr(error)
    return "ok" if got == (SIZE, Pattern(n, SIZE).sha256()) else f"other bytes: {got[0]}"


def associate(up):
    """A socket of its own for each association: "ok", or how it failed."""
    try:
        with Association(up.curlrc()):
            return "ok"
    except (Refused, OSError, AssertionError) as error:
        return repr(error)


def fetch_many(up, said):
    def one(n):
        said[n] = fetch(up, n)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(FETCHES)]
    for thread in threads:
        thread.start()
    name = f"n{next(names)}"            # the agent hears of a new grant, and keeps it
    for n, (path, body) in enumerate((
            ("/groups", {"name": name}),
            ("/destination-profiles", {"name": name, "hosts": [f"{name}.corp.test"], "agent_group": "inner", "ports": ["7000"]}),
            ("/grants", {"name": name, "user": "demo", "destination_profile": name}))):
        try:
            said[f"write {n}"] = up.api("POST", path, body).status
        except OSError as error:
            said[f"write {n}"] = repr(error)
    said["association"] = [associate(up) for _ in range(3)]
    for thread in threads:
        thread.join()


def with_failing(pid, call, error, when):
    tracer = subprocess.Popen(["strace", "-f", "-q", "-p", str(pid), "-e", f"trace={call}",
                               "-e", f"inject={call}:error={error}:when={when}", "-o", "/tmp/trace"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: "TracerPid:\t0" not in open(f"/proc/{pid}/status").read(), 10, "strace traces")
    said, until = {}, time.monotonic() + WAIT_S     # a relay that failed to ask for news waits 5 s
    for n in itertools.count():
        fetch_many(up, said)
        if "(INJECTED)" in open("/tmp/trace").read() or n >= ROUNDS and ("mmap" in call or time.monotonic() > until):
            break
    tracer.send_signal(signal.SIGINT)
    tracer.wait(10)
    return said, open("/tmp/trace").read().count("(INJECTED)")


names = iter(range(1 << 30))
with Up() as up:
    _, _, far = closed_network(up)
    injected = 0
    for program, call, error, when in ALL:
        pid = far.process.pid if program == AGENT else up.pid(program)
        said, count = with_failing(pid, call, error, when)
        injected += count
        wrong = [text for text in said.values() if "other bytes" in str(text)]
        print(f"{program} {call} {error}: {count} failed calls, {list(said.values()).count('ok')} of {FETCHES} fetched, "
              f"writes {[v for k, v in said.items() if str(k).startswith('write')]}, "
              f"associations {[text[:30] for text in said['association']]}")
        check(not wrong, program, call, error, said)
        check(count or "mmap" in call, "no call failed", program, call, error)     # memory may be there already
        wait_until(lambda: fetch(up, "after") == "ok", 60, lambda: f"after {program} {call} {error}: {fetch(up, 'x')}")
        wait_until(up.is_answering, 30, f"the control plane answers after {call} {error}")
        check(far.process.process.poll() is None, "the agent ended", program, call, error, far.process.output[-2000:])
        if program != AGENT:
            check(up.pid(program) == pid, "it was started again", program, call, error)
    check(injected > 5 * len(ALL), injected)

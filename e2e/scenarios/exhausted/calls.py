# it lives through system calls that fail, says nothing wrong meanwhile, and serves as before afterwards
# timeout: 600
import os
import signal
import subprocess
import threading

from clients import Refused, connect
from harness import check, wait_until
from inside import Pattern, receive_to_end
from up import Up, closed_network

SIZE, FETCHES, FETCH_S = 60_000, 6, 5
RELAY, AGENT, CONTROL = "adit-relay", "adit-agent", "adit-controlplane"

# program, call, error, which of them: from the first on, every so many.  epoll_ctl of relay and control
# plane is not here: docs/decisions/link-carriers.md.
ROWS = [
    (RELAY, "accept4", "EMFILE", "1+2"), (RELAY, "accept4", "ECONNABORTED", "1+2"),
    (RELAY, "epoll_wait,epoll_pwait", "EINTR", "1+3"),
    (RELAY, "sendmsg,sendto,writev", "ENOBUFS", "5+9"), (RELAY, "sendmsg,sendto,write,writev", "EINTR", "3+5"),
    (RELAY, "recvmsg,recvfrom,readv", "ECONNRESET", "9+13"), (RELAY, "read,recvfrom", "EINTR", "3+5"),
    (RELAY, "setsockopt,getsockopt", "EINVAL", "1+1"), (RELAY, "openat", "EIO", "1+1"),
    (RELAY, "fsync,fdatasync,rename,renameat", "EIO", "1+1"), (RELAY, "getrandom", "EINTR", "1+3"),
    (RELAY, "mmap,brk", "ENOMEM", "2+3"),
    (AGENT, "connect", "ENETUNREACH", "1+2"), (AGENT, "connect", "ETIMEDOUT", "1+2"), (AGENT, "socket", "ENFILE", "1+2"),
    (AGENT, "epoll_wait,epoll_pwait", "EINTR", "1+3"), (AGENT, "epoll_ctl", "ENOMEM", "1+3"),
    (AGENT, "fsync,fdatasync,rename,renameat", "EIO", "1+1"), (AGENT, "getrandom", "EINTR", "1+3"),
    (CONTROL, "accept4", "EMFILE", "1+2"), (CONTROL, "fsync,fdatasync", "EIO", "1+2"),
    (CONTROL, "pwrite64,write", "EIO", "4+5"), (CONTROL, "rename,openat", "EIO", "1+2"),
    (CONTROL, "epoll_wait,epoll_pwait,poll,select", "EINTR", "1+3"), (CONTROL, "mmap,brk", "ENOMEM", "2+3"),
]
# After these the agent may wait 8 s before it dials again.
LATER = [
    (AGENT, "sendmsg,writev,write", "EPIPE", "7+11"),
    (AGENT, "recvfrom,recvmsg,read,readv", "ECONNRESET", "9+13"), (AGENT, "mmap,brk", "ENOMEM", "2+3"),
    (AGENT, "sendmsg,writev,write,recvfrom,read", "EIO", "3+5"), (RELAY, "mmap,brk,mremap", "ENOMEM", "1+1"),
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


def fetch_many(up, said):
    def one(n):
        said[n] = fetch(up, n)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(FETCHES)]
    for thread in threads:
        thread.start()
    for n in range(3):
        try:
            said[f"write {n}"] = up.api("POST", "/groups", {"name": f"g{next(names)}"}).status
        except OSError as error:
            said[f"write {n}"] = repr(error)
    for thread in threads:
        thread.join()


def with_failing(pid, call, error, when):
    tracer = subprocess.Popen(["strace", "-f", "-q", "-p", str(pid), "-e", f"trace={call}",
                               "-e", f"inject={call}:error={error}:when={when}", "-o", "/tmp/trace"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: "TracerPid:\t0" not in open(f"/proc/{pid}/status").read(), 10, "strace traces")
    said = {}
    fetch_many(up, said)
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
              f"writes {[v for k, v in said.items() if str(k).startswith('write')]}")
        check(not wrong, program, call, error, said)
        wait_until(lambda: fetch(up, "after") == "ok", 60, lambda: f"after {program} {call} {error}: {fetch(up, 'x')}")
        wait_until(up.is_answering, 30, f"the control plane answers after {call} {error}")
        check(far.process.process.poll() is None, "the agent ended", program, call, error, far.process.output[-2000:])
        if program != AGENT:
            check(up.pid(program) == pid, "it was started again", program, call, error)
    check(injected > 5 * len(ALL), injected)

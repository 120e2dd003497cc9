# it makes a new link when the ids of one are used up, before it needs it: no stream fails, and those that live move whole
# timeout: 600
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess

STOCK, HERE = pathlib.Path(os.environ["ADIT_BIN"]), pathlib.Path("/tmp/bin")
subprocess.run(["make", "-s", f"BUILD={STOCK.parent}", "few-ids"], check=True)
shutil.copytree(STOCK, HERE)
shutil.copy(STOCK.parent / "few-ids/adit-relay", HERE / "adit-relay")
os.environ["ADIT_BIN"] = str(HERE)

from attack import metric                                       # noqa: E402
from clients import connect                                     # noqa: E402
from harness import check, wait_until                           # noqa: E402
from inside import Pattern, receive_to_end                      # noqa: E402
from up import Up, closed_network                               # noqa: E402

IDS, LINKS, SIZE, AT_A_TIME = 48, 12, 20_000, 6
LONG_SIZE, STEP = 40_000_000, 1 << 16


def short(credential, n):
    """One stream from its open to its end; None when it was whole."""
    try:
        with connect("files.corp.test:7000", credential) as stream:
            stream.settimeout(60)
            stream.sendall(f"send {n} {SIZE}\n".encode())
            got = receive_to_end(stream)
    except Exception as error:              # a refusal, a reset, a timeout: all are wrong here
        return n, repr(error)
    return None if got == (SIZE, Pattern(n, SIZE).sha256()) else (n, got)


def echoes(stream, n):
    said = f"{n:08}".encode()
    stream.sendall(said)
    while len(said) > 0:
        got = stream.recv(len(said))
        check(got and said.startswith(got), "a living stream was lost or wrong", n, got)
        said = said[len(got):]


def told(agent, event):
    lines = [json.loads(line) for line in agent.process.lines if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


with Up() as up, concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
    _, _, agent = closed_network(up)
    credential = up.curlrc()
    living = connect("files.corp.test:7000", credential)
    living.sendall(b"echo\n")
    long = connect("files.corp.test:7000", credential)
    long.sendall(f"send long {LONG_SIZE}\n".encode())
    moved, n = metric("adit_relay_streams_moved_total"), 0
    while len(told(agent, "link.renewed")) < LINKS:
        check(n < 4 * IDS * LINKS, "the ids never end", n, agent.process.output[-2000:])
        wrong = [w for w in pool.map(lambda k: short(credential, k), range(n, n + AT_A_TIME)) if w]
        check(not wrong, wrong)
        n += AT_A_TIME
        echoes(living, n)
    check(n > IDS * (LINKS - 3), n, "streams were enough for", LINKS, "links")
    reasons = {line["reason"] for line in told(agent, "link.goaway")}
    check(reasons == {"link-renew"} and not told(agent, "link.down"), reasons, told(agent, "link.down"))
    check(metric("adit_relay_streams_moved_total") - moved >= LINKS, "living streams did not move")
    check(receive_to_end(long) == (LONG_SIZE, Pattern("long", LONG_SIZE).sha256()), "the long stream is not whole")
    echoes(living, n + 1)
    wait_until(lambda: metric("adit_relay_links") <= 2, 20, lambda: metric("adit_relay_links"))
    print(f"{n} streams over {LINKS} links of {IDS} ids; {metric('adit_relay_streams_moved_total') - moved:.0f} moves")

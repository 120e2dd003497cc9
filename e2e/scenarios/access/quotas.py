# it holds users, groups, agents and all to their quotas of streams, new streams, bytes a second and bytes a day
# timeout: 180
# on PostgreSQL too
import datetime
import json
import re
import signal
import subprocess
import time

from clients import Refused, connect, receive_exactly
from harness import check, wait_until
from places import explained, in_places, metrics
from up import BIN, Up, closed_network

TARGET = "files.corp.test:7000"
TOLD = {"ADIT_RELAY_QUOTAS_TOLD_MS": "200ms"}
MEG = 1 << 20


def refused(who, target=TARGET):
    try:
        connect(target, who).close()
        return None
    except Refused as r:
        return r


def reason(who):
    r = refused(who)
    return r and r.reason


def usage(up, name):
    return up.api("GET", f"/quotas/{name}").body["usage"]


def download(who, seed, n):
    """Bytes and seconds of a download over a tunnel; fewer bytes when it was cut."""
    s, got, start = connect(TARGET, who), 0, time.monotonic()
    s.sendall(f"send {seed} {n}\n".encode())
    try:
        while piece := s.recv(1 << 16):
            got += len(piece)
    except ConnectionError:
        pass
    s.close()
    return got, time.monotonic() - start


def curl(up, who, *args):
    rc = up.var / f"{who[0]}.curlrc"
    rc.write_text(f'proxy = "http://127.0.0.1:8080"\nproxytunnel\nproxy-user = "{who[0]}:{who[1]}"\nnoproxy = ""\n')
    return subprocess.run(["curl", "-sS", "--max-time", "30", "-K", rc, *args], capture_output=True, text=True)


with Up(env=TOLD) as up:
    inside, _, _ = closed_network(up)
    users = {}
    for name in ("ann", "ben", "cleo", "dan"):
        users[name] = up.add_user(name)
        up.api.make("grants", name=name, user=name, destination_profile="inner")
    up.api.make("groups", name="staff")
    check(up.api("PUT", "/groups/staff/members/ben?wait=applied", {}).status in (200, 201))
    ann, ben, cleo, dan = (users[name] for name in ("ann", "ben", "cleo", "dan"))

    # Streams at once, of a user, a group, an agent, all: the next one is refused, nobody else is.
    rows = [("user", "ann", "quota-user", ann, cleo), ("group", "staff", "quota-group", ben, cleo),
            ("agent", "inner", "quota-agent", cleo, None), ("scope", "all", "quota-all", dan, None)]
    for field, of, why, who, other in rows:
        up.api.make("quotas", name=why, max_streams=1, **{field: of})
        first = connect(TARGET, who)
        check(reason(who) == why, why, refused(who))
        check(other is None or reason(other) is None, "another is not under it")
        in_places(up, why, "request.refused", "adit_relay_refused_total",
                  record=("route-decisions", {"user_name": who[0]}), user=who[0])
        wait_until(lambda: usage(up, why)["streams"] == 1 and usage(up, why)["saturated"] == ["max_streams"], 10,
                   lambda: f"the usage is told: {usage(up, why)}")
        wait_until(lambda: why in explained(up, who[0], TARGET), 15, lambda: explained(up, who[0], TARGET))
        first.close()
        wait_until(lambda: reason(who) is None, 5, "the place is free again")
        check(up.api("DELETE", f"/quotas/{why}?wait=applied").status == 204)
        check(reason(who) is None)

    # New streams in a second: a burst, then so many as come by; Retry-After says when.
    up.api.make("quotas", name="rate", user="ann", streams_per_second=1, streams_burst=2)
    wait_until(lambda: reason(ann) == "quota-user", 5, "more than two at a time are refused")
    told = curl(up, ann, "-D", "-", "-o", "/dev/null", f"http://{TARGET}/")
    check(re.search(r"(?im)^retry-after: 1\r?$", told.stdout) and "quota-user" in told.stdout, told)
    wait_until(lambda: reason(ann) is None, 5, "one a second passes")
    check(reason(cleo) is None)
    check(up.api("DELETE", "/quotas/rate?wait=applied").status == 204)

    # Bytes in a second: slowed down, whole, and without harm to others; each stream gets its part.
    up.api.make("quotas", name="slow", user="ann", bytes_per_second=MEG)
    got, seconds = download(ann, 1, 3 * MEG)
    check(got == 3 * MEG and seconds > 2, got, seconds)
    s = connect(TARGET, ann)
    s.sendall(b"send 2 100000000\n")
    receive_exactly(s, MEG // 2)
    got, seconds = download(cleo, 3, 32 * MEG)
    check(got == 32 * MEG and seconds < 24, "another user is not slowed down", got, seconds)

    def is_held_back():
        receive_exactly(s, MEG // 4)                    # whoever reads nothing is not held back by the quota
        return "bytes_per_second" in usage(up, "slow")["saturated"]
    wait_until(is_held_back, 20, "it is told that it holds back")
    # What is raised counts at once, for the stream that lives, too.
    check(up.api("PATCH", "/quotas/slow?wait=applied", {"bytes_per_second": None}).status == 200)
    start = time.monotonic()
    receive_exactly(s, 32 * MEG)
    check(time.monotonic() - start < 24, "no limit any more")
    s.close()
    check(up.api("DELETE", "/quotas/slow?wait=applied").status == 204)

    # An upload, and HTTP requests in absolute form, are metered as well.
    up.api.make("quotas", name="meter", user="ben")
    s = connect(TARGET, ben)
    s.sendall(b"hash\n" + b"x" * MEG)
    s.shutdown(1)
    check(s.recv(100).startswith(b"1048576 "))
    s.close()
    wait_until(lambda: usage(up, "meter")["bytes_today"] >= MEG and usage(up, "meter")["streams"] == 0, 10,
               lambda: f"{usage(up, 'meter')}")
    check(usage(up, "meter")["bytes_today"] < MEG + 1000, usage(up, "meter"))

    # Bytes of a day: what lives is cut, what is new is refused until the day ends.
    up.api.make("quotas", name="day", group="staff", bytes_per_day=4 * MEG, zone="Pacific/Kiritimati")
    got, _ = download(ben, 4, 16 * MEG)
    check(got <= 4 * MEG, got)          # what the kernel held for us is lost with the RST
    r = refused(ben)
    check(r and r.reason == "quota-group", r)
    wait_until(lambda: usage(up, "day")["day_ends_at"], 10, lambda: f"the day is told: {usage(up, 'day')}")
    ends = datetime.datetime.fromisoformat(usage(up, "day")["day_ends_at"].replace("Z", "+00:00"))
    check(ends.astimezone(datetime.timezone(datetime.timedelta(hours=14))).strftime("%H:%M:%S") == "00:00:00", ends)
    told = curl(up, ben, "-D", "-", "-o", "/dev/null", f"http://{TARGET}/")
    seconds = int(re.search(r"(?im)^retry-after: (\d+)\r?$", told.stdout).group(1))
    left = (ends - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    check(abs(seconds - left) < 30, seconds, left)
    wait_until(lambda: "bytes_per_day" in usage(up, "day")["saturated"], 10, lambda: f"{usage(up, 'day')}")
    check(re.search(r'(?m)^adit_relay_streams_cut_total\{reason="quota-group"\} [1-9]', metrics()))

    # It outlives the relay, also one that was killed, and the control plane.
    for signo, program in ((signal.SIGTERM, "adit-relay"), (signal.SIGKILL, "adit-relay"),
                           (signal.SIGKILL, "adit-controlplane")):
        pid = up.pid(program)
        subprocess.run(["kill", f"-{int(signo)}", str(pid)], check=True)
        wait_until(lambda: up.pid(program) not in (None, pid) and up.is_answering(), 30, f"{program} is back")

        def is_refused():
            try:
                return reason(ben) == "quota-group"
            except (OSError, AssertionError):
                return False
        wait_until(is_refused, 30, "the day is remembered")
    bytes_today = usage(up, "day")["bytes_today"]
    check(4 * MEG <= bytes_today < 5 * MEG, bytes_today)

    # From the terminal; as one document; what contradicts itself.
    def listed():
        return subprocess.run([BIN / "adit", "quota", "list", "--var", up.var], capture_output=True, text=True).stdout
    wait_until(lambda: re.search(r"day .*staff.*4194304.*bytes_per_day", listed()), 30, listed)
    told = subprocess.run([BIN / "adit", "quota", "create", "more", "--var", up.var, "--user", "ann", "--max-streams", "7",
                           "--output", "json"], capture_output=True, text=True)
    check(told.returncode == 0 and json.loads(told.stdout)["max_streams"] == 7, told)
    config = up.api("GET", "/config").body
    check([q for q in config["quotas"] if q["name"] == "more" and "usage" not in q and q["user"] == "ann"], config)
    for body, status in (({"max_streams": 1}, 422), ({"user": "ann", "group": "staff"}, 422),
                         ({"user": "ann", "streams_burst": 2}, 409), ({"user": "ann", "zone": "Nowhere/Else"}, 409)):
        check(up.api("POST", "/quotas", body).status == status, body, up.api("POST", "/quotas", body))
    check(up.api("PATCH", "/quotas/day?wait=applied", {"bytes_per_day": 1 << 40}).status == 200)
    wait_until(lambda: reason(ben) is None, 5, "a larger quota lets in again")

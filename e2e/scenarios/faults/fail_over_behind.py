# it goes on with what is left when a standby takes over that lacks the last writes: relays leave what was lost behind
# timeout: 120
from harness import check, wait_until
from postgres import Pair
from up import STORE, Up, second_controlplane

URL = "http://hello.demo.internal/"
OWN = "http://127.0.0.1:1/"


def epoch():
    return int(up.sql("SELECT epoch FROM position")[0])


def is_allowed(user):
    """Whether the relay lets him try; the agent does not dial what is its own."""
    said = up.curl(OWN, "--proxy-user", ":".join(user), "-o", "/dev/null", "-w", "%header{adit-reason}").stdout
    check(said in ("no-grant", "target-forbidden"), said)
    return said == "target-forbidden"


def lose_writes():
    """What the standby has not seen: a grant that relays run already."""
    pair.standby.kill()
    up.allow("lost", ["127.0.0.1"], [1], user="late")
    for n in range(3):
        up.api.make("users", name=f"lost{n}")
    wait_until(lambda: is_allowed(late), 10, "the relay runs what will be lost")
    pair.primary.kill()
    pair.standby.start()


pair = Pair(names="")
with Up(env={STORE: pair.url}) as up:
    second = second_controlplane(up)
    late = up.add_user("late")
    check(not is_allowed(late))
    for round_, survivor in enumerate((up.api, second.api)):
        before = epoch()
        lose_writes()
        pair.take_over()
        wait_until(lambda: up.is_answering(), 30, "the API answers")
        check(up.api("GET", "/users/lost0").status == 404, "it was not lost")
        wait_until(lambda: epoch() > before, 30, "what may have lost writes says so")
        survivor.make("users", name=f"after{round_}")       # the relay follows
        check(not is_allowed(late), "what the database does not know is in force")
        check("Hello" in up.curl(URL).stdout)
        for api in up.api, second.api:
            check(api("GET", f"/users/after{round_}").status == 200)
        verify = up.verify_audit()
        check(verify.returncode == 0 and "whole" in verify.stdout, verify)
        if not round_:
            pair.rejoin()

    # One that only was away and lacks nothing is what it was.
    before = epoch()
    pair.primary.kill()
    pair.primary.start()
    wait_until(up.is_answering, 30, "the API answers")
    up.api.make("users", name="last")
    check(epoch() == before, "nothing was lost")
    second.signal(15)
    check(second.wait(30) == 0, second.output)

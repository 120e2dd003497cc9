# it ends the sockets of both sides with an RST, never a clean end, when the process on the other side is gone for good
# timeout: 180
import os
import signal
import threading
import time

from clients import connect
from cutter import Wire
from harness import check, wait_until
from inside import THERE_IP, Dns, Inside
from places import counted, logged
from up import Up

GRACE_S = 4                                 # the agent's; the relay waits three quarters of it
ENDED = "adit_relay_streams_ended_total"
seen = {}                                   # how targets saw their connection end, by the word sent


def how_it_ends(connection):
    """ "RST" or "FIN", and when; what comes before it is read."""
    connection.settimeout(60)
    try:
        while connection.recv(1 << 16):
            pass
        return "FIN", time.monotonic()
    except ConnectionResetError:
        return "RST", time.monotonic()


def target(connection):
    word = connection.recv(16).decode()
    connection.sendall(word.encode())
    seen[word] = how_it_ends(connection)


class User:
    """A user's stream to the target; `end` is how it ended."""

    def __init__(self, up, word):
        self.word, self.end = word, None
        self.stream = connect("files.corp.test:7001", up.curlrc())
        self.stream.sendall(word.encode())
        check(self.stream.recv(16) == word.encode(), "the stream works")
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        self.end = how_it_ends(self.stream)

    def both_rst(self, seconds):
        """(user's, target's) moments of the end."""
        wait_until(lambda: self.end and self.word in seen, seconds,
                   lambda: f"both sockets end; user {self.end}, targets {seen}")
        check(self.end[0] == "RST" and seen[self.word][0] == "RST", self.end, seen)
        return self.end[1], seen[self.word][1]


def kill(up, program):
    victim = up.pid(program)
    os.kill(victim, signal.SIGKILL)
    return victim


with Up(env={"ADIT_RELAY_GRACE_MS": f"{GRACE_S}s"}) as up:
    inside, wire = Inside(), Wire(9701)
    Dns(inside, {"files.corp.test": [THERE_IP]})
    inside.serve(target, 7001)
    agent = up.add_agent("inner", "--dns-servers", THERE_IP, "--relays", "127.0.0.1:9701", group="inner")
    up.allow("inner", ["*.corp.test"], ["1-65535"], agent_group="inner")

    # The relay is killed and there again: the agent ends the streams of the old boot when it hears of the new one.
    user = User(up, "relay-again")
    kill(up, "adit-relay")
    wait_until(agent.is_connected, 20, "the agent is at the new relay")
    user.both_rst(20)

    # The relay is killed and out of reach: the agent waits the grace.
    user = User(up, "relay-gone")
    wire.to = ("127.0.0.1", 1)
    began = time.monotonic()
    kill(up, "adit-relay")
    user_at, target_at = user.both_rst(60)
    check(target_at - began > GRACE_S * 0.9, "the target's end came before the grace", target_at - began)
    check(user_at - began < target_at - began, "the user's socket waits for nothing", user_at - began)
    wire.to = ("127.0.0.1", 7443)
    agent.stop()
    agent.start()

    # The agent is killed and there again: its streams end at once, with the reason.
    user, before = User(up, "agent-again"), counted(ENDED, "agent-restarted")
    agent.process.process.kill()
    agent.process.wait(5)
    wait_until(lambda: "agent-again" in seen, 5, "the target's kernel says so")
    check(seen["agent-again"][0] == "RST", seen)
    agent.start()
    user.both_rst(20)
    wait_until(lambda: logged(up, "stream.closed", "agent-restarted", user="demo"), 5, "stream.closed agent-restarted")
    wait_until(lambda: counted(ENDED, "agent-restarted") == before + 1, 5, "it is counted")

    # It stops and says so: nobody waits for it.
    user = User(up, "agent-stops")
    agent.stop()
    user.both_rst(20)
    wait_until(lambda: logged(up, "stream.closed", "agent-draining", user="demo"), 5, "stream.closed agent-draining")

# it asks an agent that answers PING and opens nothing for streams only while there is no other, and tells of it
# timeout: 180
import pathlib
import struct
import subprocess
import threading

from attack import metric
from clients import Refused, connect
from harness import check, wait_until
from inside import THERE_IP, Dns, Inside, line_server
from raw_tunnel import HELLO, OPEN_ERR, RawTunnel, frame, is_probe, opens_in
from up import BIN, Agent, Up


class Mute(RawTunnel):
    """Answers PING; probes, once it is told to; and refuses what users open, which it has counted."""

    def __init__(self, pem, ca_file):
        super().__init__(pem, ca_file)
        self.probes, self.users, self.answers, self.is_over = 0, 0, False, False
        check(self.upgrade() == 101 and self.read()[0] == HELLO)
        self.hello()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        self.is_over = True             # a socket that another thread reads is not closed under it
        self.thread.join(10)
        super().close()

    def _serve(self):
        while not self.is_over:
            try:
                message = self.read(0.5)
            except TimeoutError:
                continue
            if message is None:
                return
            self.answer_pings(message)
            for stream, tags in opens_in(message):
                self.probes += is_probe(tags)
                self.users += not is_probe(tags)
                if self.answers or not is_probe(tags):
                    why = b"overload"
                    self.say(frame(OPEN_ERR, struct.pack(">BH", 1, len(why)) + why, stream))


def is_refused():
    try:
        connect("files.corp.test:7000", credential).close()
        return False
    except Refused as error:
        check(error.reason == "overload", error)
        return True


def finding():
    return next((f for f in up.api("GET", "/status").body["findings"] if f["reason"] == "agent-unproved"), None)


with Up() as up:
    inside = Inside()
    Dns(inside, {"files.corp.test": [THERE_IP]})
    inside.serve(line_server, 7000)
    up.agents.append(Agent(up, "mute"))
    up.agents[0].stop()
    up.api.make("agent-groups", name="inner")
    answer = up.api("PUT", "/agent-groups/inner/members/mute?wait=applied", {"priority": 10})
    check(answer.status in (200, 201), answer)
    up.allow("inner", ["*.corp.test"], ["1-65535"], agent_group="inner")
    credential = up.curlrc()
    wait_until(lambda: not up.agents[0].is_connected(), 20, "it is gone")

    mute = Mute(next(pathlib.Path(up.agents[0].dir).glob("*.pem")), up.var / "ca.pem")
    told = wait_until(finding, 30, "the status says that it does not answer")
    check(told["objects"][0]["name"] == "mute" and told["since"] and told["cure"], told)
    shown = up.api("GET", "/agents/mute").body
    check(shown["connected"] and not shown["proved"] and shown["unproved_since"], shown)
    text = subprocess.run([BIN / "adit", "status", "--var", up.var], capture_output=True, text=True)
    check(text.returncode == 1 and "agent-unproved" in text.stdout and "does not answer" in text.stdout, text)
    check(metric("adit_relay_agents_unproved") == 1 and metric("adit_relay_links_doubted_total") >= 1)
    check(metric("adit_relay_probes_failed_total") >= 1 and mute.probes >= 1)
    log = (up.var / "log" / "relay.log").read_text()
    check("link.doubted" in log and "agent-unproved" in log)
    explained = up.api("GET", "/access/explain?user=demo&host=files.corp.test&port=7000")
    check(explained.body["allowed"] and "mute" in explained.text, explained)

    users = mute.users
    check(is_refused() and mute.users == users + 1, "it is asked while there is no other")
    # An answer to a stream proves it as well as one to a probe: whoever refuses streams opens them.
    wait_until(lambda: finding() is None, 30, "it has answered")
    check(up.api("GET", "/agents/mute").body["unproved_since"] is None)

    mute.close()
    wait_until(lambda: not up.agents[0].is_connected(), 20, "it is gone")
    mute = Mute(next(pathlib.Path(up.agents[0].dir).glob("*.pem")), up.var / "ca.pem")
    up.agents.append(Agent(up, "two", "--dns-servers", THERE_IP))
    answer = up.api("PUT", "/agent-groups/inner/members/two?wait=applied", {"priority": 20})
    check(answer.status in (200, 201), answer)
    wait_until(finding, 30, "it does not answer")
    for _ in range(5):
        connect("files.corp.test:7000", credential).close()
    check(mute.users == 0, "it is not asked while there is another", mute.users)

    mute.answers = True
    wait_until(lambda: up.api("GET", "/agents/mute").body["proved"], 60, "a probe is answered")
    check(finding() is None and metric("adit_relay_agents_unproved") == 0)
    check(is_refused() and mute.users >= 1, "it is asked again, for it is preferred")
    mute.close()

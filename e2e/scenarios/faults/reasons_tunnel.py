# it tells why a tunnel is not taken in the relay's answer, its log, the metric, the audit and adit reason
# timeout: 120
import pathlib

from harness import check
from places import SOON, audited, counted, in_places
from raw_tunnel import HELLO, ID, RawTunnel
from up import Agent, Up

# adit explain speaks of users and targets.  Who has shown a certificate and nothing that the relay
# believes beyond it is a stranger to the audit: the agent itself may know nothing of it.
STRANGER = {"kind": "anonymous", "address": "127.0.0.1"}
HELLOS = {
    "version-mismatch": {"protocol": 2},
    "protocol-error": {"boot_id": None},
    "bad-proof": {"credential": "session", "id": ID, "session": ID, "proof": "A" * 43},
    "hello-timeout": None,                                  # nothing is said
}

with Up(env=SOON) as up:
    agent = Agent(up, "raw")
    agent.stop()
    pem = next(pathlib.Path(agent.dir).glob("*.pem"))
    for reason, members in HELLOS.items():
        tunnel = RawTunnel(pem, up.var / "ca.pem")
        check(tunnel.upgrade() == 101 and tunnel.read()[0] == HELLO)
        if members:
            tunnel.hello(**members)
        check(tunnel.ends(30) and tunnel.why == reason, reason, tunnel.why)
        in_places(up, reason, "link.refused", "adit_relay_links_refused_total")
        check(counted("adit_relay_links_refused_total", reason) == 1, reason)
        audited(up, reason, action="relay.tunnel", actor=STRANGER, count=1)

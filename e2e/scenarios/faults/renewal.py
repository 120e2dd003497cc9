# it renews agents' certificates from the first third of their life on under living streams, and notices copied keys
# timeout: 150
import base64
import json
import pathlib
import shutil
import struct
import subprocess

from clients import connect
from harness import check, wait_until
from places import SOON, audited, has_audit, in_places, logged
from raw_tunnel import NOTICE, RawTunnel, frame
from up import BIN, Process, Up, closed_network

LIFE_S = 24
RENEW = 4                                   # NOTICE kind: schema/tunnel.md


def openssl(*args, data=b""):
    return subprocess.run(["openssl", *[str(a) for a in args]], input=data, check=True, capture_output=True).stdout


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def serial(directory):
    return openssl("x509", "-noout", "-serial", "-in", pathlib.Path(directory) / "member.pem")


def echoes(stream, text):
    stream.sendall(text)
    return stream.recv(100) == text


def ask_to_renew(raw, **members):
    body = json.dumps(members).encode()
    raw.say(frame(NOTICE, struct.pack(">BQII", RENEW, 0, len(body), 0) + body))


def renewals(agent):
    return agent.process.output.count('"certificate.renewed"')


with Up(env={"ADIT_CONTROLPLANE_AGENT_CERTIFICATE_MS": f"{LIFE_S}s", **SOON}) as up:
    _, _, agent = closed_network(up)
    shutil.copytree(agent.dir, "/tmp/copied")
    stream = connect("files.corp.test:7000", up.curlrc())
    stream.sendall(b"echo\n")
    wait_until(lambda: renewals(agent) >= 3, 3 * LIFE_S, lambda: agent.process.output[-2000:])
    check(echoes(stream, b"still here"), "the stream ended at a renewal")
    check(serial(agent.dir) != serial("/tmp/copied"))
    check(agent.process.output.count('"link.down"') == 0, "a link was lost for a renewal", agent.process.output)

    # The copied key at the relay's door: refused, and the audit knows.
    copy = Process(BIN / "adit-agent", "--data-dir", "/tmp/copied")
    wait_until(lambda: "agent-revoked" in copy.output, 15, lambda: copy.output)
    check(logged(up, "link.refused", "agent-revoked"), "relay.log tells nothing")
    wait_until(lambda: has_audit(up, "alarm.agent-revoked"), 5, "the audit tells nothing")
    check(echoes(stream, b"not disturbed"))
    copy.process.kill()
    copy.process.wait(10)

    # The copied key at renewal, over a link that the agent's present one opened: nobody knows who is who.
    request = openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                      "-keyout", "/tmp/new.key", "-outform", "DER")
    signature = openssl("dgst", "-sha256", "-sign", "/tmp/copied/member.pem", data=request)
    text = pathlib.Path("/tmp/copied/member.pem").read_text()
    asked = {"csr": base64url(request), "chain": text[text.index("-----BEGIN CERTIFICATE"):]}
    raw = RawTunnel(agent.dir / "member.pem", up.var / "ca.pem")
    check(raw.upgrade() == 101 and raw.read())
    raw.hello(starts=1000)
    check(raw.read(), "the link is up")
    ask_to_renew(raw, **asked, signature=base64url(signature[:-1] + bytes([signature[-1] ^ 1])))
    in_places(up, "bad-proof", "agent.renewal_refused", "adit_relay_renewals_refused_total")
    audited(up, "bad-proof", action="relay.tunnel", actor__kind="agent")
    ask_to_renew(raw, **asked, signature=base64url(signature))
    check(raw.ends(20) and raw.why, "the link ends")
    wait_until(lambda: has_audit(up, "alarm.old-generation"), 5, lambda: up.api("GET", "/audit-events").text[-2000:])
    audited(up, "locked", action="internal.renew", actor__kind="agent", object__kind="agent",
            actor__id=up.api("GET", "/agents/inner").body["id"])
    locks = up.api("GET", "/locks").body["items"]
    check(any("copied" in lock["reason"] for lock in locks), locks)
    wait_until(lambda: '"reason":"locked"' in agent.process.output, 60, "the agent hears that it is locked")

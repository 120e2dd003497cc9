# it takes no relay whose certificate is wrong in any of twenty ways, and says nothing to it
# timeout: 120
import concurrent.futures
import pathlib
import re
import shutil
import subprocess

from harness import check, wait_until
from up import BIN, Agent, Process, Up

HOME, VAR, AT_ONCE = pathlib.Path("/tmp/made"), pathlib.Path("/tmp/var"), 5
EC, WEAK = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], ["rsa:1024"]


def openssl(*args, at=None):
    done = subprocess.run([*(["faketime", at] if at else []), "openssl", *[str(a) for a in args]], capture_output=True, text=True)
    check(done.returncode == 0, args, done.stderr)
    return done.stdout


def certificates(path):
    return "\n".join(re.findall(r"-----BEGIN CERT.*?END CERTIFICATE-----", pathlib.Path(path).read_text(), re.S)) + "\n"


def make(name, *extensions, subject="/CN=relay", key=EC, issuer=None, chain=(), digest="sha256", at=None):
    """A certificate with its key and chain in one file: signed by itself or by the issuer's file."""
    cert, pem = HOME / f"{name}.crt", HOME / f"{name}.key"
    ca = ["-CA", issuer, "-CAkey", issuer] if issuer else []
    openssl("req", "-x509", "-newkey", *key, "-nodes", "-keyout", pem, "-out", cert, "-subj", subject, "-days", "30", "-" + digest,
            *ca, *[part for text in extensions for part in ("-addext", text)], at=at)
    both = HOME / f"{name}.pem"
    both.write_text(cert.read_text() + "".join(certificates(path) for path in chain) + pem.read_text())
    return both


def own_pem(directory):
    return next(path for path in directory.iterdir() if path.suffix == ".pem")


def false_certificates(relay, root, agent, other):
    """What is wrong with it: the file."""
    san = f"subjectAltName=URI:adit://adit/relay/{relay}"
    name = openssl("x509", "-in", root, "-noout", "-subject", "-nameopt", "compat").strip().removeprefix("subject=").strip()
    name = name if name.startswith("/") else "/CN=" + name.split("=", 1)[1].strip()
    ca = make("ca", "basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign", subject=name)
    ca_cert = HOME / "ca.crt"
    middle = make("middle", "basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign", subject="/CN=middle", issuer=ca)
    chain = [HOME / "middle.crt", ca_cert]
    return {
        "signed by itself": make("self", san),
        "of a root with our root's name": make("named", san, issuer=ca, chain=[ca_cert]),
        "of that root over another": make("chained", san, issuer=middle, chain=chain),
        "with our true root behind it": make("true-root", san, issuer=ca, chain=[root]),
        "with our true root alone behind it": make("root-only", san, chain=[root]),
        "named in its subject only": make("subject", subject=f"/CN=adit:\\/\\/adit\\/relay\\/{relay}", issuer=ca, chain=[ca_cert]),
        "of a DNS name": make("dns", "subjectAltName=DNS:localhost", issuer=ca, chain=[ca_cert]),
        "of an address": make("address", "subjectAltName=IP:127.0.0.1", issuer=ca, chain=[ca_cert]),
        "that has ended": make("ended", san, issuer=ca, chain=[ca_cert], at="2020-01-01 00:00:00"),
        "that has not begun": make("early", san, issuer=ca, chain=[ca_cert], at="2037-01-01 00:00:00"),
        "for clients only": make("client", san, "extendedKeyUsage=clientAuth", issuer=ca, chain=[ca_cert]),
        "for mail only": make("mail", san, "extendedKeyUsage=emailProtection", issuer=ca, chain=[ca_cert]),
        "of a weak key": make("weak", san, key=WEAK, issuer=ca, chain=[ca_cert]),
        "with a SHA-1 signature": make("sha1", san, digest="sha1", issuer=ca, chain=[ca_cert]),
        "with a wildcard": make("wildcard", "subjectAltName=URI:adit://*/relay/*", issuer=ca, chain=[ca_cert]),
        "with two names": make("two", san + f",URI:adit://adit/control/{relay}", issuer=ca, chain=[ca_cert]),
        "of another cluster": make("cluster", f"subjectAltName=URI:adit://other/relay/{relay}", issuer=ca, chain=[ca_cert]),
        "of an authority": make("authority", san, "basicConstraints=critical,CA:TRUE", issuer=ca, chain=[ca_cert]),
        "signed with an agent's true key": make("by-agent", san, issuer=agent, chain=[agent]),
        "of another agent": other,
        "of the agent itself": agent,
    }


def try_one(number, what, pem):
    """Nothing may be said to it beyond the handshake, and the agent says why it goes."""
    port, heard = 9500 + number, HOME / f"heard-{number}"
    with heard.open("wb") as out:
        server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", pem, "-key", pem, "-cert_chain", pem,
                                   "-quiet", "-cipher", "ALL:@SECLEVEL=0"], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE)
    home = HOME / f"agent-{number}"
    shutil.copytree(agent.dir, home)
    victim = Process(BIN / "adit-agent", "--data-dir", home, "--relays", f"wss://127.0.0.1:{port}")
    wait_until(lambda: "bad-certificate" in victim.output or "certificate-expired" in victim.output, 40,
               lambda: f"{what}: {victim.output} {server.poll()}")
    victim.process.kill()
    victim.process.wait()
    server.kill()
    server.wait()
    check(b"link.up" not in victim.output.encode() and not heard.read_bytes(), what, "was believed:", heard.read_bytes(), victim.output)


HOME.mkdir()
with Up() as up, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
    agent = Agent(up, "a")
    agent.stop()
    relay = re.search(r'"relay_id":"(\w+)"', (VAR / "log/agent.log").read_text()).group(1)
    false = false_certificates(relay, VAR / "ca.pem", own_pem(agent.dir), own_pem(VAR / "agent"))
    list(pool.map(lambda row: try_one(*row), [(n, what, pem) for n, (what, pem) in enumerate(false.items())]))
    agent.start()                           # the true one is taken by the same agent
    print(f"{len(false)} certificates, none believed")

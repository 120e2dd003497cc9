# it speaks no old TLS, and shows and takes certificates of the right kind and cluster only
# timeout: 90
import pathlib
import re
import shutil
import socket
import ssl
import subprocess

from harness import check, wait_until
from inside import serve
from up import BIN, Agent, Process, Up

LISTENERS = {8443: "1.2", 8444: "1.3", 7443: "1.3", 8081: "1.2", 1081: "1.2"}     # and the least that each takes
VERSIONS = ["1", "1.1", "1.2", "1.3"]
VAR = pathlib.Path("/tmp/var")


def s_client(port, *args):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *[str(a) for a in args]], input=b"",
                          capture_output=True, timeout=30)
    return (done.stdout + done.stderr).decode(errors="replace")


def session(text):
    """The version that was agreed on; None: none was."""
    found = re.search(r"(?m)^New, (TLSv[\d.]+), Cipher is (?!\(NONE\))", text)
    return found and found.group(1)


def make(directory, name, *args):
    """A self-signed certificate, with its key, as `name` asks for."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                           key, "-out", cert, "-subj", "/CN=" + name.replace("/", "\\/"), "-days", "2", *args], capture_output=True)
    check(done.returncode == 0, done)
    (directory / "both.pem").write_text(cert.read_text() + key.read_text())
    return directory / "both.pem"


def false_relay(pem, port):
    """A listener with that certificate; what was said to it after the handshake is kept."""
    context, heard = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    context.load_cert_chain(pem)

    def handle(connection):
        try:
            with context.wrap_socket(connection, server_side=True) as s:
                heard.append(s.recv(4096))
        except ssl.SSLError:
            heard.append(b"")
    serve(socket.create_server(("127.0.0.1", port)), handle)
    return heard


def own_pem(directory):
    return next(path for path in directory.iterdir() if path.suffix == ".pem")


VAR.mkdir(mode=0o700)
(VAR / "relay.yaml").write_text("https_listen: 127.0.0.1:8081\nsockstls_listen: 127.0.0.1:1081\n")
with Up() as up, Up(var="/tmp/other", port_base=10000) as other:
    agent = Agent(up, "a")
    agent.stop()
    for port, least in LISTENERS.items():
        for version in VERSIONS:
            flags = ["-tls" + version.replace(".", "_"), "-cipher", "ALL:@SECLEVEL=0", "-cert", own_pem(agent.dir), "-key", own_pem(agent.dir)]
            agreed = session(s_client(port, *flags))
            check(bool(agreed) == (float(version) >= float(least)), port, version, agreed)
        text = s_client(port, "-tls1_2", "-cipher", "aNULL:eNULL:RC4:3DES:CAMELLIA:AES128-SHA:@SECLEVEL=0")
        check(not session(text), port, "takes a weak cipher", text[-800:])
        text = s_client(port, "-CAfile", VAR / "ca.pem", "-verify_return_error", "-cert", own_pem(agent.dir), "-key", own_pem(agent.dir))
        check("Verify return code: 0" in text, port, text[-800:])

    # A relay that is none: the agent must end the handshake before it says a word.
    home = pathlib.Path("/tmp/made")
    home.mkdir()
    relay_name = re.search(r'"relay_id":"(\w+)"', (VAR / "log/agent.log").read_text()).group(1)
    false = {
        "self-signed in the relay's name": make(home, f"adit://adit/relay/{relay_name}", "-addext", f"subjectAltName=URI:adit://adit/relay/{relay_name}"),
        "another agent's": own_pem(VAR / "agent"), "its own": own_pem(agent.dir), "another cluster's relay": own_pem(other.var / "relay"),
    }
    for number, (what, pem) in enumerate(false.items()):
        heard = false_relay(pem, 9440 + number)
        victim = Process(BIN / "adit-agent", "--data-dir", agent.dir, "--relays", f"wss://127.0.0.1:{9440 + number}")
        wait_until(lambda: heard and "bad-certificate" in victim.output, 20, lambda: f"{what}: {heard} {victim.output}")
        check(not any(heard), what, "was believed:", heard)
        victim.process.kill()

    # A control plane that is none, to the relay.
    shutil.copytree(VAR / "relay", "/tmp/relay-copy")
    for number, what in enumerate(("another agent's", "another cluster's relay")):
        heard = false_relay(false[what], 9450 + number)
        victim = Process(BIN / "adit-relay", "--data-dir", "/tmp/relay-copy", "--control-internal", f"https://127.0.0.1:{9450 + number}",
                         "--tunnel-listen", "127.0.0.1:17999", "--admin-listen", "")
        wait_until(lambda: heard, 20, lambda: f"{what}: {victim.output}")
        check(not any(heard), what, "was believed:", heard)
        victim.process.kill()

    # At our doors: nobody's certificate, a made one, another kind's, another cluster's.
    shown = {"none": None, "self-signed": false["self-signed in the relay's name"], "another cluster's agent": own_pem(other.var / "agent"),
             "another cluster's relay": own_pem(other.var / "relay"), "an agent's": own_pem(agent.dir)}
    for what, pem in shown.items():
        text = subprocess.run(["curl", "-sS", "--cacert", VAR / "ca.pem", "--max-time", "10", "-k", *(["--cert", pem] if pem else []),
                               "https://127.0.0.1:8444/internal/v1/relay"], capture_output=True, text=True)
        check(text.returncode != 0 or "forbidden" in text.stdout or "bad-certificate" in text.stdout, what, text)
        check("key" not in text.stdout, what, text.stdout)

# it links behind a proxy that ends TLS by a signature, which is good once, for one relay, from listed proxies only
# timeout: 180
import base64
import json
import os
import pathlib
import socket
import subprocess

from clients import connect
from harness import check, wait_until
from inside import HERE_IP, THERE_IP, Dns, Inside, Pattern, line_server, receive_to_end, serve
from places import counted, in_places
from raw_tunnel import GOAWAY, HELLO, RawTunnel
from record import Recorder
from up import BIN, Process, Up

PLAIN, RECORDED = 7500, 7501
OTHER_AGENT = "01J00000000000000000000000"
NGINX = f"""
daemon off; pid /tmp/nginx.pid; error_log /tmp/nginx.log; events {{}}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:7443 ssl;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate /tmp/proxy.pem;
        ssl_certificate_key /tmp/proxy.key;
        location /tunnel {{
            proxy_pass http://{HERE_IP}:{RECORDED};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
"""
HAPROXY = f"""
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend agents
    bind 127.0.0.1:7443 ssl crt /tmp/proxy.both
    default_backend relay
backend relay
    source %s
    server relay {HERE_IP}:7443 ssl verify none
"""


def openssl(*args, given=None):
    return subprocess.run(["openssl", *args], input=given, check=True, capture_output=True).stdout


def new_certificate(name, subject, extensions, issuer=None):
    """/tmp/NAME.key and /tmp/NAME.pem."""
    pathlib.Path("/tmp/extensions").write_text(extensions)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"/tmp/{name}.key")
    request = openssl("req", "-new", "-key", f"/tmp/{name}.key", "-subj", f"/CN={subject}")
    by = ["-CA", f"/tmp/{issuer}.pem", "-CAkey", f"/tmp/{issuer}.key", "-CAcreateserial"] if issuer \
        else ["-signkey", f"/tmp/{name}.key"]
    openssl("x509", "-req", "-days", "5", "-extfile", "/tmp/extensions", *by, "-out", f"/tmp/{name}.pem", given=request)


def make_certificates():
    new_certificate("proxy-ca", "corp CA", "basicConstraints=critical,CA:true\n")
    new_certificate("proxy", "relay", "subjectAltName=IP:127.0.0.1\n", "proxy-ca")
    pathlib.Path("/tmp/proxy.both").write_bytes(b"".join(pathlib.Path(f"/tmp/proxy.{x}").read_bytes()
                                                         for x in ("pem", "key")))
    # Another cluster that names itself as this one, and an agent of it.
    authority = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\nsubjectAltName=URI:adit://adit/ca/%s\n"
    new_certificate("root", "root", authority % "root")
    new_certificate("agents", "agents", authority % "agent", "root")
    new_certificate("other", "agent", f"basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n"
                    f"subjectAltName=URI:adit://adit/agent/{OTHER_AGENT}\n", "agents")


def start_nginx(inside):
    pathlib.Path("/tmp/nginx.conf").write_text(NGINX)
    proxy = inside.there(lambda: Process("nginx", "-c", "/tmp/nginx.conf"))
    wait_until(lambda: inside.there(is_listening), 20, lambda: proxy.output)
    return proxy


def start_haproxy(inside, source):
    pathlib.Path("/tmp/haproxy.cfg").write_text(HAPROXY % source)
    proxy = inside.there(lambda: Process("haproxy", "-f", "/tmp/haproxy.cfg"))
    wait_until(lambda: inside.there(is_listening), 20, lambda: proxy.output)
    return proxy


def is_listening():
    try:
        socket.create_connection(("127.0.0.1", 7443), 5).close()
        return True
    except ConnectionRefusedError:
        return False


def stop(proxy):
    proxy.process.terminate()
    proxy.wait(20)


def join_fails(up, inside, code, *args):
    token = up.api.make("join-tokens", kind="agent", agent_name="tries")["token"]
    process = inside.there(lambda: Process(BIN / "adit", "agent", "join", "-", "--data-dir", "/tmp/tries", *args,
                                           stdin=token))
    check(process.wait(40) != 0 and code in process.output, code, process.output)


def fetch(up, name):
    stream = connect("files.corp.test:7000", up.curlrc())
    stream.sendall(b"send %s 500000\n" % name)
    check(receive_to_end(stream) == (500000, Pattern(name.decode(), 500000).sha256()))


def verdict(change):
    """The reason that the relay refuses a HELLO with; change(relay's HELLO) gives the members."""
    tunnel = RawTunnel(None, port=PLAIN)
    check(tunnel.upgrade() == 101, "no upgrade")
    frame = tunnel.read()
    check(frame[0] == HELLO, frame)
    tunnel.hello(**change(json.loads(frame[8:8 + int.from_bytes(frame[2:4], "big")])))
    check(tunnel.ends(10), "the link stays")
    tunnel.close()
    return tunnel.why


def signed(key, relay, nonce):
    """What the design has an agent sign, by another program."""
    pathlib.Path("/tmp/signed").write_bytes(
        b"adit-hello/v1\0" + base64.urlsafe_b64decode(relay["nonce"] + "=") +
        base64.urlsafe_b64decode(nonce + "=") + relay["id"].encode())
    return base64.urlsafe_b64encode(openssl("dgst", "-sha256", "-sign", key, "/tmp/signed")).decode().rstrip("=")


def forged(hello, key, **members):
    return lambda relay: {**hello, "signature": signed(key, relay, hello["nonce"]), **members}


def flip(text):
    return text[:20] + ("A" if text[20] != "A" else "B") + text[21:]


def refusals(hello, agent):
    """Each way of saying that one is the agent, without its key."""
    check(verdict(lambda relay: hello) == "bad-proof", "a HELLO that was good once")
    check(verdict(lambda relay: {**hello, "signature": flip(hello["signature"])}) == "bad-proof", "a bit of it")
    check(verdict(forged(hello, "/tmp/other.key")) == "bad-proof", "another's key")
    own = str(next(pathlib.Path(agent.dir).glob("member.pem")))
    check(verdict(forged(hello, own, nonce="E" * 43)) == "bad-proof", "another nonce than the one that was signed")
    check(verdict(lambda relay: {**hello, "signature": signed(own, {**relay, "id": OTHER_AGENT}, hello["nonce"])})
          == "bad-proof", "a signature for another relay")
    other = "".join(pathlib.Path(f"/tmp/{x}.pem").read_text() for x in ("other", "agents", "root"))
    check(verdict(forged(hello, "/tmp/other.key", chain=other, id=OTHER_AGENT)) == "bad-certificate", "another cluster")
    check(verdict(lambda relay: {"credential": "certificate"}) == "bad-certificate", "no certificate")
    # And the key itself, to show that the rest of what was sent here is good.
    tunnel = RawTunnel(None, port=PLAIN)
    check(tunnel.upgrade() == 101)
    frame = tunnel.read()
    relay = json.loads(frame[8:8 + int.from_bytes(frame[2:4], "big")])
    tunnel.hello(**{**forged(hello, own)(relay), "boot_id": "01J0000000000000000000000Z", "starts": 10**6})
    check((tunnel.read() or bytes([GOAWAY]))[0] != GOAWAY, "the key that counts")
    tunnel.close()


def unlisted(inside):
    """The plain listener reads no byte of whoever is not listed."""
    def call():
        stranger = socket.create_connection((HERE_IP, PLAIN), 10, source_address=("10.99.0.4", 0))
        with stranger:
            try:
                stranger.sendall(b"GET /tunnel HTTP/1.1\r\nHost: x\r\n\r\n")
                return stranger.recv(100)
            except ConnectionResetError:
                return b""
    check(inside.there(call) == b"", "an answer to a stranger")


make_certificates()
inside = Inside()
os.makedirs("/tmp/var", 0o700)
pathlib.Path("/tmp/var/relay.yaml").write_text(
    f"tls_proxies: [127.0.0.1, {HERE_IP}, {THERE_IP}]\nplain_listen: 0.0.0.0:{PLAIN}\n")
with Up("--public", "127.0.0.1") as up:
    Dns(inside, {"files.corp.test": [HERE_IP]})
    serve(socket.create_server((HERE_IP, 7000)), line_server)
    recorder = Recorder(RECORDED, PLAIN, HERE_IP)
    nginx = start_nginx(inside)

    join_fails(up, inside, "bad-certificate")
    join_fails(up, inside, "bad-certificate", "--tls-proxy-ca", "/tmp/root.pem")
    join_fails(up, inside, "no certificates in PEM", "--tls-proxy-ca", "/dev/null")

    trusts = ("--tls-proxy-ca", "/tmp/proxy-ca.pem")
    agent = up.add_agent("far", "--dns-servers", THERE_IP, *trusts, group="far", there=inside.there, join_args=trusts)
    up.allow("far", ["*.corp.test"], [7000], agent_group="far")
    fetch(up, b"nginx")

    hello = [h for h in recorder.hellos() if h["credential"] == "signature"][-1]
    refusals(hello, agent)
    unlisted(inside)
    in_places(up, "proxy-not-listed", "link.refused", "adit_relay_links_refused_total")
    in_places(up, "bad-proof", "link.refused", "adit_relay_links_refused_total")

    # TLS all the way, in two pieces: from a listed address, and from another.
    stop(nginx)
    agent.stop()
    haproxy = start_haproxy(inside, THERE_IP)
    agent.start()
    fetch(up, b"haproxy")
    stop(haproxy)
    agent.stop()
    before = counted("adit_relay_links_refused_total", "proxy-not-listed")
    haproxy = start_haproxy(inside, "10.99.0.5")
    stray = inside.there(lambda: Process(*agent.command))
    wait_until(lambda: "proxy-not-listed" in stray.output, 20, lambda: stray.output)
    check(counted("adit_relay_links_refused_total", "proxy-not-listed") > before)
    stop(stray)
    stop(haproxy)

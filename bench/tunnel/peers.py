"""Who is measured.  A peer gives: its processes, and the door by which users enter.

{dir}: a directory of its own; {bin}: where downloaded peers are; {pem}: certificate and key;
{target}: the port of the target; {a} … {d}: free ports of this peer.
"""

HAPROXY = """global
  maxconn 7000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 1h
  timeout server 1h
"""
STUNNEL = "foreground = yes\npid =\ndebug = 3\nsyslog = no\n"
SSHD = """Port {a}
ListenAddress 127.0.0.1
HostKey {dir}/host
AuthorizedKeysFile {dir}/user.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
LogLevel ERROR
"""
SSH = ("ssh -N -F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
       " -o LogLevel=ERROR -o ExitOnForwardFailure=yes -i {dir}/user -p {a}")
FRPS = 'bindAddr = "127.0.0.1"\nbindPort = {a}\nproxyBindAddr = "127.0.0.1"\nlog.level = "error"\nauth.token = "b"\n'
FRPC = ('serverAddr = "127.0.0.1"\nserverPort = {a}\nlog.level = "error"\nauth.token = "b"\n'
        '[[proxies]]\nname = "t"\ntype = "tcp"\nlocalIP = "127.0.0.1"\nlocalPort = {target}\nremotePort = {b}\n')
RATHOLE_SERVER = '[server]\nbind_addr = "127.0.0.1:{a}"\ndefault_token = "b"\n[server.services.t]\nbind_addr = "127.0.0.1:{b}"\n'
RATHOLE_CLIENT = '[client]\nremote_addr = "127.0.0.1:{a}"\ndefault_token = "b"\n[client.services.t]\nlocal_addr = "127.0.0.1:{target}"\n'

# name: cipher of the leg between the two ends, files, one-time commands, server, agent, door port
PEERS = {
    "direct": dict(cipher="-", server=None, agent=None, door="{target}"),
    "haproxy-tls": dict(
        cipher="TLS 1.3", version="haproxy -v",
        files={"near.cfg": HAPROXY + "listen t\n  bind 127.0.0.1:{b}\n  server s 127.0.0.1:{a} ssl verify none\n",
               "far.cfg": HAPROXY + "listen t\n  bind 127.0.0.1:{a} ssl crt {pem}\n  server s 127.0.0.1:{target}\n"},
        server="haproxy -db -f {dir}/near.cfg", agent="haproxy -db -f {dir}/far.cfg", door="{b}", ready="{b}"),
    "stunnel": dict(
        cipher="TLS 1.3", version="stunnel4 -version",
        files={"far.conf": STUNNEL + "[s]\naccept = 127.0.0.1:{a}\nconnect = 127.0.0.1:{target}\ncert = {pem}\n",
               "near.conf": STUNNEL + "[c]\nclient = yes\naccept = 127.0.0.1:{b}\nconnect = 127.0.0.1:{a}\n"},
        server="stunnel4 {dir}/far.conf", agent="stunnel4 {dir}/near.conf", door="{b}"),
    "ssh-R": dict(
        cipher="SSH aes128-gcm", version="ssh -V", files={"sshd.conf": SSHD},
        once=["ssh-keygen -q -t ed25519 -N  -f {dir}/host", "ssh-keygen -q -t ed25519 -N  -f {dir}/user"],
        server="/usr/sbin/sshd -D -e -f {dir}/sshd.conf", door="{b}",
        agent=SSH + " -c aes128-gcm@openssh.com -R 127.0.0.1:{b}:127.0.0.1:{target} root@127.0.0.1"),
    "frp": dict(
        cipher="TLS 1.3", version="{bin}/frps --version", files={"s.toml": FRPS, "c.toml": FRPC},
        server="{bin}/frps -c {dir}/s.toml", agent="{bin}/frpc -c {dir}/c.toml", door="{b}"),
    "chisel": dict(
        cipher="SSH in WebSocket", version="{bin}/chisel --version",
        server="{bin}/chisel server --host 127.0.0.1 --port {a} --reverse", door="{b}",
        agent="{bin}/chisel client http://127.0.0.1:{a} R:127.0.0.1:{b}:127.0.0.1:{target}"),
    "rathole": dict(
        cipher="none", version="{bin}/rathole --version",
        files={"s.toml": RATHOLE_SERVER, "c.toml": RATHOLE_CLIENT},
        server="{bin}/rathole --server {dir}/s.toml", agent="{bin}/rathole --client {dir}/c.toml", door="{b}"),
}

# Adit, as adit up runs it: log level info, policy, metrics, authentication, events to the control
# plane.  Only limits that the measurement would hit are raised.
ADIT = {"adit-connect": dict(door_kind="connect", port=8080), "adit-socks": dict(door_kind="socks", port=1080),
        "adit-one-link": dict(door_kind="connect", port=8080, agent_words=" --lanes-max 1")}
ADIT_CONTROL = ("{adit}/adit-controlplane --data-dir {dir}/controlplane --api-listen 127.0.0.1:8443"
                " --internal-listen 127.0.0.1:8444 --admin-listen 127.0.0.1:9100"
                " --relay-addrs wss://127.0.0.1:7443")
ADIT_RELAY = ("{adit}/adit-relay --data-dir {dir}/relay --control-internal https://127.0.0.1:8444"
              " --tunnel-listen 127.0.0.1:7443 --http-listen 127.0.0.1:8080 --socks-listen 127.0.0.1:1080"
              " --admin-listen 127.0.0.1:9101 --visits-per-source-max 10000")
ADIT_AGENT = ("{adit}/adit-agent --data-dir {dir}/agent-bench --name bench"
              " --allow-special 127.0.0.1/32:{target}")

# it refuses what is misspelt before anything starts, says what would be right, and --reset keeps what is not its own
import pathlib
import subprocess

from harness import check
from up import BIN, Up

ROWS = [    # program and words, exit code, what it says
    ("adit up extra", 2, 'takes no "extra"'),
    ("adit up --public http://x", 2, "without scheme and port"),
    ("adit up --public ::1", 2, "nor an IPv4 address"),
    ("adit up --var /no/such/place", 1, "adit up --var DIR"),
    ("adit status extra", 2, 'takes no "extra"'),
    ("adit status --output xml", 2, "neither text nor json"),
    ("adit reason --help", 0, "Usage: adit reason"),
    ("adit --version", 0, "adit 0."),
    ("adit-agent --check-config", 0, "good"),
    ("adit-agent --check-config --admin-listen 1.2.3.4:99999", 2, "127.0.0.1:9102"),
    ("adit-agent --check-config --data-dir=", 2, "data_dir"),
    ("adit-agent --check-config --dns-servers one.one", 2, "address:port"),
    ("adit-agent --check-config --dns-servers 1.1.1.1:99999", 2, "address:port"),
    ("adit-agent --check-config --dns-servers 1.1.1.1,[::1]:5353,::1", 0, "good"),
    ("adit-agent --check-config --relays http://r1:443", 2, "host:port"),
    ("adit-agent --check-config --relays r1,wss://r2:443", 0, "good"),
    ("adit-agent --check-config --tls-proxy-ca /no/such", 2, "No such file"),
    ("adit-agent --check-config --config /dev/zero", 2, "too large"),
    ("adit-agent --check-config --no-proxy 10.0.*", 2, "no_proxy"),
    ("adit-agent --check-config --no-proxy a.test,.b.test:7443,10.0.0.0/8", 0, "good"),
    ("adit-relay --check-config", 0, "good"),
    ("adit-relay --check-config --control-internal http://127.0.0.1:8444", 2, "https://host:port"),
    ("adit-relay --check-config --control controlplane", 2, "https://host:port"),
    ("adit-relay --check-config --http-listen 127.0.0.1:8080 --socks-listen 127.0.0.1:8080", 2, "give it another port"),
    ("adit-relay --check-config --admin-listen 0.0.0.0:7443", 2, "tunnel_listen"),
    ("adit-relay --check-config --door-certificate /no/such --door-key /no/such", 2, "door_certificate: /no/such"),
    ("adit-relay --check-config --door-certificate /etc/hostname", 2, "go together"),
    ("adit-controlplane --check-config", 0, "good"),
    ("adit-controlplane --check-config --internal-listen 127.0.0.1:8443", 2, "give it another port"),
    ("adit-controlplane --check-config --key-file /", 2, "Is a directory"),
    ("adit-controlplane --check-config --admin-listen=", 0, "good"),
    ("adit-controlplane --check-config --admin-listen nonsense", 2, "127.0.0.1:9100"),
    ("adit-controlplane --check-config --api-listen=", 2, "127.0.0.1:8443"),
    ("adit-controlplane --check-config --cluster Mine", 2, "a-z"),
    ("adit-controlplane --check-config --relay-addrs=", 2, "wss://host:port"),
    ("adit-controlplane --check-config --api-addrs r1:99999", 2, "https://host:port"),
    ("adit-controlplane --check-config --hosts a_b..c", 2, "names and addresses"),
    ("adit-controlplane audit verify --data-dir /no/such", 1, "--data-dir"),
]
for words, code, text in ROWS:
    program, *rest = words.split()
    done = subprocess.run([BIN / program, *rest], capture_output=True, text=True, timeout=20)
    check(done.returncode == code and text in done.stdout + done.stderr, words, done)
check(not pathlib.Path("/no/such").exists())

mine = pathlib.Path("/tmp/var/mine")
mine.parent.mkdir()
mine.write_text("not of adit up")
with Up("--reset"):
    pass
with Up("--reset"):
    check(mine.read_text() == "not of adit up", "--reset removed what it had not made")

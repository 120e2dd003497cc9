# it serves the datagrams of a SOCKS5 client that others have written (PySocks)
import socket
import sys

from association import Echo, dns_query, number_of, numbered
from harness import check, skip
from up import Up, closed_network

sys.path.append("/usr/lib/python3/dist-packages")        # Debian's, whichever Python runs this
try:
    import socks
except ImportError:
    skip("python3-socks is not installed")

HOST, PORT = "files.corp.test", 7001


def client(user, secret):
    s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
    s.set_proxy(socks.SOCKS5, "127.0.0.1", 1080, rdns=True, username=user, password=secret)
    s.settimeout(20)
    return s


with Up() as up:
    inside, dns, agent = closed_network(up, hosts=("*.corp.test", "10.99.0.0/24"))
    echo = Echo(inside, PORT)
    with client(*up.curlrc()) as s:
        s.sendto(dns_query(HOST), ("10.99.0.2", 53))
        answer, sender = s.recvfrom(4096)
        check(sender == ("10.99.0.2", 53) and answer.endswith(socket.inet_aton("10.99.0.2")), sender, answer)
        for number in range(200):
            s.sendto(numbered(number, 12 + number * 40), (HOST, PORT))
            answer, sender = s.recvfrom(65536)
            check(number_of(answer) == number and sender == ("10.99.0.2", PORT), number, sender)
    with client(*up.curlrc()) as s:
        s.connect(("10.99.0.2", PORT))
        s.send(b"connected")
        check(s.recv(100) == b"connected")
    check(any(name == HOST for name, kind in dns.queries), "the agent did not resolve the name")
    try:
        with client("demo", "adp_wrong") as s:
            s.sendto(b"x", (HOST, PORT))
        check(False, "a wrong secret was taken")
    except socks.ProxyError:
        pass

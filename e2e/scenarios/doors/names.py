# it has names resolved by the agent alone, once for all doors
from clients import connect, socks5
from harness import check
from inside import Pattern, receive_to_end
from up import Up, closed_network


def fetch(stream):
    stream.sendall(b"send names 5000\n")
    check(receive_to_end(stream) == (5000, Pattern("names", 5000).sha256()))


with Up() as up:
    inside, dns, _ = closed_network(up)
    fetch(connect("files.corp.test:7000", up.curlrc()))
    fetch(connect("FILES.corp.test.:7000", up.curlrc()))
    fetch(socks5("files.corp.test", 7000, up.curlrc()))
    asked = [name for name, kind in dns.queries if kind == 1]
    check(asked == ["files.corp.test"], dns.queries)
    check(dns.sources == {"10.99.0.1"}, dns.sources)

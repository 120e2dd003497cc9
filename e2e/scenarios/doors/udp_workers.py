# it carries datagrams of associations to an agent whose link another worker has
import pathlib

from association import Association, Echo
from attack import metric
from harness import check, wait_until
from up import Up, closed_network

VAR = pathlib.Path("/tmp/var")
HOST, PORT, CLIENTS = "files.corp.test", 7001, 24

VAR.mkdir(mode=0o700)
(VAR / "relay.yaml").write_text("workers: 4\n")
with Up() as up:
    inside, dns, agent = closed_network(up, hosts=("*.corp.test", "10.99.0.0/24"))
    echo = Echo(inside, PORT)
    clients = [Association(up.curlrc()) for _ in range(CLIENTS)]
    for n, a in enumerate(clients):         # spread by the kernel; the agent's link is one worker's
        check(a.ask(HOST, PORT, b"client %d" % n), "client", n)
        check(a.ask("10.99.0.2", PORT, b"again %d" % n), "its second target", n)
    check(metric("adit_relay_udp_associations") == CLIENTS, metric("adit_relay_udp_associations"))
    check(metric("adit_relay_streams") == 2 * CLIENTS, metric("adit_relay_streams"))
    for a in clients:
        a.control.close()
    wait_until(lambda: metric("adit_relay_udp_associations") == 0 and metric("adit_relay_streams") == 0, 15,
               "associations and streams are gone")

# it goes on with a stream of datagrams when its agent's link is cut: what was under way is lost, and no more
from association import Association, Echo
from attack import metric
from cutter import Wire
from harness import check, wait_until
from inside import THERE_IP, Dns, Inside
from up import Up

HOST, PORT, CUTS = "files.corp.test", 7001, 5

with Up() as up:
    inside, wires = Inside(), [Wire(9701), Wire(9702)]
    Dns(inside, {HOST: [THERE_IP]})
    echo = Echo(inside, PORT)
    up.add_agent("inner", "--dns-servers", THERE_IP, "--relays", "127.0.0.1:9701,127.0.0.1:9702", group="inner")
    up.allow("inner", ["*.corp.test"], ["1-65535"], agent_group="inner")
    with Association(up.curlrc()) as a:
        check(a.ask(HOST, PORT, b"before"))
        for cut in range(CUTS):
            for wire in wires:
                wire.reset()
            for n in range(200):            # more than may wait for a link that is gone
                a.send(HOST, PORT, b"meanwhile" * 100)
            check(a.ask(HOST, PORT, b"after %d" % cut, 40), "no datagram after cut", cut)
        check(len(echo.sources) == 1, "the agent's socket was not kept:", echo.sources)
        check(metric("adit_relay_streams") == 1, metric("adit_relay_streams"))
        check(metric("adit_relay_streams_moved_total") >= 1, "no stream moved")
    wait_until(lambda: metric("adit_relay_streams") == 0, 15, "the stream has ended")

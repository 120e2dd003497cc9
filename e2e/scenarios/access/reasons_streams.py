# it tells why a stream ended in the log, the metric and the stream's record
# timeout: 180
import datetime
import socket
import struct
import threading

from clients import connect
from harness import check, wait_until
from places import in_places
from up import Up, closed_network

# The client sees its connection end; adit explain tells who may, not what became of a stream.
PORT = 7000
resets = threading.Event()


def reset_server(connection):
    """Echoes a line, then waits for the word and resets."""
    connection.sendall(connection.recv(100))
    resets.wait(30)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def done(answer):
    check(answer.status in (200, 201, 204), answer)


def seconds_ahead(n):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=n)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def open_stream(credential, port=PORT):
    stream = connect(f"files.corp.test:{port}", credential)
    stream.sendall(b"echo\n")
    if port == PORT:
        stream.sendall(b"hello")
    check(stream.recv(100), "the stream works")
    return stream


def client_reset(up, who, stream):
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


CUT = "adit_relay_streams_cut_total"
ENDED = "adit_relay_streams_ended_total"
CAUSES = [
    ("client-gone", {}, client_reset),
    ("target-reset", {"port": PORT + 1}, lambda up, who, stream: resets.set()),
    ("idle-timeout", {}, lambda up, who, stream: None),
    ("user-disabled", {}, lambda up, who, stream: done(up.api("PATCH", f"/users/{who}", {"status": "disabled"}))),
    ("locked", {}, lambda up, who, stream: done(up.api("POST", "/locks", {"user": who}))),
    ("credential-revoked", {}, lambda up, who, stream: done(up.api("DELETE", f"/proxy-credentials/{who}"))),
    ("credential-expired", {"expires_at": 2}, lambda up, who, stream: None),
    ("grant-expired", {"ends_at": 2}, lambda up, who, stream: None),
    ("revoked", {}, lambda up, who, stream: done(up.api("DELETE", f"/grants/{who}"))),
]
NOT_CUT = ("client-gone", "target-reset", "idle-timeout")


def user_with_grant(up, who, expires_at=None, ends_at=None, port=None):
    up.api.make("users", name=who, role="user")
    credential = {"expires_at": seconds_ahead(expires_at)} if expires_at else {}
    secret = up.api.make("proxy-credentials", user=who, name=who, **credential)["secret"]
    grant = {"ends_at": seconds_ahead(ends_at)} if ends_at else {}
    up.api.make("grants", name=who, user=who, destination_profile="inner", **grant)
    return who, secret


with Up(env={"ADIT_RELAY_IDLE_MS": "3s", "ADIT_RELAY_GRACE_MS": "2s"}) as up:
    inside, _, agent = closed_network(up)
    inside.serve(reset_server, PORT + 1)
    for number, (reason, how, make) in enumerate(CAUSES):
        who = f"s{number}"
        stream = open_stream(user_with_grant(up, who, **how), how.get("port", PORT))
        make(up, who, stream)
        in_places(up, reason, "stream.closed", ENDED, record=("streams", {"user_name": who, "state": "closed"}),
                  user=who)
        if reason not in NOT_CUT:
            in_places(up, reason, "stream.cut", CUT, user=who)

    stream = open_stream(up.curlrc())
    agent.process.process.kill()
    agent.process.wait(5)
    in_places(up, "session-lost", "stream.closed", ENDED, record=("streams", {"user_name": "demo"}), user="demo")
    agent.start()

    stream = open_stream(up.curlrc())
    done(up.api("PATCH", "/agents/inner", {"status": "disabled"}))
    in_places(up, "agent-revoked", "stream.closed", ENDED, record=("streams", {"user_name": "demo"}), user="demo")

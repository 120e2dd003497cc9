# it serves both doors over TLS, and takes PROXY headers from listed addresses only
import base64
import pathlib
import socket
import struct
import subprocess

from harness import check, wait_until
from up import Up

VAR = pathlib.Path("/tmp/var")
URL = "http://hello.demo.internal/"
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a")


def page_after(header, credential, from_address="127.0.0.1"):
    """The demo page by CONNECT behind a PROXY header, or what was said instead."""
    with socket.create_connection(("127.0.0.1", 8080), timeout=20, source_address=(from_address, 0)) as s:
        basic = base64.b64encode(":".join(credential).encode()).decode()
        s.sendall(header + f"GET {URL} HTTP/1.1\r\nHost: hello.demo.internal\r\n"
                  f"Proxy-Authorization: Basic {basic}\r\nConnection: close\r\n\r\n".encode())
        try:
            return s.makefile("rb").read()
        except ConnectionResetError:        # refused before it was read
            return b""


VAR.mkdir(mode=0o700)
(VAR / "relay.yaml").write_text("https_listen: 127.0.0.1:8081\nsockstls_listen: 127.0.0.1:1081\n"
                                "proxy_protocol_from: [127.0.0.2/32]\n")
with Up() as up:
    user, secret = credential = up.curlrc()
    over_tls = up.curl("--proxy", "https://127.0.0.1:8081", "--proxy-cacert", VAR / "ca.pem",
                       "--proxy-insecure", "--proxytunnel", URL)
    check("Hello" in over_tls.stdout, over_tls)
    session = subprocess.run(
        ["openssl", "s_client", "-quiet", "-connect", "127.0.0.1:1081", "-CAfile", VAR / "ca.pem"],
        input=b"\x05\x01\x02", capture_output=True, timeout=20)
    check(session.stdout.startswith(b"\x05\x02"), session)

    listed = {
        "v1": b"PROXY TCP4 198.51.100.7 127.0.0.1 4000 8080\r\n",
        "v2": V2 + b"\x21\x11" + struct.pack(">H", 12) + socket.inet_aton("198.51.100.7") +
              socket.inet_aton("127.0.0.1") + struct.pack(">HH", 4000, 8080),
    }
    for name, header in listed.items():
        check(b"Hello" in page_after(header, credential, "127.0.0.2"), name)
        check(b"Hello" not in page_after(header, credential), name, "was taken from an address not listed")
    cut = V2 + b"\x21\x11" + struct.pack(">H", 11) + bytes(11)
    for name, header in {"cut v2": cut, "v1 of 200": b"PROXY " + b"x" * 200 + b"\r\n", "none": b""}.items():
        said = page_after(header, credential, "127.0.0.2")
        check(b"Hello" not in said, name, said)
    check(b"Hello" in page_after(b"", credential), "the plain door serves on")

    def is_recorded():
        streams = up.api("GET", "/streams?user=demo&limit=50").body["items"]
        return any("198.51.100.7" in s["source"] for s in streams)

    wait_until(is_recorded, 10, "the header's source is in the records")

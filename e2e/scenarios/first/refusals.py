# it names who has a taken port, refuses two runs on one directory, and moves all ports on request
import socket

from harness import check
from up import BIN, Process, Up

taken = socket.create_server(("127.0.0.1", 8080))
refused = Process(BIN / "adit", "up", "--var", "/tmp/other")
check(refused.wait(10) == 1 and "port 8080 (the HTTP proxy) is taken by python3 (process" in refused.output,
      refused.output)
check("--port-base" in refused.output, refused.output)

with Up(port_base=10000) as up:
    page = up.curl("http://hello.demo.internal/")
    check("Hello" in page.stdout and "127.0.0.1:18080" in up.output, page, up.output)
    second = Process(BIN / "adit", "up", "--var", up.var)
    check(second.wait(10) == 1 and f"process {up.process.pid} already runs" in second.output, second.output)

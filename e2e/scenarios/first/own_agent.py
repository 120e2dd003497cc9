# it does what docs/guide/own-agent.md says, word for word, with an agent on another machine
import os
import pathlib
import re
import subprocess

from harness import check, wait_until
from inside import Inside, serve
from up import BIN, Process, Up

GUIDE = pathlib.Path(__file__).resolve().parents[3] / "docs/guide/own-agent.md"
commands = [line for block in re.findall(r"```\n(.*?)```", GUIDE.read_text(), re.S)
            for line in block.splitlines()]
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwiki\n"


def in_guide(start):
    return next(line for line in commands if line.startswith(start))


def shell(line, up):
    line = re.sub("^build/bin/", f"{BIN}/", line)
    line = re.sub(r" var/", f" {up.var}/", line).replace("~", "/tmp/home")
    return subprocess.run(line, shell=True, capture_output=True, text=True, cwd="/tmp",
                          env={**os.environ, "ADIT_CLI_VAR": str(up.var)})


def run(line, up):
    done = shell(line, up)
    check(done.returncode == 0, line, done)
    return done.stdout


inside = Inside()
public = re.search(r'--public (\S+)"', in_guide("make run")).group(1)
listener = inside.there(lambda: __import__("socket").create_server(("10.99.0.3", 80)))
serve(listener, lambda c: (c.recv(4096), c.sendall(PAGE)))
hosts = pathlib.Path("/tmp/hosts")
hosts.write_text(f"127.0.0.1 localhost\n10.99.0.1 {public}\n10.99.0.3 wiki.corp.example\n")
subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)

with Up("--public", public) as up:
    run(in_guide("build/bin/adit join-token create"), up)
    inside.there(lambda: run(f"{BIN}/" + in_guide("adit-agent join"), up))
    agent = inside.there(lambda: Process(BIN / "adit-agent", "--data-dir", "/tmp/home/adit-agent",
                                         "--allow-special", "10.99.0.0/24:80"))
    wait_until(lambda: up.api("GET", "/agents/my-agent").body.get("connected"), 20,
               lambda: agent.output)
    for line in commands[commands.index(in_guide("build/bin/adit agent-group create")):][:4]:
        run(line.replace("--agent-group my-group", "--agent-group my-group --allow-special"), up)
    run(in_guide("build/bin/adit explain"), up)
    wait_until(lambda: "wiki" in shell(in_guide("curl"), up).stdout, 5)

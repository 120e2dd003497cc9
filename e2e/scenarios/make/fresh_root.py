# it comes up with two commands on a machine that has nothing but make, git and apt
# network: host
# timeout: 900
import pathlib
import re
import shutil
import subprocess

from harness import check, skip
from terminal import Terminal

ROOT = pathlib.Path("/tmp/root")
SOURCE = pathlib.Path(__file__).resolve().parents[3]


def run(*args, **more):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, **more)


def mirror():
    for path in [*pathlib.Path("/etc/apt").glob("sources.list.d/debian.sources"),
                 pathlib.Path("/etc/apt/sources.list")]:
        if path.exists() and (found := re.search(r"(?m)^(?:URIs:|deb(?: \[.*?\])?) *(\S+/debian)/?\s", path.read_text())):
            return found.group(1)
    skip("no package mirror can be reached")


def make_root():
    made = run("debootstrap", "--variant=minbase", "--include=make,git,ca-certificates", "bookworm",
               ROOT, mirror(), timeout=300)
    if made.returncode:
        print(made.stdout[-2000:], made.stderr[-2000:])
        skip("no package mirror can be reached")
    for kept in ("etc/apt", "etc/ssl/certs"):
        shutil.rmtree(ROOT / kept)
        shutil.copytree("/" + kept, ROOT / kept, symlinks=True)
    shutil.copy("/etc/resolv.conf", ROOT / "etc/resolv.conf")
    for what, where in (("proc", "proc"), ("sysfs", "sys"), ("devpts", "dev/pts")):
        run("mount", "-t", what, what, ROOT / where, check=True)
    run("chroot", ROOT, "useradd", "-m", "dev", check=True)
    run("git", "clone", "-q", "--no-hardlinks", SOURCE, ROOT / "home/dev/adit", check=True)
    run("chroot", ROOT, "git", "config", "--global", "--add", "safe.directory", "*", check=True)


def try_it_once():
    terminal = Terminal("make run", ROOT, "/home/dev/adit")
    terminal.read_until(r"Try:  (curl .*)\r", 600)
    hint = re.search(r"Try:  (curl [^\r]*)", terminal.text).group(1)
    page = run("chroot", ROOT, "sh", "-c", f"cd /home/dev/adit && {hint} -sS")
    check("Hello" in page.stdout and "agent   demo-agent" in page.stdout, page, terminal.text)
    terminal.type(b"\x03")
    code = terminal.finish()
    check(code == 0 and "***" not in terminal.text and "Stopped" in terminal.text, code, terminal.text)
    left = run("pgrep", "-f", "bin/adit").stdout
    check(not left, "left behind", left)
    return hint, terminal.text


make_root()
refused = run("chroot", "--userspec=dev:dev", ROOT, "sh", "-c", "cd /home/dev/adit && make run")
check(refused.returncode != 0 and "apt-get install" in refused.stderr and "As root" in refused.stderr, refused)
hint, first = try_it_once()
check(re.search(r"Adit needs \d+ packages \(gcc, .*\): installing … done", first), first)
check(re.search(r"building (\d+)/\1", first), first[-3000:])
again, second = try_it_once()
check(again == hint and "installing" not in second and "building" not in second, second)
print(first[-1500:])

# it completes in bash and installs manual pages that groff takes, all from the table of commands
import os
import pathlib
import re
import shutil
import subprocess

from harness import check, skip
from up import BIN, Up

ROOT = pathlib.Path(__file__).resolve().parents[3]
ENV = {**os.environ, "ADIT_CLI_VAR": "/tmp/var", "PATH": f"{BIN}:{os.environ['PATH']}"}
SHARE = pathlib.Path("/tmp/share")


def run(*words, **more):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, env=ENV, timeout=60, **more)


def completed(line):
    """What bash would offer for the last word of the line."""
    words = line.split(" ")
    script = (f"source <({BIN}/adit completion bash); COMP_WORDS=({' '.join(repr(w) for w in words)}); "
              f"COMP_CWORD={len(words) - 1}; _adit; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    done = run("bash", "-c", script)
    check(done.returncode == 0 and not done.stderr, line, done)
    return done.stdout.split()


check({"user", "group", "grant", "status", "agent", "completion"} <= set(completed("adit ")))
check(completed("adit agent-g") == ["agent-group"], completed("adit agent-g"))
check(completed("adit group add") == ["add-member"] and "cut" not in completed("adit user "))
check(completed("adit user create x --ro") == ["--role"])
check(completed("adit user create x --role ") == ["user", "auditor", "operator", "admin"])
check(completed("adit user create x --role = a") == ["auditor", "admin"])
check(completed("adit grant list --output j") == ["json"])
check(completed("adit reason no-g") and all(w.startswith("no-g") for w in completed("adit reason no-g")))
check(completed("adit user show ") in ([], [""]), "names without a control plane")
for shell in ("zsh", "fish"):
    check(run(BIN / "adit", "completion", shell).stdout.count("complete") > 0)
check(run(BIN / "adit", "completion", "csh").returncode == 2)

with Up() as up:
    up.api.make("users", name="dora")
    check(completed("adit user show do") == ["dora"], completed("adit user show do"))
    check(completed("adit grant create --user de") == ["demo"])
    check("demo-agent" in completed("adit agent-group add-member demo "))

done = run(ROOT / "tools/install-texts", BIN / "adit", SHARE)
check(done.returncode == 0, done)
pages = sorted((SHARE / "man/man1").glob("*.1"))
check(len(pages) > 15 and (SHARE / "man/man1/adit-join-token.1") in pages, pages)
check((SHARE / "bash-completion/completions/adit").read_text() == run(BIN / "adit", "completion", "bash").stdout)
usage = run(BIN / "adit", "--help").stdout
for page in pages:
    text = page.read_text()
    word = page.stem.removeprefix("adit-")
    check(all(heading in text for heading in (".SH NAME", ".SH EXIT STATUS", ".SH SYNOPSIS")), page)
    check(page.stem == "adit" or re.search(rf"(?m)^  {word} ", usage), page)
    check(page.stem == "adit" or ".SS \"adit " in text and ".SH EXAMPLES" in text, page)
if not shutil.which("groff"):
    skip("groff is not installed")
for page in pages:
    done = run("groff", "-man", "-wall", "-Tutf8", page)
    check(done.returncode == 0 and not done.stderr, page, done.stderr)

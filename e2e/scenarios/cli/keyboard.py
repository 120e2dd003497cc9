# it asks for passwords unseen, shows a secret once, asks before it applies, and fits its tables to the terminal
import json
import pathlib
import re

from harness import check
from terminal import Terminal
from up import BIN, Api, Up

FILE = pathlib.Path("/tmp/config.json")


def at_terminal(words, columns=80):
    return Terminal(f"stty cols {columns} rows 24; exec env ADIT_CLI_VAR=/tmp/var NO_COLOR=1 {BIN}/adit {words}")


def typed(words, *answers):
    """The command with an answer to each question; (exit code, what stood on the screen)."""
    terminal = at_terminal(words)
    for question, answer in answers:
        terminal.read_until(question, 20)
        terminal.text = ""
        terminal.type(answer.encode() + b"\r")
    code = terminal.finish()
    return code, terminal.text


with Up() as up:
    new, again = "New password: ", "Once more: "
    password = "correct horse battery"
    code, text = typed("user create kim --password", (new, password), (again, password))
    check(code == 0 and "user kim made" in text and password not in text, code, text)
    login = Api(8443, up.var / "ca.pem", "none")("POST", "/login-sessions", {"user": "kim", "password": password})
    check(login.status == 201, login)
    code, text = typed("user create lee --password", (new, password), (again, "another one, by mistake"))
    check(code == 2 and "two different" in text and up.api("GET", "/users/lee").status == 404, code, text)

    code, text = typed("credential create phone --user kim")
    secret = re.search(r"adp_\S+", text)
    check(code == 0 and "shown this once" in text and secret, code, text)
    check(secret.group() not in up.api("GET", "/proxy-credentials/phone").text)

    FILE.write_text(json.dumps({"groups": [{"name": "staff", "members": ["kim"]}]}))
    apply = f"config apply {FILE} --owner me"
    code, text = typed(apply, (r"Do it\? \[y/N\] ", "n"))
    check(code == 1 and "nothing was changed" in text and up.api("GET", "/groups/staff").status == 404, code, text)
    code, text = typed(apply, (r"Do it\? \[y/N\] ", "y"))
    check(code == 0 and "done" in text and up.api("GET", "/groups/staff").status == 200, code, text)

    # Somebody looks at it for long; meanwhile the state goes on.
    FILE.write_text(json.dumps({"groups": [{"name": "late"}]}))
    terminal = at_terminal(apply)
    terminal.read_until(r"Do it\?", 20)
    up.api.make("users", name="meanwhile")
    terminal.type(b"y\r")
    check(terminal.finish() == 1 and "effect-changed" in terminal.text, terminal.text)

    # Tables: as wide as the terminal at most, what is cut says so; nothing moves the cursor.
    up.api.make("users", name="wide", description="ä" * 300)
    for columns in (60, 120):
        terminal = at_terminal("user list", columns)
        check(terminal.finish() == 0 and "…" in terminal.text and "wide" in terminal.text, terminal.text)
        check(all(len(line.rstrip("\r")) <= columns for line in terminal.text.split("\n")), columns, terminal.text)
    check("\x1b" not in terminal.text, "colours with NO_COLOR")

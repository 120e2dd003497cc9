# it logs in from the terminal, enrols in a second factor, and asks for its code from then on
import pathlib
import re
import time

import totp
from harness import check
from terminal import Terminal
from up import BIN, Api, Up

FILE, PASSWORD = pathlib.Path("/tmp/session"), "correct horse battery"


def typed(words, *answers):
    """The command with an answer to each question; (exit code, what stood on the screen)."""
    terminal, seen = Terminal(f"exec env ADIT_CLI_VAR=/tmp/var NO_COLOR=1 {BIN}/adit {words}"), ""
    for question, answer in answers:
        terminal.read_until(question, 20)
        seen += terminal.text
        terminal.text = ""
        terminal.type((answer(seen) if callable(answer) else answer).encode() + b"\r")
    code = terminal.finish()
    return code, seen + terminal.text


def secret_in(text):
    return re.search(r"\b[A-Z2-7]{32}\b", text).group()


with Up() as up:
    up.api.make("users", name="kim", password=PASSWORD, totp_required=True)
    log_in = f"login kim --session-file {FILE}"
    code, text = typed(log_in, ("Password: ", "not this one"))
    check(code == 1 and "unauthenticated" in text and not FILE.exists(), code, text)
    code, text = typed(log_in, ("Password: ", PASSWORD))
    check(code == 0 and "second factor is required" in text and PASSWORD not in text, code, text)
    check(FILE.stat().st_mode & 0o777 == 0o600, oct(FILE.stat().st_mode))
    session = Api(8443, up.var / "ca.pem", FILE.read_text().strip())
    check(session("GET", "/users/kim").status == 403, "it may more than enrol")

    code, text = typed(f"totp --token-file {FILE}", ("app shows: ", lambda seen: totp.code(secret_in(seen))))
    check(code == 0, code, text)
    secret, recovery = secret_in(text), re.findall(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", text)
    check(len(recovery) == 10, text)

    # The code of now has confirmed the enrolment; a clock that is half a minute ahead shows the next.
    ahead = totp.code(secret, time.time() + totp.STEP_S)
    code, text = typed(log_in, ("Password: ", PASSWORD), ("Code: ", ahead))
    check(code == 0 and "second factor is required" not in text, code, text)
    session = Api(8443, up.var / "ca.pem", FILE.read_text().strip())
    check(session("GET", "/users/kim").status == 200)
    code, text = typed(log_in, ("Password: ", PASSWORD), ("Code: ", ahead))
    check(code == 1, "a code is good twice", text)
    for want in (0, 1):
        code, text = typed(log_in, ("Password: ", PASSWORD), ("Code: ", recovery[2]))
        check(code == want, "a recovery code is good once", want, text)

    code, text = typed("totp reset kim")
    check(code == 0 and "no second factor" in text, code, text)
    check(up.api("GET", "/users/kim").body["totp_set_at"] is None)
    for name in ("controlplane.log", "relay.log"):
        log = next(iter(up.var.glob(f"**/{name}"))).read_text()
        check(secret not in log and recovery[2] not in log and PASSWORD not in log, name, "tells a secret")

# it ends make run with 0 and no word from make when Ctrl-C is typed, once or twice
import pathlib
import subprocess

from harness import check
from terminal import Terminal
from up import BIN

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]

for keys in (b"\x03", b"\x03\x03"):
    terminal = Terminal(f"make run BUILD={BIN.parent} ARGS='--var /tmp/var'", directory=CHECKOUT)
    terminal.read_until("Next: ", 120)
    check("\x1b[32mAdit is up" in terminal.text, "colours on a terminal", terminal.text)
    terminal.type(keys)
    code = terminal.finish()
    check(code == 0 and "***" not in terminal.text and "Stopped" in terminal.text, code, terminal.text)
    left = subprocess.run(["pgrep", "-l", "adit"], capture_output=True, text=True).stdout
    check(not left, "left behind:", left)

terminal = Terminal(f"NO_COLOR=1 make run BUILD={BIN.parent} ARGS='--var /tmp/var'", directory=CHECKOUT)
terminal.read_until("Next: ", 60)
check("\x1b[" not in terminal.text, "no colours with NO_COLOR", terminal.text)
terminal.type(b"\x03")
check(terminal.finish() == 0)

"""What the checks of this folder share: the rooms, the files, the code without its comments."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOPS = ("lib", "controlplane", "dataplane", "agent", "cli", "fuzz")


def code_files(pattern="*.[ch]"):
    """Paths from the root of all C files, in order."""
    return sorted(f.relative_to(ROOT).as_posix() for top in TOPS for f in (ROOT / top).rglob(pattern))


def room_of(path):
    """The room that a file belongs to; fuzzers name theirs in their first line."""
    folder = path.rpartition("/")[0]
    if folder != "fuzz":
        return folder
    found = re.match(r"//\s*room:\s*(\S+)", (ROOT / path).read_text())
    return found.group(1) if found else folder


_SKIPPED = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def bare(text):
    """The code with comments gone and literals emptied; lines stay where they are."""
    def blank(found):
        mark = found.group(0)[0]
        return (mark * 2 if mark in "\"'" else " ") + "\n" * found.group(0).count("\n")
    return _SKIPPED.sub(blank, text)


def table(name):
    """Rows of a list in tools/, without comments, cut at blanks into (first word, rest)."""
    for line in (ROOT / "tools" / name).read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            first, _, rest = line.partition(" ")
            yield first, rest.strip()


def finish(what, complaints, unit, count):
    """Prints the complaints, or that all is well, and ends the program."""
    complaints = list(complaints)
    print("\n".join(complaints) or f"{what}: {count} {unit}, good")
    sys.exit(1 if complaints else 0)

"""What every scenario uses: conditions with deadlines, checks that say what they saw."""
import sys
import threading
import time

SKIPPED = 77
_never = threading.Event()


def wait_until(condition, seconds, what=None):
    """Returns the first true value of condition(); fails when `seconds` pass without one.
    `what` says what was waited for: a text, or a function that makes one then."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            seen = what() if callable(what) else what
            raise AssertionError(f"not within {seconds} s: {seen or condition}")
        _never.wait(0.01)


def check(is_true, *seen):
    """Fails with what was seen."""
    if not is_true:
        raise AssertionError("seen: " + ", ".join(str(s) for s in seen))


def skip(reason):
    print(f"skip: {reason}")
    sys.exit(SKIPPED)

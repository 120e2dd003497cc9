"""The recorded history of one object that several change at the same time, each as he read it, and what it must obey.

A version is the number in the ETag; whoever writes names the one that he read (If-Match) and gets the next one.
Nothing is lost when all answered writes stand in one row, without a fork, and nobody who asked later sees less.
"""
import dataclasses
import threading
import time

from harness import check
from writes import GONE, MAYBE


@dataclasses.dataclass
class Step:
    who: str
    began: float
    ended: float
    version: int = 0        # that was read, or that the write made; 0: none
    value: str = ""
    match: int = 0          # what the write named; 0: it read
    status: int = 0         # 0: nobody knows whether it was made


class History(list):
    """Steps in any order, recorded by many threads."""

    def record(self, who, ask, **known):
        """The step of one request; its answer is None when there was none."""
        began, answer = time.monotonic(), None
        try:
            answer = ask()
        except GONE:
            threading.Event().wait(0.01)
        step = Step(who, began, time.monotonic(), **known)
        if answer and not (answer.status == 503 and answer.body["reason"] in MAYBE):
            step.status = answer.status
            step.version = int(answer.headers["ETag"].strip('"')) if answer.status == 200 else 0
            step.value = answer.body.get("description", "") if answer.status == 200 else step.value
        self.append(step)
        return step

    def of(self, *statuses):
        return [step for step in self if step.status in statuses]

    def verify(self, last):
        """`last`: a read after all others."""
        steps, writes = self + [last], [step for step in self if step.match]
        for step in steps:
            good = {0, 200, 412} if step.match else {0, 200}
            check(step.status in good, "neither made nor refused for its version:", step)
        self._verify_row([w for w in writes if w.status == 200], [w for w in writes if not w.status], last)
        self._verify_values(steps, writes)
        self._verify_order([s for s in steps if s.status == 200])
        self._verify_refusals(writes, last)

    def _verify_row(self, made, maybe, last):
        """Each version up to the last one was made once, from the one before it."""
        by_version = {}
        for step in made:
            check(step.version == step.match + 1, "made from another version than named:", step)
            check(by_version.setdefault(step.version, step) is step, "two made the same version:", step, by_version[step.version])
            check(step.version <= last.version, "an update is lost:", step, last)
        possible = {step.match + 1 for step in maybe}
        missing = set(range(2, last.version + 1)) - set(by_version) - possible
        check(not missing, "nobody made these versions:", missing)

    def _verify_values(self, steps, writes):
        """What is read of a version is what its writer wrote, whoever reads it and when."""
        maker = {step.value: step for step in writes}
        values = {}
        for step in steps:
            if step.status != 200:
                continue
            check(values.setdefault(step.version, step.value) == step.value, "another value of the same version:", step)
            if step.version > 1:
                check(step.value in maker and maker[step.value].match + 1 == step.version, "nobody wrote this:", step)
                check(maker[step.value].status in (0, 200), "refused, and yet made:", step, maker[step.value])

    def _verify_order(self, seen):
        """What one was told, nobody who asks afterwards sees less of."""
        newest, ended = 0, sorted(seen, key=lambda step: step.ended)
        at = 0
        for step in sorted(seen, key=lambda step: step.began):
            while at < len(ended) and ended[at].ended < step.began:
                newest, at = max(newest, ended[at].version), at + 1
            check(step.version >= newest, "older than what was told before:", step, newest)

    def _verify_refusals(self, writes, last):
        """412 is said only when another one was faster."""
        began = {}
        for step in writes:
            if step.status in (0, 200):
                began[step.match + 1] = min(step.began, began.get(step.match + 1, step.began))
        for step in self.of(412):
            check(step.match + 1 in began and began[step.match + 1] < step.ended, "refused without a reason:", step)
            check(step.match < last.version, "refused without a reason:", step, last)


def check_catches(history, last):
    """The checker itself: histories in which something is lost do not pass."""
    made = [step for step in history.of(200) if step.match]
    first, final = made[0], max(made, key=lambda step: step.version)
    refused = history.of(412)[0]
    reader = next(step for step in history.of(200) if not step.match and step.version > 2)
    wrong = {
        "a refused one that was made": (refused, {"status": 200, "version": refused.match + 1}),
        "an update from what was not read": (first, {"match": first.match - 1 or 7}),
        "a value of nobody": (reader, {"value": "nobody's"}),
        "an old read": (reader, {"version": 1, "value": ""}),
        "an update behind the last": (final, {"version": last.version + 1, "match": last.version}),
        "an answer that is neither": (refused, {"status": 500}),
        "a refusal without a reason": (refused, {"match": last.version}),
    }
    for what, (step, change) in wrong.items():
        other = History(dataclasses.replace(step, **change) if s is step else s for s in history)
        try:
            other.verify(last)
        except AssertionError:
            continue
        raise AssertionError(f"the checker does not see {what}: {step} {change}")

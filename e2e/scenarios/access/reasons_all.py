# it explains every reason code, and there is a scenario for each that this release can give
# timeout: 60
import pathlib
import subprocess

from harness import check
from places import meaning
from up import BIN

# Nothing in this release gives these; a person who meets one, of a newer or older part, is told all the same.
NO_SOURCE = {
    "not-here": "one relay holds all agents: there is no other to ask for one that has left",
    "ticket-invalid": "relays hand no streams to each other, so there are no tickets",
}
# What the two ends of a tunnel tell each other when a path ends and the stream goes on by another: no
# refusal, and nobody is told but the log; lib/mux's own tests and its simulation provoke each.
BETWEEN_ENDS = {
    "unknown-stream": "an end asks to go on with a stream that the other has given up",
    "stale-path": "what came late on a path that was left",
    "gap": "bytes were missing on a path, which is left",
    "link-renew": "a link makes room for a new one, before its numbers or its certificate end",
}
# Provoked where it is told by another word than the code.
ELSEWHERE = {
    "state-rejected": "faults/state.py: state.refused in the log, adit_relay_state_refused_total",
    "uplink-proxy-timeout": "lib/ws/client's own tests: the agent's log alone tells of its proxies",
}

scenarios = pathlib.Path(__file__).parents[1]
texts = [path.read_text() for path in scenarios.glob("*/*.py") if path != pathlib.Path(__file__)]
codes = [line.split()[0] for line in
         subprocess.run([BIN / "adit", "reason"], capture_output=True, text=True, check=True).stdout.splitlines()]
check(len(codes) > 60, codes)
for code in codes:
    check(code + ": " in meaning(code), meaning(code))
    is_provoked = any(f'"{code}"' in text for text in texts)
    is_listed = any(code in table for table in (NO_SOURCE, BETWEEN_ENDS, ELSEWHERE))
    check(is_provoked or is_listed, code, "has neither a scenario nor a line here that says why not")
    check(code not in NO_SOURCE or not is_provoked, code, "has a source by now")
for table in (NO_SOURCE, BETWEEN_ENDS, ELSEWHERE):
    check(set(table) <= set(codes), set(table) - set(codes))

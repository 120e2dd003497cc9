# it does what the examples of the API say
# on PostgreSQL too
import json
import pathlib

from harness import check
from up import Up

EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "api/examples"


def holds(want, have):
    """Whether `have` has all that `want` names, lists item by item."""
    if isinstance(want, dict):
        return isinstance(have, dict) and all(k in have and holds(v, have[k]) for k, v in want.items())
    if isinstance(want, list):
        return isinstance(have, list) and len(have) >= len(want) and all(map(holds, want, have))
    return want == have


with Up() as up:
    for story in sorted(EXAMPLES.glob("*.json")):
        for step in json.loads(story.read_text()):
            answer = up.api(step["method"], step["path"], step.get("body"), step.get("headers", {}))
            seen = (story.name, step["it"], answer)
            check(answer.status == step["status"], *seen)
            check(holds(step.get("answer", {}), answer.body or {}), *seen)
            check(all(k in answer.body for k in step.get("has", ())), *seen)
            check(not any(k in answer.body for k in step.get("has_not", ())), *seen)

"""A key that was used with another body is refused (422) as the contract says, whatever the
body is worth: so each valid case gets a key of its own."""
import re
import uuid

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    headers = case.headers or {}
    if re.fullmatch(r"[!-~]{1,128}", headers.get("Idempotency-Key", "")):
        headers["Idempotency-Key"] = str(uuid.uuid4())

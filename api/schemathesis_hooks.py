"""What schemathesis is told about this API beside its contract."""
import functools
import re
import urllib.parse
import uuid

import requests
import schemathesis


@functools.cache
def own(base, token, verify):
    """The caller's user and token, which must outlive the run, or all that follows is 401."""
    me = requests.get(base + "/me", headers={"Authorization": token}, verify=verify, timeout=10).json()
    return {me["user"]["id"], me["user"]["name"], me["token"]} if "user" in me else set()


def is_short(parameters):
    """A path and query of 4 KiB are 414 before anything is looked at: that is the server's own test."""
    return len(urllib.parse.urlencode(parameters or {}, doseq=True, errors="replace")) < 1500


@schemathesis.hook
def filter_query(context, query):
    return is_short(query)


@schemathesis.hook
def filter_path_parameters(context, path_parameters):
    return is_short(path_parameters)


@schemathesis.hook
def before_call(context, case, kwargs):
    headers, path = case.headers or {}, case.path_parameters or {}
    # A key that was used with another body is refused (422) as the contract says, whatever
    # the body is worth: so each valid case gets a key of its own.
    if re.fullmatch(r"[!-~]{1,128}", headers.get("Idempotency-Key", "")):
        headers["Idempotency-Key"] = str(uuid.uuid4())
    # Events come until somebody ends it.
    query = case.query if isinstance(case.query, dict) else {}
    if case.path == "/events" and re.fullmatch(r"|0*[1-9][0-9]*", str(query.get("seconds", ""))):
        query["seconds"] = 0
        case.query = query
    token = headers.get("Authorization", "")
    if case.method in ("DELETE", "PATCH", "POST") and token.startswith("Bearer adit_"):
        if path.get("id") in own(case.operation.base_url, token, kwargs.get("verify", True)):
            path["id"] = "somebody-else"

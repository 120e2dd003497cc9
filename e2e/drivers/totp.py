"""Codes as an authenticator app shows them (RFC 6238), by the standard library alone."""
import base64
import hashlib
import hmac
import struct
import time

STEP_S = 30


def code(secret, at=None):
    """The code of a base32 secret, now or at that second."""
    step = int(time.time() if at is None else at) // STEP_S
    mac = hmac.new(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1).digest()
    number, = struct.unpack_from(">I", mac, mac[19] & 15)
    return f"{(number & 0x7fffffff) % 1000000:06}"


def enrol(api, user):
    """The user of that API enrols himself: (secret, recovery codes)."""
    secret = api("POST", f"/users/{user}/totp", {}).body["secret"]
    answer = api("POST", f"/users/{user}/totp/confirm", {"code": code(secret)})
    assert answer.status == 200, answer
    return secret, answer.body["recovery_codes"]

# it holds the tests' own identity provider against an independent client: what that takes, ours takes for the same reasons
# timeout: 60
import json
import pathlib
import subprocess

from harness import check, skip
from provider import Provider

ROOT = pathlib.Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv/bin/python"
if not PYTHON.exists() or subprocess.run([PYTHON, "-c", "import authlib, joserfc"], capture_output=True).returncode:
    skip("Authlib is not installed")

for n, alg in enumerate(("RS256", "ES256", "EdDSA")):
    # Authlib does not escape what stands before HTTP Basic (RFC 6749 section 2.3.1): so a secret that needs it not.
    provider = Provider(9810 + n, f"/tmp/{alg}", alg=alg, secret="plain", auth="client_secret_post" if n else "client_secret_basic")
    done = subprocess.run([PYTHON, ROOT / "e2e/drivers/oidc_client.py", provider.issuer, provider.dir / "ca.pem", provider.secret, alg],
                          capture_output=True, text=True, timeout=40)
    check(done.returncode == 0, alg, done.stdout, done.stderr[-2000:])
    check(json.loads(done.stdout) == {"sub": "u-1", "alg": alg}, done.stdout)
    if alg == "RS256":      # and what it would not take, it does not
        provider.twist = {"claims": lambda claims: {**claims, "nonce": "another"}}
        done = subprocess.run([PYTHON, ROOT / "e2e/drivers/oidc_client.py", provider.issuer, provider.dir / "ca.pem", provider.secret, alg],
                              capture_output=True, text=True, timeout=40)
        check(done.returncode != 0 and "nonce" in done.stderr, done.stderr[-2000:])

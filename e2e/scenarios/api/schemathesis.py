# it answers as its OpenAPI says, whatever schemathesis sends
# on PostgreSQL too
# timeout: 600
import os
import pathlib
import subprocess

from harness import check, skip
from up import Up

ROOT = pathlib.Path(__file__).resolve().parents[3]
TOOL = ROOT / ".venv/bin/schemathesis"
if not TOOL.exists():
    skip("schemathesis is not installed")

# The second database gets less: what differs there is the SQL, which sound requests reach.
EXTENT = ["--max-examples", os.environ.get("EXAMPLES", "12")]
if os.environ.get("ADIT_E2E_STORE") and "EXAMPLES" not in os.environ:
    EXTENT = ["--max-examples", "5", "--phases", "fuzzing"]

# It asks faster than any one caller may.
with Up(env={"ADIT_CONTROLPLANE_RATE_PER_S": "0", "ADIT_CONTROLPLANE_DIAGNOSTICS_PER_MINUTE": "10000"}) as up:
    api = up.api("GET", "/openapi.json")
    pathlib.Path("/tmp/openapi.json").write_text(api.text)
    done = subprocess.run(
        [TOOL, "--config-file", ROOT / "api/schemathesis.toml", "run", "/tmp/openapi.json",
         "--url", up.api.base, "--tls-verify", up.var / "ca.pem",
         "-H", "Authorization: Bearer " + up.token(), *EXTENT, "--seed", "1",
         "--workers", "1",      # Python 3.11 counts wrongly when two threads parse Python (CPython 106905)
         "--no-color", "--continue-on-failure", "--generation-database", "none"],
        capture_output=True, text=True, cwd="/tmp",
        env={**os.environ, "PYTHONPATH": str(ROOT / "api")})
    print(done.stdout[-6000:], done.stderr[-2000:])
    check(done.returncode == 0, "schemathesis found failures")

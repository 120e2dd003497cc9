# it offers no old TLS, weak cipher, compression or renegotiation to an independent scanner, on each listener
# timeout: 600
import json
import pathlib
import subprocess

from harness import check, skip
from up import Up

TOOL = pathlib.Path(__file__).resolve().parents[3] / ".venv/bin/sslyze"
if not TOOL.exists():
    skip("sslyze is not installed")
OLD = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
LISTENERS = {8443: ("tls_1_2", "tls_1_3"), 8081: ("tls_1_2", "tls_1_3"), 1081: ("tls_1_2", "tls_1_3"), 8444: ("tls_1_3",), 7443: ("tls_1_3",)}
FLAWS = {               # what it looks for: where it says so, and what it says of a sound server
    "heartbleed": ("is_vulnerable_to_heartbleed", False), "openssl_ccs_injection": ("is_vulnerable_to_ccs_injection", False),
    "tls_compression": ("supports_compression", False), "robot": ("robot_result", "NOT_VULNERABLE_NO_ORACLE"),
    "session_renegotiation": ("is_vulnerable_to_client_renegotiation_dos", False),
}

pathlib.Path("/tmp/var").mkdir(mode=0o700)
pathlib.Path("/tmp/var/relay.yaml").write_text("https_listen: 127.0.0.1:8081\nsockstls_listen: 127.0.0.1:1081\n")
with Up() as up:
    for port, wanted in LISTENERS.items():
        out = pathlib.Path(f"/tmp/sslyze-{port}.json")
        done = subprocess.run([TOOL, f"--json_out={out}", f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=240)
        check(out.exists(), port, done.stdout[-2000:], done.stderr[-1000:])
        result = json.loads(out.read_text())["server_scan_results"][0]
        if result["scan_result"] is None:           # it cannot scan who asks for a certificate before anything
            check(port in (8444, 7443), port, result["connectivity_error_trace"])
            continue
        scan = result["scan_result"]
        for version in (*OLD, "tls_1_2", "tls_1_3"):
            accepted = [suite["cipher_suite"]["name"] for suite in (scan[f"{version}_cipher_suites"]["result"] or {}).get("accepted_cipher_suites", ())]
            check(bool(accepted) == (version in wanted), port, version, accepted)
            check(not [name for name in accepted if not any(good in name for good in ("GCM", "CHACHA20", "CCM"))], port, version, accepted)
        for what, (key, sound) in FLAWS.items():
            found = (scan[what]["result"] or {}).get(key, sound)
            check(found == sound or (what == "robot" and found.startswith("NOT_VULNERABLE")), port, what, found)
        print(port, "is sound")

# it answers as its OpenAPI says, whatever schemathesis sends, in more examples
# on PostgreSQL too
# timeout: 2400
import os
import pathlib
import runpy

os.environ["EXAMPLES"] = "30" if os.environ.get("ADIT_E2E_STORE") else "60"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "api/schemathesis.py"))

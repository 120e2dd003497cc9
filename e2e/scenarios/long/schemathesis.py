# it answers as its OpenAPI says, whatever schemathesis sends, in more examples
# timeout: 1800
import os
import pathlib
import runpy

os.environ["EXAMPLES"] = "60"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "api/schemathesis.py"))

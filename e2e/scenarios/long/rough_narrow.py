# it answers a thousand small messages in time over a narrow link that others fill
# timeout: 600
import os
import pathlib
import runpy

os.environ["ADIT_MESSAGES"] = "500"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "rough" / "narrow.py"))

# it lives through failing system calls after which an agent has to come back
# timeout: 900
import os
import pathlib
import runpy

os.environ["ADIT_LONG"] = "1"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "exhausted/calls.py"))

# it loses no acknowledged write through 100 kills of the database server and 100 of the control plane
# timeout: 2400
import os
import pathlib
import runpy

os.environ["ADIT_KILLS"] = "100"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "faults/kill_postgres.py"))

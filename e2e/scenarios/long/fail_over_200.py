# it loses no acknowledged write, and halves none, through 200 deaths of the database's primary, each with another standby taking over
# timeout: 3600
import os
import pathlib
import runpy

os.environ["ADIT_KILLS"] = "200"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "faults/fail_over.py"))

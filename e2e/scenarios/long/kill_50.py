# it comes back by itself from 50 kills of each program under traffic, and loses no acknowledged write
# timeout: 2400
import os
import pathlib
import runpy

os.environ["ADIT_KILLS"] = "50"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "faults/kill.py"))

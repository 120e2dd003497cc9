# it loses no acknowledged write, and halves none, when the control plane is killed at 200 random moments under writes
# on PostgreSQL too
# timeout: 2400
import os
import pathlib
import runpy

os.environ["ADIT_KILLS"] = "200"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "faults/kill_controlplane.py"))

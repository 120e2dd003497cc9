# it keeps its metrics and memory as they are, however many hosts and users strangers name, in more names
# timeout: 1800
import os
import pathlib
import runpy

os.environ["NAMES"] = "200000"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "security/host_names.py"))

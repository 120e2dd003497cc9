# it keeps every byte of larger transfers through loss, delay and reordering
# timeout: 900
import os
import pathlib
import runpy

os.environ["ADIT_SIZE"] = "20000000"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "rough" / "loss.py"))

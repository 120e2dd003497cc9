# it keeps every transfer whole while the agent's link is cut at 200 moments, some of them without a word
# timeout: 1800
import os
import pathlib
import runpy

os.environ.update(ADIT_CUTS="200", ADIT_BUDGET_S="1500", ADIT_SILENT_EVERY="8")
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "moving/cut.py"))

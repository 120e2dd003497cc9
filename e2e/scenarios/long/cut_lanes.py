# it keeps 20 transfers whole on two lanes of one session while one of them is cut at 200 moments, some of them without a word
# timeout: 2400
import os
import pathlib
import runpy

os.environ.update(ADIT_CUTS="200", ADIT_BUDGET_S="2000", ADIT_SILENT_EVERY="8", ADIT_CUT_LANES="2",
                  ADIT_TRANSFERS="20")
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "moving/cut.py"))

# it loses no update in thousands of conflicting changes through two control planes, one of them killed 20 times meanwhile
# timeout: 1800
import os
import pathlib
import runpy

os.environ.update(ADIT_CHANGES="300", ADIT_KILLS="20")
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "faults/conflicts.py"))

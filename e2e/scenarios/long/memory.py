# it holds 5,000 idle streams for ten minutes, and bears 9,000 that nobody reads
# timeout: 1800
import os
import pathlib
import runpy

os.environ.update(ADIT_STALLED="9000", ADIT_IDLE="5000", ADIT_SIZE="1000000000", ADIT_REST_S="600",
                  ADIT_LIMIT_MIB="128")
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "exhausted/memory.py"))

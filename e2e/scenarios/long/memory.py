# it holds 5,000 idle streams for ten minutes, bears 10,000 that nobody reads, and carries 1 GiB past them
# timeout: 1800
import os
import pathlib
import runpy

os.environ.update(ADIT_STALLED="10000", ADIT_IDLE="5000", ADIT_SIZE=str(1 << 30), ADIT_REST_S="600",
                  ADIT_LIMIT_MIB="128")
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "exhausted/memory.py"))

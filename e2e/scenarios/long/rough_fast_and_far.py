# it fills a fast and far link with one stream after the link has rested
# timeout: 300
import os
import pathlib
import runpy

os.environ["ADIT_REST_S"] = "45"
runpy.run_path(str(pathlib.Path(__file__).parents[1] / "rough" / "fast_and_far.py"))

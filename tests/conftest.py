"""Set before torch is loaded, for the tests and for every process that they start."""

import os
import sys
from pathlib import Path

# the threads of two small models wait for each other longer than they compute
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

_START = str(Path(__file__).parent / "start")
if _START not in sys.path:
    sys.path.append(_START)
    import sitecustomize  # noqa: F401
_PATHS = os.environ.get("PYTHONPATH", "").split(os.pathsep)
if _START not in _PATHS:
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, _PATHS), _START])

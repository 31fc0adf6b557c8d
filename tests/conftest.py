"""Set before torch is loaded: tests run side by side, a thread each."""

import os

# the threads of two small models wait for each other longer than they compute
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

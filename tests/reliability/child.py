"""`python -m tests.reliability.child MODULE ARGUMENTS...`: `python -m MODULE ARGUMENTS...` that dies with its parent.

Should the test run itself be killed, no fixture runs any more: the kernel then ends the servers (Linux).
"""

from __future__ import annotations

import ctypes
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

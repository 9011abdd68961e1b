"""One way to compile this package's numba kernels."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import numba

__all__ = ["compiled", "worker_count", "workers"]

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile `function` with numba: no GIL, and kept on disk between processes where that is possible.

    Numba keeps the machine code in the package's own `__pycache__`, else in the user's private cache folder
    (`NUMBA_CACHE_DIR` overrides both), and replaces files atomically. Where neither can be written (a read-only
    container) the kernel is compiled in every process. A folder others can write to is never used: what lies in a
    cache is executed.

    Kernels are not compiled with `parallel=True`: numba's default threading layer aborts the process when two Python
    threads enter it. They release the GIL instead, and callers split the work over `workers()`.
    """
    try:
        kernel = numba.njit(function, nogil=True, cache=True)
    except RuntimeError:  # "no locator available": nowhere to keep it
        kernel = numba.njit(function, nogil=True)
    return kernel  # type: ignore[no-any-return]


def worker_count() -> int:
    """Cores this process may use; `NUMBA_NUM_THREADS` lowers it."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, _limit())


def _limit() -> int:
    return int(numba.config.NUMBA_NUM_THREADS)


@lru_cache(maxsize=1)
def workers() -> ThreadPoolExecutor:
    """The process' threads for kernels."""
    return ThreadPoolExecutor(worker_count(), thread_name_prefix="geometry")


# A forked child inherits the pool object but none of its threads: it must make its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers.cache_clear)

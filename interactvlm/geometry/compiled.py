"""One way to compile this package's numba kernels."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import numba

__all__ = ["compiled", "run_bands", "worker_count"]

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile `function` with numba: no GIL, and kept on disk between processes where that is possible.

    Numba keeps the machine code in the package's own `__pycache__`, else in the user's private cache folder
    (`NUMBA_CACHE_DIR` overrides both), and replaces files atomically. Where neither can be written (a read-only
    container) the kernel is compiled in every process. A folder others can write to is never used: what lies in a
    cache is executed.

    Kernels are not compiled with `parallel=True`: numba's default threading layer aborts the process when two Python
    threads enter it. They release the GIL instead, and `run_bands` splits the work over threads.
    """
    try:
        kernel = numba.njit(function, nogil=True, cache=True)
    except RuntimeError:  # "no locator available": nowhere to keep it
        kernel = numba.njit(function, nogil=True)
    return kernel  # type: ignore[no-any-return]


def worker_count() -> int:
    """Cores this process may use; `NUMBA_NUM_THREADS` lowers it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, int(numba.config.NUMBA_NUM_THREADS))


def run_bands(kernel: Callable[[int, int, int], None], count: int, height: int) -> None:
    """Call `kernel(view, first_row, end_row)` for all rows of all views, spread over this process' threads.

    Kernels visit every face or point once a band, so bands are as few as keep the threads evenly busy.
    """
    bands = min(-(-4 * worker_count() // count), height)
    edges = [height * band // bands for band in range(bands + 1)]
    tasks = [(view, start, stop) for view in range(count) for start, stop in pairwise(edges)]
    list(_workers().map(lambda task: kernel(*task), tasks))


@lru_cache(maxsize=1)
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(worker_count(), thread_name_prefix="geometry")


# A forked child inherits the pool object but none of its threads: it must make its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)

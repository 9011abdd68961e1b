"""The memory of a server's process: few arenas, and what a busy hour has left behind is given back at rest.

gRPC leaves reference cycles with every call, which Python finds late. glibc makes up to eight arenas a core and keeps
what was freed in each: a server with a dozen threads (gRPC's, decoders, the device's) holds a multiple of what it uses.
What is glibc's does nothing elsewhere.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from collections.abc import Callable

__all__ = ["limit_arenas", "map_large_blocks", "trim_at_rest"]

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_ARENAS = 2
_LARGE_BYTES = 2**20
#: The collection stops a process with a large model for a third of a second: only where nobody is about to come.
_QUIET_SECONDS = 10.0


def limit_arenas() -> None:
    """Let the threads started from now on share two arenas, unless the environment says otherwise."""
    _set_malloc("MALLOC_ARENA_MAX", _M_ARENA_MAX, _ARENAS)


def map_large_blocks() -> None:
    """Let blocks of a megabyte and more (photos, messages) come from the system and go back to it at once.

    Without, glibc soon takes them from the heap, too, where each that ends leaves a hole. Not for a process that
    computes: a tensor's pages would be made anew each time.
    """
    _set_malloc("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, _LARGE_BYTES)


async def trim_at_rest(calls: Callable[[], tuple[int, int]], *, quiet_seconds: float = _QUIET_SECONDS) -> None:
    """Give freed memory back to the system whenever the process rests after work; runs until it is cancelled.

    Args:
        calls: how many are inside, and how many have entered so far.
        quiet_seconds: without a call, after which the process counts as resting.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)
    trimmed_at, before = -1, -1
    while True:
        await asyncio.sleep(quiet_seconds)
        inside, entered = calls()
        if not inside and entered == before != trimmed_at:
            gc.collect()
            await asyncio.to_thread(trim, 0)  # ctypes lets go of the interpreter meanwhile
            trimmed_at = entered
        before = entered


def _set_malloc(variable: str, parameter: int, value: int) -> None:
    set_parameter = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_parameter is not None and variable not in os.environ:
        set_parameter(parameter, value)

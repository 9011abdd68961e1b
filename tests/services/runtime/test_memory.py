from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys

import pytest

from services.runtime import memory

FREED = 64 * 2**20
#: Fragments the heap as a busy server does: small pieces freed below one that stays.
HOLD_AND_FREE = f"""
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
pieces = [libc.malloc(65536) for _ in range({FREED} // 65536)]
for piece in pieces:
    ctypes.memset(piece, 1, 65536)
kept = libc.malloc(65536)
for piece in pieces:
    libc.free(ctypes.c_void_p(piece))
"""
RESIDENT = "int(open('/proc/self/statm').read().split()[1]) * 4096"


@pytest.mark.parametrize(
    ("measure", "variable", "parameter"),
    [
        (memory.limit_arenas, "MALLOC_ARENA_MAX", (-8, 2)),
        (memory.map_large_blocks, "MALLOC_MMAP_THRESHOLD_", (-3, 2**20)),
    ],
)
def test_the_environment_has_the_last_word(monkeypatch, measure, variable, parameter):
    asked = []

    class Library:
        @staticmethod
        def mallopt(parameter: int, value: int) -> int:
            asked.append((parameter, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    monkeypatch.delenv(variable, raising=False)
    measure()
    monkeypatch.setenv(variable, "7")
    measure()
    assert asked == [parameter]


def test_memory_goes_back_at_rest():
    code = f"""
{HOLD_AND_FREE}
import asyncio
from services.runtime.memory import trim_at_rest

async def main():
    before = {RESIDENT}
    trimming = asyncio.create_task(trim_at_rest(lambda: (0, 1), quiet_seconds=0.05))
    async with asyncio.timeout(30):
        while {RESIDENT} > before - {FREED // 2}:
            await asyncio.sleep(0.05)
    trimming.cancel()
    print("given back")

asyncio.run(main())
"""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "given back", done.stderr


async def test_only_after_work_and_once(monkeypatch):
    trims = 0

    class Library:
        @staticmethod
        def malloc_trim(pad: int) -> int:
            nonlocal trims
            trims += 1
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    calls = [1, 5]
    looks = 0

    def look() -> tuple[int, int]:
        nonlocal looks
        looks += 1
        return calls[0], calls[1]

    async def looked(count: int) -> None:
        begin = looks
        async with asyncio.timeout(20):
            while looks < begin + count:
                await asyncio.sleep(0.001)

    trimming = asyncio.create_task(memory.trim_at_rest(look, quiet_seconds=0.001))
    await looked(5)
    assert trims == 0  # a call is inside
    calls[0] = 0
    await looked(5)
    assert trims == 1  # once for as long as nobody comes
    calls[1] = 6
    await looked(5)
    assert trims == 2
    trimming.cancel()

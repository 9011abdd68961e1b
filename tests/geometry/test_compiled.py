from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from interactvlm.geometry import compiled as module
from interactvlm.geometry.compiled import compiled, run_bands, worker_count


def test_compiles_without_a_place_to_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def homeless(function, *, cache: bool = False, **options: bool):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(function, **options)

    monkeypatch.setattr(module.numba, "njit", homeless)

    def double(x: int) -> int:
        return 2 * x

    assert compiled(double)(4) == 8


def test_workers_respect_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)
    assert worker_count() == 1


def test_errors_in_bands_come_out() -> None:
    def fail(view: int, start: int, stop: int) -> None:
        raise ValueError(f"{view}")

    with pytest.raises(ValueError, match="0"):
        run_bands(fail, 1, 10)


def test_works_after_a_fork() -> None:
    """The parent's threads do not exist in a child."""
    script = (
        "import os\n"
        "from interactvlm.geometry.compiled import run_bands\n"
        "run_bands(lambda *_: None, 2, 10)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    run_bands(lambda *_: None, 2, 10)\n"
        "    os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)


def test_cache_folder_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(
        "from interactvlm.geometry.compiled import compiled\n\n\n@compiled\ndef double(x):\n    return 2 * x\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "import kernel; kernel.double(2)"], check=True, timeout=120, env=environment)
    assert list((tmp_path / "cache").rglob("kernel.double*.nbi"))

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_prints_one_object_and_both_agree() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "benchmarks.raster", "--quick", "--json"]
    printed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=300).stdout
    result = json.loads(printed)
    assert printed.count("\n") == 1
    assert result["pixels_agree"] > 0.999
    assert result["max_abs_diff"] < 1e-4
    assert {"ours_s", "embreex_s", "ratio", "floor_s", "ours_cpu_s", "covered"} <= result.keys()

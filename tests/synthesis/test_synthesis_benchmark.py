import json
import subprocess
import sys
from pathlib import Path


def test_prints_one_object() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "benchmarks.synthesis", "--quick", "--json"]
    printed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=300).stdout
    result = json.loads(printed)
    assert printed.count("\n") == 1
    assert {"compose_s", "render_s", "encode_s", "scenes_per_core_second", "peak_memory_mb", "ratio"} <= result.keys()
    assert result["jpeg_bytes"] > 5000

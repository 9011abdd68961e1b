from __future__ import annotations

import subprocess
import sys

_PROBE = """
import torch
from interactvlm.torchvision_cpu import prepare_torchvision
declared = prepare_torchvision()
import torchvision, segment_anything
assert prepare_torchvision() is False, "a second call must do nothing"
assert hasattr(torch.ops.torchvision, "nms")
print("declared" if declared else "unneeded")
"""


def test_segment_anything_imports_after_the_remedy() -> None:
    import torch

    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if torch.version.cuda is not None:
        assert done.stdout.strip() == "unneeded"
    else:
        assert done.stdout.strip() in ("declared", "unneeded")


def test_a_cuda_build_of_torch_is_left_alone() -> None:
    probe = """
import torch
torch.version.cuda = "13.0"
from interactvlm.torchvision_cpu import prepare_torchvision
print(prepare_torchvision(), hasattr(torch.ops.torchvision, "nms"))
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from interactvlm.checkpoints.safetensors_file import write_file

SIDE = 4096
LAYERS = 12  # 12 x 32 MiB = 384 MiB in bfloat16
SHARDS = 3

# Peak anonymous memory is what two copies would show up in; file-backed pages are the page cache's, and go when
# memory is needed. Sampled every 2 ms from a thread, and VmHWM (all resident pages, the kernel's own high-water mark)
# beside it.
PROGRAM = """
import json, sys, threading, time
from pathlib import Path
import torch
from torch import nn
from interactvlm.checkpoints.reader import WeightReader

def status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) * 1024

class Net(nn.Module):
    def __init__(self, layers, side):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(side, side, bias=False) for _ in range(layers))

folder, dtype, layers, side = Path(sys.argv[1]), getattr(torch, sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
with torch.device("meta"):
    net = Net(layers, side)
reader = WeightReader(folder)
torch.zeros(4).to(torch.bfloat16).float().sum()
before, resident, peak, done = status("RssAnon"), status("VmRSS"), 0, False

def sample():
    global peak
    while not done:
        peak = max(peak, status("RssAnon"))
        time.sleep(0.002)

thread = threading.Thread(target=sample)
thread.start()
reader.load_into(net, stored_name=lambda own: own, dtype=dtype)
done = True
thread.join()
peak = max(peak, status("RssAnon"))
total = sum(p.numel() * p.element_size() for p in net.parameters())
checks = [float(p[0, 0]) for p in net.parameters()]
resident = status("VmHWM") - resident
print(json.dumps({"anonymous": peak - before, "resident": resident, "weights": total, "checks": checks}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    layer = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)).bfloat16()
    weight_map = {}
    for shard in range(SHARDS):
        names = [f"layers.{i}.weight" for i in range(LAYERS) if i % SHARDS == shard]
        file_name = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"

        def numbered(names: list[str] = names):
            for name in names:
                layer[0, 0] = int(name.split(".")[1])
                yield memoryview(layer.view(-1).view(torch.uint8).numpy())

        write_file(folder / file_name, [(name, "BF16", (SIDE, SIDE)) for name in names], numbered())
        weight_map |= dict.fromkeys(names, file_name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_loading_never_holds_two_copies(folder: Path, dtype: str) -> None:
    arguments = [sys.executable, "-c", PROGRAM, str(folder), dtype, str(LAYERS), str(SIDE)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout)
    assert measured["checks"] == list(range(LAYERS))
    assert measured["weights"] <= measured["anonymous"] <= 1.1 * measured["weights"]
    assert measured["resident"] <= 1.1 * measured["weights"]

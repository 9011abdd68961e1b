"""The process that reads files nobody vouches for: `python -m interactvlm.checkpoints.convert_worker`.

It takes one job as JSON on stdin, confines itself, writes its results into the staging folder that the job names, and
says what it does as JSON lines on stdout: {"step": text}, and at the end {"files": {name: sha256}, ...} or
{"error": [subject, problem]}. Only `convert` starts it.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from interactvlm.checkpoints.confinement import confine
from interactvlm.checkpoints.embedding_table import write_embedding_table
from interactvlm.checkpoints.lora import has_lora, lora_groups, merge_lora
from interactvlm.checkpoints.safetensors_file import DTYPE_BYTES, write_file
from interactvlm.checkpoints.unpickle import read_array_pickle
from interactvlm.checkpoints.values import write_values
from interactvlm.checkpoints.weight_sources import WeightSource, find_weight_files, raw_bytes, total_bytes
from interactvlm.errors import CheckpointError

__all__ = ["main"]

#: The vision tower is not part of a release: it is loaded from its own folder. Training checkpoints still carry it.
_DROPPED = ("model.vision_tower.",)


def main() -> None:
    """Do the one job on stdin."""
    job = json.loads(sys.stdin.read())
    sources = [Path(name) for name in job["sources"]] if job["kind"] == "values" else [Path(job["source"])]
    source, staging = sources[0], Path(job["staging"])
    try:
        if job["kind"] == "arrays":
            confine(writable=staging, input_bytes=source.stat().st_size)
            _say(_arrays(source, staging / job["name"]))
        elif job["kind"] == "values":
            confine(writable=staging, input_bytes=sum(path.stat().st_size for path in sources))
            write_values(sources, job["member"], staging / job["name"])
            _say({"files": {}})
        elif job["kind"] == "embeddings":
            import torch  # before the walls are up: it maps its libraries

            torch.set_num_threads(1)
            confine(writable=staging, input_bytes=source.stat().st_size)
            write_embedding_table(source, staging, ids=job["ids"], vectors=job["vectors"])
            _say({"files": {}})
        else:
            import torch  # before the walls are up: it maps its libraries

            torch.set_num_threads(1)
            files = find_weight_files(source)
            if not files:
                raise CheckpointError(source, "holds no weights")
            confine(writable=staging, input_bytes=total_bytes(files))
            weights = WeightSource(files, step=_step)
            _say(_weights(weights, staging, shard_bytes=job["shard_bytes"], alpha=job["lora_alpha"]))
    except CheckpointError as error:
        _say({"error": [error.folder, error.problem]})
    except MemoryError:
        _say({"error": [str(source), "needs more memory than its size explains; it is refused"]})
    except (OSError, PermissionError) as error:
        _say({"error": [str(source), f"cannot be converted: {error}"]})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _step(text: str) -> None:
    _say({"step": text})


def _arrays(source: Path, target: Path) -> dict[str, Any]:
    """A pickled dict of arrays -> npz."""
    _step(f"reading {source.name}")
    arrays, skipped = read_array_pickle(source)
    with zipfile.ZipFile(target, "x", compression=zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return {"tensors": len(arrays), "merged": 0, "left_out": skipped, "files": {}}


def _weights(weights: WeightSource, staging: Path, *, shard_bytes: int, alpha: float) -> dict[str, Any]:
    """Weights -> shards of at most `shard_bytes`, LoRA merged, one tensor in memory at a time."""
    groups = lora_groups(weights.file_of) if has_lora(weights.file_of) else {name: (name,) for name in weights.file_of}
    left_out = sorted(name for name in groups if name.startswith(_DROPPED))
    groups = {name: stored for name, stored in groups.items() if name not in left_out}
    if not groups:
        raise CheckpointError("weights", "hold nothing but a vision tower")
    # LoRA's halves are small and may lie in other files than their weight: held, so that each file is opened once.
    updates = {half: weights.tensor(half).clone() for half in _by_file(weights, groups)}
    shards = _pack(groups, weights, shard_bytes)
    files: dict[str, str] = {}
    total = sum(_size(weights, stored[0]) for stored in groups.values())
    done = 0
    for i, names in enumerate(shards, start=1):
        file_name = f"model-{i:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else "model.safetensors"
        _step(f"writing {file_name}, {done / 1e9:.1f} of {total / 1e9:.1f} GB done")
        described = [(name, *weights.kind_of[groups[name][0]]) for name in names]

        def merged(names: list[str] = names) -> Iterator[memoryview]:
            for name in names:
                stored, *halves = groups[name]
                tensor = weights.tensor(stored)
                if halves:
                    state = {stored: tensor, **{half: updates[half] for half in halves}}
                    tensor = merge_lora(state, alpha=alpha)[name]
                yield raw_bytes(tensor)

        files[file_name] = write_file(staging / file_name, described, merged())
        done += sum(_size(weights, groups[name][0]) for name in names)
    merges = sum(len(stored) > 1 for stored in groups.values())
    return {"tensors": len(groups), "merged": merges, "left_out": left_out, "files": files}


def _by_file(weights: WeightSource, groups: dict[str, tuple[str, ...]]) -> list[str]:
    halves = [half for stored in groups.values() for half in stored[1:]]
    return sorted(halves, key=lambda half: (str(weights.file_of[half]), half))


def _size(weights: WeightSource, name: str) -> int:
    dtype, shape = weights.kind_of[name]
    return int(np.prod(shape, dtype=np.int64)) * DTYPE_BYTES[dtype]


def _pack(groups: dict[str, tuple[str, ...]], weights: WeightSource, shard_bytes: int) -> list[list[str]]:
    """Names by shard, in the order of the source files, so that each is read through once."""
    shards: list[list[str]] = []
    room = 0
    for name, stored in groups.items():
        size = _size(weights, stored[0])
        if size > room or not shards:
            shards.append([])
            room = shard_bytes
        shards[-1].append(name)
        room -= size
    return shards


if __name__ == "__main__":
    main()

"""`interactvlm convert-checkpoint IN OUT`: anything published -> safetensors with a manifest, or npz.

Weights may be pickled (`pytorch_model-0000i-of-0000n.bin`, `.pt`, `.pth`) or safetensors, sharded or not, merged or
wrapped by PEFT. Pickles of arrays (`lift2d_dict.pkl`, SMPL body files) become npz. Reading happens in a process of its
own (`convert_worker`); this module starts it, checks what it wrote and puts the result in place in one step.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.checkpoints.manifest import remember_hashes, write_manifest
from interactvlm.checkpoints.safetensors_file import read_header
from interactvlm.checkpoints.shards import SAFETENSORS
from interactvlm.checkpoints.weight_sources import find_weight_files, is_torch_pickle, total_bytes
from interactvlm.errors import CheckpointError, MissingDependencyError

__all__ = ["Converted", "convert", "lora_alpha", "run_worker"]

_SHARD_BYTES = 4_000_000_000
_LORA_ALPHA = 16.0  # of the release; pretrained_config.json says it where it is kept
#: What belongs to a checkpoint besides its weights: configuration, tokenizer, licence.
_COMPANION_SUFFIXES = (".json", ".model", ".txt", ".md")
_COMPANION_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written.

    Attributes:
        target: the folder, or the npz file.
        tensors: how many tensors (or arrays) it holds.
        merged: into how many of them a LoRA update was merged.
        left_out: names that were not carried over: a training checkpoint's vision tower, a pickle's non-arrays.
    """

    target: Path
    tensors: int
    merged: int = 0
    left_out: tuple[str, ...] = ()


def convert(
    source: Path,
    target: Path,
    *,
    progress: Callable[[str], None] | None = None,
    shard_bytes: int = _SHARD_BYTES,
) -> Converted:
    """Convert `source` into `target`, which appears whole or not at all.

    Args:
        source: a checkpoint folder, a file of weights, a pickle of arrays, or a folder of such pickles.
        target: a folder that does not exist yet or is empty; for one pickle of arrays also a name ending in `.npz`.
        progress: told each step, in words.
        shard_bytes: upper bound of one shard (a tensor that is larger gets a shard of its own).

    Raises:
        CheckpointError: the source is incomplete, damaged or asks to run code; the target is in use; the disk is full.
        MissingDependencyError: the source holds weights and torch is not installed.
    """
    step = progress or (lambda _: None)
    for path, must_exist in ((source, True), (target, False)):
        try:
            found = path.exists()
        except OSError as error:  # such as a name that is too long
            raise CheckpointError(path, f"cannot be used ({error.strerror})") from None
        if must_exist and not found:
            raise CheckpointError(path, "does not exist")
    pickles = _array_pickles(source)
    if target.suffix == ".npz":
        if not pickles or source.is_dir():
            raise CheckpointError(target, "is an npz file, but the source is not one pickle of arrays")
        return _convert_arrays(source, target, step)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(target, "exists and is not empty; name a new folder")
    with _staging(target) as folder:
        if pickles:
            parts = [_run_arrays(path, folder, step) for path in pickles]
            result = Converted(
                target,
                tensors=sum(part["tensors"] for part in parts),
                left_out=tuple(name for part in parts for name in part["left_out"]),
            )
            hashes: dict[str, str] = {}
        else:
            result, hashes = _convert_weights(source, target, folder, step, shard_bytes)
        write_manifest(folder, hashes)
        folder.replace(target)  # one step; POSIX lets it take the place of an empty folder
    if hashes:
        remember_hashes(target, hashes)
    return result


def _array_pickles(source: Path) -> list[Path]:
    """The pickles of arrays that `source` is or holds; empty when it holds weights."""
    if find_weight_files(source):
        return []
    candidates = [source] if source.is_file() else sorted(source.glob("*.pkl"))
    found = [path for path in candidates if path.suffix == ".pkl" and path.is_file() and not is_torch_pickle(path)]
    if not found:
        raise CheckpointError(source, "holds neither weights nor pickled arrays; see `interactvlm doctor`")
    return found


def _convert_arrays(source: Path, target: Path, step: Callable[[str], None]) -> Converted:
    if target.exists():
        raise CheckpointError(target, "exists already")
    with _staging(target) as folder:
        said = _run_arrays(source, folder, step)
        (folder / f"{source.stem}.npz").replace(target)
    return Converted(target, tensors=said["tensors"], left_out=tuple(said["left_out"]))


def _run_arrays(source: Path, folder: Path, step: Callable[[str], None]) -> dict[str, Any]:
    job = {"kind": "arrays", "source": str(source.resolve()), "staging": str(folder), "name": f"{source.stem}.npz"}
    return run_worker(job, source, step)


def _convert_weights(
    source: Path, target: Path, folder: Path, step: Callable[[str], None], shard_bytes: int
) -> tuple[Converted, dict[str, str]]:
    if importlib.util.find_spec("torch") is None:
        raise MissingDependencyError("torch", "published")
    files = find_weight_files(source)
    needed, free = total_bytes(files), shutil.disk_usage(folder).free
    if needed > free:
        raise CheckpointError(target, f"needs {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB left")
    home = source if source.is_dir() else source.parent
    job = {
        "kind": "weights",
        "source": str(source.resolve()),
        "staging": str(folder),
        "shard_bytes": shard_bytes,
        "lora_alpha": lora_alpha(home),
    }
    said = run_worker(job, source, step)
    written = sorted(path.name for path in folder.glob("*.safetensors"))
    _write_index(folder, written)
    if source.is_dir():
        _copy_companions(source, folder)
    result = Converted(target, tensors=said["tensors"], merged=said["merged"], left_out=tuple(said["left_out"]))
    return result, {name: said["files"][name] for name in written}


def lora_alpha(home: Path) -> float:
    """Alpha that a LoRA update was trained with: the folder's training arguments', else the release's."""
    for name in ("adapter_config.json", "pretrained_config.json"):
        if (home / name).is_file():
            alpha = read_json_object(home / name).get("lora_alpha")
            if isinstance(alpha, (int, float)) and not isinstance(alpha, bool) and 0 < alpha < 1e6:
                return float(alpha)
    return _LORA_ALPHA


def _write_index(folder: Path, names: list[str]) -> None:
    """The index over the shards; their headers are read again, strictly, so nothing unreadable leaves here."""
    headers = {name: read_header(folder / name) for name in names}
    if len(names) < 2:
        return
    total = sum(entry.nbytes for header in headers.values() for entry in header.values())
    weight_map = {tensor: name for name, header in headers.items() for tensor in header}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / f"{SAFETENSORS}.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _copy_companions(source: Path, folder: Path) -> None:
    for path in sorted(source.iterdir()):
        named = path.suffix in _COMPANION_SUFFIXES or path.name.startswith(("LICENSE", "NOTICE"))
        if named and path.is_file() and not path.name.endswith(".index.json") and not (folder / path.name).exists():
            if path.stat().st_size > _COMPANION_BYTES:
                raise CheckpointError(path, f"is larger than {_COMPANION_BYTES} bytes, the limit for such a file")
            shutil.copyfile(path, folder / path.name)


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder beside the target that is gone afterwards, whatever happens."""
    folder: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=target.parent.resolve(), prefix=f".{target.name}.", suffix=".partial"))
        folder.chmod(0o755)
        yield folder
    except OSError as error:
        raise CheckpointError(target, f"cannot be written ({error})") from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def run_worker(job: dict[str, Any], source: Path, step: Callable[[str], None]) -> dict[str, Any]:
    """Run one job in a fresh process with a bare environment; returns its last message."""
    package_root = str(Path(__file__).parents[2])
    environment = {"PYTHONPATH": package_root, "PATH": os.defpath, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-B", "-m", "interactvlm.checkpoints.convert_worker"]
    said: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+") as task, tempfile.TemporaryFile() as complaints:
        json.dump(job, task)
        task.seek(0)
        with subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=task, stdout=subprocess.PIPE, stderr=complaints, env=environment, text=True
        ) as worker:
            try:
                for line in worker.stdout or ():
                    said = json.loads(line)
                    if "step" in said:
                        step(str(said["step"]))
            except ValueError:  # not our JSON: whatever speaks there is no longer our program
                worker.kill()
                raise CheckpointError(source, "could not be converted: the converting process broke down") from None
            except BaseException:
                worker.kill()
                raise
        status = worker.wait()
        complaints.seek(0)
        last = complaints.read().decode(errors="replace").strip().rpartition("\n")[2]
    if "error" in said:
        raise CheckpointError(*said["error"])
    if status != 0 or "files" not in said:
        raise CheckpointError(
            source, f"could not be converted: the converting process ended with {status} {last}".strip()
        )
    return said

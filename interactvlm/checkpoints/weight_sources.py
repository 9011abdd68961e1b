"""The weights of a folder or file in any published form, read tensor by tensor: pickled, sharded, wrapped by PEFT.

Used by the confined `convert_worker` only: everything else reads safetensors.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interactvlm.checkpoints.reader import bytes_of
from interactvlm.checkpoints.safetensors_file import TORCH_NAME, read_header
from interactvlm.checkpoints.shards import PICKLED, SAFETENSORS, weight_files
from interactvlm.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = [
    "WeightSource",
    "find_weight_files",
    "is_safetensors",
    "is_torch_pickle",
    "raw_bytes",
    "total_bytes",
    "unpickled",
]

_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
#: How files that torch.save wrote begin: a zip, or (before torch 1.6) the pickled magic number.
_TORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
#: How torch's messages name the function that a pickle wanted.
_ASKED_FOR = re.compile(r"(?:GLOBAL|unrecognized function) (\S+)")
#: Under these keys trainers keep the weights beside an epoch, an optimiser, ...
_CONTAINERS = ("state_dict", "module", "model")


def find_weight_files(source: Path) -> dict[Path, frozenset[str] | None]:
    """Weight files of `source`, each with the tensors to take from it (None: all); empty when it has none.

    Raises:
        CheckpointError: the folder is incomplete, ambiguous, or holds only a LoRA adapter.
    """
    if source.is_file():
        return {source: None} if is_torch_pickle(source) or is_safetensors(source) else {}
    for stem in (SAFETENSORS, PICKLED):
        found = weight_files(source, stem)
        if found is not None:
            return found
    try:
        inside = sorted(path for path in source.iterdir() if path.is_file())
    except OSError as error:
        raise CheckpointError(source, f"cannot be read ({error})") from None
    loose = [path for path in inside if path.suffix in _SUFFIXES]
    if any(path.name.startswith("adapter_model.") for path in inside):
        raise CheckpointError(source, "holds only a LoRA adapter; put the whole training checkpoint's weights there")
    loose = [path for path in loose if is_torch_pickle(path)]
    if len(loose) > 1:
        names = ", ".join(path.name for path in loose[:4])
        raise CheckpointError(source, f"holds {len(loose)} weight files and no index ({names}); name one of them")
    return {loose[0]: None} if loose else {}


def is_torch_pickle(path: Path) -> bool:
    """Whether the file begins like one that torch.save wrote."""
    return _head(path).startswith(_TORCH_MAGIC)


def is_safetensors(path: Path) -> bool:
    """Whether the file looks like safetensors."""
    return path.suffix == ".safetensors" and _head(path)[8:9] == b"{"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error})") from None


class WeightSource:
    """Named tensors over several files, of which one is open at a time.

    Args:
        files: each weight file, with the tensors to take from it (None: all).
        step: told which file is being opened.

    Raises:
        CheckpointError: a file is damaged, asks to run code, holds no tensors, or lacks one the index places in it.
    """

    def __init__(self, files: dict[Path, frozenset[str] | None], *, step: Callable[[str], None]) -> None:
        self._step = step
        self._path: Path | None = None
        self._open: dict[str, torch.Tensor] = {}
        self.file_of: dict[str, Path] = {}
        self.kind_of: dict[str, tuple[str, tuple[int, ...]]] = {}
        for path, names in files.items():
            step(f"inspecting {path.name}")
            self._switch_to(path)
            lacking = sorted((names or frozenset()) - self._open.keys())
            if lacking:
                raise CheckpointError(path, f"lacks {len(lacking)} tensors that the index places in it: {lacking[0]}")
            for name, tensor in self._open.items():
                if names is not None and name not in names:
                    continue
                if name == "__metadata__":
                    raise CheckpointError(path, "holds a tensor named __metadata__, which safetensors keeps for itself")
                if name in self.file_of:
                    raise CheckpointError(path, f"holds {name}, which {self.file_of[name].name} holds too")
                self.file_of[name] = path
                self.kind_of[name] = (_dtype_name(path, name, tensor), tuple(tensor.shape))

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor, on the CPU; valid until a tensor of another file is asked for."""
        self._switch_to(self.file_of[name])
        return self._open[name]

    def _switch_to(self, path: Path) -> None:
        if self._path == path:
            return
        self._open = {}  # unmap the old one before the next is mapped
        self._open = _mapped(path) if is_safetensors(path) else _tensors(path)
        self._path = path


def _dtype_name(path: Path, name: str, tensor: torch.Tensor) -> str:
    for stored, attribute in TORCH_NAME.items():
        if str(tensor.dtype) == f"torch.{attribute}":
            return stored
    raise CheckpointError(path, f"holds {name} with dtype {tensor.dtype}, which safetensors has no name for")


def _mapped(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, mapped: their pages are read when they are written out again."""
    from safetensors.torch import load_file

    read_header(path)
    return load_file(path)


def unpickled(path: Path) -> Any:
    """What torch.save wrote, through torch's restricted unpickler (tensors and plain containers), tensors mapped.

    Raises:
        CheckpointError: it is damaged or asks for code.
    """
    import torch

    refused = (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, OSError)
    zipped = _head(path).startswith(_TORCH_MAGIC[0])
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (*refused, IndexError, AssertionError, RecursionError, UnicodeDecodeError) as error:
        raise CheckpointError(path, f"is refused: {_reason(error)}") from None


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """The dense tensors of a file that torch.save wrote, out of the container a trainer keeps them in."""
    import torch

    content = unpickled(path)
    for key in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict):
        raise CheckpointError(path, f"must hold a dict of tensors, not {type(content).__name__}")
    tensors = {str(k): v.detach() for k, v in content.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise CheckpointError(path, "holds no tensors")
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise CheckpointError(path, f"holds {name}, which is not a plain dense tensor")
    return tensors


def _reason(error: BaseException) -> str:
    """The sentence that matters of torch's page-long messages, whose advice is to load the file without protection."""
    text = str(error)
    name = _ASKED_FOR.search(text)
    if name is not None:
        return f"it asks for {name[1].rstrip('.,')}, which is not on the list of allowed names"
    text = text.rpartition("WeightsUnpickler error:")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines and "weights_only" not in lines[0] else "it is damaged or not a file of weights"


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """The little-endian bytes of any dense CPU tensor."""
    return bytes_of(tensor.contiguous())


def total_bytes(files: Iterable[Path]) -> int:
    """Size of the files together."""
    return sum(path.stat().st_size for path in files)

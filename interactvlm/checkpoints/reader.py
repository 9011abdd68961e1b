"""Reading a folder's safetensors shards one tensor at a time: never two copies of the weights in memory.

Each tensor is read by `readinto` straight into memory that the module then owns. Memory-mapping would be lazier, but
its pages count twice while a dtype is converted, and a file that shrinks under a mapping kills the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from interactvlm.checkpoints.safetensors_file import TORCH_NAME, TensorEntry, read_header
from interactvlm.checkpoints.shards import PICKLED, weight_files
from interactvlm.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["WeightReader", "bytes_of"]


class WeightReader:
    """The named tensors of a checkpoint folder (`model.safetensors`, or shards with `model.safetensors.index.json`).

    Construction reads only the headers. Where an index exists it decides which shard a tensor comes from; tensors that
    it does not name are not there.

    Raises:
        CheckpointError: shards are missing, truncated or not safetensors, the index is malformed, escapes the folder or
            names a tensor that its shard lacks, or the weights are still pickled.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file_of: dict[str, Path] = {}
        self._entry_of: dict[str, TensorEntry] = {}
        files = weight_files(folder)
        if files is None:
            pickled = folder / PICKLED
            if pickled.exists() or pickled.with_name(f"{PICKLED}.index.json").exists():
                raise CheckpointError(
                    folder, "holds pickled weights; convert them first: `interactvlm convert-checkpoint IN OUT`"
                )
            raise CheckpointError(folder, "holds no model.safetensors; see `interactvlm doctor`")
        for path, names in files.items():
            header = read_header(path)
            lacking = sorted((names or frozenset()) - header.keys())
            if lacking:
                raise CheckpointError(path, f"lacks {len(lacking)} tensors that the index places in it: {lacking[0]}")
            for name, entry in header.items():
                if names is None or name in names:
                    self._file_of[name] = path
                    self._entry_of[name] = entry

    def names(self) -> tuple[str, ...]:
        """Every tensor name, sorted."""
        return tuple(sorted(self._entry_of))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self._entry(name).shape

    def dtype(self, name: str) -> str:
        """Stored dtype of one tensor, by safetensors' name ("BF16")."""
        return self._entry(name).dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors as stored."""
        return sum(entry.nbytes for entry in self._entry_of.values())

    def __contains__(self, name: str) -> bool:
        return name in self._entry_of

    def _entry(self, name: str) -> TensorEntry:
        entry = self._entry_of.get(name)
        if entry is None:
            raise CheckpointError(self.folder, f"lacks the tensor {name}")
        return entry

    def tensors(self, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield (name, CPU tensor in its stored dtype, owned by the caller), in the order of the files' data.

        Raises:
            CheckpointError: a tensor is missing, or a file became shorter or unreadable since it was opened.
        """
        entries = {name: self._entry(name) for name in names}
        ordered = sorted(entries, key=lambda name: (self._file_of[name], entries[name].offset))
        path: Path | None = None
        file: BinaryIO | None = None
        try:
            for name in ordered:
                if self._file_of[name] != path or file is None:
                    if file is not None:
                        file.close()
                    path = self._file_of[name]
                    file = path.open("rb", buffering=0)
                yield name, _read_tensor(file, path, name, entries[name])
        except OSError as error:
            raise CheckpointError(path or self.folder, f"cannot be read ({error})") from None
        finally:
            if file is not None:
                file.close()

    def load_into(
        self,
        module: nn.Module,
        *,
        stored_name: Callable[[str], str],
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        """Fill every parameter and persistent buffer of `module`, which may live on the meta device.

        Everything is checked against the headers before the first tensor is read. Peak memory is the loaded weights
        plus one tensor; on the way to an accelerator, one tensor.

        Args:
            module: the module to fill, in place. Parameters are replaced by frozen ones.
            stored_name: from the module's own name of a tensor to its name in the checkpoint. Two own names with one
                stored name come to share one tensor (tied embeddings).
            dtype: dtype of the loaded floating tensors; others keep theirs.
            device: where they go.

        Raises:
            CheckpointError: a tensor is missing, has another shape, or is an integer where a float belongs (or the
                reverse).
        """
        from torch import nn

        own_state = module.state_dict(keep_vars=True)
        owners: dict[str, list[str]] = {}
        for own in own_state:
            owners.setdefault(stored_name(own), []).append(own)
        missing = [name for name in owners if name not in self._entry_of]
        if missing:
            raise CheckpointError(self.folder, f"lacks {len(missing)} tensors, the first is {missing[0]}")
        for name, owns in owners.items():
            entry = self._entry_of[name]
            for own in owns:
                self._check(name, entry, own_state[own])
        for name, tensor in self.tensors(list(owners)):
            value = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype)
            del tensor  # before the next one is read: converting must not keep the source alive
            parameter = nn.Parameter(value, requires_grad=False)  # one object, so that tied weights stay tied
            for own in owners[name]:
                owner_path, _, leaf = own.rpartition(".")
                owner = module.get_submodule(owner_path)
                if leaf in owner._parameters:
                    owner._parameters[leaf] = parameter
                else:
                    owner._buffers[leaf] = value

    def _check(self, name: str, entry: TensorEntry, own: torch.Tensor) -> None:
        if entry.shape != tuple(own.shape):
            raise CheckpointError(self.folder, f"tensor {name} has shape {entry.shape}, expected {tuple(own.shape)}")
        stored_float = entry.dtype.startswith(("F", "BF"))
        if stored_float != own.is_floating_point():
            expected = "a floating dtype" if own.is_floating_point() else str(own.dtype).removeprefix("torch.")
            raise CheckpointError(self.folder, f"tensor {name} is stored as {entry.dtype}, expected {expected}")


def _read_tensor(file: BinaryIO, path: Path, name: str, entry: TensorEntry) -> torch.Tensor:
    """One tensor, read into memory of its own; no intermediate bytes object."""
    import torch

    tensor = torch.empty(entry.shape, dtype=getattr(torch, TORCH_NAME[entry.dtype]))
    target = bytes_of(tensor)
    file.seek(entry.offset)
    done = 0
    while done < entry.nbytes:
        count = file.readinto(target[done:])  # type: ignore[attr-defined]  # unbuffered files have it
        if not count:
            raise CheckpointError(path, f"ended inside {name}; it changed while it was read")
        done += count
    return tensor


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor, without a copy: writable, [nbytes]."""
    import torch

    if not tensor.numel():
        return memoryview(b"")
    return memoryview(cast(Any, tensor.view(-1).view(torch.uint8).numpy()))

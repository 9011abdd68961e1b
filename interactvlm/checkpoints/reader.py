"""Reading a folder's safetensors shards one tensor at a time: never two copies of the weights in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interactvlm.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["WeightReader"]


class WeightReader:
    """The named tensors of a checkpoint folder (`model.safetensors`, or shards with `model.safetensors.index.json`).

    Nothing is read on construction but the headers. Raises CheckpointError when a shard that the index names is
    missing, or a file is not safetensors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file_of: dict[str, Path] = {}
        self._shape_of: dict[str, tuple[int, ...]] = {}
        for path, names in self._files().items():
            self._read_header(path, names)

    def _files(self) -> dict[Path, set[str] | None]:
        """Shards, with the names the index takes from each (None: all)."""
        index = self.folder / "model.safetensors.index.json"
        if index.exists():
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            files: dict[Path, set[str] | None] = {}
            for name, shard in weight_map.items():
                taken = files.setdefault(self.folder / shard, set())
                assert taken is not None
                taken.add(name)
            missing = sorted(path.name for path in files if not path.exists())
            if missing:
                raise CheckpointError(self.folder, f"lacks {len(missing)} of {len(files)} shards: {', '.join(missing)}")
            return files
        single = self.folder / "model.safetensors"
        if single.exists():
            return {single: None}
        raise CheckpointError(
            self.folder, "holds no model.safetensors; convert pickled weights with `interactvlm convert-checkpoint`"
        )

    def _read_header(self, path: Path, names: set[str] | None) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as shard:
                for name in names or shard.keys():
                    self._file_of[name] = path
                    self._shape_of[name] = tuple(shard.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(path, f"is not a readable safetensors file ({error})") from None

    def names(self) -> tuple[str, ...]:
        """Every tensor name, sorted."""
        return tuple(sorted(self._file_of))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self._shape_of[name]

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    def tensors(self, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield (name, CPU tensor in its stored dtype), file by file."""
        from safetensors import safe_open

        with ExitStack() as stack:
            handles: dict[Path, Any] = {}
            for name in sorted(names, key=lambda n: (self._file_of[n].name, n)):
                path = self._file_of[name]
                if path not in handles:
                    handles[path] = stack.enter_context(safe_open(path, framework="pt"))
                yield name, handles[path].get_tensor(name)

    def load_into(
        self,
        module: nn.Module,
        *,
        stored_name: Callable[[str], str],
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        """Fill every parameter and persistent buffer of `module`, which may live on the meta device.

        Args:
            module: the module to fill, in place.
            stored_name: from the module's own name of a tensor to its name in the checkpoint.
            dtype: dtype of the loaded floating tensors.
            device: where they go.

        Raises:
            CheckpointError: a tensor is missing or has another shape.
        """
        import torch
        from torch import nn

        wanted = {stored_name(own): own for own in module.state_dict()}
        missing = [name for name in wanted if name not in self._file_of]
        if missing:
            raise CheckpointError(self.folder, f"lacks {len(missing)} tensors, the first is {missing[0]}")
        own_state = module.state_dict(keep_vars=True)
        for name, own in wanted.items():
            if self._shape_of[name] != tuple(own_state[own].shape):
                raise CheckpointError(
                    self.folder,
                    f"tensor {name} has shape {self._shape_of[name]}, expected {tuple(own_state[own].shape)}",
                )
        for name, tensor in self.tensors(list(wanted)):
            own = wanted[name]
            owner_path, _, leaf = own.rpartition(".")
            owner = module.get_submodule(owner_path)
            value = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype)
            if leaf in owner._parameters:
                owner._parameters[leaf] = nn.Parameter(value, requires_grad=False)
            else:
                owner._buffers[leaf] = value

"""What a weight file says it holds, without loading it: names from headers, or from a pickle's own text.

A pickle is only disassembled here (`pickletools`), never executed.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.checkpoints.safetensors_file import read_header
from interactvlm.checkpoints.shards import PICKLED, SAFETENSORS, parse_index
from interactvlm.errors import CheckpointError

__all__ = ["is_lfs_pointer", "tensor_names"]

_MAX_PICKLE_BYTES = 64 << 20  # names and shapes only: the tensors lie beside it in the zip
_LFS = b"version https://git-lfs"


def tensor_names(path: Path) -> frozenset[str]:
    """Names of the tensors in a folder or weight file, as far as they can be told cheaply; empty when they cannot.

    Raises:
        CheckpointError: an index or header is damaged.
    """
    if path.is_dir():
        for stem in (SAFETENSORS, PICKLED):
            index = path / f"{stem}.index.json"
            if index.is_file():
                return frozenset(parse_index(read_json_object(index), source=index))
            if (path / stem).is_file():
                return tensor_names(path / stem)
        return frozenset()
    if path.suffix == ".safetensors":
        return frozenset(read_header(path))
    return _pickled_names(path)


def _pickled_names(path: Path) -> frozenset[str]:
    """Dotted words in the pickle of a file that torch.save wrote as a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            inner = next((i for i in archive.infolist() if i.filename.endswith("/data.pkl")), None)
            if inner is None or inner.file_size > _MAX_PICKLE_BYTES:
                return frozenset()
            text = archive.read(inner)
        words = (argument for _, argument, _ in pickletools.genops(text))
        return frozenset(word for word in words if isinstance(word, str) and "." in word and " " not in word)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError):
        return frozenset()


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file is what git leaves in place of a large file that was not fetched."""
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS)) == _LFS
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error})") from None

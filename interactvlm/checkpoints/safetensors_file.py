"""The safetensors container itself, without torch: its header read strictly, its tensors written one at a time.

A file is: header length (8 bytes, little endian), header (JSON: name -> dtype, shape, [begin, end) in the data), data.
The header is read here instead of through `safetensors.safe_open` because the offsets let a tensor be read straight
into its destination, and because everything a header can lie about becomes one clear error.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from interactvlm.checkpoints.json_file import parse_json_object
from interactvlm.errors import CheckpointError

__all__ = ["DTYPE_BYTES", "TORCH_NAME", "TensorEntry", "read_header", "write_file"]

#: Bytes of one element, by safetensors' name of the dtype.
DTYPE_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
#: Attribute of torch that is this dtype.
TORCH_NAME = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "U16": "uint16", "I16": "int16", "F16": "float16", "BF16": "bfloat16",
    "U32": "uint32", "I32": "int32", "F32": "float32",
    "U64": "uint64", "I64": "int64", "F64": "float64",
}  # fmt: skip
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
_MAX_AXES = 16


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor as the header describes it.

    Attributes:
        dtype: safetensors' name of the dtype ("BF16").
        shape: axes.
        offset: first byte, counted from the start of the file.
        nbytes: length in bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Every tensor of a safetensors file, in the order of the data.

    Raises:
        CheckpointError: the file cannot be read, is truncated, is not safetensors, or its header does not agree with
            itself or with the file's size.
    """
    try:
        if not path.is_file():
            raise CheckpointError(path, "is not a regular file")
        size = path.stat().st_size
        with path.open("rb") as file:
            header_bytes = _read_header_bytes(path, file, size)
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"cannot be read ({error})") from None
    header = parse_json_object(header_bytes, source=path)
    header.pop("__metadata__", None)
    start = 8 + len(header_bytes)
    entries = {name: _entry(path, name, raw, start) for name, raw in header.items()}
    ordered = dict(sorted(entries.items(), key=lambda item: (item[1].offset, item[1].nbytes)))
    end = start
    for name, entry in ordered.items():
        if entry.offset != end:
            raise CheckpointError(path, f"is not safetensors: the data of {name} overlaps another or leaves a gap")
        end = entry.offset + entry.nbytes
    if end != size:
        fault = "truncated" if size < end else "followed by bytes that no tensor owns"
        raise CheckpointError(path, f"is {fault}: the header describes {end} bytes, the file has {size}")
    return ordered


def _read_header_bytes(path: Path, file: BinaryIO, size: int) -> bytes:
    prefix = file.read(8)
    if len(prefix) < 8:
        raise CheckpointError(path, f"is not safetensors: it has {size} bytes")
    (length,) = struct.unpack("<Q", prefix)
    if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
        raise CheckpointError(path, f"is not safetensors, or truncated: it declares a header of {length} bytes")
    return file.read(length)


def _entry(path: Path, name: str, raw: Any, start: int) -> TensorEntry:
    if not isinstance(raw, dict) or not {"dtype", "shape", "data_offsets"} <= raw.keys():
        raise CheckpointError(path, f"is not safetensors: the header's entry {name!r} lacks dtype, shape or offsets")
    dtype, shape, offsets = raw["dtype"], raw["shape"], raw["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise CheckpointError(path, f"holds {name} with dtype {dtype!r}; known: {', '.join(DTYPE_BYTES)}")
    if not _naturals(shape) or len(shape) > _MAX_AXES:
        raise CheckpointError(path, f"is not safetensors: {name} has shape {shape!r}")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(path, f"is not safetensors: {name} has data_offsets {offsets!r}")
    nbytes = math.prod(shape) * DTYPE_BYTES[dtype]
    if offsets[1] - offsets[0] != nbytes:
        raise CheckpointError(
            path, f"is not safetensors: {name} needs {nbytes} bytes, its offsets give {offsets[1] - offsets[0]}"
        )
    return TensorEntry(dtype=dtype, shape=tuple(shape), offset=start + offsets[0], nbytes=nbytes)


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def write_file(
    path: Path,
    tensors: Sequence[tuple[str, str, tuple[int, ...]]],
    data: Iterable[memoryview],
) -> str:
    """Write a safetensors file from a stream: one tensor's bytes are alive at a time.

    Args:
        path: the file to create.
        tensors: (name, dtype, shape) of every tensor, in the order of `data`.
        data: the raw little-endian bytes of each.

    Returns:
        sha256 of the file, hex, taken on the way (no second reading).
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dtype, shape in tensors:
        begin, end = end, end + math.prod(shape) * DTYPE_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # data starts at a multiple of 8, as the format asks of writers
    digest = hashlib.sha256()
    with path.open("xb") as file:
        prefix = struct.pack("<Q", len(encoded)) + encoded
        file.write(prefix)
        digest.update(prefix)
        for (name, dtype, shape), values in zip(tensors, data, strict=True):
            if values.nbytes != math.prod(shape) * DTYPE_BYTES[dtype]:
                raise ValueError(f"{name}: {values.nbytes} bytes do not fit {dtype} {shape}")
            file.write(values)
            digest.update(values)
    return digest.hexdigest()

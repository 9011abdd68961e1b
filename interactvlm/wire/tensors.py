"""Arrays on the wire: one raw little-endian block with dtype and shape, checked before anything is read from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.v1 import types_pb2

__all__ = ["from_tensor", "to_tensor"]

_MAX_RANK = 8
_DTYPES: dict[types_pb2.ElementType.ValueType, np.dtype[Any]] = {
    types_pb2.ELEMENT_TYPE_FLOAT32: np.dtype("<f4"),
    types_pb2.ELEMENT_TYPE_FLOAT16: np.dtype("<f2"),
    types_pb2.ELEMENT_TYPE_INT32: np.dtype("<i4"),
    types_pb2.ELEMENT_TYPE_UINT8: np.dtype("u1"),
}
_ELEMENT_TYPES = {dtype.newbyteorder("="): element_type for element_type, dtype in _DTYPES.items()}


def to_tensor(array: NDArray[Any]) -> types_pb2.Tensor:
    """An array as a message.

    Args:
        array: float32, float16, int32 or uint8, any strides, at most 8 axes.

    Raises:
        TypeError: another dtype or more axes; that is a mistake of the program, not of its caller.
    """
    element_type = _ELEMENT_TYPES.get(array.dtype.newbyteorder("="))
    if element_type is None or array.ndim > _MAX_RANK:
        raise TypeError(f"an array of {array.dtype} with {array.ndim} axes does not travel as a Tensor")
    data = np.ascontiguousarray(array, dtype=_DTYPES[element_type]).tobytes()
    return types_pb2.Tensor(element_type=element_type, shape=array.shape, data=data)


def from_tensor(
    message: types_pb2.Tensor,
    *,
    field: str,
    dtypes: Sequence[type[np.generic]],
    shape: Sequence[int | None],
    finite: bool = True,
) -> NDArray[Any]:
    """The array in a message from outside.

    Args:
        message: dtype, shape and bytes, none of them trusted.
        field: the message field's name, for errors ("queries[2].embedding").
        dtypes: element types that are welcome.
        shape: expected extents; None where any extent is.
        finite: refuse infinities and NaN.

    Returns:
        A read-only view of the message's bytes.

    Raises:
        InputError: the element type, an extent or the number of bytes differs, or a value is not finite.
    """
    dtype = _DTYPES.get(message.element_type)
    if dtype is None or dtype.type not in dtypes:
        got = types_pb2.ElementType.Name(message.element_type) if dtype is not None else message.element_type
        welcome = " or ".join(np.dtype(kind).name for kind in dtypes)
        raise InputError(field, f"has element type {got}, must be {welcome}")
    extents = tuple(message.shape)
    fits = len(extents) == len(shape) and all(
        extent >= 0 and wanted in (None, extent) for extent, wanted in zip(extents, shape, strict=True)
    )
    if not fits:
        wanted_text = ", ".join("any" if wanted is None else str(wanted) for wanted in shape)
        raise InputError(field, f"has shape {list(extents[:_MAX_RANK])}, must be [{wanted_text}]")
    expected = math.prod(extents) * dtype.itemsize
    if len(message.data) != expected:
        raise InputError(field, f"holds {len(message.data)} bytes, its shape {list(extents)} needs {expected}")
    try:
        array = np.frombuffer(message.data, dtype=dtype).reshape(extents)
    except ValueError:  # no elements, by an extent of 0 beside huge ones
        raise InputError(field, f"has shape {list(extents)}, which is beyond any array") from None
    if finite and dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(field, "holds values that are not finite")
    return array.astype(dtype.newbyteorder("="), copy=False)

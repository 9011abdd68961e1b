"""What `interactvlm retrieve` is given, read and checked: a photo, a mesh, points or words, and conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from interactvlm.errors import InputError
from interactvlm.geometry.load import DEFAULT_LIMITS, MESH_TYPES, load_point_cloud
from interactvlm.geometry.mesh import Mesh
from interactvlm.photo import load_photo
from interactvlm.retrieval.glb import load_shown_mesh
from interactvlm.types import Box

__all__ = ["Conditions", "MeshQuery", "mesh_file", "parse_box", "parse_size", "read_query"]

_POINT_TYPES = ("npy", "npz", "xyz")
_PHOTO_TYPES = ("jpg", "jpeg", "png", "webp", "bmp")
_LONGEST_TEXT = 256
_LONGEST_STEM = 60


@dataclass(frozen=True, slots=True)
class Conditions:
    """What hits must meet.

    Attributes:
        categories: any of these; empty for all.
        licences: any of these; empty for all.
        max_faces: at most so many; 0 for any number.
        extent_metres: (least, most); None for any.
    """

    categories: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    max_faces: int = 0
    extent_metres: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MeshQuery:
    """What to look for; one of the first four.

    Attributes:
        text: words.
        photo: RGB uint8 [H, W, 3].
        mesh: a shape, +y up.
        points: float32 [N, 3].
        stem: what files about it are called.
        file: where it comes from; None for words.
        box: around the object in the photo.
        mask: bool [H, W], its pixels.
    """

    text: str = ""
    photo: NDArray[np.uint8] | None = None
    mesh: Mesh | None = None
    points: NDArray[np.float32] | None = None
    stem: str = field(default="query", kw_only=True)
    file: Path | None = field(default=None, kw_only=True)
    box: Box | None = field(default=None, kw_only=True)
    mask: NDArray[np.bool_] | None = field(default=None, kw_only=True)


def read_query(query: str, *, box: str | None, mask: Path | None) -> MeshQuery:
    """A file that exists is a photo, a mesh (GLB, PLY, OBJ) or points (NPY, NPZ, XYZ); anything else is words.

    Raises:
        InputError: words too long, or a box or mask that does not fit.
        PhotoError, MeshError: the file cannot be used.
    """
    path, kind = Path(query), Path(query).suffix.lower().removeprefix(".")
    if len(query) <= _LONGEST_TEXT and path.is_file():
        if kind in MESH_TYPES or kind in _POINT_TYPES:
            _refuse_region(box, mask)
            if kind in MESH_TYPES:
                return MeshQuery(mesh=load_shown_mesh(path, file_type=kind), stem=path.stem, file=path)
            return MeshQuery(points=load_point_cloud(path, file_type=kind).xyz, stem=path.stem, file=path)
        photo = load_photo(path)
        region = None if box is None else parse_box(box)
        pixels = None if mask is None else _read_mask(mask, photo.shape)
        return MeshQuery(photo=photo, stem=path.stem, file=path, box=region, mask=pixels)
    if kind in (*MESH_TYPES, *_POINT_TYPES, *_PHOTO_TYPES):
        raise InputError(query, "does not exist")
    _refuse_region(box, mask)
    if not query.strip() or len(query) > _LONGEST_TEXT:
        raise InputError("TEXT", f"has {len(query)} characters; it must have 1 to {_LONGEST_TEXT}")
    stem = "_".join("".join(sign if sign.isalnum() else " " for sign in query).split())
    return MeshQuery(text=query.strip(), stem=stem[:_LONGEST_STEM] or "query")


def mesh_file(path: Path) -> tuple[str, bytes]:
    """(file type, content) of a mesh that `read_query` has read."""
    with path.open("rb") as file:
        return path.suffix.lower().removeprefix("."), file.read(DEFAULT_LIMITS.max_bytes)


def parse_box(text: str) -> Box:
    """`LEFT,TOP,RIGHT,BOTTOM` in pixels.

    Raises:
        InputError: the text is no such box, or it is empty.
    """
    numbers = _numbers(text)
    if len(numbers) != 4 or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        raise InputError("--box", f"is {text!r}; it must be LEFT,TOP,RIGHT,BOTTOM in pixels, left less than right")
    return Box(*numbers)


def parse_size(text: str) -> tuple[float, float]:
    """`LEAST,MOST` in metres.

    Raises:
        InputError: the text is no such pair.
    """
    numbers = _numbers(text)
    if len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1]:
        raise InputError("--size", f"is {text!r}; it must be LEAST,MOST in metres, the largest extent of the mesh")
    return numbers[0], numbers[1]


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _refuse_region(box: Any, mask: Any) -> None:
    for name, value in (("--box", box), ("--mask", mask)):
        if value is not None:
            raise InputError(name, "goes with a photo")


def _read_mask(path: Path, shape: Sequence[int]) -> NDArray[np.bool_]:
    try:
        with Image.open(path) as image:
            if image.size != (shape[1], shape[0]):
                raise InputError(
                    path.name, f"is {image.width} x {image.height} pixels, the photo {shape[1]} x {shape[0]}"
                )
            mask: NDArray[np.bool_] = np.asarray(image.convert("L")) > 0
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise InputError(path.name, "is not a readable picture") from None
    if not mask.any():
        raise InputError(path.name, "is black: it shows no object")
    return mask

"""What the user types, turned into the library's values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactvlm.errors import InputError, MeshError, QuestionError
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import Box, LargestPerson, PersonSelector, PointOnPerson, WholePhoto
from interactvlm.vlm.prompts import check_object_name

if TYPE_CHECKING:
    from interactvlm.geometry.mesh import Mesh, PointCloud

__all__ = ["check_timeout", "parse_objects", "parse_person"]


def check_timeout(seconds: float | None) -> None:
    """Refuse a time limit that cannot be kept.

    Raises:
        InputError: it is not a positive number.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError("--timeout", f"is {seconds:g}; it must be a positive number of seconds")


def parse_person(text: str) -> PersonSelector:
    """`largest`, `whole`, `X,Y` (a pixel on the person) or `LEFT,TOP,RIGHT,BOTTOM`.

    Raises:
        QuestionError: the text is none of these.
    """
    if text == "largest":
        return LargestPerson()
    if text == "whole":
        return WholePhoto()
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 2:
        return PointOnPerson(*numbers)
    if len(numbers) == 4:
        return Box(*numbers)
    raise QuestionError("--person", f"is {text!r}; known: largest, whole, X,Y or LEFT,TOP,RIGHT,BOTTOM (pixels)")


def parse_objects(names: Sequence[str], meshes: Sequence[str]) -> list[ObjectQuery]:
    """Pair object names with mesh files.

    Args:
        names: values of `--object`, in order.
        meshes: values of `--mesh`: `NAME=FILE`, or `FILE` alone where exactly one object is named. A folder in the
            file's place is the release's: the mesh or points, and its own renders and maps of it.

    Raises:
        InputError: a mesh belongs to no named object, or an object gets two.
        QuestionError: a name is empty, too long or holds what no everyday name holds.
        MeshError, PhotoError: a file cannot be used.
    """
    for name in names:
        check_object_name(name)  # now, not after minutes of loading
    surfaces: dict[str, Mesh | PointCloud] = {}
    for value in meshes:
        if not names:
            raise InputError("--mesh", f"{value!r} needs the name of its object: --object NAME")
        name, separator, file = value.partition("=")
        if not separator:
            if len(names) != 1:
                raise InputError("--mesh", f"{value!r} must be NAME=FILE, with NAME one of the {len(names)} objects")
            name, file = names[0], value
        if name not in names:
            raise InputError("--mesh", f"{value!r} names no --object; known: {', '.join(names) or 'none'}")
        if name in surfaces:
            raise InputError("--mesh", f"gives {name!r} two meshes")
        surfaces[name] = _load_surface(Path(file))
    return [ObjectQuery(name, surfaces.get(name)) for name in names]


def _load_surface(path: Path) -> Mesh | PointCloud:
    from interactvlm.geometry.load import MESH_TYPES, POINT_TYPES, load_mesh, load_point_cloud
    from interactvlm.geometry.official_object import load_official_object

    if path.is_dir():
        return load_official_object(path)
    file_type = path.suffix.lower().removeprefix(".")
    if file_type in MESH_TYPES:
        return load_mesh(path, file_type=file_type)
    if file_type in POINT_TYPES:
        return load_point_cloud(path, file_type=file_type)
    known = f"meshes are read from {', '.join(MESH_TYPES)}, point clouds from {', '.join(POINT_TYPES)}"
    raise MeshError(path.name, f"is of type {file_type!r}; {known}")

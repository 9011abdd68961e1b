"""PICO-db (paper, section 4; Cseke et al., CVPR 2025): photos with contact between a body and an object's own mesh.

A folder a sample, named `<object>__<photo>`: the photo, the object's mesh and `corresponding_contacts.json`, the
vertices (or faces) of body and object that touch each other (docs/datasets.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate
from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.datasets.names import damon_category, everyday_name
from interactvlm.datasets.paths import PHOTO_SUFFIXES, files_below, read_listed_photo
from interactvlm.datasets.sample import ContactSample, HumanContact, ObjectContact
from interactvlm.datasets.vertices import vertex_ids
from interactvlm.errors import CheckpointError, InputError
from interactvlm.geometry.load import MESH_TYPES, load_mesh
from interactvlm.types import Task

__all__ = ["CONTACT_FILE", "read_pico"]

CONTACT_FILE = "corresponding_contacts.json"

_BODY_WORDS, _OBJECT_WORDS = ("human", "body", "smpl"), ("object", "obj")
_VERTICES = {"smpl": 6890, "smplh": 6890, "smplx": 10475}
#: Names of pictures and meshes beside the photo and the object's mesh that are neither.
_NOT_THE_PHOTO = ("mask", "render", "overlay", "depth")
_NOT_THE_OBJECT = ("human", "body", "person", "smpl")


def read_pico(folder: Path, *, topology: str = "smplx", body: BodyTemplate | None = None) -> Iterator[ContactSample]:
    """The samples below a folder, in the order of their paths, one at a time.

    Args:
        folder: the downloaded folder.
        topology: whose vertices the body's ids are: "smplx" (10,475), "smpl" or "smplh" (6,890).
        body: that body, for files that name its faces; only its `faces` are used.

    Raises:
        InputError: a file is malformed, ambiguous or not there, or there are no samples.
        MeshError: an object's mesh cannot be used.
        PhotoError: a photo is empty or too large.
    """
    if topology not in _VERTICES:
        raise InputError("topology", f"is {topology!r}; known: {', '.join(_VERTICES)}")
    found = [path for path in files_below(folder, (".json",)) if path.name == CONTACT_FILE]
    if not found:
        raise InputError(str(folder), f"holds no {CONTACT_FILE}")
    for row, path in enumerate(found):
        yield _sample(row, path, topology, body)


def _sample(row: int, path: Path, topology: str, body: BodyTemplate | None) -> ContactSample:
    home = path.parent
    name = everyday_name(home.name.partition("__")[0])
    meshes = [p for p in _files(home, tuple(f".{kind}" for kind in MESH_TYPES)) if not _named(p, _NOT_THE_OBJECT)]
    photos = [p for p in _files(home, PHOTO_SUFFIXES) if not _named(p, _NOT_THE_PHOTO)]
    for what, files in (("object mesh", meshes), ("photo", photos)):
        if len(files) != 1:
            listed = ", ".join(p.name for p in files[:8]) or "none"
            raise InputError(str(home), f"must hold exactly one {what}, it holds {listed}")
    mesh = load_mesh(meshes[0], file_type=meshes[0].suffix.lower().removeprefix("."))
    (body_key, body_ids), (object_key, object_ids) = _sides(path)
    faces = None if body is None else body.faces
    touched = _ids(path, body_key, body_ids, _VERTICES[topology] if body is None else body.vertex_count, faces)
    values = np.zeros(len(mesh.vertices), dtype=np.float32)
    values[_ids(path, object_key, object_ids, len(mesh.vertices), mesh.faces)] = 1
    category = damon_category(name)
    return ContactSample(
        sample_id=f"pico-{row:05d}",
        photo=read_listed_photo(photos[0]),
        human=(
            HumanContact(
                task=Task.SEMANTIC,
                object_name=name,
                vertex_ids=touched,
                topology="smpl" if topology == "smplh" else topology,
                category=category,
            ),
        ),
        objects=(ObjectContact(object_name=name, surface=mesh, values=values, category=category),),
        tags={"source": "pico", "photo": photos[0].name, "sample": home.name},
    )


def _files(home: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in home.iterdir() if path.suffix.lower() in suffixes and path.is_file())


def _named(path: Path, words: tuple[str, ...]) -> bool:
    return any(word in path.stem.lower() for word in words)


def _sides(path: Path) -> tuple[tuple[str, Any], tuple[str, Any]]:
    """The body's and the object's entry: key and content.

    Either two lists under keys that name the sides ("human_vertices", "object_faces"), or pairs under one key:
    {"contacts": [[human, object], ...]} or a dict from human to object ids.
    """
    try:
        content = read_json_object(path)
    except CheckpointError as error:
        raise InputError(str(path), error.problem) from None
    sides = [
        [key for key in content if any(word in key.lower() for word in words)] for words in (_BODY_WORDS, _OBJECT_WORDS)
    ]
    if [len(keys) for keys in sides] == [1, 1] and sides[0] != sides[1]:
        (body_key,), (object_key,) = sides
        return (body_key, content[body_key]), (object_key, content[object_key])
    pairs: Any = content
    if len(content) == 1:
        ((_, pairs),) = content.items()
    if isinstance(pairs, dict) and pairs and all(key.isdecimal() for key in pairs):
        return ("human", [int(key) for key in pairs]), ("object", list(pairs.values()))
    if isinstance(pairs, list) and pairs and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return ("human", [pair[0] for pair in pairs]), ("object", [pair[1] for pair in pairs])
    raise InputError(
        str(path),
        f"holds {', '.join(map(repr, list(content)[:8])) or 'nothing'}; needed is one list of ids of the human "
        "and one of the object, or pairs of them",
    )


def _ids(path: Path, key: str, values: Any, count: int, faces: NDArray[np.integer] | None) -> NDArray[np.int32]:
    """Vertices of one side; lists in lists (groups, triples of a face's corners) are joined."""
    source = f"{path}: {key}"
    flat = _flat(values, source)
    if "face" not in key.lower():
        return vertex_ids(flat, count, source=source)
    if faces is None:
        raise InputError(source, "names faces of the body, which needs its model file (--body)")
    return np.unique(faces[vertex_ids(flat, len(faces), source=source)]).astype(np.int32)


def _flat(values: Any, source: str, depth: int = 0) -> list[int]:
    if isinstance(values, dict):
        values = list(values.values())
    if not isinstance(values, list) or depth > 3:
        raise InputError(source, "must be a list of whole numbers")
    found: list[int] = []
    for value in values:
        if isinstance(value, (list, dict)):
            found += _flat(value, source, depth + 1)
        elif isinstance(value, int) and not isinstance(value, bool):
            found.append(value)
        else:
            raise InputError(source, f"holds {str(value)[:64]!r}, which is no whole number")
    return found

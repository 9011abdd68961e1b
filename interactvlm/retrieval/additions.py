"""A user's mesh files into a table: loaded, embedded by their shape, kept by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interactvlm.errors import InputError
from interactvlm.geometry.load import DEFAULT_LIMITS, MESH_TYPES, load_mesh
from interactvlm.retrieval.clouds import ColouredCloud, cloud_of_mesh
from interactvlm.retrieval.mesh_store import MeshStore
from interactvlm.retrieval.names import table_category
from interactvlm.retrieval.rows import MAX_TEXT, TableRow
from interactvlm.retrieval.shape_embedding import ShapeEmbedder
from interactvlm.retrieval.vector_table import VectorTable

__all__ = ["Added", "add_meshes", "describe_mesh", "mesh_files"]

_BATCH = 64  # files a version of the table


@dataclass(frozen=True, slots=True)
class Added:
    """What was added.

    Attributes:
        ids: of the rows, the sha256 of their files.
        refused: (file, why) of those that were left out.
        version: of the table.
    """

    ids: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    version: int


def mesh_files(paths: Iterable[Path]) -> list[Path]:
    """The mesh files named, and those in the folders named, at any depth.

    Raises:
        InputError: a path does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if _type(p) in MESH_TYPES and p.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise InputError(str(path), "does not exist")
    return found


def add_meshes(
    files: Sequence[Path],
    table: Path,
    embedder: ShapeEmbedder,
    *,
    category: str = "",
    licence: str = "",
    metres: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Added:
    """Add meshes; one that is in the table already takes the new category, licence and name.

    Args:
        files: glb, ply or obj, y up; those that cannot be used are left out and named.
        table: folder; made where it does not exist.
        embedder: of the space the table holds.
        category: of all of them, in any spelling; "" where unknown.
        licence: of all of them, an SPDX identifier.
        metres: whether their unit is the metre, so that their size is known.
        progress: told (what, done, in all).

    Raises:
        InputError: the table holds embeddings of another length.
    """
    store, index = MeshStore(table), VectorTable(table)
    with index.open() as current:  # before minutes of embedding
        if current.dimension not in (None, embedder.channels):
            raise InputError("table", f"holds {current.dimension} channels, the encoder makes {embedder.channels}")
    ids: list[str] = []
    refused: list[tuple[str, str]] = []
    done = 0
    for group in (files[start : start + _BATCH] for start in range(0, len(files), _BATCH)):
        rows: dict[str, TableRow] = {}
        clouds: dict[str, ColouredCloud] = {}
        for path in group:
            try:
                content = _read(path)
                row, cloud = describe_mesh(
                    content, file_type=_type(path), name=path.stem, category=category, licence=licence, metres=metres
                )
            except InputError as error:
                refused.append((str(path), error.problem))
                continue
            store.put(content, file_type=_type(path))
            rows[row.id], clouds[row.id] = row, cloud
        if rows:
            index.add(list(rows.values()), embedder(list(clouds.values())))
            ids += rows
        done += len(group)
        if progress is not None:
            progress("meshes", done, len(files))
    return Added(tuple(ids), tuple(refused), index.version)


def describe_mesh(
    content: bytes, *, file_type: str, name: str, category: str, licence: str, metres: bool
) -> tuple[TableRow, ColouredCloud]:
    """A mesh file's row, and the cloud that its embedding is made of.

    Args:
        content: the file; untrusted.
        file_type: "glb", "ply" or "obj", y up.
        name: what people call it; "_" counts as a blank, what is too long is cut.
        category: in any spelling; "" where unknown.
        licence: an SPDX identifier.
        metres: whether its unit is the metre, so that its size is known.

    Raises:
        MeshError: it is not usable, or has no area.
    """
    mesh = load_mesh(content, file_type=file_type)
    digest = hashlib.sha256(content).hexdigest()
    row = TableRow(
        id=digest,
        category=table_category(category)[:MAX_TEXT],
        name=" ".join(name.replace("_", " ").split())[:MAX_TEXT],
        licence=licence,
        faces=len(mesh.faces),
        extent_metres=float((mesh.bounds[1] - mesh.bounds[0]).max()) if metres else 0.0,
        mesh_sha256=digest,
    )
    return row, cloud_of_mesh(mesh)


def _read(path: Path) -> bytes:
    """The file, once: what is kept is what was checked."""
    limit = DEFAULT_LIMITS.max_bytes
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputError(path.name, f"cannot be read ({error.strerror})") from None
    if len(content) > limit:
        raise InputError(path.name, f"has more than {limit} bytes, the limit")
    return content


def _type(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")

"""Searching for meshes: what a program asks and gets, and the messages for it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.errors import InputError
from interactvlm.photo import photo_from_array, read_photo
from interactvlm.types import Box
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.wire import encode_box, from_tensor, to_tensor

__all__ = ["FoundMesh", "FoundView", "ListedMesh", "MeshAnswer", "MeshSearch", "decode_found", "decode_listed"]


@dataclass(frozen=True, slots=True, eq=False)
class MeshSearch:
    """One search; exactly one of the first five says what for.

    Attributes:
        text: a name or description, at most 256 characters.
        photo: file, encoded bytes, or RGB uint8 [H, W, 3].
        mesh: (file type, file) of a GLB, PLY or OBJ mesh, +y up.
        points: numbers [N, 3], or [N, 6] with colours in [0, 1]; +y up.
        embedding: of the server's own space, [D].
        box: around the object in the photo, pixels.
        mask: bool [H, W], the object's pixels in the photo.
        categories: only these; empty for all.
        licences: only these, as SPDX; empty for all.
        max_faces: at most so many; 0 for any number.
        extent_metres: (least, most) largest extent; None for any.
        limit: most hits, 1 to 100.
        distant: hits are wanted when nothing is close, too.

    Raises:
        InputError: none, or several, of the first five are given.
    """

    text: str = ""
    photo: Path | str | bytes | NDArray[np.uint8] | None = None
    mesh: tuple[str, bytes] | None = None
    points: NDArray[np.floating] | None = None
    embedding: NDArray[np.floating] | None = None
    box: Box | None = None
    mask: NDArray[np.bool_] | None = None
    categories: Sequence[str] = ()
    licences: Sequence[str] = ()
    max_faces: int = 0
    extent_metres: tuple[float, float] | None = None
    limit: int = 10
    distant: bool = False

    def __post_init__(self) -> None:
        given = [self.photo, self.mesh, self.points, self.embedding]
        if bool(self.text) + sum(one is not None for one in given) != 1:
            raise InputError("search", "needs exactly one of text, photo, mesh, points and embedding")

    def to_message(self) -> pb.SearchRequest:
        """The request; reads the photo's file.

        Raises:
            PhotoError: the photo is missing, empty or too large.
        """
        least, most = self.extent_metres or (0.0, 0.0)
        request = pb.SearchRequest(
            limit=self.limit,
            categories=self.categories,
            licences=self.licences,
            max_faces=self.max_faces,
            min_extent_metres=least,
            max_extent_metres=most,
            include_distant=self.distant,
            box=None if self.box is None else encode_box(self.box),
            mask_png=b"" if self.mask is None else _png(np.where(self.mask, 255, 0).astype(np.uint8)),
        )
        if self.photo is not None:
            photo = self.photo
            request.crop = _png(photo_from_array(photo)) if isinstance(photo, np.ndarray) else read_photo(photo)
        elif self.mesh is not None:
            request.mesh.file_type, request.mesh.content = self.mesh
        elif self.points is not None:
            request.points.CopyFrom(to_tensor(np.asarray(self.points, np.float32)))
        elif self.embedding is not None:
            request.embedding.CopyFrom(to_tensor(np.asarray(self.embedding, np.float32)))
        else:
            request.text = self.text
        return request


@dataclass(frozen=True, slots=True, eq=False)
class FoundView:
    """From where an object is seen in the photo; as `interactvlm.retrieval.retriever.ViewMatch`.

    Attributes:
        azimuth: degrees from the object's front (+z) towards its +x.
        elevation: degrees above the horizon.
        roll: degrees by which the picture is turned clockwise.
        similarity: of that view, cosine.
        rotation: float32 [3, 3], object (+y up) to photo frame (x right, y down, z forward), for row vectors.
    """

    azimuth: float
    elevation: float
    roll: float
    similarity: float
    rotation: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FoundMesh:
    """One mesh found.

    Attributes:
        id: unique in the server's table.
        name: what people call it.
        category: canonical name; "" where unknown.
        similarity: cosine.
        confidence: P(the category is the one asked for); None where nobody measured that.
        extent_metres: largest extent; 0 where unknown.
        extent_spread: its standard deviation, 0 where the mesh's own size is known.
        extent_source: "mesh", "category" or "".
        licence: SPDX identifier.
        faces: triangles; 0 where unknown.
        mesh_sha256: for `download_mesh`; "" where only the embedding is known.
        view: image queries on the embedded catalogue only.
    """

    id: str
    name: str
    category: str
    similarity: float
    confidence: float | None
    extent_metres: float
    extent_spread: float
    extent_source: str
    licence: str
    faces: int
    mesh_sha256: str
    view: FoundView | None = None


@dataclass(frozen=True, slots=True)
class ListedMesh:
    """One mesh that a server knows; fields as in `FoundMesh`."""

    id: str
    category: str
    name: str
    licence: str
    faces: int
    extent_metres: float
    mesh_sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class MeshAnswer:
    """What was found.

    Attributes:
        hits: nearest first; none when nothing is close, unless distant ones were wanted.
        nothing_close: more likely than not no hit is what was asked for.
        category: the known category that a text names; "" otherwise.
        version: snapshot that answered.
    """

    hits: tuple[FoundMesh, ...] = field(default=())
    nothing_close: bool = False
    category: str = ""
    version: str = ""


def decode_listed(message: pb.CatalogueMesh) -> ListedMesh:
    """One row of a list."""
    return ListedMesh(**{field.name: getattr(message, field.name) for field in fields(ListedMesh)})


def decode_found(message: pb.SearchResponse) -> MeshAnswer:
    """An answer.

    Raises:
        InputError: the message is malformed.
    """
    return MeshAnswer(
        tuple(_hit(hit) for hit in message.hits), message.nothing_close, message.category, message.index_version
    )


def _hit(message: pb.SearchHit) -> FoundMesh:
    view = None
    if message.HasField("view"):
        seen = message.view
        rotation = from_tensor(seen.rotation, field="view.rotation", dtypes=(np.float32,), shape=(3, 3))
        view = FoundView(seen.azimuth_degrees, seen.elevation_degrees, seen.roll_degrees, seen.similarity, rotation)
    return FoundMesh(
        id=message.id,
        name=message.name,
        category=message.category,
        similarity=message.similarity,
        confidence=message.confidence if message.calibrated else None,
        extent_metres=message.extent_metres,
        extent_spread=message.extent_spread_metres,
        extent_source=message.extent_source,
        licence=message.licence,
        faces=message.faces,
        mesh_sha256=message.mesh_sha256,
        view=view,
    )


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()

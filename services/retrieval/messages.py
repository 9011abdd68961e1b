"""SearchRequest to a checked query and an answer to SearchResponse; none of a request's fields is trusted."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from interactvlm.errors import InputError, MeshError, PhotoError, QuestionError
from interactvlm.geometry.load import MESH_TYPES
from interactvlm.photo import PhotoLimits, load_photo
from interactvlm.retrieval.clouds import cloud_of_points
from interactvlm.retrieval.glb import load_shown_mesh
from interactvlm.retrieval.names import table_category
from interactvlm.retrieval.retriever import Answer, ImageQuery, ObjectHit
from interactvlm.retrieval.rows import MAX_TEXT, RowFilter
from interactvlm.retrieval.search import MAX_HITS
from interactvlm.retrieval.text_embedding import MAX_TEXT as MAX_QUERY
from interactvlm.types import Box
from interactvlm.v1 import retrieval_service_pb2 as pb
from interactvlm.wire import decode_box, from_tensor, to_tensor
from services.retrieval.searching import Query

__all__ = ["Wanted", "decode_search", "encode_answer"]

_DEFAULT_HITS = 10
_MOST_NAMES = 64
#: As on the public API: the arrays of a mesh and its file both have to fit into a message.
_MESH_BYTES = 48 * 2**20
#: A query's value and the bytes it takes.
_Decoded = tuple[Any, int]
#: A crop may be narrower than a photo.
_CROP_LIMITS = PhotoLimits(min_side=1)


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What a request asks for.

    Attributes:
        read: makes the query; slow for pictures and meshes, so not for the event loop.
        heavy: whether it is.
        nbytes: what the request takes until it is read.
        distant: hits are wanted when nothing is close, too.
    """

    read: Callable[[], Query]
    heavy: bool
    nbytes: int
    distant: bool


def decode_search(request: pb.SearchRequest) -> Wanted:
    """Check what is cheap to check; the rest when the query is read.

    Raises:
        InputError: a field is malformed; from `read` also PhotoError and MeshError.
    """
    kind = request.WhichOneof("query")
    if kind is None:
        raise InputError("query", "is not set; send crop, text, embedding, points or mesh")
    if kind != "crop" and (request.HasField("box") or request.mask_png):
        raise InputError("box" if request.HasField("box") else "mask_png", f"goes with crop, not with {kind}")
    limit = request.limit or _DEFAULT_HITS
    if not 1 <= limit <= MAX_HITS:
        raise InputError("limit", f"is {request.limit}; it must be from 1 to {MAX_HITS}")
    where, makers = _filter(request), {"crop": _picture, "embedding": _embedding, "points": _points, "mesh": _mesh}
    if kind == "text":
        _check_text(request.text)
        makers["text"] = lambda request: (request.text, 0)
    elif kind == "mesh":
        _check_mesh(request.mesh)

    def read() -> Query:
        try:
            value, nbytes = makers[kind](request)
        finally:
            request.ClearField("query")  # only what was decoded waits in the queue
        return Query(kind, value, limit, where, nbytes)

    return Wanted(
        read=read,
        heavy=kind in ("crop", "points", "mesh"),
        nbytes=request.ByteSize(),
        distant=request.include_distant,
    )


def encode_answer(answer: Answer, *, version: str, distant: bool) -> pb.SearchResponse:
    """The hits; none of them when nothing is close, unless `distant` ones are wanted."""
    shown = answer.hits if distant or not answer.nothing_close else ()
    return pb.SearchResponse(
        hits=map(_encode_hit, shown),
        index_version=version,
        nothing_close=answer.nothing_close,
        category=answer.category,
    )


def _encode_hit(hit: ObjectHit) -> pb.SearchHit:
    view = None
    if hit.view is not None:
        view = pb.ViewMatch(
            azimuth_degrees=hit.view.azimuth,
            elevation_degrees=hit.view.elevation,
            roll_degrees=hit.view.roll,
            similarity=hit.view.similarity,
            rotation=to_tensor(hit.view.rotation.astype(np.float32)),
        )
    return pb.SearchHit(
        mesh_sha256=hit.row.mesh_sha256,
        category=hit.row.category,
        similarity=hit.similarity,
        confidence=hit.confidence or 0.0,
        calibrated=hit.confidence is not None,
        extent_metres=hit.size.mean,
        extent_spread_metres=hit.size.spread,
        extent_source=hit.size.source,
        licence=hit.row.licence,
        id=hit.row.id,
        name=hit.row.name,
        faces=hit.row.faces,
        view=view,
    )


def _filter(request: pb.SearchRequest) -> RowFilter:
    named = [*request.categories, *([request.category] if request.category else [])]
    if request.max_faces < 0:
        raise InputError("max_faces", f"is {request.max_faces}; it cannot be negative")
    least, most = request.min_extent_metres, request.max_extent_metres or math.inf
    if not 0 <= least <= most:  # also catches NaN
        raise InputError(
            "min_extent_metres", f"is {least:g} and max_extent_metres {most:g}; from 0 up, the first not above the last"
        )
    bounded = least > 0 or most < math.inf
    return RowFilter(
        categories=frozenset(map(table_category, _names("categories", named))),
        licences=frozenset(_names("licences", request.licences)),
        max_faces=request.max_faces,
        extent_metres=(least, most) if bounded else None,
    )


def _names(field: str, names: Iterable[str]) -> list[str]:
    found = list(names)
    if len(found) > _MOST_NAMES:
        raise InputError(field, f"are {len(found)}; the limit is {_MOST_NAMES}")
    for name in found:
        if not name.strip() or len(name) > MAX_TEXT:
            raise InputError(field, f"hold a name of {len(name)} characters; it must have 1 to {MAX_TEXT}")
    return found


def _check_text(text: str) -> None:
    if not text.strip() or len(text) > MAX_QUERY:
        raise InputError("text", f"has {len(text)} characters; it must have 1 to {MAX_QUERY}")


def _check_mesh(mesh: pb.MeshFile) -> None:
    if mesh.file_type not in MESH_TYPES:
        raise MeshError("mesh.file_type", f"is {mesh.file_type[:16]!r}; known: {', '.join(MESH_TYPES)}")
    if len(mesh.content) > _MESH_BYTES:
        raise MeshError("mesh.content", f"has {len(mesh.content)} bytes; the limit is {_MESH_BYTES}")


def _mesh(request: pb.SearchRequest) -> _Decoded:
    try:
        mesh = load_shown_mesh(request.mesh.content, file_type=request.mesh.file_type)
    except MeshError as error:
        raise MeshError("mesh.content", error.problem) from None
    return mesh, mesh.vertices.nbytes + mesh.faces.nbytes


def _embedding(request: pb.SearchRequest) -> _Decoded:
    vector = from_tensor(request.embedding, field="embedding", dtypes=(np.float32,), shape=(None,))
    return vector.copy(), vector.nbytes  # the message goes


def _points(request: pb.SearchRequest) -> _Decoded:
    columns = 3 if list(request.points.shape[1:]) == [3] else 6
    rows = from_tensor(request.points, field="points", dtypes=(np.float32,), shape=(None, columns))
    try:
        cloud = cloud_of_points(rows[:, :3], rows[:, 3:] if columns == 6 else None)
    except InputError as error:
        raise InputError("points", error.problem if error.field == "points" else str(error)) from None
    return cloud, cloud.points.nbytes + cloud.colours.nbytes


def _picture(request: pb.SearchRequest) -> _Decoded:
    try:
        photo = load_photo(request.crop, limits=_CROP_LIMITS)
    except PhotoError as error:
        raise PhotoError("crop", error.problem) from None
    box = _box(request, photo.shape) if request.HasField("box") else None
    mask = _mask(request.mask_png, photo.shape) if request.mask_png else None
    photo, box, mask = _near_object(photo, box, mask)
    return ImageQuery(photo, box, mask), photo.nbytes + (0 if mask is None else mask.nbytes)


def _near_object(
    photo: NDArray[np.uint8], box: Box | None, mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint8], Box | None, NDArray[np.bool_] | None]:
    """What an encoder can see of a large photo, so that not all of it waits: the object and its own size around it."""
    height, width = photo.shape[:2]
    if box is not None:
        left, top, right, bottom = box.left, box.top, box.right, box.bottom
    elif mask is not None:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        left, top, right, bottom = map(float, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    else:
        return photo, None, None
    margin = max(right - left, bottom - top)
    x0, y0 = max(0, math.floor(left - margin)), max(0, math.floor(top - margin))
    x1, y1 = min(width, math.ceil(right + margin)), min(height, math.ceil(bottom + margin))
    near = np.ascontiguousarray(photo[y0:y1, x0:x1])
    moved = None if box is None else Box(left - x0, top - y0, right - x0, bottom - y0)
    return near, moved, None if mask is None else np.ascontiguousarray(mask[y0:y1, x0:x1])


def _box(request: pb.SearchRequest, shape: tuple[int, ...]) -> Box:
    try:
        box = decode_box(request.box, field="box")
    except QuestionError as error:
        raise InputError("box", error.problem) from None
    if box.right <= 0 or box.bottom <= 0 or box.left >= shape[1] or box.top >= shape[0]:
        raise InputError("box", f"lies outside the picture of {shape[1]} x {shape[0]} pixels")
    return box


def _mask(encoded: bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; the picture's own size decides
            image = Image.open(io.BytesIO(encoded), formats=("PNG",))
        with image:
            if image.size != (shape[1], shape[0]):  # before its pixels are decoded
                raise InputError(
                    "mask_png", f"is {image.width} x {image.height} pixels, the picture {shape[1]} x {shape[0]}"
                )
            mask: NDArray[np.bool_] = np.asarray(image.convert("L")) > 0
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        raise InputError("mask_png", "is not a readable PNG image") from None
    if not mask.any():
        raise InputError("mask_png", "is black: it shows no object")
    return mask

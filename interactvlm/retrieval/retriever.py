"""What a retriever is asked and what it answers; the embedded catalogue and users' own tables answer alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.mesh import Mesh
from interactvlm.retrieval.clouds import ColouredCloud
from interactvlm.retrieval.rows import RowFilter, TableRow
from interactvlm.retrieval.sizes import SizeEstimate
from interactvlm.types import Box

__all__ = ["Answer", "ImageQuery", "MeshFile", "ObjectHit", "Retriever", "ViewMatch"]


@dataclass(frozen=True, slots=True, eq=False)
class ImageQuery:
    """One object in a photo.

    Attributes:
        photo: RGB uint8 [H, W, 3]; it may be the crop itself.
        box: around the object, pixels; None takes the mask's own box, or the whole picture.
        mask: bool [H, W], the object's pixels, where they are known.
        turned: it may be turned in the picture, as held things are; furniture stands upright. The embedded catalogue
            then looks at it from eight angles, which takes eight times as long.
    """

    photo: NDArray[np.uint8]
    box: Box | None = None
    mask: NDArray[np.bool_] | None = None
    turned: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ViewMatch:
    """How an object seems to be seen: where a fit may start.

    Attributes:
        azimuth: degrees from the object's front (+z) towards its +x, where the camera stands.
        elevation: degrees above the horizon.
        roll: degrees by which the picture is turned clockwise.
        similarity: of that view to the photo, cosine.
        rotation: float32 [3, 3], object (+y up) to photo frame (x right, y down, z forward), for row vectors:
            `points @ rotation`.
    """

    azimuth: float
    elevation: float
    roll: float
    similarity: float
    rotation: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ObjectHit:
    """One object found.

    Attributes:
        row: what is known of it.
        similarity: cosine in [-1, 1]; 1 where a text names the object's category.
        confidence: P(its category is the one asked for); None in spaces without a calibration.
        size: how large it is.
        view: image queries on the embedded catalogue only.
    """

    row: TableRow
    similarity: float
    confidence: float | None
    size: SizeEstimate
    view: ViewMatch | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The hits of one query.

    Attributes:
        hits: nearest first; also when nothing is close, so that a caller may show what the nearest were.
        nothing_close: more likely than not no hit is what was asked for; False in spaces without a calibration.
        category: the known category that a text names ("tv" for "televisions"); "" otherwise.
    """

    hits: tuple[ObjectHit, ...]
    nothing_close: bool
    category: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class MeshFile:
    """A mesh as it is stored.

    Attributes:
        content: the file.
        file_type: "glb", "ply" or "obj".
        sha256: of the content, hex.
    """

    content: bytes
    file_type: str
    sha256: str


class Retriever(Protocol):
    """Finds meshes; every method may be called from several threads.

    Searches take up to 100 as `limit` and raise InputError for malformed queries.
    """

    @property
    def version(self) -> str:
        """Names the contents that answer."""
        ...

    def __len__(self) -> int: ...

    def warm(self) -> None:
        """Load what queries by words or encoders need, now rather than at the first of them."""
        ...

    @property
    def sees(self) -> bool:
        """Whether queries that show something are answered at once; otherwise they wait for `warm_views`."""
        ...

    def warm_views(self) -> None:
        """Build what queries that show something need: minutes, the first time, for the embedded catalogue."""
        ...

    def close(self) -> None:
        """Let go of threads and files."""
        ...

    def by_text(self, texts: Sequence[str], *, limit: int = 10, where: RowFilter | None = None) -> list[Answer]:
        """Objects that are called so, texts of 1 to 256 characters."""
        ...

    def by_image(
        self, queries: Sequence[ImageQuery], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[Answer]:
        """Objects that look like the ones in photos."""
        ...

    def by_embedding(
        self, vectors: NDArray[np.floating[Any]], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[Answer]:
        """Objects near vectors [Q, D] of the retriever's own space."""
        ...

    def by_shape(
        self, shapes: Sequence[Mesh | ColouredCloud], *, limit: int = 10, where: RowFilter | None = None
    ) -> list[Answer]:
        """Objects of a similar shape; meshes are +y up."""
        ...

    def rows(self) -> Iterator[TableRow]:
        """Everything there is."""
        ...

    def find(self, row_id: str) -> TableRow | None:
        """The row of that id."""
        ...

    def mesh(self, sha256: str) -> MeshFile:
        """A mesh by the hash in its row; InputError where there is none."""
        ...

    def thumbnail(self, sha256: str, *, size: int = 224) -> NDArray[np.uint8]:
        """A picture of a mesh, RGB uint8 [size, size, 3], on white."""
        ...

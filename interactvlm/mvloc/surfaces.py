"""What masks are predicted on: four renders of a surface, and the maps that lead back to it (paper, section 3).

A `SurfaceViews` is the surface as the image encoder sees it; a `Surface` adds the encoder's embeddings and the
prepared lift. Shapes: J = 4 views, S side of the renders, V vertices or points.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.body.template import BodyTemplate
from interactvlm.geometry.cameras import (
    HUMAN_VIEWS,
    OBJECT_DISTANCE,
    OBJECT_DISTANCE_RENDERED,
    OBJECT_VIEWS,
    at_distance,
    camera_parameters,
)
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.geometry.official_object import OfficialMesh, OfficialPoints, OfficialViews, read_renders
from interactvlm.geometry.pixel_maps import PixelMaps, read_pixel_maps, valid_pixels
from interactvlm.geometry.render_views import (
    RenderedViews,
    render_body_views,
    render_object_points,
    render_object_views,
)
from interactvlm.mvloc.lift import HardLift, Lift, MeshLift, PointLift, SoftLift

__all__ = [
    "HumanLift",
    "ObjectCamera",
    "OfficialBody",
    "Surface",
    "SurfaceKind",
    "SurfaceViews",
    "body_cameras",
    "body_views",
    "object_cameras",
    "object_identity",
    "object_views",
]

#: Part of every identity: raise it when rendering changes, so that cached embeddings of older renders are not used.
_RENDER_REVISION = "1"


class SurfaceKind(StrEnum):
    """Which lift a surface takes."""

    BODY = "body"
    OBJECT_MESH = "object mesh"
    OBJECT_POINTS = "object points"


class HumanLift(StrEnum):
    """How body masks become vertices."""

    SOFT = "soft"
    """The current release: probabilities."""
    HARD = "hard"
    """Older human checkpoints: 0 or 1."""


class ObjectCamera(StrEnum):
    """Which camera distance conditions Phi for object *meshes*, which are always rendered from 1.5 m."""

    DEMO = "demo"
    """2 m, as the released demo does whatever it renders from."""
    RENDERED = "rendered"
    """1.5 m, as the PICO-trained joint model was trained."""

    @property
    def distance(self) -> float:
        """Metres."""
        return OBJECT_DISTANCE if self is ObjectCamera.DEMO else OBJECT_DISTANCE_RENDERED


@dataclass(frozen=True, slots=True)
class OfficialBody:
    """The release's own body, as users download it.

    Attributes:
        folder: holds `body_render_norm_{view}.png`, `pixel_to_vertex_map_1024.npz` and `bary_coords_map_1024.npz`.
        vertex_count: vertices of that body (SMPL-H).
    """

    folder: Path
    vertex_count: int = 6890


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceViews:
    """A surface in its four views, not yet encoded.

    Attributes:
        identity: sha256 hex over the surface and how it was rendered; equal identities mean equal images and maps.
        kind: which lift it takes.
        images: RGB uint8 [J, S, S, 3], white background.
        valid: bool [J, S, S], pixels inside the outline.
        ids: int32 [J, S, S, 3] vertices behind each pixel, [J, S, S, 1] for points; -1 background.
        weights: float32, barycentric coordinates, shaped as `ids`.
        count: V.
    """

    identity: str
    kind: SurfaceKind
    images: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    ids: NDArray[np.integer]
    weights: NDArray[np.floating]
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A surface ready for questions.

    Attributes:
        identity: of its SurfaceViews.
        kind: of its SurfaceViews.
        embeddings: Theta of the views, [J, C, grid, grid].
        lift: from low-resolution logits to vertices.
        valid: bool [J, S, S], pixels inside the rendered outline.
    """

    identity: str
    kind: SurfaceKind
    embeddings: Tensor
    lift: Lift
    valid: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return self.embeddings.nbytes + self.lift.nbytes + self.valid.nbytes

    @classmethod
    def prepare(
        cls, views: SurfaceViews, embeddings: Tensor, *, human_lift: HumanLift, device: torch.device
    ) -> Surface:
        """Build the lift of `views` for logits four times as fine as `embeddings`, and move both to `device`."""
        grid = 4 * embeddings.shape[-1]
        lift: Lift
        if views.kind is SurfaceKind.OBJECT_POINTS:
            lift = PointLift(views.ids[..., 0], views.valid, count=views.count, grid=grid, device=device)
        else:
            human = {HumanLift.SOFT: SoftLift, HumanLift.HARD: HardLift}[human_lift]
            kind = human if views.kind is SurfaceKind.BODY else MeshLift
            lift = kind(views.ids, views.weights, count=views.count, grid=grid, device=device)
        return cls(views.identity, views.kind, embeddings.to(device), lift, views.valid)


def body_cameras() -> NDArray[np.float32]:
    """Phi's input for the body's views, [J, 5]."""
    return camera_parameters(HUMAN_VIEWS)


def object_cameras(kind: SurfaceKind, camera: ObjectCamera) -> NDArray[np.float32]:
    """Phi's input for an object's views, [J, 5]; point clouds are rendered from 2 m and conditioned with it."""
    distance = camera.distance if kind is SurfaceKind.OBJECT_MESH else OBJECT_DISTANCE
    return camera_parameters(at_distance(OBJECT_VIEWS, distance))


def body_views(body: BodyTemplate | OfficialBody, image_size: int) -> SurfaceViews:
    """Render a body template, or read the release's renders.

    Args:
        body: a body in its canonical pose, or a folder of renders and maps.
        image_size: S, pixels, of what is rendered.

    Raises:
        MeshError: a map is missing, damaged or names a vertex that does not exist.
        PhotoError: a render is missing, damaged or of another size than the maps.
    """
    if isinstance(body, OfficialBody):
        return _read_body_views(body)
    mesh = body.as_mesh()
    identity = _identity("body", mesh.content_hash, str(image_size))
    return _from_mesh(render_body_views(mesh, image_size), SurfaceKind.BODY, mesh, identity)


def object_identity(target: Mesh | PointCloud, image_size: int) -> str:
    """`SurfaceViews.identity` of an object, without rendering it; arguments as `object_views`."""
    if isinstance(target, OfficialMesh | OfficialPoints):
        return _identity("official object", target.content_hash, target.views.content_hash)
    return _identity("object", target.content_hash, str(image_size))


def object_views(target: Mesh | PointCloud, image_size: int) -> SurfaceViews:
    """Render an object, a mesh centred and scaled to extent 1, a point cloud to radius 1; or take the views it brings.

    Args:
        target: the object in any place and size.
        image_size: S, pixels, of what is rendered.

    Raises:
        MeshError: all its vertices or points coincide.
    """
    identity = object_identity(target, image_size)
    if isinstance(target, OfficialMesh):
        return _from_official(target.views, SurfaceKind.OBJECT_MESH, len(target.vertices), identity)
    if isinstance(target, OfficialPoints):
        return _from_official(target.views, SurfaceKind.OBJECT_POINTS, len(target.xyz), identity)
    if isinstance(target, Mesh):
        mesh = target.centred()
        return _from_mesh(render_object_views(mesh, image_size), SurfaceKind.OBJECT_MESH, mesh, identity)
    points = target.centred()
    rendered = render_object_points(points, image_size)
    ids = cast(NDArray[np.int32], rendered.point_ids)[..., None]
    return SurfaceViews(
        identity,
        SurfaceKind.OBJECT_POINTS,
        rendered.images,
        rendered.valid,
        ids,
        np.ones(ids.shape, dtype=np.float32),
        len(points.xyz),
    )


def _from_official(views: OfficialViews, kind: SurfaceKind, count: int, identity: str) -> SurfaceViews:
    maps = views.maps
    return SurfaceViews(identity, kind, views.images, valid_pixels(views.images), maps.vertex_ids, maps.weights, count)


def _from_mesh(rendered: RenderedViews, kind: SurfaceKind, mesh: Mesh, identity: str) -> SurfaceViews:
    maps = cast(PixelMaps, rendered.maps)
    return SurfaceViews(
        identity, kind, rendered.images, rendered.valid, maps.vertex_ids, maps.weights, len(mesh.vertices)
    )


def _read_body_views(body: OfficialBody) -> SurfaceViews:
    names = [view.name for view in HUMAN_VIEWS]
    maps = read_pixel_maps(
        body.folder / "pixel_to_vertex_map_1024.npz",
        body.folder / "bary_coords_map_1024.npz",
        names,
        vertex_count=body.vertex_count,
    )
    views = OfficialViews(read_renders(body.folder, "body_render_norm_{}.png", names, maps.vertex_ids.shape[1:3]), maps)
    identity = _identity("official body", str(body.vertex_count), views.content_hash)
    return _from_official(views, SurfaceKind.BODY, body.vertex_count, identity)


def _identity(*parts: str) -> str:
    return hashlib.sha256("|".join((_RENDER_REVISION, *parts)).encode()).hexdigest()

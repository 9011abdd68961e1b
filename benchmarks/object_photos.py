"""Photographs of catalogue objects as the index has never seen them: other lights, poses, lenses and places.

Lamps, suns, skies, walls, floors and the camera's faults are those of `interactvlm.synthesis`; the index shows each
object in neutral light on a plain ground, at other angles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.cameras import PixelCameras
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import rasterize
from interactvlm.retrieval.view_renders import ViewPose, photo_rotation
from interactvlm.synthesis import textures
from interactvlm.synthesis.lens import develop
from interactvlm.synthesis.lighting import Lighting, sample_lighting
from interactvlm.synthesis.materials import linear
from interactvlm.types import Box

__all__ = ["ObjectPhoto", "photograph"]

_SIDE = 384
_SUPERSAMPLING = 2
_FLIP = np.array([-1.0, -1.0, 1.0])  # photo axes <-> view axes


@dataclass(frozen=True, slots=True, eq=False)
class ObjectPhoto:
    """One photograph.

    Attributes:
        photo: RGB uint8 [384, 384, 3].
        mask: bool [384, 384], the object.
        box: around it, pixels.
        pose: how it is seen.
    """

    photo: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: Box
    pose: ViewPose


def photograph(mesh: Mesh, rng: np.random.Generator, *, any_roll: bool = False) -> ObjectPhoto:
    """Photograph an object.

    Args:
        mesh: with vertex colours, +y up.
        rng: the dice.
        any_roll: turned in the picture by any angle, as held things are; else nearly upright.
    """
    roll = rng.uniform(-180, 180) if any_roll else float(np.clip(rng.normal(0, 5), -15, 15))
    pose = ViewPose(float(rng.uniform(0, 360)), float(np.clip(rng.normal(16, 14), -12, 58)), roll)
    rotation = photo_rotation(pose).astype(np.float64)
    low, high = mesh.bounds.astype(np.float64)
    unit = mesh.vertices - (low + high) / 2
    unit /= np.linalg.norm(unit, axis=1).max()
    points = unit @ rotation + np.array([0, 0, rng.uniform(2.2, 7.0)])
    slopes = points[:, :2] / points[:, 2:]
    first, last = slopes.min(axis=0), slopes.max(axis=0)
    width = rng.uniform(0.35, 0.85) * _SIDE
    focal = width / max(float((last - first).max()), 1e-6)
    room = _SIDE - focal * (last - first)
    corner = room * rng.uniform(0.08, 0.92, 2)
    principal = corner - focal * first
    indoor = bool(rng.random() < 0.6)
    up = np.array([0.0, 1.0, 0.0])
    lighting = sample_lighting(rng, indoor=indoor, view=rotation[:, 2])
    seen = Mesh(points.astype(np.float32), mesh.faces, mesh.vertex_colors)
    light, covered = _lit(seen, rotation, lighting, up, focal, principal)
    ground = _place(rng, indoor)
    mask = covered > 0.5
    ground *= (0.35 + 0.65 * lighting.above.mean()).astype(np.float32)
    image = ground * (1 - covered[..., None]) + light * covered[..., None]
    depth = np.where(mask, np.float32(2), np.float32(2 + rng.uniform(0.3, 4)))
    picture = develop(rng, image.astype(np.float32), depth.astype(np.float32), np.where(mask, 0, -1).astype(np.int16))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return ObjectPhoto(picture, mask, box, pose)


def _lit(
    seen: Mesh,
    rotation: NDArray[np.float64],
    lighting: Lighting,
    up: NDArray[np.float64],
    focal: float,
    principal: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Linear light [S, S, 3] of the object and its coverage [S, S]."""
    fine = _SIDE * _SUPERSAMPLING
    camera = PixelCameras.of_photo(
        np.full((1, 2), focal * _SUPERSAMPLING, np.float32), (principal[None] * _SUPERSAMPLING).astype(np.float32)
    )
    fragments = rasterize(seen, camera, fine)
    corners = seen.vertices.astype(np.float64)[seen.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    normals *= np.where(np.einsum("fk,fk->f", normals, corners.mean(axis=1)) > 0, -1.0, 1.0)[:, None]
    world = normals @ rotation.T
    above = 0.5 + 0.5 * (world @ up)[:, None]
    glow = lighting.above * above + lighting.below * (1 - above)
    lamps = sum(
        np.maximum(world @ towards, 0)[:, None] * colour
        for towards, colour in ((lighting.key, lighting.key_colour), (lighting.fill, lighting.fill_colour))
    )
    light = glow + lamps
    colours = np.full(seen.vertices.shape, 160, np.uint8) if seen.vertex_colors is None else seen.vertex_colors
    albedo = linear((colours / 255).astype(np.float32))
    ids, weights = fragments.face_ids[0], fragments.barycentric[0]
    inside = ids >= 0
    image = np.zeros((fine, fine, 3), np.float32)
    image[inside] = np.einsum("nk,nkc->nc", weights[inside], albedo[seen.faces[ids[inside]]]) * light[ids[inside]]
    covered = inside.astype(np.float32)
    squares = (_SIDE, _SUPERSAMPLING, _SIDE, _SUPERSAMPLING)
    share = covered.reshape(squares).mean(axis=(1, 3))
    total = image.reshape(*squares, 3).mean(axis=(1, 3))
    return (total / np.maximum(share, 1e-6)[..., None]).astype(np.float32), share.astype(np.float32)


def _place(rng: np.random.Generator, indoor: bool) -> NDArray[np.float32]:
    """Linear light [S, S, 3] of a wall or a view above a floor."""
    if indoor:
        kinds = tuple(textures.GROUNDS_INDOOR)
        upper = textures.wall(rng, indoor=True)
    else:
        kinds = tuple(textures.GROUNDS_OUTDOOR)
        upper = textures.backdrop(rng, snow=False) if rng.random() < 0.6 else textures.wall(rng, indoor=False)
    lower = textures.ground(rng, kinds[int(rng.integers(len(kinds)))])
    horizon = int(rng.uniform(0.2, 0.9) * _SIDE)
    left, top = (int(v) for v in rng.integers(0, textures.SIDE - _SIDE, 2))
    place: NDArray[np.float32] = upper[top : top + _SIDE, left : left + _SIDE].copy()
    rows = np.geomspace(0.25, 1, _SIDE - horizon)  # the floor's texture shrinks towards the horizon
    place[horizon:] = lower[(rows * (textures.SIDE - 1)).astype(int)][:, left : left + _SIDE]
    return place

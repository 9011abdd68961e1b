"""From a scene to a picture, its masks and its depth; everything random comes from the scene's seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.anny import load_anny
from interactvlm.geometry.cameras import PixelCameras
from interactvlm.geometry.compiled import run_bands
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import rasterize
from interactvlm.synthesis.appearance import Outfit, dress, sample_outfit, sample_surface
from interactvlm.synthesis.backgrounds import Background, Setting, sample_background, sample_setting
from interactvlm.synthesis.camera import Shot, in_frame, sample_shots
from interactvlm.synthesis.lens import develop
from interactvlm.synthesis.lighting import Lighting, sample_lighting
from interactvlm.synthesis.materials import Material, linear, table
from interactvlm.synthesis.noise import noise_volume
from interactvlm.synthesis.randomness import stream
from interactvlm.synthesis.scene import Scene
from interactvlm.synthesis.shading import shade_pixels

__all__ = ["Picture", "render"]

_SHADOW_SIDE = 384
_HEIGHT_SIDE = 192
#: Least share of the main person's vertices that other things and the frame leave uncovered, where it can be had.
_LEAST_VISIBLE = 0.45


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One rendered photograph and what is known of every pixel.

    Attributes:
        image: uint8 [H, W, 3], sRGB, as a camera would deliver it.
        labels: int16 [H, W], what a pixel shows: 0... the scene's people, then its objects, then -1 for the rest.
        depth: float32 [H, W], view-space z in metres; 10,000 for the sky.
        shot: the camera.
        setting: the kind of place.
        visible: share of each person's and then each object's vertices that the frame and other things leave
            uncovered, float32.
        outfits: what the people wear.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int16]
    depth: NDArray[np.float32]
    shot: Shot
    setting: Setting
    visible: NDArray[np.float32]
    outfits: tuple[Outfit, ...]


@dataclass(slots=True)
class _Stage:
    """Everything to be drawn, as the kernel's arrays; `things` counts people and objects."""

    mesh: Mesh
    coordinates: NDArray[np.float32]
    tints: NDArray[np.float32]
    parts: NDArray[np.uint8]
    instances: NDArray[np.int16]
    rows: NDArray[np.int32]
    outfits: NDArray[np.int32]
    cuts: NDArray[np.float32]
    materials: NDArray[np.float32]


def render(scene: Scene) -> Picture:
    """Photograph a scene.

    Takes about 0.2 s on one core (docs/synthesis.md says of what).
    """
    seed = scene.seed
    setting = sample_setting(stream(seed, "setting"), scene)
    stage = _Builder()
    outfits = []
    props = {placed.category for placed in scene.objects}
    for index, person in enumerate(scene.people):
        rng = stream(seed, f"person {index}")
        outfits.append(sample_outfit(rng, indoor=setting.indoor, cold=setting.cold, props=props))
        stage.add_person(person.vertices, outfits[-1], rng)
    for index, placed in enumerate(scene.objects):
        colours = placed.mesh.vertex_colors
        surface = sample_surface(stream(seed, f"object {index}"), coloured=colours is not None)
        stage.add(placed.world_vertices(), placed.mesh.faces, surface, placed.mesh.vertices, colours)
    things = len(scene.people) + len(scene.objects)
    shot = _choose(scene, stage.finish())
    background = sample_background(stream(seed, "background"), scene, shot, setting)
    for piece in background.clutter:
        stage.add(piece.vertices, piece.faces, piece.material, piece.vertices, None)
    lighting = sample_lighting(stream(seed, "light"), indoor=setting.indoor, view=shot.rotation[:, 2])
    image, depth, labels = _shade(stage.finish(), shot, background, lighting, scene)
    labels[labels >= things] = -1
    picture = develop(stream(seed, "lens"), image, depth, labels)
    return Picture(picture, labels, depth, shot, setting, _visible(scene, shot, labels), tuple(outfits))


class _Builder:
    """Collects surfaces; the order of addition is the order of labels."""

    def __init__(self) -> None:
        self._vertices: list[NDArray[np.float32]] = []
        self._faces: list[NDArray[np.int32]] = []
        self._coordinates: list[NDArray[np.float32]] = []
        self._tints: list[NDArray[np.float32]] = []
        self._parts: list[NDArray[np.uint8]] = []
        self._instances: list[NDArray[np.int16]] = []
        self._rows: list[int] = []
        self._outfits: list[int] = []
        self._cuts: list[NDArray[np.float32]] = []
        self._materials: list[Material] = []
        self._count = 0

    def add_person(self, vertices: NDArray[np.float32], outfit: Outfit, rng: np.random.Generator) -> None:
        template = load_anny().template
        normals = Mesh(vertices, template.faces).vertex_normals
        dressed = dress(vertices, normals, outfit, rng)
        self._outfits.append(len(self._cuts))
        self._cuts.append(outfit.cut)
        self._append(dressed, template.faces, outfit.materials, template.vertices, None, template.part_index)

    def add(
        self,
        vertices: NDArray[np.float32],
        faces: NDArray[np.int32],
        material: Material,
        coordinates: NDArray[np.float32],
        colours: NDArray[np.uint8] | None,
    ) -> None:
        self._outfits.append(-1)
        self._append(vertices, faces, [material], coordinates, colours, np.zeros(len(vertices), np.uint8))

    def _append(
        self,
        vertices: NDArray[np.float32],
        faces: NDArray[np.int32],
        materials: list[Material],
        coordinates: NDArray[np.float32],
        colours: NDArray[np.uint8] | None,
        parts: NDArray[np.uint8],
    ) -> None:
        self._instances.append(np.full(len(faces), len(self._rows), dtype=np.int16))
        self._rows.append(len(self._materials))
        self._materials += materials
        self._vertices.append(vertices)
        self._faces.append(faces + self._count)
        self._coordinates.append(coordinates)
        self._tints.append(np.full((len(vertices), 3), 0.5, np.float32) if colours is None else linear(colours / 255))
        self._parts.append(parts)
        self._count += len(vertices)

    def finish(self) -> _Stage:
        """What was added so far."""
        cuts = np.stack(self._cuts)
        return _Stage(
            mesh=Mesh(np.concatenate(self._vertices), np.concatenate(self._faces)),
            coordinates=np.concatenate(self._coordinates),
            tints=np.concatenate(self._tints),
            parts=np.concatenate(self._parts),
            instances=np.concatenate(self._instances),
            rows=np.array(self._rows, dtype=np.int32),
            outfits=np.array(self._outfits, dtype=np.int32),
            cuts=cuts,
            materials=table(self._materials),
        )


def _choose(scene: Scene, stage: _Stage) -> Shot:
    """The first candidate that shows enough of the person and of what they touch; else the one that shows most."""
    best, most = None, -1.0
    touched = [len(scene.people) + index for index in sorted(scene.body_contacts) if index >= 0]
    for shot in sample_shots(stream(scene.seed, "camera"), scene)[:4]:
        fragments = rasterize(stage.mesh, shot.cameras(scale=0.25), (shot.size[0] // 4, shot.size[1] // 4))
        ids = fragments.face_ids[0]
        labels = np.where(ids >= 0, stage.instances[ids], -1)
        visible = _visible(scene, shot, labels)
        worst = min((float(visible[thing]) for thing in touched), default=1.0)
        score = min(float(visible[0]) / _LEAST_VISIBLE, worst / 0.15)
        if score > most:
            best, most = shot, score
        if score >= 1:
            break
    if best is None:
        raise RuntimeError("sample_shots gave no camera")
    return best


def _visible(scene: Scene, shot: Shot, labels: NDArray[np.int16]) -> NDArray[np.float32]:
    """Share of each thing's vertices that lie in the frame at a pixel (or beside one) that shows the thing."""
    height, width = labels.shape
    scale = height / shot.size[0]
    shares = []
    surfaces = [person.vertices for person in scene.people] + [placed.world_vertices() for placed in scene.objects]
    for thing, vertices in enumerate(surfaces):
        inside = in_frame(shot, vertices)
        pixels = (shot.project(vertices[inside])[:, :2] * scale).astype(int)
        columns, rows = np.clip(pixels[:, 0], 0, width - 1), np.clip(pixels[:, 1], 0, height - 1)
        shown = labels == thing
        near = shown[rows, columns] | shown[rows, np.minimum(columns + 1, width - 1)]
        near |= shown[np.minimum(rows + 1, height - 1), columns] | shown[rows, np.maximum(columns - 1, 0)]
        shares.append(near.sum() / len(vertices))
    return np.array(shares, dtype=np.float32)


def _shade(
    stage: _Stage, shot: Shot, background: Background, lighting: Lighting, scene: Scene
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int16]]:
    height, width = shot.size
    fragments = rasterize(stage.mesh, shot.cameras(scale=2.0), (2 * height, 2 * width))
    points = np.concatenate([p.vertices for p in scene.people] + [o.world_vertices() for o in scene.objects])
    shadow_map, shadow_camera = _shadow_map(stage.mesh, points, lighting.key)
    heights, frame = _height_map(stage.mesh, points)
    sky = float(lighting.above.mean() + 0.35 * lighting.key_colour.mean())
    light = np.concatenate(
        [
            *(lighting.key, lighting.key_colour, lighting.fill, lighting.fill_colour, np.zeros(3)),
            *([lighting.softness, sky, 0.0], lighting.above, lighting.below),
        ]
    ).astype(np.float32)
    image = np.empty((height, width, 3), dtype=np.float32)
    depth = np.empty((height, width), dtype=np.float32)
    labels = np.empty((height, width), dtype=np.int16)
    fixed: tuple[Any, ...] = (
        *(fragments.face_ids[0], fragments.barycentric[0], fragments.depth[0]),
        *(
            stage.mesh.faces,
            stage.mesh.vertices,
            stage.mesh.vertex_normals,
            stage.coordinates,
            stage.tints,
            stage.parts,
        ),
        *(stage.instances, stage.rows, stage.outfits, stage.cuts, stage.materials),
        *(shot.position.astype(np.float32), shot.rotation.astype(np.float32), shot.focal * 2),
        *(background.textures, background.scales, background.walls, background.ceiling),
        *(background.backdrop, background.turn),
        *(background.haze, noise_volume(), shadow_map, shadow_camera, heights, frame, light),
        *(image, depth, labels),
    )

    def band(_: int, start: int, stop: int) -> None:
        shade_pixels(start, stop, *fixed)

    run_bands(band, 1, height)
    return image, depth, labels


def _shadow_map(
    mesh: Mesh, points: NDArray[np.float32], key: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Depth seen from the light, and the light's camera as the kernel wants it."""
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max()) * 1.3 + 0.3
    distance = 40.0
    forward = -key.astype(np.float64)
    left = np.cross([0.0, 1.0, 0.0] if abs(forward[1]) < 0.99 else [1.0, 0.0, 0.0], forward)
    left /= np.linalg.norm(left)
    rotation = np.stack([left, np.cross(forward, left), forward], axis=1)
    position = centre - distance * forward
    focal = _SHADOW_SIDE / 2 * (distance - radius) / radius
    cameras = _one_camera(rotation, position, focal, _SHADOW_SIDE / 2)
    depth = rasterize(mesh, cameras, _SHADOW_SIDE).depth[0]
    bias = 0.012 + 1.5 * radius / _SHADOW_SIDE
    packed = np.zeros(16, dtype=np.float32)
    packed[:9], packed[9:12] = rotation.ravel(), -position @ rotation
    packed[12:15] = focal, _SHADOW_SIDE / 2, bias
    return depth, packed


def _height_map(mesh: Mesh, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Height of what is first met from above (-1: the floor), rows along z and columns along x, and where it lies."""
    low, high = points.min(axis=0) - 0.4, points.max(axis=0) + 0.4
    extent = float(max(high[0] - low[0], high[2] - low[2]))
    centre, above = (low + high) / 2, 60.0
    # Seen from above with x to the right and z downwards in the image.
    rotation = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])
    position = np.array([centre[0], above, centre[2]])
    cameras = _one_camera(rotation, position, _HEIGHT_SIDE * above / extent, _HEIGHT_SIDE / 2)
    depth = rasterize(mesh, cameras, _HEIGHT_SIDE).depth[0]
    frame = np.array([centre[0] - extent / 2, centre[2] - extent / 2, _HEIGHT_SIDE / extent, 0.0], dtype=np.float32)
    return np.where(depth > 0, np.float32(above) - depth, np.float32(-1)).astype(np.float32), frame


def _one_camera(
    rotation: NDArray[np.float64], position: NDArray[np.float64], focal: float, principal: float
) -> PixelCameras:
    return PixelCameras(
        R=rotation[None].astype(np.float32),
        T=(-position @ rotation)[None].astype(np.float32),
        znear=0.1,
        focal=np.full((1, 2), focal, dtype=np.float32),
        principal=np.full((1, 2), principal, dtype=np.float32),
    )

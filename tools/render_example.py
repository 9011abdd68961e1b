"""Render examples/sitting.jpg: Anny's body on a parametric chair, ray-traced with embreex.

Until a photograph with a fitting licence ships, this is the picture of `make demo`. Needs `anny==0.6.2` (Apache-2.0,
assets CC0) beside the development environment: `pip install --no-deps anny==0.6.2 roma`.
Usage: `python -m tools.render_example POSES.json CONTACT_TEMPLATE.npz examples/sitting.jpg`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.sparse
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]

_CLOTHES = {
    "torso": (0.20, 0.36, 0.55), "arm": (0.20, 0.36, 0.55), "hips": (0.23, 0.24, 0.28), "thigh": (0.23, 0.24, 0.28),
    "leg": (0.23, 0.24, 0.28), "foot": (0.45, 0.27, 0.16), "hand": (0.80, 0.60, 0.48), "forearm": (0.80, 0.60, 0.48),
    "head": (0.80, 0.60, 0.48),
}  # fmt: skip
_CHAIR = (0.62, 0.42, 0.24)
_WALL = (0.82, 0.80, 0.76)
_FLOOR = (0.55, 0.50, 0.45)


def posed_body(poses: Path, template: Path, name: str) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Vertices (x left, y up, z forward; metres), faces and RGB of the contact template in a named pose."""
    import anny
    import torch

    model = anny.Anny().to(torch.float32)
    bones = list(model.bone_labels)
    described = json.loads(poses.read_text())
    pose = torch.eye(4).repeat(1, len(bones), 1, 1)
    for bone, degrees in described[name].items():
        rotation = Rotation.from_rotvec(np.radians(degrees)).as_matrix()
        pose[0, bones.index(bone), :3, :3] = torch.tensor(rotation, dtype=torch.float32)
    shape = {key: torch.tensor([0.5]) for key in ("gender", "age", "muscle", "weight", "height", "proportions")}
    shape["age"][:], shape["height"][:] = described["_phenotype"]["age"], described["_phenotype"]["height"]
    fine = model(pose, shape)["vertices"][0].detach().numpy()
    data = np.load(template)
    matrix = scipy.sparse.csr_matrix(
        (data["csr_data"], data["csr_indices"], data["csr_indptr"]), shape=tuple(data["csr_shape"])
    )
    vertices = (matrix @ fine).astype(np.float64)
    names = [str(part).split()[-1] for part in data["part_names"]]
    colours = np.array([_CLOTHES[names[part]] for part in data["part"]])
    return np.stack([vertices[:, 0], vertices[:, 2], -vertices[:, 1]], axis=1), data["faces"].astype(np.int64), colours


def chair(seat_height: float, back: float) -> trimesh.Trimesh:
    """A chair whose seat's top is at `seat_height` and whose back rest begins at z = `back` (metres)."""
    seat_centre = back + 0.22
    parts = [
        ((0.46, 0.035, 0.44), (0, seat_height - 0.018, seat_centre)),
        ((0.46, 0.16, 0.025), (0, seat_height + 0.42, back - 0.02)),
    ]
    for x in (-0.20, 0.20):
        parts.append(((0.035, seat_height, 0.035), (x, seat_height / 2, back + 0.40)))
        parts.append(((0.035, seat_height + 0.50, 0.035), (x, (seat_height + 0.50) / 2, back - 0.02)))
    boxes = [
        trimesh.creation.box(extents=size, transform=trimesh.transformations.translation_matrix(at))
        for size, at in parts
    ]
    return trimesh.util.concatenate(boxes)


def render(
    vertices: Floats, faces: NDArray[np.int64], colours: Floats, size: tuple[int, int], samples: int
) -> NDArray[np.uint8]:
    """Ray-trace with one soft key light, sky light and shadows; `colours` are RGB per face corner's vertex."""
    width, height = size
    scene = EmbreeScene()
    TriangleMesh(scene, vertices.astype(np.float32), faces.astype(np.int32))
    eye, target = np.array([1.25, 1.45, 2.35]), np.array([0.0, 0.62, 0.0])
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    rng = np.random.default_rng(0)
    total = np.zeros((height * width, 3))
    normals = trimesh.Trimesh(vertices, faces, process=False).vertex_normals
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    for _ in range(samples):
        u = ((x + rng.random(x.size)) / width - 0.5) * 0.66 * width / height
        v = (0.5 - (y + rng.random(x.size)) / height) * 0.66
        rays = forward + u[:, None] * right + v[:, None] * up
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        origin = np.broadcast_to(eye, rays.shape)
        hit = scene.run(origin.astype(np.float32), rays.astype(np.float32), output=True)
        seen = hit["primID"] >= 0
        face = faces[hit["primID"][seen]]
        w1, w2 = hit["u"][seen][:, None], hit["v"][seen][:, None]
        weights = np.stack([1 - w1 - w2, w1, w2], axis=1)
        normal = (normals[face] * weights).sum(1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        normal *= -np.sign((normal * rays[seen]).sum(1, keepdims=True))
        base = (colours[face] * weights).sum(1)
        point = eye + rays[seen] * hit["tfar"][seen][:, None] + normal * 2e-3
        light = np.array([1.2, 2.6, 2.6]) + rng.normal(0, 0.35, point.shape) - point
        light /= np.linalg.norm(light, axis=1, keepdims=True)
        key = np.clip((normal * light).sum(1), 0, None) * ~_blocked(scene, point, light)
        sky_ray = normal + _sphere(rng, len(point))
        sky_ray /= np.maximum(np.linalg.norm(sky_ray, axis=1, keepdims=True), 1e-9)
        sky = ~_blocked(scene, point, sky_ray)
        total[seen] += base * (0.9 * key + 0.16 + 0.5 * sky)[:, None]
        total[~seen] += _WALL
    return (np.clip(total / samples, 0, 1) ** (1 / 1.6) * 255).astype(np.uint8).reshape(height, width, 3)


def _blocked(scene: EmbreeScene, points: Floats, rays: Floats) -> NDArray[np.bool_]:
    return scene.run(points.astype(np.float32), rays.astype(np.float32)) >= 0


def _sphere(rng: np.random.Generator, count: int) -> Floats:
    direction = rng.normal(size=(count, 3))
    return direction / np.linalg.norm(direction, axis=1, keepdims=True)


def main() -> None:
    """Build the scene and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("poses", type=Path)
    parser.add_argument("template", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    body, body_faces, body_colours = posed_body(arguments.poses, arguments.template, "sitting")
    body[:, 1] -= body[:, 1].min()
    behind = body[(np.abs(body[:, 0]) < 0.12) & (body[:, 2] < body[:, 2].min() + 0.25)]
    seat_height = float(behind[:, 1].min()) + 0.005  # pressed in a little
    furniture = chair(seat_height, float(body[:, 2].min()) - 0.005)
    room = trimesh.util.concatenate(
        [
            trimesh.creation.box(
                extents=(12, 0.02, 12), transform=trimesh.transformations.translation_matrix((0, -0.01, 0))
            ),
            trimesh.creation.box(
                extents=(12, 8, 0.02), transform=trimesh.transformations.translation_matrix((0, 4, -0.9))
            ),
        ]
    )
    room.unmerge_vertices()  # flat shading: every face keeps its own normal
    furniture.unmerge_vertices()
    room_colours = np.where(room.vertices[:, 1:2] <= 0, _FLOOR, _WALL)
    parts = [
        (body, body_faces, body_colours),
        (furniture.vertices, furniture.faces, np.tile(_CHAIR, (len(furniture.vertices), 1))),
    ]
    parts.append((room.vertices, room.faces, room_colours))
    offsets = np.cumsum([0] + [len(part[0]) for part in parts[:-1]])
    vertices = np.concatenate([part[0] for part in parts])
    faces = np.concatenate([part[1] + offset for part, offset in zip(parts, offsets, strict=True)])
    colours = np.concatenate([part[2] for part in parts])
    Image.fromarray(render(vertices, faces, colours, (720, 720), 64)).save(arguments.out, quality=92)


if __name__ == "__main__":
    main()

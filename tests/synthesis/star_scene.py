"""A scene made by hand: a person in the star pose with a box on the right hand, another box far away."""

import numpy as np

from interactvlm.body.anny import load_anny
from interactvlm.body.parts import PART_NAMES
from interactvlm.geometry.mesh import Mesh
from interactvlm.synthesis.scene import PlacedObject, PosedBody, Scene

CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (0, 1) for z in (-0.5, 0.5)], dtype=np.float32)
SIDES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
FACES = np.array([f for a, b, c, d in SIDES for f in ((a, b, c), (a, c, d))], dtype=np.int32)


def box(size, position, category, *, affordance="", colours=None):
    pose = np.eye(4)
    pose[:3, 3] = position
    mesh = Mesh(CORNERS * np.array(size, dtype=np.float32), FACES, colours)
    template = "hold" if affordance else ""
    return PlacedObject(category, category, f"generator/{category}/0", mesh, pose, template, affordance)


def star_scene(seed, split="train"):
    """Everything but the looks is the same for every seed."""
    template = load_anny().template
    vertices = template.vertices - np.array([0, template.vertices[:, 1].min(), 0], dtype=np.float32)
    hand = template.part_index == PART_NAMES.index("right hand")
    middle = vertices[hand].mean(axis=0)
    held = box((0.2, 0.3, 0.2), middle - np.array([0, 0.15, 0]), "bottle", affordance="grasp")
    far = box((0.4, 0.5, 0.3), (0.9, 0, 0.9), "chair", colours=np.full((8, 3), 200, dtype=np.uint8))
    low, high = held.world_vertices().min(axis=0), held.world_vertices().max(axis=0)
    inside = np.flatnonzero(((vertices >= low) & (vertices <= high)).all(axis=1)).astype(np.int32)
    ground = np.flatnonzero(vertices[:, 1] < 0.01).astype(np.int32)
    body = PosedBody(vertices, np.zeros((104, 3), np.float32), {"age": 0.67, "gender": 1.0}, {})
    return Scene(
        seed=seed,
        people=(body,),
        objects=(held, far),
        body_contacts={-1: ground, 0: inside},
        object_contacts={0: np.linspace(0, 1, 8, dtype=np.float32)},
        tags={"template": "hold", "hand": "right", "category": "bottle", "split": split},
    )

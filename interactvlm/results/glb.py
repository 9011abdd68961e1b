"""A surface with its contact as one GLB: colours for viewers, the numbers themselves for programs.

- `COLOR_0`: the scale of `interactvlm.results.colours`, in linear light as glTF defines it; no textures.
  Read with trimesh, they are the mesh's vertex colours when it is told `skip_materials=True`.
- `_CONTACT`: float32 probability per vertex (meshes only: trimesh writes no own attributes for points).
- asset extras: what was asked and answered, model, threshold, legend. When the weights are not trained for contact,
  node and mesh names start with "untrained" and the extras say so.

The axes of the body template are glTF's (metres, +y up, facing +z). An object keeps the axes of its file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.results.colours import LEGEND, contact_colours, srgb_to_linear
from interactvlm.types import ModelIdentity, TaskResult

__all__ = ["contact_glb"]


def contact_glb(result: TaskResult, surface: Mesh | PointCloud, *, model: ModelIdentity) -> bytes:
    """The coloured surface as a binary glTF file.

    Args:
        result: the answer.
        surface: the body template's mesh, or the object's mesh or points; vertices in the order of the probabilities.
        model: which weights answered.

    Raises:
        InputError: the surface has another number of vertices than the answer has probabilities.
    """
    import trimesh  # slow to import; reading and writing the other files needs none of it
    from trimesh.exchange.gltf import export_glb

    vertices = surface.vertices if isinstance(surface, Mesh) else surface.xyz
    if result.probabilities.shape != (len(vertices),):
        raise InputError("surface", f"has {len(vertices)} vertices; the answer has {result.probabilities.size}")
    colours = srgb_to_linear(contact_colours(result.probabilities))
    rgba = np.concatenate([colours, np.full((len(colours), 1), 255, dtype=np.uint8)], axis=1)
    geometry: Any
    if isinstance(surface, Mesh):
        geometry = trimesh.Trimesh(
            vertices, surface.faces, vertex_normals=surface.vertex_normals, vertex_colors=rgba, process=False
        )
        geometry.vertex_attributes["_CONTACT"] = result.probabilities.astype(np.float32)
    else:
        geometry = trimesh.PointCloud(vertices, colors=rgba)

    name = " ".join(filter(None, ["" if model.trained else "untrained", result.task.value, result.object_name]))
    scene = trimesh.Scene()
    scene.add_geometry(geometry, node_name=name, geom_name=name)

    def finish(tree: dict[str, Any]) -> None:
        tree["asset"]["generator"] = "interactvlm"
        tree["asset"]["extras"] = _extras(result, model)
        # Without a material of its own a glTF surface is a mirror of polished metal: black in most viewers.
        tree["materials"] = [
            {"doubleSided": True, "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}}
        ]
        for mesh in tree["meshes"]:
            for primitive in mesh["primitives"]:
                primitive["material"] = 0

    return bytes(export_glb(scene, include_normals=True, tree_postprocessor=finish))


def _extras(result: TaskResult, model: ModelIdentity) -> dict[str, Any]:
    return {
        "untrained": not model.trained,
        "notice": model.notice,
        "model": model.name,
        "checkpoint_hash": model.checkpoint_hash,
        "task": result.task.value,
        "object": result.object_name,
        "surface": result.surface,
        "text": result.text,
        "confidence": float(result.confidence),
        "threshold": float(result.threshold),
        "touched": len(result.vertex_ids),
        "legend_srgb": [[stop, list(colour)] for stop, colour in LEGEND],
    }

"""Stored meshes as GLB (PLY and OBJ files are converted), and mesh files with the colours that people see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interactvlm.geometry.glb_bytes import painted_glb
from interactvlm.geometry.load import load_mesh
from interactvlm.geometry.mesh import Mesh

if TYPE_CHECKING:
    from interactvlm.retrieval.retriever import MeshFile  # who asks a server needs none of its libraries

__all__ = ["as_glb", "load_shown_mesh"]

_GREY = 160  # sRGB of meshes without colours
_LINEAR = np.arange(256) / 255
_SRGB = np.round(255 * np.where(_LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * _LINEAR ** (1 / 2.4) - 0.055)).astype(
    np.uint8
)


def as_glb(file: MeshFile, *, licence: str = "") -> bytes:
    """The mesh as a binary glTF file.

    Args:
        file: as stored.
        licence: SPDX identifier, written into a converted file.

    Raises:
        MeshError: the stored file is damaged.
    """
    if file.file_type == "glb":
        return file.content
    mesh = load_mesh(file.content, file_type=file.file_type)
    colours = np.full(mesh.vertices.shape, _GREY) if mesh.vertex_colors is None else mesh.vertex_colors
    return painted_glb(mesh.vertices, mesh.faces, colours / 255, licence=licence)


def load_shown_mesh(source: Path | bytes, *, file_type: str) -> Mesh:
    """A mesh with its vertex colours in sRGB, as pictures have them: glTF keeps them in linear light.

    Args:
        source: a file, or its content; untrusted.
        file_type: "glb", "ply" or "obj".

    Raises:
        MeshError: it is not usable.
    """
    mesh = load_mesh(source, file_type=file_type)
    if file_type != "glb" or mesh.vertex_colors is None:
        return mesh
    return Mesh(mesh.vertices, mesh.faces, _SRGB[mesh.vertex_colors])

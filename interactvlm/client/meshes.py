"""Meshes on their way to the server: one exact file, in pieces.

A mesh is held under the hash of its geometry, so the file must bring every float and index over as it is: binary PLY
for meshes, npy for points.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.v1 import contact_service_pb2

__all__ = ["upload_messages"]

_CHUNK_BYTES = 2**20


def upload_messages(surface: Mesh | PointCloud) -> Iterator[contact_service_pb2.UploadMeshRequest]:
    """The messages of one `UploadMesh` call; colours stay here, no answer depends on them."""
    file_type, data = ("ply", _ply(surface)) if isinstance(surface, Mesh) else ("npy", _npy(surface))
    for start in range(0, len(data), _CHUNK_BYTES):
        yield contact_service_pb2.UploadMeshRequest(
            file_type=file_type if start == 0 else "", chunk=data[start : start + _CHUNK_BYTES]
        )


def _ply(mesh: Mesh) -> bytes:
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(mesh.vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"] = 3
    faces["corners"] = mesh.faces
    return header.encode() + mesh.vertices.astype("<f4").tobytes() + faces.tobytes()


def _npy(points: PointCloud) -> bytes:
    stream = io.BytesIO()
    np.save(stream, points.xyz.astype("<f4"))
    return stream.getvalue()

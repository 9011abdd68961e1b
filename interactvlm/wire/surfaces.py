"""Photos, bodies, meshes and contact embeddings as messages, and back: the larger values between stages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InputError, MeshError, PhotoError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.photo import PhotoLimits, load_photo, photo_from_array
from interactvlm.v1 import mvloc_service_pb2, types_pb2, vlm_service_pb2
from interactvlm.wire.messages import decode_sha256
from interactvlm.wire.tensors import from_tensor, to_tensor

__all__ = [
    "decode_body",
    "decode_contact_query",
    "decode_image",
    "decode_surface",
    "encode_body",
    "encode_contact_query",
    "encode_surface",
]

#: A person's region may be narrower than a photo.
_REGION_LIMITS = PhotoLimits(min_side=1)
_MAX_TOKEN_LENGTH = 32


def decode_image(request: vlm_service_pb2.AnswerRequest, *, limits: PhotoLimits | None = None) -> NDArray[np.uint8]:
    """The pixels of a request, decoded where it carries a file; slow for large files.

    Args:
        request: from outside.
        limits: bounds on the image.

    Returns:
        Upright RGB uint8 [H, W, 3].

    Raises:
        PhotoError: no image, one that cannot be read, or one outside the limits.
    """
    kind = request.WhichOneof("image")
    if kind is None:
        raise PhotoError("image", "is not set; send `encoded` or `pixels`")
    limits = limits or _REGION_LIMITS
    try:
        if kind == "encoded":
            return load_photo(request.encoded, limits=limits)
        pixels = from_tensor(request.pixels, field="pixels", dtypes=(np.uint8,), shape=(None, None, 3))
        return photo_from_array(pixels, limits=limits)
    except PhotoError as error:
        raise PhotoError(kind, error.problem) from None


def encode_contact_query(embedding: NDArray[np.float32], token: str) -> mvloc_service_pb2.ContactQuery:
    """A contact embedding (the paper's E) and the token it came from."""
    return mvloc_service_pb2.ContactQuery(embedding=to_tensor(embedding), contact_token=token)


def decode_contact_query(
    message: mvloc_service_pb2.ContactQuery, *, field: str, channels: int | None = None
) -> tuple[NDArray[np.float32], str]:
    """A contact embedding, float32 [channels], and the token it came from.

    Raises:
        InputError: the embedding is malformed, or the token is empty or too long to be one.
    """
    embedding = from_tensor(message.embedding, field=f"{field}.embedding", dtypes=(np.float32,), shape=(channels,))
    if not 0 < len(message.contact_token) <= _MAX_TOKEN_LENGTH:
        raise InputError(
            f"{field}.contact_token", f"has {len(message.contact_token)} characters, must have 1 to {_MAX_TOKEN_LENGTH}"
        )
    return embedding, message.contact_token


def encode_surface(surface: Mesh | PointCloud) -> mvloc_service_pb2.PutMeshRequest:
    """A mesh or point cloud under its content hash."""
    if isinstance(surface, PointCloud):
        return mvloc_service_pb2.PutMeshRequest(mesh_sha256=surface.content_hash, vertices=to_tensor(surface.xyz))
    return mvloc_service_pb2.PutMeshRequest(
        mesh_sha256=surface.content_hash, vertices=to_tensor(surface.vertices), faces=to_tensor(surface.faces)
    )


def decode_surface(request: mvloc_service_pb2.PutMeshRequest) -> Mesh | PointCloud:
    """A mesh or point cloud, its hash computed anew.

    Raises:
        InputError: a tensor is malformed.
        MeshError: the geometry is not usable, or its hash is not the one stated.
    """
    expected = decode_sha256(request.mesh_sha256, field="mesh_sha256")
    vertices = from_tensor(request.vertices, field="vertices", dtypes=(np.float32,), shape=(None, 3))
    surface: Mesh | PointCloud
    if request.HasField("faces"):
        faces = from_tensor(request.faces, field="faces", dtypes=(np.int32,), shape=(None, 3))
        surface = Mesh(vertices, faces)
    else:
        surface = PointCloud(vertices)
    if surface.content_hash != expected:
        raise MeshError("mesh_sha256", f"is {expected}, the geometry's is {surface.content_hash}")
    return surface


def encode_body(body: BodyTemplate) -> types_pb2.Body:
    """A body template."""
    return types_pb2.Body(
        name=f"bodies/{body.topology}",
        topology=body.topology,
        vertices=to_tensor(body.vertices),
        faces=to_tensor(body.faces),
        part_index=to_tensor(body.part_index),
        part_names=body.part_names,
    )


def decode_body(message: types_pb2.Body, *, field: str = "body") -> BodyTemplate:
    """A body template.

    Raises:
        InputError: a tensor is malformed.
        MeshError: the parts of the body do not fit together.
    """
    vertices = from_tensor(message.vertices, field=f"{field}.vertices", dtypes=(np.float32,), shape=(None, 3))
    faces = from_tensor(message.faces, field=f"{field}.faces", dtypes=(np.int32,), shape=(None, 3))
    parts = from_tensor(message.part_index, field=f"{field}.part_index", dtypes=(np.uint8,), shape=(len(vertices),))
    return BodyTemplate(message.topology, vertices, faces, parts, tuple(message.part_names))

"""One person with one object, as the official fitting reads them from a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError, MeshError, PhotoError
from interactvlm.fitting.camera import PhotoCamera
from interactvlm.geometry.load import load_mesh
from interactvlm.geometry.mesh import Mesh
from interactvlm.npz import array_names, read_arrays
from interactvlm.photo import load_photo

__all__ = ["FittingScene", "load_scene", "surface_centroid"]


@dataclass(frozen=True, slots=True)
class FittingScene:
    """Evidence for one fit, in the photo's frame (x right, y down, z forward, metres).

    Attributes:
        body: the body's mesh, where the estimator put it.
        body_contact: float32 [V], contact probability with the object.
        object_mesh: the object as its file has it: y up, its own origin and scale.
        object_contact: float32 [N], contact probability.
        body_mask: bool [H, W], the person in the photo.
        object_mask: bool [H, W], the object in the photo.
        object_box: the detector's box of the object, four numbers as stored, pixels.
        camera: the photo's camera.
    """

    body: Mesh
    body_contact: NDArray[np.float32]
    object_mesh: Mesh
    object_contact: NDArray[np.float32]
    body_mask: NDArray[np.bool_]
    object_mask: NDArray[np.bool_]
    object_box: tuple[float, float, float, float]
    camera: PhotoCamera


def load_scene(folder: Path) -> FittingScene:
    """Read a folder of the official layout.

    ::

        osx_human*.npz            smpl_vertices [1, V, 3], smpl_faces [F, 3], bbox_2 [1, 4] (left, top, width, height)
        hcontact_vertices.npz     pred_contact_3d_smplx [V]
        ocontact_vertices.npz     pred_contact_3d [1, N]
        human_mask.png  object_mask.png  object_mesh.obj  object_detection.json {"bbox": [4 numbers]}

    Raises:
        InputError: (MeshError, PhotoError) a file is missing, damaged, or does not fit the others.
    """
    bodies = sorted(folder.glob("osx_human*.npz"))
    if len(bodies) != 1:
        raise InputError(str(folder), f"holds {len(bodies)} files named osx_human*.npz, exactly 1 is needed")
    body, box = _read_body(bodies[0])
    object_mesh = load_mesh(folder / "object_mesh.obj", file_type="obj")
    masks = [_read_mask(folder / name) for name in ("human_mask.png", "object_mask.png")]
    if masks[0].shape != masks[1].shape:
        raise PhotoError("object_mask.png", f"is {masks[1].shape} pixels, human_mask.png is {masks[0].shape}")
    if not masks[1].any():
        raise PhotoError("object_mask.png", "marks no pixel")
    return FittingScene(
        body=body,
        body_contact=_read_contact(folder / "hcontact_vertices.npz", "pred_contact_3d_smplx", len(body.vertices)),
        object_mesh=object_mesh,
        object_contact=_read_contact(folder / "ocontact_vertices.npz", "pred_contact_3d", len(object_mesh.vertices)),
        body_mask=masks[0],
        object_mask=masks[1],
        object_box=_read_box(folder / "object_detection.json"),
        camera=PhotoCamera.from_body_crop(box),
    )


def surface_centroid(mesh: Mesh) -> NDArray[np.float64]:
    """Centre of mass of the surface (faces weighted by area), metres, [3].

    Raises:
        MeshError: when the surface has no area.
    """
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not areas.sum() > 0:
        raise MeshError("faces", "have no area")
    return np.asarray(areas @ corners.mean(1) / areas.sum())


def _read_body(path: Path) -> tuple[Mesh, tuple[float, float, float, float]]:
    boxes = [name for name in array_names(path) if name.startswith("bbox")]
    if len(boxes) != 1:
        raise InputError(path.name, f"holds {len(boxes)} arrays named bbox*, exactly 1 is needed")
    arrays = read_arrays(path, ("smpl_vertices", "smpl_faces", boxes[0]))
    box = np.asarray(arrays[boxes[0]], dtype=np.float64).ravel()
    if len(box) != 4 or not np.isfinite(box).all():
        raise InputError(path.name, f"has {box.tolist()[:8]} as {boxes[0]}, 4 finite numbers are needed")
    vertices = np.asarray(arrays["smpl_vertices"], dtype=np.float32)
    if vertices.ndim == 3 and len(vertices) == 1:
        vertices = vertices[0]
    left, top, width, height = box.tolist()
    faces: Any = arrays["smpl_faces"]  # of whatever integer type: Mesh checks the range before it narrows
    return Mesh(vertices, faces), (left, top, width, height)


def _read_contact(path: Path, key: str, count: int) -> NDArray[np.float32]:
    values = np.asarray(read_arrays(path, (key,))[key], dtype=np.float32).ravel()
    if len(values) != count:
        raise InputError(path.name, f"has {len(values)} contact values for {count} vertices")
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError(path.name, "has contact values outside [0, 1]")
    return values


def _read_mask(path: Path) -> NDArray[np.bool_]:
    return np.asarray(load_photo(path)[..., 0] > 127)


def _read_box(path: Path) -> tuple[float, float, float, float]:
    try:
        left, top, third, fourth = (float(value) for value in json.loads(path.read_text())["bbox"])
    except FileNotFoundError:
        raise InputError(path.name, "does not exist") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(path.name, 'must be {"bbox": [four numbers]}') from None
    return left, top, third, fourth

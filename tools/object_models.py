"""Reading models of a Sweet Home 3D catalogue; bringing them to metric size, few triangles and a colour a vertex."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from interactvlm.geometry.cameras import View, look_at
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import rasterize
from interactvlm.objects.assembly import refined

__all__ = ["Record", "decimated", "read_records", "read_surface"]

Array = NDArray[np.float64]

FACES, FINEST = 1900, 1500
"""Most faces; coarse models are refined to FINEST, so that there are vertices to carry labels."""
SAMPLES = 40_000


@dataclass(frozen=True, slots=True)
class Record:
    """What the catalogue says of a model: centimetres; `rotation` is row-major, applied to the model's coordinates."""

    name: str
    author: str
    model: str
    size: tuple[float, float, float]
    rotation: Array


def read_records(archive: zipfile.ZipFile) -> dict[str, Record]:
    """The catalogue's entries by id, without its provider's prefix."""
    rows: dict[str, dict[str, str]] = {}
    text = archive.read("PluginFurnitureCatalog.properties").decode("latin-1")
    for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*)$", text, flags=re.MULTILINE):
        rows.setdefault(number, {})[key] = value.strip()
    return {
        row["id"].split("#")[-1]: Record(
            name=row["name"],
            author=row["creator"],
            model=row["model"].lstrip("/"),
            size=(float(row["width"]), float(row["height"]), float(row["depth"])),
            rotation=np.array(row.get("modelRotation", "1 0 0 0 1 0 0 0 1").split(), dtype=np.float64).reshape(3, 3),
        )
        for row in rows.values()
    }


def read_surface(archive: zipfile.ZipFile, path: str) -> tuple[Array, NDArray[np.int64], Array]:
    """Vertices [N, 3], triangles [M, 3] and the colour of every corner [M, 3, 3] in [0, 1] of an OBJ file."""
    positions: list[list[float]] = []
    coordinates: list[list[float]] = []
    faces: list[list[int]] = []
    texture_ids: list[list[int]] = []
    names: list[str] = []
    materials: dict[str, tuple[Array, NDArray[np.uint8] | None]] = {}
    material = ""
    for line in archive.read(path).decode("latin-1").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "v":
            positions.append([float(value) for value in rest.split()[:3]])
        elif word == "vt":
            coordinates.append([float(value) for value in rest.split()[:2]])
        elif word == "mtllib":
            materials |= _materials(archive, PurePosixPath(path).parent / rest.strip())
        elif word == "usemtl":
            material = rest.strip()
        elif word == "f":
            corners = [corner.split("/") for corner in rest.split()]
            ids = [_index(corner[0], len(positions)) for corner in corners]
            uvs = [_index(c[1], len(coordinates)) if len(c) > 1 and c[1] else -1 for c in corners]
            for k in range(1, len(ids) - 1):
                faces.append([ids[0], ids[k], ids[k + 1]])
                texture_ids.append([uvs[0], uvs[k], uvs[k + 1]])
                names.append(material)
    triangles, uv_ids = np.array(faces), np.array(texture_ids)
    uv = np.array(coordinates or [[0.0, 0.0]])[uv_ids]
    colours = np.full((len(triangles), 3, 3), 0.7)
    for name in dict.fromkeys(names):
        rows = np.flatnonzero([other == name for other in names])
        diffuse, picture = materials.get(name, (np.full(3, 0.7), None))
        colours[rows] = diffuse
        if picture is not None:
            height, width = picture.shape[:2]
            x = (np.mod(uv[rows, :, 0], 1) * (width - 1)).round().astype(int)
            y = ((1 - np.mod(uv[rows, :, 1], 1)) * (height - 1)).round().astype(int)
            seen = picture[y, x] / 255
            colours[rows] = np.where((uv_ids[rows] >= 0)[..., None], seen, diffuse)
    return np.array(positions), triangles, colours


def decimated(
    vertices: Array, faces: NDArray[np.int64], colours: Array, record: Record, turn: float
) -> tuple[Array, NDArray[np.int64], Array]:
    """The model in metres, +y up, origin at its floor's centre, FACES triangles at most, a colour a vertex.

    Args:
        vertices: [N, 3].
        faces: [M, 3].
        colours: [M, 3, 3] in [0, 1].
        record: its catalogue entry.
        turn: degrees about +y, after the catalogue's own rotation and scaling.
    """
    placed = vertices @ record.rotation.T
    used = placed[np.unique(faces)]
    extent = np.ptp(used, axis=0)
    scale = np.array(record.size) / 100 / np.maximum(extent, 1e-9)
    placed = (placed - [used[:, 0].mean(), used[:, 1].min(), used[:, 2].mean()]) * scale
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    placed = placed @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]).T
    points, tints = _samples(placed, faces, colours)

    size = float(np.ptp(placed, axis=0).max())
    for cell in (1e-5, 1 / 400, 1 / 200, 1 / 120, 1 / 80, 1 / 60, 1 / 45, 1 / 35, 1 / 25):
        welded, triangles = _welded(placed, faces, size * cell)
        if len(triangles) > FACES:
            moved, triangles = fast_simplification.simplify(
                welded.astype(np.float32), triangles.astype(np.int32), target_count=FACES, agg=5
            )
            welded, triangles = _welded(moved.astype(np.float64), triangles.astype(np.int64), 1e-7)
        if 0 < len(triangles) <= FACES:
            break
    else:
        raise SystemExit(f"{record.model}: still {len(triangles)} triangles")
    welded, triangles, _ = refined(welded, triangles, np.zeros_like(welded), FINEST)
    triangles = _facing_out(welded, triangles)
    # A vertex takes the usual colour of the nearest surface, not of one speck of its texture.
    nearest = cKDTree(points).query(welded, k=5)[1]
    low, high = welded.min(axis=0), welded.max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    # What thinning took off or added at the edges is made up for: the size stays the catalogue's.
    stretch = np.ptp(placed[np.unique(faces)], axis=0) / np.maximum(high - low, 1e-9)
    return np.round((welded - origin) * stretch, 4), triangles, np.median(tints[nearest], axis=1)


def _index(text: str, count: int) -> int:
    number = int(text)
    return number - 1 if number > 0 else count + number


def _materials(archive: zipfile.ZipFile, path: PurePosixPath) -> dict[str, tuple[Array, NDArray[np.uint8] | None]]:
    if str(path) not in archive.namelist():
        return {}
    found: dict[str, tuple[Array, NDArray[np.uint8] | None]] = {}
    name = ""
    for line in archive.read(str(path)).decode("latin-1").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "newmtl":
            name = rest.strip()
            found[name] = (np.full(3, 0.7), None)
        elif word == "Kd":
            found[name] = (np.clip(np.array(rest.split()[:3], dtype=np.float64), 0, 1), found[name][1])
        elif word == "map_Kd":
            picture = str(path.parent / rest.strip())
            if picture in archive.namelist():
                with Image.open(BytesIO(archive.read(picture))) as image:
                    small = image.convert("RGB").resize((64, 64), Image.Resampling.BOX)
                found[name] = (found[name][0], np.asarray(small))
    return found


def _samples(vertices: Array, faces: NDArray[np.int64], colours: Array) -> tuple[Array, Array]:
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    rng = np.random.default_rng(0)
    rows = rng.choice(len(faces), SAMPLES, p=area / area.sum())
    weights = rng.dirichlet((1, 1, 1), SAMPLES)[..., None]
    return (corners[rows] * weights).sum(axis=1), (colours[rows] * weights).sum(axis=1)


def _welded(vertices: Array, faces: NDArray[np.int64], cell: float) -> tuple[Array, NDArray[np.int64]]:
    """One vertex a cell (their mean), no empty and no double triangles, no unused vertices."""
    keys = np.round((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.ravel()
    merged = np.stack([np.bincount(inverse, vertices[:, axis]) for axis in range(3)], axis=1) / counts[:, None]
    triangles = inverse[faces]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(np.sort(triangles, axis=1), axis=0, return_index=True)
    triangles = triangles[np.sort(first)]
    used, renumbered = np.unique(triangles, return_inverse=True)
    return merged[used], renumbered.reshape(-1, 3)


def _facing_out(vertices: Array, faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn the triangles that are seen from behind more than from the front, from 26 sides."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    ball = (vertices - (low + high) / 2) / (np.linalg.norm(high - low) / 2)
    mesh = Mesh(ball.astype(np.float32), faces.astype(np.int32))
    views = [View("", 2.2, el, az) for el in (-70, -40, -5, 30, 60) for az in (10, 82, 154, 226, 298)]
    cameras = look_at(views)
    seen = rasterize(mesh, cameras, 192).face_ids
    corners = ball[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    votes = np.zeros(len(faces))
    for ids, centre in zip(seen, cameras.center, strict=True):
        counts = np.bincount(ids[ids >= 0], minlength=len(faces))
        votes += counts * np.sign(np.einsum("ij,ij->i", normals, centre - corners[:, 0]))
    turned = faces.copy()
    turned[votes < 0] = turned[votes < 0][:, ::-1]
    return turned

"""Loaders: what valid files give, and that only MeshError comes out of anything else."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactvlm.errors import MeshError
from interactvlm.geometry.load import MESH_TYPES, POINT_TYPES, MeshLimits, load_mesh, load_point_cloud

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def box() -> trimesh.Trimesh:
    shape = trimesh.creation.box((1, 2, 3))
    shape.visual.vertex_colors = np.random.default_rng(0).integers(0, 256, (8, 4)).astype(np.uint8)
    return shape


def exported(file_type: str, **options: object) -> bytes:
    data = box().export(file_type=file_type, **options)
    return data.encode() if isinstance(data, str) else data


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def glb(document: dict, binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def gltf_triangle() -> tuple[dict, bytes]:
    binary = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes() + np.array([0, 1, 2], "<u4").tobytes()
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 12},
        ],
        "buffers": [{"byteLength": 48}],
    }, binary


OBJ = b"""mtllib ../../secret.mtl
o a
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 1
usemtl m
f 1/1 2/2 3/1 4/2
g b
v 0 0 1
f -1 -2 -3
"""

PLY = b"""ply
format ascii 1.0
comment TextureFile secret.png
element vertex 4
property float x
property float y
property float z
element face 2
property list uchar int vertex_indices
end_header
0 0 0
1 0 0
1 1 0
0 1 0
3 0 1 2
3 0 2 3
"""

POINTS = np.random.default_rng(1).normal(size=(20, 3))

VALID_MESHES = {
    "glb": [exported("glb"), glb(*gltf_triangle())],
    "ply": [exported("ply"), exported("ply", encoding="ascii"), PLY],
    "obj": [exported("obj"), OBJ],
}
VALID_POINTS = {
    "ply": [exported("ply"), PLY],
    "npy": [npy(POINTS), npy(POINTS.astype(np.float32))],
    "npz": [npz(xyz=POINTS), npz(points=POINTS, other=np.ones(3))],
    "xyz": [b"# x y z\n" + b"\n".join(b"%f %f %f 9" % tuple(row) for row in POINTS)],
}


@pytest.mark.parametrize("data", [exported("glb"), exported("ply"), exported("obj")], ids=["glb", "ply", "obj"])
def test_a_coloured_box_survives(data: bytes, request: pytest.FixtureRequest) -> None:
    mesh = load_mesh(data, file_type=request.node.callspec.id)
    np.testing.assert_allclose(mesh.vertices, box().vertices)
    np.testing.assert_array_equal(mesh.faces, box().faces)
    np.testing.assert_array_equal(mesh.vertex_colors, box().visual.vertex_colors[:, :3])


def test_obj_keeps_vertex_order_and_triangulates() -> None:
    mesh = load_mesh(OBJ, file_type="obj")
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [4, 3, 2]])


def test_scene_graph_is_flattened() -> None:
    scene = trimesh.Scene()
    scene.add_geometry(box(), transform=trimesh.transformations.translation_matrix([10, 0, 0]))
    scene.add_geometry(trimesh.creation.icosphere(1))
    mesh = load_mesh(scene.export(file_type="glb"), file_type="glb")
    assert len(mesh.vertices) == 8 + 42
    assert mesh.vertices[:, 0].max() == pytest.approx(10.5)
    assert mesh.faces.max() == 49


@pytest.mark.parametrize("file_type", POINT_TYPES)
def test_points(file_type: str) -> None:
    for data in VALID_POINTS[file_type]:
        cloud = load_point_cloud(data, file_type=file_type)
        if file_type != "ply":
            np.testing.assert_allclose(cloud.xyz, POINTS, atol=1e-6)
        assert cloud.xyz.shape[0] in (4, 8, 20)


def test_no_other_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """References to existing neighbours stay unread."""
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "secret.mtl").write_text("newmtl m\nmap_Kd secret.png\n")
    opened: list[str] = []
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened.append(self.name) or real_open(self, *a, **k))
    monkeypatch.setattr("builtins.open", lambda name, *a, **k: pytest.fail(f"{name} was opened"))
    for name, data in (("a.obj", OBJ.replace(b"../../", b"")), ("a.ply", PLY)):
        path = tmp_path / name
        path.write_bytes(data)
        opened.clear()
        load_mesh(path, file_type=path.suffix[1:])
        assert opened == [name]
    document, binary = gltf_triangle()
    document["buffers"] = [{"byteLength": 48, "uri": "secret.bin"}]
    with pytest.raises(MeshError, match="outside the file"):
        load_mesh(glb(document, binary), file_type="glb")


@pytest.mark.parametrize(
    ("file_type", "data", "problem"),
    [
        ("obj", b"", "is empty"),
        ("obj", b"dear reader", "no vertex lines"),
        ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "has no faces"),
        ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", "names vertex 4; its vertices are 1 to 3"),
        ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -4\n", "names vertex -4"),
        ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 0\n", "malformed face line"),
        ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf -1 -2 --3\n", "malformed face line"),
        ("obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 " + b"3" * 5000, "malformed face line"),
        ("obj", b"v 0 0 0\nv 1 0 0\nv 0 nan 0\nf 1 2 3\n", "must be finite"),
        ("obj", b"v 0 0\nf 1 1 1\n", "malformed vertex line"),
        ("ply", b"dear reader", "not a PLY file"),
        ("ply", PLY[:-20], "is truncated"),
        ("ply", PLY.replace(b"vertex 4", b"vertex " + b"4" * 5000), "malformed PLY header line 'element vertex 4"),
        ("ply", PLY.replace(b"property float x", b"property"), "malformed PLY header line 'property'"),
        ("ply", exported("ply")[:-5], "is truncated|not a valid PLY"),
        ("ply", PLY.replace(b"vertex 4", b"vertex 1000000000"), "declares 1000000000 of element 'vertex'"),
        ("ply", PLY.replace(b"face 2", b"face 1000000000"), "declares 1000000000 of element 'face'"),
        ("ply", PLY.replace(b"vertex 4", b"vertex 900000"), "is truncated"),
        ("ply", PLY.replace(b"3 0 2 3", b"3 0 2 4"), "names vertex 4; the mesh has vertices 0 to 3"),
        ("ply", PLY.replace(b"0 1 0\n", b"0 inf 0\n"), "must be finite"),
        ("ply", PLY.replace(b"face 2", b"face 0").split(b"3 0 1 2")[0], "has no faces|faces is empty"),
        ("glb", b"dear reader, this is no mesh", "does not start with 'glTF'"),
        ("glb", exported("glb")[:-5], "is truncated"),
        ("stl", b"solid", "is of type 'stl'; meshes are read from glb, obj, ply"),
    ],
)
def test_bad_meshes(file_type: str, data: bytes, problem: str) -> None:
    with pytest.raises(MeshError, match=problem) as caught:
        load_mesh(data, file_type=file_type)
    assert "\n" not in str(caught.value)


def edited(path: list, value: object) -> bytes:
    document, binary = gltf_triangle()
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return glb(document, binary)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["accessors", 0, "count"], 10**9, "declares an accessor of 1000000000 elements"),
        (["accessors", 0, "count"], 4, "is not a valid GLB"),
        (["bufferViews", 0, "byteLength"], 999, "buffer view of 999 bytes"),
        (["accessors", 0, "sparse"], {"count": 1}, "sparse accessor"),
        (["extensionsRequired"], ["KHR_draco_mesh_compression"], "KHR_draco_mesh_compression"),
        (["nodes"], [{"children": [1]}, {"children": [0]}], "its own ancestor"),
        (["nodes"], [{"mesh": 0, "children": [1]}, {}, {"children": [1]}], "two parents"),
        (["nodes"], [{"mesh": 0}] * 10_001, "10001 nodes"),
        (["nodes"], [{"mesh": 7}], "malformed glTF"),
        (["meshes"], [], "has no mesh"),
        (["meshes", 0, "primitives"], 5, "malformed glTF"),
    ],
)
def test_bad_glbs(path: list, value: object, problem: str) -> None:
    with pytest.raises(MeshError, match=problem):
        load_mesh(edited(path, value), file_type="glb")


def test_glb_indices_are_checked_within_their_own_part() -> None:
    """Two parts: an index beyond the first must not land in the second once they are joined."""
    document, binary = gltf_triangle()
    document["meshes"].append(document["meshes"][0])
    document["nodes"] = [{"mesh": 0}, {"mesh": 1}]
    document["scenes"] = [{"nodes": [0, 1]}]
    assert len(load_mesh(glb(document, binary), file_type="glb").vertices) == 6
    binary = binary[:36] + np.array([0, 1, 4], "<u4").tobytes()
    with pytest.raises(MeshError, match="names vertex 4 in a part of 3"):
        load_mesh(glb(document, binary), file_type="glb")


def test_glb_instances_count() -> None:
    document, binary = gltf_triangle()
    document["nodes"] = [{"mesh": 0}] * 50
    document["scenes"] = [{"nodes": list(range(50))}]
    with pytest.raises(MeshError, match="declares 150 vertices; the limit is 149"):
        load_mesh(glb(document, binary), file_type="glb", limits=MeshLimits(max_vertices=149))


@pytest.mark.parametrize("file_type", MESH_TYPES)
def test_limits(file_type: str, tmp_path: Path) -> None:
    data = VALID_MESHES[file_type][0]
    path = tmp_path / f"box.{file_type}"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(MeshError, match=f"has {len(data)} bytes; the limit is 100"):
            load_mesh(source, file_type=file_type, limits=MeshLimits(max_bytes=100))
        with pytest.raises(MeshError, match="the limit"):
            load_mesh(source, file_type=file_type, limits=MeshLimits(max_vertices=7))
        with pytest.raises(MeshError, match="the limit"):
            load_mesh(source, file_type=file_type, limits=MeshLimits(max_faces=3))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"nothing\.ply: is no file"):
        load_mesh(tmp_path / "nothing.ply", file_type="ply")
    with pytest.raises(MeshError, match="is no file"):
        load_mesh(tmp_path, file_type="ply")


def bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xyz.npy", npy(np.zeros((100_000, 3))))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("file_type", "data", "problem"),
    [
        ("npz", bomb(), "unpacks to more than 65536 bytes"),
        ("npz", npz(a=POINTS, b=POINTS), "has no array 'xyz'"),
        ("npz", npz(xyz=np.ones(3)), r"declares float64 of shape \[3\]"),
        ("npy", npy(np.array([{}], dtype=object)), "declares object"),
        ("npy", npy(POINTS)[:-8], r"declares float64 of shape \[20, 3\]"),
        ("npy", npy(POINTS).replace(b"(20, 3)", b"(2**9, 3)"), "is not a valid NPY"),
        ("npy", npy(POINTS * np.nan), "must be finite"),
        ("npy", npy(POINTS[:, :2]), r"is \[20, 2\]"),
        ("xyz", b"1 2\n", "not a valid XYZ"),
        ("xyz", b"", "is empty"),
        ("xyz", b"\n\n", "is empty"),
        ("las", b"LASF", "is of type 'las'"),
    ],
)
def test_bad_points(file_type: str, data: bytes, problem: str) -> None:
    with pytest.raises(MeshError, match=problem):
        load_point_cloud(data, file_type=file_type, limits=MeshLimits(max_bytes=65536))


def mutated(files: list[bytes]) -> st.SearchStrategy[bytes]:
    """Valid files with bytes replaced, removed or repeated."""

    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(files)))
        for _ in range(draw(st.integers(1, 4))):
            start = draw(st.integers(0, len(data)))
            stop = draw(st.integers(start, min(len(data), start + 40)))
            data[start:stop] = draw(
                st.binary(max_size=8) | st.sampled_from([b"", b"-1", b"999999999", b"nan", b"1e39"])
            )
        return bytes(data)

    return build()


def attempt(load: Callable[[], Any]) -> tuple[Any, str]:
    """What was loaded, or the sentence of the MeshError; any other exception passes."""
    try:
        return load(), ""
    except MeshError as error:
        return None, str(error)


@pytest.mark.parametrize("file_type", MESH_TYPES)
def test_fuzzed_meshes_load_or_raise_mesh_error(file_type: str) -> None:
    @QUICK
    @given(mutated(VALID_MESHES[file_type]) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        mesh, problem = attempt(lambda: load_mesh(data, file_type=file_type))
        assert mesh is None or mesh.faces.max() < len(mesh.vertices)
        assert (mesh is None) == problem.startswith("mesh: ")
        assert "\n" not in problem

    check()


@pytest.mark.parametrize("file_type", POINT_TYPES)
def test_fuzzed_points_load_or_raise_mesh_error(file_type: str) -> None:
    @QUICK
    @given(mutated(VALID_POINTS[file_type]) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        cloud, problem = attempt(lambda: load_point_cloud(data, file_type=file_type))
        assert cloud is None or np.isfinite(cloud.xyz).all()
        assert (cloud is None) == problem.startswith("mesh: ")
        assert "\n" not in problem

    check()

from __future__ import annotations

import dataclasses
import io
import json
import struct

import numpy as np
import pytest
import trimesh

from interactvlm.errors import InputError
from interactvlm.results.colours import LEGEND, contact_colours, srgb_to_linear
from interactvlm.results.glb import contact_glb


def tree_of(content: bytes) -> dict:
    [length] = struct.unpack("<I", content[12:16])
    return json.loads(content[20 : 20 + length])


def load(content: bytes) -> tuple[str, object]:
    scene = trimesh.load(io.BytesIO(content), file_type="glb", process=False, skip_materials=True)
    [(name, geometry)] = scene.geometry.items()
    return name, geometry


def test_mesh_reads_back_with_colours_and_numbers(scene):
    result = scene.prediction.results[0]
    content = contact_glb(result, scene.body.as_mesh(), model=scene.prediction.model)
    name, geometry = load(content)
    assert name == "binary"
    np.testing.assert_array_equal(geometry.vertices, scene.body.vertices)
    np.testing.assert_array_equal(geometry.faces, scene.body.faces)
    expected = srgb_to_linear(contact_colours(result.probabilities))
    np.testing.assert_array_equal(geometry.visual.vertex_colors[:, :3], expected)
    np.testing.assert_array_equal(np.ravel(geometry.vertex_attributes["_CONTACT"]), result.probabilities)
    tree = tree_of(content)
    assert "images" not in tree
    assert tree["asset"]["extras"]["untrained"] is False
    assert tree["asset"]["extras"]["touched"] == len(result.vertex_ids)
    assert tree["materials"][tree["meshes"][0]["primitives"][0]["material"]]["doubleSided"]


def test_points_read_back(scene):
    result = scene.prediction.results[4]
    content = contact_glb(result, scene.points, model=scene.prediction.model)
    _, geometry = load(content)
    assert isinstance(geometry, trimesh.PointCloud)
    np.testing.assert_array_equal(geometry.vertices, scene.points.xyz)
    np.testing.assert_array_equal(geometry.colors[:, :3], srgb_to_linear(contact_colours(result.probabilities)))


def test_untrained_is_written_on_node_mesh_and_extras(make_scene):
    scene = make_scene(trained=False)
    surfaces = {**scene.surfaces, "toy": scene.body.as_mesh()}
    for result in scene.prediction.results:
        tree = tree_of(contact_glb(result, surfaces[result.surface], model=scene.prediction.model))
        assert all(mesh["name"].startswith("untrained ") for mesh in tree["meshes"])
        assert any(node.get("name", "").startswith("untrained ") for node in tree["nodes"])
        assert tree["asset"]["extras"]["untrained"] is True
        assert tree["asset"]["extras"]["notice"]


def test_other_vertex_count_is_refused(scene):
    short = dataclasses.replace(scene.prediction.results[0], probabilities=np.zeros(7, np.float32))
    with pytest.raises(InputError, match="the answer has 7"):
        contact_glb(short, scene.body.as_mesh(), model=scene.prediction.model)


def test_colour_scale_meets_its_legend():
    stops = np.array([stop for stop, _ in LEGEND], dtype=np.float32)
    assert contact_colours(stops).tolist() == [list(colour) for _, colour in LEGEND]
    assert contact_colours(np.float32([-1, 2])).tolist() == [list(LEGEND[0][1]), list(LEGEND[-1][1])]
    assert srgb_to_linear(np.uint8([0, 128, 255])).tolist() == [0, 55, 255]

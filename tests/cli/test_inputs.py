from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactvlm.cli.inputs import check_timeout, parse_objects, parse_person
from interactvlm.errors import InputError, MeshError, QuestionError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.types import Box, LargestPerson, PersonSelector, PointOnPerson, WholePhoto

_TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("largest", LargestPerson()),
        ("whole", WholePhoto()),
        ("12,30.5", PointOnPerson(12, 30.5)),
        ("1,2,30,40", Box(1, 2, 30, 40)),
    ],
)
def test_person(text: str, selector: PersonSelector) -> None:
    assert parse_person(text) == selector


@pytest.mark.parametrize("text", ["", "tallest", "1", "1,2,3", "1,a"])
def test_unknown_person(text: str) -> None:
    with pytest.raises(QuestionError, match="--person: is"):
        parse_person(text)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_time_limits(seconds: float) -> None:
    check_timeout(None)
    check_timeout(0.5)
    with pytest.raises(InputError, match="--timeout: is"):
        check_timeout(seconds)


@pytest.fixture
def triangle(tmp_path: Path) -> Path:
    path = tmp_path / "triangle.obj"
    path.write_text(_TRIANGLE)
    return path


def test_a_lone_mesh_belongs_to_the_only_object(triangle: Path) -> None:
    (query,) = parse_objects(["chair"], [str(triangle)])
    assert query.name == "chair"
    assert isinstance(query.surface, Mesh)


def test_named_meshes_and_points(triangle: Path, tmp_path: Path) -> None:
    points = tmp_path / "points.npy"
    np.save(points, np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32))
    cup, chair = parse_objects(["cup", "chair"], [f"chair={triangle}", f"cup={points}"])
    assert isinstance(cup.surface, PointCloud)
    assert isinstance(chair.surface, Mesh)


def test_objects_need_no_mesh() -> None:
    assert [query.surface for query in parse_objects(["a", "b"], [])] == [None, None]


@pytest.mark.parametrize(
    ("names", "meshes", "message"),
    [
        (["a", "b"], ["x.obj"], "must be NAME=FILE"),
        (["a"], ["b=x.obj"], "names no --object"),
        ([], ["x.obj"], "needs the name of its object"),
        ([], ["a=x.obj"], "needs the name of its object"),
        ([""], [], "object_name: is empty"),
        (["cup", "[SEG]"], [], "special token"),
    ],
)
def test_meshes_that_belong_to_nobody(names: list[str], meshes: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_objects(names, meshes)


def test_two_meshes_for_one_object(triangle: Path) -> None:
    with pytest.raises(InputError, match="gives 'a' two meshes"):
        parse_objects(["a"], [f"a={triangle}", f"a={triangle}"])


def test_a_folder_is_the_releases(triangle: Path) -> None:
    with pytest.raises(MeshError, match=r"holds no maps: neither lift2d_dict\.npz nor"):
        parse_objects(["a"], [f"a={triangle.parent}"])


def test_missing_mesh_file() -> None:
    with pytest.raises(MeshError):
        parse_objects(["a"], ["none.glb"])

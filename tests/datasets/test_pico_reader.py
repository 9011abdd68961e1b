from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.pico import read_pico
from interactvlm.errors import InputError, MeshError
from interactvlm.types import Task
from tests.datasets.formats import outcome, put

BODY = BodyTemplate(
    topology="smplx",
    vertices=np.eye(4, 3, dtype=np.float32),
    faces=np.array([[0, 1, 2], [1, 2, 3]], dtype=np.int32),
    part_index=np.zeros(4, dtype=np.uint8),
)


@pytest.mark.parametrize(
    "contacts",
    [
        {"human_vertices": [10, 3, 3], "object_vertices": [2, 0]},
        {"smplx": [[10], [3]], "object": {"patch": [0, 2]}},
        {"human_object_pairs": [[10, 2], [3, 0]]},
        {"10": 2, "3": [0, 2]},
        {"correspondences": {"10": [2], "3": 0}},
    ],
)
def test_forms_of_correspondences(pico, contacts) -> None:
    (sample,) = read_pico(pico(contacts))
    assert sample.sample_id == "pico-00000"
    (human,) = sample.human
    assert (human.task, human.object_name, human.topology) == (Task.SEMANTIC, "tennis racket", "smplx")
    assert human.category == "tennis_racket"
    assert human.vertex_ids.tolist() == [3, 10]
    (item,) = sample.objects
    assert item.values.tolist() == [1, 0, 1, 0]
    assert len(item.surface.vertices) == 4


def test_faces_are_their_corners(pico) -> None:
    (sample,) = read_pico(pico({"human_faces": [1], "object_faces": [1]}), body=BODY)
    assert sample.human[0].vertex_ids.tolist() == [1, 2, 3]
    assert sample.objects[0].values.tolist() == [1, 1, 0, 1]


def test_topologies(pico) -> None:
    folder = pico({"human": [6889], "object": [0]})
    (sample,) = read_pico(folder, topology="smplh")
    assert sample.human[0].topology == "smpl"
    put(folder / "tennis_racket__000123" / "corresponding_contacts.json", '{"human": [6890], "object": []}')
    with pytest.raises(InputError, match="human: names vertex 6890; the surface has 0 to 6889"):
        list(read_pico(folder, topology="smpl"))
    with pytest.raises(InputError, match="topology: is 'mhr'; known: smpl, smplh, smplx"):
        list(read_pico(folder, topology="mhr"))


@pytest.mark.parametrize(
    ("contacts", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must hold one JSON object"),
        ({}, "holds nothing; needed is one list of ids"),
        ({"a": 1, "b": 2}, "holds 'a', 'b'; needed is one list of ids"),
        ({"pairs": [[1, 2, 3]]}, "holds 'pairs'; needed"),
        ({"human": [1], "object": [4]}, r"contacts\.json: object: names vertex 4; the surface has 0 to 3"),
        ({"human": [1.5], "object": [0]}, "human: holds '1.5', which is no whole number"),
        ({"human": [True], "object": [0]}, "human: holds 'True', which is no whole number"),
        ({"human": "1", "object": [0]}, "human: must be a list of whole numbers"),
        ({"human": [[[[[1]]]]], "object": [0]}, "human: must be a list of whole numbers"),
        ({"human_faces": [1], "object": [0]}, r"names faces of the body, which needs its model file \(--body\)"),
        ({"human": [1], "object_faces": [2]}, "object_faces: names vertex 2; the surface has 0 to 1"),
    ],
)
def test_malformed_correspondences(pico, contacts, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        list(read_pico(pico(contacts)))
    assert "\n" not in str(caught.value)


def test_files_beside(pico) -> None:
    folder = pico({"human": [1], "object": [0]})
    home = folder / "tennis_racket__000123"
    put(home / "human.obj", "")
    put(home / "person.ply", "")
    assert len(list(read_pico(folder))) == 1
    put(home / "second.jpg", b"x")
    with pytest.raises(InputError, match=r"must hold exactly one photo, it holds 000123\.jpg, second\.jpg"):
        list(read_pico(folder))
    (home / "second.jpg").unlink()
    (home / "object.obj").write_text("v 0 0")
    with pytest.raises(MeshError):
        list(read_pico(folder))
    (home / "object.obj").unlink()
    with pytest.raises(InputError, match="must hold exactly one object mesh, it holds none"):
        list(read_pico(folder))


def test_an_empty_folder(tmp_path) -> None:
    with pytest.raises(InputError, match=r"holds no corresponding_contacts\.json"):
        list(read_pico(tmp_path))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 12000) | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["human", "object", "1", "x"]), inner)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_read_or_one_sentence(pico, content) -> None:
    found = outcome(lambda: list(read_pico(pico(content))))
    if isinstance(found, str):
        assert found.count("\n") == 0
    else:
        assert np.all(np.diff(found[0].human[0].vertex_ids) > 0)

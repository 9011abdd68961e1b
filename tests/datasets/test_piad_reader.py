from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.datasets.affordance_points import read_affordance_points
from interactvlm.datasets.piad import PIAD_AFFORDANCES, read_piad
from interactvlm.errors import InputError, MeshError
from interactvlm.geometry.mesh import PointCloud
from interactvlm.types import Box
from tests.datasets.formats import jpeg, outcome, point_rows, put


def test_test_rows_are_pairs(piad) -> None:
    chair, laptop = read_piad(piad, split="test")
    assert chair.sample_id == "piad-test-00000"
    assert chair.photo == jpeg(0)
    assert chair.person == Box(4, 2, 20, 18)
    (contact,) = chair.objects
    assert (contact.object_name, contact.affordance, contact.category) == ("chair", "sit", "chair")
    assert isinstance(contact.surface, PointCloud)
    np.testing.assert_allclose(contact.values, np.arange(12) / 12, atol=1e-6)
    assert contact.values.dtype == np.float32
    assert chair.tags["unseen_category"] == ""
    assert laptop.tags == {
        "source": "piad",
        "split": "test",
        "photo": "Img_Test_Laptop_press_1.jpg",
        "object": "Laptop",
        "affordance": "press",
        "unseen_category": "1",
    }


def test_training_photos_get_points_of_their_object(piad) -> None:
    chair, mug = read_piad(piad, split="train")
    assert chair.objects[0].surface.content_hash in {
        read_affordance_points(path, PIAD_AFFORDANCES, leading_words=2).cloud.content_hash
        for path in (piad / "Point" / "Train" / "Chair").iterdir()
    }
    assert mug.objects[0].values.any()
    again, _ = read_piad(piad, split="train")
    assert again.objects[0].surface.content_hash == chair.objects[0].surface.content_hash


def test_points_with_the_affordance_are_preferred(piad) -> None:
    for path in (piad / "Point" / "Train" / "Chair").iterdir():
        put(path, point_rows(1, PIAD_AFFORDANCES.index("move" if path.stem.endswith("1") else "sit"), "h Chair"))
    chair, _ = read_piad(piad, split="train")
    assert chair.objects[0].values.any()
    for path in (piad / "Point" / "Train" / "Chair").iterdir():
        put(path, point_rows(1, PIAD_AFFORDANCES.index("move"), "h Chair"))
    chair, _ = read_piad(piad, split="train")
    assert not chair.objects[0].values.any()


def test_without_boxes_nobody_is_singled_out(piad) -> None:
    (piad / "Box_Test.txt").unlink()
    assert [sample.person for sample in read_piad(piad, split="test")] == [None, None]


def test_boxes_without_a_person(piad) -> None:
    put(piad / "Box" / "Test" / "Chair_sit_2.json", json.dumps({"shapes": []}))
    assert next(iter(read_piad(piad, split="test"))).person is None


def test_a_missing_photo_can_be_left_out(piad) -> None:
    next((piad / "Img" / "Test" / "Chair").rglob("*.jpg")).unlink()
    with pytest.raises(InputError, match=r"Img_Test\.txt: row 1: names .*Chair_sit_2\.jpg', which is not below"):
        list(read_piad(piad, split="test"))
    told: list[str] = []
    assert [s.sample_id for s in read_piad(piad, split="test", missing=told.append)] == ["piad-test-00001"]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("Img_Test.txt", "a/Img_Test_Chair_dance_1.jpg\n", r"Img_Test\.txt: row 1: is 'a/Img_Test_Chair_dance_1.jpg'"),
        ("Img_Test.txt", "a/b.jpg\n", r"photos are named Img_Test_<Object>_<affordance>_<n>"),
        ("Point_Test.txt", "a/b.txt\n", r"Point_Test\.txt: row 1: is 'a/b.txt'; point files are named"),
        ("Point_Test.txt", "x/Point_Test_Bed_1.txt\n", r"Point_Test\.txt: names no points of Chair, which "),
        ("Box_Test.txt", "a.json\n", r"Box_Test\.txt: has 1 rows for 2 photos"),
        (
            "Box_Test.txt",
            "../../a.json\nb.json\n",
            r"Box_Test\.txt: row 1: names the path '../../a.json', which leaves",
        ),
        ("Img_Test.txt", b"\xff\xfe", r"Img_Test\.txt: is not UTF-8 text \(byte 0\)"),
        ("Box/Test/Chair_sit_2.json", "[]", "Chair_sit_2.json: must hold one JSON object"),
        ("Box/Test/Chair_sit_2.json", "{}", "Chair_sit_2.json: shapes: must be a list"),
        (
            "Box/Test/Chair_sit_2.json",
            '{"shapes": [{"label": "subject", "points": [[1]]}]}',
            r"shapes\[0\]: must have points",
        ),
        (
            "Box/Test/Chair_sit_2.json",
            '{"shapes": [{"label": "subject", "points": [[1, 1], [1, NaN]]}]}',
            r"shapes\[0\]: is the box 1, 1, 1,",
        ),
        ("Point/Test/Chair/Point_Test_Chair_3.txt", "", "has 0 columns in its first row, 22 are needed"),
        ("Point/Test/Chair/Point_Test_Chair_3.txt", "h Chair 1 2 3\n", "has 5 columns in its first row, 22 are needed"),
        (
            "Point/Test/Chair/Point_Test_Chair_3.txt",
            "h C 1 2 3" + " 0" * 16 + " 1.5\n",
            "row 1: has 1.5 for stab; heat is from 0 to 1",
        ),
        ("Point/Test/Chair/Point_Test_Chair_3.txt", "h C 1 2 x" + " 0" * 17, "is not a table of numbers"),
        (
            "Point/Test/Chair/Point_Test_Chair_3.txt",
            "h C 1 2 3" + " 0" * 17 + "\nh C 1 2\n",
            "is not a table of numbers",
        ),
    ],
)
def test_malformed_files(piad, file, content, message) -> None:
    put(piad / file, content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_piad(piad, split="test"))
    assert "\n" not in str(caught.value)


def test_points_that_are_not_finite(piad) -> None:
    put(piad / "Point/Test/Chair/Point_Test_Chair_3.txt", "h C 1 nan 3" + " 0" * 17)
    with pytest.raises(MeshError, match="coordinates must be finite"):
        list(read_piad(piad, split="test"))


def test_an_unknown_split(piad) -> None:
    with pytest.raises(InputError, match="split: is 'val'; PIAD has train and test"):
        list(read_piad(piad, split="val"))


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=" \n\t01.5-enaxh\0#", max_size=200))
def test_any_text_is_a_table_or_one_sentence(tmp_path_factory, text) -> None:
    path = put(tmp_path_factory.mktemp("p") / "p.txt", text)
    found = outcome(lambda: read_affordance_points(path, ("grasp",), leading_words=0))
    if isinstance(found, str):
        assert found.count("\n") == 0
    else:
        assert found.heat.shape == (len(found.cloud.xyz), 1)
        assert (found.heat >= 0).all()

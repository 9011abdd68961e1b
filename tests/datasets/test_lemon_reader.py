from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from interactvlm.datasets import lemon as module
from interactvlm.datasets.lemon import read_lemon
from interactvlm.errors import InputError
from interactvlm.types import Task
from tests.datasets.formats import SMPL, jpeg, point_rows, put


def contact_file(root, name: str = "a1"):
    return next((root / "Contact").rglob(f"{name}.pkl"))


def test_samples(lemon) -> None:
    backpack, first, second = read_lemon(lemon)
    assert [s.sample_id for s in (backpack, first, second)] == ["3dir-all-00000", "3dir-all-00001", "3dir-all-00002"]
    assert first.photo == jpeg(0)
    (human,) = first.human
    assert (human.task, human.object_name, human.topology) == (Task.SEMANTIC, "bicycle", "smpl")
    assert human.vertex_ids.tolist() == [0, 50]
    assert second.human[0].vertex_ids.tolist() == [1, 50]
    (item,) = first.objects
    assert (item.object_name, item.affordance) == ("bicycle", "ride")
    assert item.values.max() > 0.9
    assert backpack.objects[0].object_name == "backpack"
    assert backpack.human[0].category == "backpack"
    assert backpack.objects[0].values.any()
    assert first.tags["affordance"] == "ride"


def test_a_listed_split(lemon) -> None:
    assert [s.tags["photo"] for s in read_lemon(lemon, split="test")] == ["b1.jpg", "a2.jpg"]
    with pytest.raises(InputError, match=r"holds 0 files val\.txt"):
        list(read_lemon(lemon, split="val"))


def test_a_list_of_photos_that_are_not_there(lemon) -> None:
    put(lemon / "txt" / "test.txt", "x/Bicycle/ride/a2.jpg\nx/Bicycle/ride/zz.jpg\n")
    with pytest.raises(InputError, match=r"lists 2 photos, 1 are there; such as Bicycle/ride/zz\.jpg"):
        list(read_lemon(lemon, split="test"))


def test_pickles_in_several_processes_keep_their_order(lemon, monkeypatch) -> None:
    whole = [s.human[0].vertex_ids.tolist() for s in read_lemon(lemon)]
    monkeypatch.setattr(module, "_PICKLES_AT_ONCE", 2)
    assert [s.human[0].vertex_ids.tolist() for s in read_lemon(lemon)] == whole


@pytest.mark.parametrize("form", ["row", "list", "dict"])
def test_forms_of_contact(lemon, form) -> None:
    contact = np.zeros(SMPL)
    contact[[3, 4]] = 1
    value = {"row": contact[None], "list": contact.tolist(), "dict": {"contact": contact, "name": "x"}}[form]
    contact_file(lemon).write_bytes(pickle.dumps(value))
    assert next(s for s in read_lemon(lemon) if s.tags["photo"] == "a1.jpg").human[0].vertex_ids.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(10475), r"a1\.pkl: must be numbers \[6890\], not float64 of shape \[10475\]"),
        ({"a": np.zeros(SMPL), "b": np.zeros(SMPL)}, r"holds 2 arrays of 6890 numbers under a, b, not 1"),
        (["x"], r"must be numbers \[6890\]"),
        ([[1], [1, 2]], r"must be numbers \[6890\]"),
        (object(), "is refused: it holds a object"),
        (os.getcwd, r"is refused: it asks for posix\.getcwd"),
    ],
)
def test_malformed_contact(lemon, value, message) -> None:
    contact_file(lemon).write_bytes(pickle.dumps(value))
    with pytest.raises(InputError, match=message) as caught:
        list(read_lemon(lemon))
    assert "\n" not in str(caught.value)


def test_truncated_pickle(lemon) -> None:
    contact_file(lemon).write_bytes(contact_file(lemon).read_bytes()[:100])
    with pytest.raises(InputError, match=r"a1\.pkl: is refused: "):
        list(read_lemon(lemon))


def test_missing_and_ambiguous_contact(lemon) -> None:
    found = contact_file(lemon)
    put(lemon / "Contact" / "Other" / "ride" / "a1.pkl", found.read_bytes())
    assert len(list(read_lemon(lemon))) == 3
    found.unlink()
    put(lemon / "Contact" / "Third" / "ride" / "a1.pkl", b"x")
    with pytest.raises(InputError, match=r"Bicycle/ride/a1\.jpg: has 0 contact files a1\.pkl below"):
        list(read_lemon(lemon))


def test_no_points_for_an_object(lemon) -> None:
    (lemon / "Objects" / "BackPack" / "b1.txt").unlink()
    with pytest.raises(InputError, match=r"holds no point files below a folder BackPack"):
        list(read_lemon(lemon))


def test_points_of_the_photos_own_name(lemon) -> None:
    put(lemon / "Objects" / "Bicycle" / "a1.txt", point_rows(7, 14, rows=30))
    sample = next(s for s in read_lemon(lemon) if s.tags["photo"] == "a1.jpg")
    assert len(sample.objects[0].values) == 30


def test_nothing_to_read(tmp_path) -> None:
    with pytest.raises(InputError, match="holds no photos as <Object>/<affordance>/<name>"):
        list(read_lemon(tmp_path))
    with pytest.raises(InputError, match="is no folder"):
        list(read_lemon(tmp_path / "none"))

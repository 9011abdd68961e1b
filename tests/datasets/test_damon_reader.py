from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactvlm.datasets.damon import read_damon
from interactvlm.datasets.vertices import vertex_ids
from interactvlm.errors import InputError, PhotoError
from interactvlm.types import Task
from tests.datasets.formats import SMPL, jpeg, objects, outcome, replace_member


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_samples(damon) -> None:
    first, second, third = read_damon(*damon(), split="test")
    assert first.sample_id == "damon-test-00000"
    assert first.photo == jpeg(0)
    assert first.tags == {"source": "damon", "split": "test", "photo": "photo_0.jpg"}
    binary, racket, ground = first.human
    assert (binary.task, binary.object_name, binary.topology) == (Task.BINARY, "", "smpl")
    assert binary.vertex_ids.tolist() == [5, 9]
    assert (racket.task, racket.object_name, racket.category) == (Task.SEMANTIC, "tennis racket", "tennis_racket")
    assert racket.vertex_ids.tolist() == [5, 9]
    assert racket.vertex_ids.dtype == np.int32
    assert (ground.task, ground.object_name) == (Task.SCENE, "")
    assert ground.vertex_ids.tolist() == [3, 100]
    assert [contact.object_name for contact in second.human] == ["", "chair"]
    assert [contact.vertex_ids.tolist() for contact in third.human] == [[]]


@pytest.mark.parametrize("names", ["<U", object])
def test_names_as_text_or_objects(damon, names) -> None:
    listed = [f"HOT/images/photo_{i}.jpg" for i in range(3)]
    labels, photos = damon(imgname=objects(listed) if names is object else np.array(listed))
    assert [sample.tags["photo"] for sample in read_damon(labels, photos, split="test")] == [
        Path(name).name for name in listed
    ]


def test_labels_of_a_list_of_objects_on_a_truth_array(damon) -> None:
    label = np.zeros((3, SMPL), dtype=bool)
    label[2, 7] = True
    *_, last = read_damon(*damon(contact_label=label), split="test")
    assert last.human[0].vertex_ids.tolist() == [7]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imgname": None}, r"test\.npz: imgname: is missing; the file has pose"),
        ({"contact_label": np.zeros((2, SMPL))}, r"different numbers of rows.*'contact_label': 2"),
        (
            {"contact_label": np.zeros((3, 10475))},
            r"contact_label\[0\]: must be numbers \[6890\], not float64 of shape",
        ),
        ({"contact_label": np.full((3, SMPL), np.nan)}, r"contact_label\[0\]: must lie between 0 and 1"),
        ({"contact_label": np.full((3, SMPL), 2)}, r"contact_label\[0\]: must lie between 0 and 1"),
        ({"contact_label": np.array(1.0)}, r"contact_label: has the shape \[\]; it needs one row a sample"),
        ({"contact_label": np.asfortranarray(np.zeros((3, SMPL)))}, "contact_label: is stored by columns"),
        ({"contact_label_objectwise": objects([{}, [1], {}])}, r"objectwise\[1\]: must be a dict .* not list"),
        (
            {"contact_label_objectwise": objects([{"cup": [6890]}, {}, {}])},
            r"objectwise\[0\]\['cup'\]: names vertex 6890; the surface has 0 to 6889",
        ),
        ({"contact_label_objectwise": objects([{"cup": [-1]}, {}, {}])}, "names vertex -1"),
        ({"contact_label_objectwise": objects([{"cup": [0.5]}, {}, {}])}, r"must be a list of vertex ids, not float64"),
        ({"contact_label_objectwise": objects([{"cup": "wet"}, {}, {}])}, r"must be a list of vertex ids"),
        ({"contact_label_objectwise": objects([{"_": [1]}, {}, {}])}, r"objectwise\[0\]: has an object without a name"),
        (
            {"contact_label_objectwise": objects([{3: [1]}, {}, {}])},
            "is refused: it holds a dict with keys that are no",
        ),
        ({"imgname": np.arange(3)}, r"imgname\[0\]: must be a path, not int"),
        ({"imgname": np.array(["../photo_0.jpg"] * 3)}, r"imgname\[0\]: names the path .* which leaves the folder"),
        ({"imgname": np.array(["other.jpg"] * 3)}, r"imgname\[0\]: names 'other.jpg', which is not below"),
    ],
)
def test_malformed_labels(damon, changes, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        list(read_damon(*damon(**changes), split="test"))
    assert "\n" not in str(caught.value)


def test_pickled_code_is_refused(damon, tmp_path) -> None:
    mark = tmp_path / "ran"
    labels, photos = damon(contact_label_objectwise=objects([{"cup": Runs(mark)}, {}, {}]))
    with pytest.raises(InputError, match=r"contact_label_objectwise: is refused: it asks for (posix|nt)\.system"):
        list(read_damon(labels, photos, split="test"))
    assert not mark.exists()


def test_files_that_are_no_labels(tmp_path) -> None:
    with pytest.raises(InputError, match=r"none\.npz: does not exist"):
        list(read_damon(tmp_path / "none.npz", tmp_path, split="test"))
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(InputError, match=r"text\.npz: is not a readable npz file"):
        list(read_damon(tmp_path / "text.npz", tmp_path, split="test"))


def test_a_cut_off_array(damon) -> None:
    labels, photos = damon()
    replace_member(labels, "contact_label.npy", _header_of(labels) + b"\0" * (SMPL * 8 + 10))
    samples = read_damon(labels, photos, split="test")
    assert next(samples).sample_id == "damon-test-00000"
    with pytest.raises(InputError, match=r"contact_label\[1\]: is cut off: 10 of 55120 bytes"):
        next(samples)


def _header_of(labels: Path) -> bytes:
    import zipfile

    with zipfile.ZipFile(labels) as archive:
        content = archive.read("contact_label.npy")
    return content[: len(content) - 3 * SMPL * 8]


def test_photos_that_are_not_there(damon) -> None:
    labels, photos = damon()
    (photos / "HOT" / "images" / "photo_1.jpg").unlink()
    with pytest.raises(InputError, match=r"imgname\[1\]: names 'datasets/HOT/images/photo_1.jpg', which is not below"):
        list(read_damon(labels, photos, split="test"))
    told: list[str] = []
    kept = [sample.sample_id for sample in read_damon(labels, photos, split="test", missing=told.append)]
    assert kept == ["damon-test-00000", "damon-test-00002"]
    assert told == ["datasets/HOT/images/photo_1.jpg"]


def test_an_empty_photo(damon) -> None:
    labels, photos = damon()
    (photos / "HOT" / "images" / "photo_0.jpg").write_bytes(b"")
    with pytest.raises(PhotoError, match=r"photo_0\.jpg: is empty"):
        list(read_damon(labels, photos, split="test"))


def test_labels_are_not_held_in_memory(damon) -> None:
    rows = 1500  # 83 MB; reading a photo alone sets 32 MiB aside
    labels, photos = damon(
        imgname=np.array(["HOT/images/photo_0.jpg"] * rows),
        contact_label=np.zeros((rows, SMPL)),
        contact_label_objectwise=objects([{}] * rows),
    )
    whole = rows * SMPL * 8
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_damon(labels, photos, split="test")) == rows
        assert tracemalloc.get_traced_memory()[1] < whole / 2
    finally:
        tracemalloc.stop()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 99), max_size=30), st.sampled_from(["list", "array", "float"]))
def test_vertex_ids_are_the_set_in_order(ids, form) -> None:
    values = {"list": ids, "array": np.array(ids, dtype=np.int64), "float": np.array(ids, dtype=float)}[form]
    assert vertex_ids(values, 100, source="x").tolist() == sorted(set(ids))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_one_sentence(damon, data) -> None:
    labels, photos = damon()
    content = bytearray(labels.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    labels.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    found = outcome(lambda: list(read_damon(labels, photos, split="test")))
    assert found
    assert "\n" not in found

from __future__ import annotations

import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from interactvlm.errors import InputError, MeshError
from interactvlm.results.archive import FORMAT, archive_files, read_prediction
from interactvlm.types import Box, ModelIdentity, Prediction, Task, TaskFailure, TaskResult

unit = st.floats(0, 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.lists(st.text(max_size=12), max_size=3).map(tuple)
boxes = st.none() | st.builds(Box, finite, finite, finite, finite)
results = st.builds(
    TaskResult,
    task=st.sampled_from(Task),
    object_name=st.text(max_size=20),
    probabilities=hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(0, 1, width=32)),
    threshold=unit,
    surface=st.text(max_size=20),
    text=st.text(max_size=60),
    confidence=unit,
    parts_named=words,
    parts_touched=words,
    affordance=st.none() | st.text(max_size=8),
    contact_token=st.none() | st.text(max_size=8),
    view_logits=st.none() | hnp.arrays(np.float32, (4, 3, 3), elements=st.floats(-9, 9, width=32)),
)
predictions = st.builds(
    Prediction,
    photo_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    photo_size=st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    model=st.builds(ModelIdentity, st.text(max_size=9), st.text(max_size=9), st.booleans(), st.text(max_size=30)),
    results=st.lists(results, max_size=3).map(tuple),
    region=boxes,
    person=boxes,
    timings=st.dictionaries(st.text(max_size=6), finite, max_size=3),
    notices=words,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(
            same(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a)
        )
    return a == b


def with_half_logits(prediction: Prediction) -> Prediction:
    def half(result: TaskResult) -> TaskResult:
        if result.view_logits is None:
            return result
        return dataclasses.replace(result, view_logits=result.view_logits.astype(np.float16).astype(np.float32))

    return dataclasses.replace(prediction, results=tuple(map(half, prediction.results)))


def save(prediction: Prediction, folder, stem: str = "photo"):
    for name, content in archive_files(prediction, stem=stem).items():
        (folder / name).write_bytes(content)
    return folder / stem


@settings(max_examples=60, deadline=None)
@given(predictions)
def test_reads_back_equal(tmp_path_factory, prediction):
    folder = tmp_path_factory.mktemp("archive")
    assert same(read_prediction(save(prediction, folder)), with_half_logits(prediction))


@pytest.mark.parametrize("suffix", ["", ".json", ".npz"])
def test_any_of_the_three_paths_and_a_stem_with_dots(tmp_path, scene, suffix):
    save(scene.prediction, tmp_path, "photo.v2.x")
    assert len(read_prediction(tmp_path / f"photo.v2.x{suffix}").results) == 5


def test_document_and_arrays_name_everything(tmp_path, make_scene):
    scene = make_scene(trained=False, notices=("beware",))
    base = save(scene.prediction, tmp_path)
    document = json.loads(base.with_suffix(".json").read_text())
    arrays = np.load(base.with_suffix(".npz"))
    assert document["format"] == FORMAT
    assert document["trained"] is document["model"]["trained"] is False
    assert document["model"]["notice"]
    assert document["notices"] == ["beware"]
    assert not arrays["trained"]
    assert str(arrays["notice"]) == document["model"]["notice"]
    assert document["photo"] == {"sha256": scene.prediction.photo_sha256, "height": 90, "width": 160}
    assert document["person"] == [30, 10, 80, 80]
    for entry, result in zip(document["results"], scene.prediction.results, strict=True):
        names = entry["arrays"]
        assert np.array_equal(arrays[names["vertex_ids"]], result.vertex_ids)
        assert entry["touched"] == len(result.vertex_ids)
        assert entry["vertices"] == len(result.probabilities)
        assert (names["view_logits"] is None) == (result.view_logits is None)
        if names["view_logits"]:
            assert arrays[names["view_logits"]].dtype == np.float16
    assert document["results"][0]["surface"] == {"kind": "body", "topology": "toy"}
    assert document["results"][3]["surface"] == {"kind": "object", "hash": scene.mesh.content_hash}


def test_failures_are_kept(tmp_path, scene):
    failure = TaskFailure(5, Task.OBJECT, "cup", MeshError("cup.glb", "has no faces"))
    base = save(dataclasses.replace(scene.prediction, failures=(failure,)), tmp_path)
    [back] = read_prediction(base).failures
    assert (back.index, back.task, back.object_name, str(back.error)) == (
        5,
        Task.OBJECT,
        "cup",
        "cup.glb: has no faces",
    )


def test_logits_beyond_half_precision_stay_finite(tmp_path, scene):
    result = dataclasses.replace(scene.prediction.results[0], view_logits=np.full((4, 2, 2), -1e6, np.float32))
    [back] = read_prediction(save(scene.with_results(result), tmp_path)).results
    assert np.all(back.view_logits == -65504)


def test_equal_predictions_give_equal_bytes(make_scene):
    assert archive_files(make_scene().prediction, stem="a") == archive_files(make_scene().prediction, stem="a")


def tamper(folder, what: str) -> None:
    json_path, npz_path = folder / "photo.json", folder / "photo.npz"
    document = json.loads(json_path.read_text())
    if what == "no json":
        json_path.unlink()
    elif what == "no npz":
        npz_path.unlink()
    elif what == "truncated npz":
        npz_path.write_bytes(npz_path.read_bytes()[:300])
    elif what == "not json":
        json_path.write_text("{")
    elif what == "a list":
        json_path.write_text("[]")
    elif what == "other format":
        json_path.write_text(json.dumps(document | {"format": "interactvlm.prediction/2"}))
    elif what == "field missing":
        del document["results"][0]["text"]
        json_path.write_text(json.dumps(document))
    elif what == "unknown task":
        document["results"][0]["task"] = "guess"
        json_path.write_text(json.dumps(document))
    elif what == "other vertex count":
        document["results"][0]["vertices"] += 1
        json_path.write_text(json.dumps(document))
    elif what == "pickled array":
        stream = io.BytesIO()
        np.savez(stream, probabilities_0=np.array([print], dtype=object))
        npz_path.write_bytes(stream.getvalue())
    elif what == "huge array declared":
        arrays = {name: array.tobytes() for name, array in np.load(npz_path).items()}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**13,)})
        with zipfile.ZipFile(npz_path, "w") as archive:
            for name in arrays:
                archive.writestr(f"{name}.npy", header.getvalue())
    elif what == "deep json":
        json_path.write_text("[" * 100_000)
    elif what == "arrays of another photo":
        arrays = dict(np.load(npz_path))
        arrays["probabilities_0"] = 1 - arrays["probabilities_0"] ** 2
        np.savez(npz_path, **arrays)


@pytest.mark.parametrize(
    "what",
    ["no json", "no npz", "truncated npz", "not json", "a list", "other format", "field missing", "unknown task",
     "other vertex count", "pickled array", "huge array declared", "deep json", "arrays of another photo"],
)  # fmt: skip
def test_damage_is_one_clear_error(tmp_path, scene, what):
    save(scene.prediction, tmp_path)
    tamper(tmp_path, what)
    with pytest.raises(InputError, match="photo"):
        read_prediction(tmp_path / "photo")

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from interactvlm.body.template import load_template
from interactvlm.datasets.damon import read_damon
from interactvlm.datasets.piad import read_piad
from interactvlm.datasets.pico import read_pico
from interactvlm.datasets.sample import ContactSample, HumanContact
from interactvlm.datasets.shards import read_shards, write_shard
from interactvlm.errors import InputError, PhotoError
from interactvlm.mvloc.surfaces import body_views
from interactvlm.preparation.answers import AnswerStore
from interactvlm.preparation.drawing import DrawingPlan
from interactvlm.preparation.endpoint import ChatEndpoint, Endpoint, EndpointError
from interactvlm.preparation.pictures import read_mask
from interactvlm.preparation.prepare import Plan, prepare
from interactvlm.preparation.vqa import VQA_FIELDS, VisualQuestions
from interactvlm.training.targets import mask_target
from interactvlm.types import Task
from tests.datasets.formats import jpeg
from tests.preparation.stub_endpoint import GOOD, Reply, says

ANNY = load_template("anny")
SEAT = np.flatnonzero(np.isin(ANNY.part_index, [1, 11])).astype(np.int32)
DRAWN = Plan(drawing=DrawingPlan(masks=True, renders=True, image_size=64))


def sample(number: int, name: str = "chair") -> ContactSample:
    contact = HumanContact(Task.SEMANTIC, name, SEAT, "anny", name)
    return ContactSample(f"s{number}", jpeg(number), human=(contact,), tags={"photo": f"{number}.jpg"})


def files(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_damon(damon, tmp_path) -> None:
    done = prepare(read_damon(*damon(), split="test"), tmp_path / "out", Plan(), source="damon", split="test")
    assert (done.samples, done.human_contacts, done.texts) == (3, 6, 0)
    back = read_shards(tmp_path / "out", "test")
    assert [s.sample_id for s in back] == ["damon-test-00000", "damon-test-00001", "damon-test-00002"]
    assert back[0].human[1].vertex_ids.tolist() == [5, 9]
    assert back[0].photo == jpeg(0)
    note = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert (note["format"], note["source"], note["samples"]) == ("interactvlm.prepared/1", "damon", 3)


def test_contact_becomes_words_and_masks(tmp_path) -> None:
    done = prepare([sample(0)], tmp_path / "out", DRAWN, source="x")
    assert (done.masks, done.renders, done.texts) == (1, 1, 1)
    (text,) = read_shards(tmp_path / "out", "train")[0].texts
    assert (text.field, text.answer) == ("body parts", "hips, left thigh")
    assert text.question == "Which body parts of the person are in contact with the chair?"
    contact = np.zeros(ANNY.vertex_count, dtype=bool)
    contact[SEAT] = True
    expected = mask_target(body_views(ANNY, 64), contact, corners=2).numpy()
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "masks" / "s0" / "human-0.png"), expected)
    assert (tmp_path / "out" / "renders" / "body-anny" / "body_render_norm_topfront.png").is_file()


def test_corners_reach_the_masks(tmp_path) -> None:
    for corners in (2, 3):
        plan = Plan(drawing=DrawingPlan(masks=True, corners=corners, image_size=64))
        prepare([sample(0)], tmp_path / str(corners), plan, source="x")
    two, three = (read_mask(tmp_path / str(n) / "masks" / "s0" / "human-0.png") for n in (2, 3))
    assert 0 < (three == 1).sum() < (two == 1).sum()


def test_heat_of_piad(piad, tmp_path) -> None:
    done = prepare(read_piad(piad, split="test"), tmp_path / "out", DRAWN, source="piad", split="test")
    assert (done.samples, done.object_contacts, done.masks, done.renders) == (2, 2, 2, 2)
    heat = read_mask(tmp_path / "out" / "masks" / "piad-test-00000" / "object-0.png")
    assert heat.max() == pytest.approx(11 / 12, abs=0.01)
    assert len(list((tmp_path / "out" / "surfaces").iterdir())) == 2
    back = read_shards(tmp_path / "out", "test")[0]
    np.testing.assert_allclose(back.objects[0].values, np.arange(12) / 12, atol=1e-6)
    assert back.person == next(iter(read_piad(piad, split="test"))).person


def test_meshes_of_pico_without_masks_of_an_unknown_body(pico, tmp_path) -> None:
    folder = pico({"human": [3], "object": [0, 1]})
    done = prepare(read_pico(folder), tmp_path / "out", Plan(), source="pico", split="all")
    assert (done.samples, done.texts) == (1, 0)
    with pytest.raises(InputError, match=r"body: contact lies on smplx, whose model file is not given \(--body\)"):
        prepare(read_pico(folder), tmp_path / "two", DRAWN, source="pico", split="all")
    assert not list(tmp_path.glob("*two*"))


def test_contact_is_moved(tmp_path) -> None:
    other = replace(ANNY, topology="smplh")
    moved = replace(sample(0), human=(replace(sample(0).human[0], topology="smpl"),))
    done = prepare([moved], tmp_path / "out", Plan(onto="anny"), source="x", body=other)
    (contact,) = read_shards(tmp_path / "out", "train")[0].human
    assert (contact.topology, done.texts) == ("anny", 1)
    assert contact.vertex_ids.tolist() == SEAT.tolist()


def test_shards_end_in_time_and_keep_their_geometry(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("interactvlm.preparation.prepare._SHARD_SAMPLES", 2)
    depth = {"masks": b"m", "depth": b"d", "focal": 2.0, "people": 1}
    write_shard(tmp_path / "in", "train", 0, [(sample(i), depth if i == 3 else None) for i in range(5)])
    done = prepare(read_shards(tmp_path / "in", "train"), tmp_path / "out", Plan(), source="shards", limit=4)
    assert done.samples == 4
    assert sorted(path.name for path in (tmp_path / "out").glob("*.parquet")) == [
        "train-000000.parquet",
        "train-000001.parquet",
    ]
    back = read_shards(tmp_path / "out", "train")
    assert [s.sample_id for s in back] == ["s0", "s1", "s2", "s3"]
    assert back.geometry(0) is None
    assert back.geometry(3)["depth"] == b"d"


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (replace(sample(1), photo=b"no photo"), PhotoError, r"s1 \(1\.jpg\): is not a readable JPEG"),
        (sample(0), InputError, "sample_id: 's0' comes twice"),
        (replace(sample(1), sample_id="../s1"), InputError, r"sample_id: '\.\./s1' comes twice or cannot be a file's"),
    ],
)
def test_nothing_is_left_of_a_failure(tmp_path, bad, error, message) -> None:
    with pytest.raises(error, match=message):
        prepare([sample(0), bad], tmp_path / "out", DRAWN, source="x")
    assert list(tmp_path.iterdir()) == []


def test_targets_in_use_and_empty_sources(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="damon: holds no samples"):
        prepare([], tmp_path / "out", Plan(), source="damon")
    prepare([sample(0)], tmp_path / "out", Plan(), source="x")
    before = files(tmp_path)
    with pytest.raises(InputError, match="exists and is not empty; name a new folder"):
        prepare([sample(0)], tmp_path / "out", Plan(), source="x")
    assert files(tmp_path) == before
    with pytest.raises(InputError, match="cannot be written"):
        prepare([sample(0)], tmp_path / "out" / "prepared.json" / "x", Plan(), source="x")
    with pytest.raises(InputError, match="split: 'a-b' may hold letters"):
        prepare([sample(0)], tmp_path / "other", Plan(), source="x", split="a-b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DrawingPlan(corners=1), "corners: is 1; a pixel counts from 2 or from 3"),
        (lambda: DrawingPlan(image_size=8), "size: is 8; the limits are 16 and 2048"),
        (lambda: Plan(parallel=0), "parallel: is 0; the limits are 1 and 64"),
    ],
)
def test_plans_out_of_range(make, message) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_questions_are_asked_in_parallel_and_answered_in_order(stub, tmp_path) -> None:
    together = threading.Barrier(3, timeout=20)

    def wait_for_others(request):
        together.wait()
        return GOOD

    stub.otherwise = wait_for_others
    with AnswerStore(tmp_path / "answers.jsonl") as store:
        questions = VisualQuestions(ChatEndpoint(Endpoint(stub.url, "m")), store)
        done = prepare(
            [sample(i) for i in range(6)], tmp_path / "out", Plan(parallel=3), source="x", questions=questions
        )
    assert (done.requests, done.tokens, done.texts, done.unanswered) == (6, 720, 30, 0)
    back = list(read_shards(tmp_path / "out", "train"))
    assert [s.sample_id for s in back] == [f"s{i}" for i in range(6)]
    assert [text.field for text in back[4].texts] == list(VQA_FIELDS)
    hint = stub.requests[0]["messages"][0]["content"][0]["text"]
    assert "touching the chair: hips, left thigh" in hint


def test_a_service_that_breaks_down_is_resumed_without_paying_twice(stub, time, tmp_path) -> None:
    stub.script = [GOOD, GOOD, Reply(401, b"no credit")]
    samples = [sample(i) for i in range(4)]

    def run(store: AnswerStore):
        chat = ChatEndpoint(Endpoint(stub.url, "m", "key-0123456789"), sleep=time.sleep, clock=time.clock)
        plan = Plan(parallel=1)
        return prepare(samples, tmp_path / "out", plan, source="x", questions=VisualQuestions(chat, store))

    with AnswerStore(tmp_path / "answers.jsonl") as store, pytest.raises(EndpointError, match="401"):
        run(store)
    assert {path.name for path in tmp_path.iterdir()} == {"answers.jsonl"}
    stub.script = []
    paid = stub.paid
    with AnswerStore(tmp_path / "answers.jsonl") as store:
        done = run(store)
    assert (done.samples, done.texts) == (4, 20)
    kept = len((tmp_path / "answers.jsonl").read_text().splitlines())
    assert (kept, done.requests) == (4, stub.paid - paid)
    assert stub.paid == 5
    assert "key-0123456789" not in (tmp_path / "answers.jsonl").read_text()


def test_photos_without_answers_are_counted_and_kept(stub, tmp_path) -> None:
    stub.otherwise = lambda request: says(None, refusal="no")
    with AnswerStore(tmp_path / "answers.jsonl") as store:
        questions = VisualQuestions(ChatEndpoint(Endpoint(stub.url, "m")), store)
        done = prepare([sample(0)], tmp_path / "out", Plan(), source="x", questions=questions)
    assert (done.unanswered, done.texts) == (1, 1)
    assert read_shards(tmp_path / "out", "train")[0].texts[0].answer == "hips, left thigh"

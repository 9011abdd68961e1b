from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from interactvlm.errors import InputError
from interactvlm.evaluation.inquiry import inquiry_of
from interactvlm.evaluation.predictions import Answer, PredictionStore
from interactvlm.evaluation.runner import predict_all
from tests.evaluation.fakes import Seen, model_of


def asked(make_samples, count: int = 7):
    return [inquiry_of(sample) for sample in make_samples(count)]


def stored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupted_run_continues_and_ends_the_same(make_samples, small_body, tmp_path: Path) -> None:
    inquiries = asked(make_samples)
    whole = Seen()
    predict_all(model_of(whole, small_body), inquiries, tmp_path / "whole", photos_per_batch=2)
    broken = Seen()
    model = model_of(broken, small_body)
    calls = 0

    async def dies(group):
        nonlocal calls
        calls += 1
        if calls == 3:
            for call in group:
                call.close()
            raise KeyboardInterrupt
        return list(await asyncio.gather(*group))

    with pytest.raises(KeyboardInterrupt):
        predict_all(dataclasses.replace(model, together=dies), inquiries, tmp_path / "broken", photos_per_batch=2)
    assert len(broken.photos) == 4
    progress: list[tuple[int, int]] = []
    predict_all(model, inquiries, tmp_path / "broken", photos_per_batch=2, progress=lambda *done: progress.append(done))
    assert len(broken.photos) == len(whole.photos) == 7
    assert progress == [(4, 7), (6, 7), (7, 7)]
    assert stored(tmp_path / "broken") == stored(tmp_path / "whole")


def test_a_folder_continues_its_own_run_only(make_samples, model, tmp_path: Path) -> None:
    inquiries = asked(make_samples)
    predict_all(model, inquiries, tmp_path)
    for other, options in ((inquiries[:-1], {}), (inquiries, {"fast": True}), (inquiries, {"photos_per_batch": 3})):
        with pytest.raises(InputError, match="holds predictions of another run"):
            predict_all(model, other, tmp_path, **options)


def test_an_unreadable_photo_fails_alone(make_samples, model, tmp_path: Path) -> None:
    inquiries = asked(make_samples, 3)
    inquiries[1] = dataclasses.replace(inquiries[1], photo=b"no picture")
    answers = list(predict_all(model, inquiries, tmp_path))
    failed = {answer.sample_id for answer in answers if answer.error}
    assert failed == {"0001"}
    assert all("is not a readable" in answer.error for answer in answers if answer.error)
    assert len(answers) == 3 * 4


def test_answers_survive_the_disk(tmp_path: Path) -> None:
    values = np.array([0, 0.5, 0.0004, 1, 0.25], np.float32)
    given = [
        Answer("a", ("semantic", "cup", ""), values, "It is [SEG]", ("left hand",), True),
        Answer("b", ("object", "cup", "ff"), np.zeros(0, np.float32), error="went wrong"),
    ]
    PredictionStore(tmp_path, {"run": 1}).save(0, given)
    first, second = PredictionStore(tmp_path, {"run": 1})
    np.testing.assert_allclose(first.values, [0, 0.5, 0, 1, 0.25], atol=1e-5)
    assert (first.key, first.text, first.parts, first.contact_token) == (
        given[0].key,
        "It is [SEG]",
        ("left hand",),
        True,
    )
    assert (second.error, len(second.values)) == ("went wrong", 0)


def test_the_disk_moves_no_vertex_over_the_threshold(tmp_path: Path) -> None:
    near = np.array([0.5 - 1e-3, 0.5 - 1e-5, np.nextafter(np.float32(0.5), np.float32(0)), 0.5, 0.5 + 1e-6], np.float32)
    PredictionStore(tmp_path, {}).save(0, [Answer("a", ("binary", "", ""), near)])
    (answer,) = PredictionStore(tmp_path, {})
    np.testing.assert_array_equal(answer.values >= 0.5, near >= 0.5)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, {})
    (tmp_path / "part-00000.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(InputError, match=r"part-00000.safetensors: is damaged .* delete it and run again"):
        list(store)


def test_no_photos_in_a_batch_is_refused(make_samples, model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="photos_per_batch: is 0"):
        predict_all(model, asked(make_samples), tmp_path, photos_per_batch=0)

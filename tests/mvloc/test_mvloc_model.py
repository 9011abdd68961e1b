from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import CancelledError, CheckpointError, InputError, QuestionError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.mvloc.decoder import upsampled
from interactvlm.mvloc.encoder import ImageEncoder
from interactvlm.mvloc.human_mask_2d import HumanMask2D
from interactvlm.mvloc.model import ContactLocalizer
from interactvlm.mvloc.surfaces import Surface, SurfaceKind, SurfaceViews, object_views

Factory = Callable[..., ContactLocalizer]


@pytest.fixture(scope="module")
def localizer(
    tiny_checkpoint: Callable[..., Path], ball_body: BodyTemplate, tmp_path_factory: pytest.TempPathFactory
) -> Factory:
    cache = tmp_path_factory.mktemp("views")

    def build(**config: object) -> ContactLocalizer:
        return ContactLocalizer.from_folder(tiny_checkpoint(**config), body=ball_body, cache_dir=cache)

    return build


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 256)).astype(np.float32)


def test_answers_are_per_question(localizer: Factory, embeddings: np.ndarray, ball: Mesh) -> None:
    model = localizer(token_type="Gen-Hu-Obj")
    tokens = ["[HSEG]", "[SEG]", "[HSEG]", "[OSEG]", "[SEG]"]
    answers = model.locate_body(embeddings, tokens)
    assert [a.probabilities.shape for a in answers] == [(len(ball.vertices),)] * 5
    for i in (0, 1, 3):
        alone = model.locate_body(embeddings[i : i + 1], tokens[i : i + 1])[0]
        np.testing.assert_allclose(alone.probabilities, answers[i].probabilities, atol=1e-5)
        assert alone.view_logits is not None
        assert alone.view_logits.shape == (4, 32, 32)
        assert alone.view_logits.dtype == alone.probabilities.dtype == np.float32
    assert model.locate_body(embeddings[:0], []) == []


def test_tokens_take_their_side_of_the_splitter(localizer: Factory, embeddings: np.ndarray) -> None:
    model = localizer(token_type="Gen-Int")
    one = embeddings[:1]
    human, plain, shared = (model.prompts(SurfaceKind.BODY, one, [t]) for t in ("[HSEG]", "[SEG]", "[ISEG]"))
    assert torch.equal(human, shared)
    assert not torch.allclose(human, plain)
    on_object = model.prompts(SurfaceKind.OBJECT_MESH, one, ["[ISEG]"])
    assert torch.equal(on_object, model.prompts(SurfaceKind.OBJECT_MESH, one, ["[OSEG]"]))


def test_separate_decoders_answer_differently(localizer: Factory, embeddings: np.ndarray, ball: Mesh) -> None:
    separate, shared = localizer(token_type="Gen-DifDe"), localizer(token_type="Gen")
    surface = separate.body
    ours, _ = separate.masks(surface, embeddings[:1], ["[SEG]"])
    theirs, _ = shared.masks(surface, embeddings[:1], ["[SEG]"])
    assert not torch.allclose(ours, theirs)
    answer = separate.locate_object(ball, embeddings[:1], ["[SEG]"])[0]
    assert answer.probabilities.max() <= 1


@pytest.mark.parametrize("points", [False, True])
def test_object_answers_follow_its_vertices(
    localizer: Factory, embeddings: np.ndarray, ball: Mesh, points: bool
) -> None:
    model = localizer()
    order = np.random.default_rng(2).permutation(len(ball.vertices))
    renamed = np.empty(len(order), dtype=np.int32)
    renamed[order] = np.arange(len(order))
    if points:
        plain, other = PointCloud(ball.vertices), PointCloud(ball.vertices[order])
    else:
        plain, other = ball, Mesh(ball.vertices[order], renamed[ball.faces])
    first, second = (model.locate_object(t, embeddings[:1], ["[SEG]"])[0].probabilities for t in (plain, other))
    # Equal depths may be decided by the order: a few vertices may differ.
    assert (np.abs(first[order] - second) < 1e-3).mean() > 0.97


def test_encoder_stays_on_disk_while_the_cache_knows_the_body(
    tiny_checkpoint: Callable[..., Path],
    ball_body: BodyTemplate,
    ball: Mesh,
    embeddings: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tiny_checkpoint()
    first = ContactLocalizer.from_folder(folder, body=ball_body, cache_dir=tmp_path)
    expected = first.locate_body(embeddings, ["[SEG]"] * 5)
    first.locate_object(ball, embeddings[:1], ["[SEG]"])
    assert first.encoder_loaded
    monkeypatch.setattr(ImageEncoder, "load", lambda *_: pytest.fail("the encoder was loaded"))
    second = ContactLocalizer.from_folder(folder, body=ball_body, cache_dir=tmp_path)
    answers = second.locate_body(embeddings, ["[SEG]"] * 5)
    second.locate_object(ball, embeddings[:1], ["[SEG]"])
    assert not second.encoder_loaded
    for ours, theirs in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(ours.probabilities, theirs.probabilities)


def test_objects_in_memory_are_bounded(
    localizer: Factory, embeddings: np.ndarray, ball: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = localizer()
    prepared: list[str] = []
    prepare = ContactLocalizer.prepare

    def counted(self: ContactLocalizer, views: SurfaceViews, **options: Any) -> Surface:
        prepared.append(views.identity)
        return prepare(self, views, **options)

    monkeypatch.setattr(ContactLocalizer, "prepare", counted)
    targets = [Mesh(ball.vertices * [1, 1, 1 + 0.1 * i], ball.faces) for i in range(3)]
    size = prepare(model, object_views(targets[0], 128)).nbytes
    monkeypatch.setattr("interactvlm.mvloc.model._OBJECT_BYTES_IN_MEMORY", int(2.5 * size))
    for i in (0, 1, 0, 2, 0, 1):  # 2 pushes out 1, the one used longest ago
        model.locate_object(targets[i], embeddings[:1], ["[SEG]"])
    assert len(prepared) == 4


@pytest.mark.parametrize("on_body", [True, False])
def test_encoding_stops_between_views(
    tiny_checkpoint: Callable[..., Path],
    ball_body: BodyTemplate,
    embeddings: np.ndarray,
    ball: Mesh,
    tmp_path: Path,
    on_body: bool,
) -> None:
    model = ContactLocalizer.from_folder(tiny_checkpoint(), body=ball_body, cache_dir=tmp_path)
    locate = model.locate_body if on_body else partial(model.locate_object, ball)
    asked: list[bool] = []

    def after_two() -> bool:
        asked.append(len(asked) >= 2)
        return asked[-1]

    with pytest.raises(CancelledError):
        locate(embeddings[:1], ["[SEG]"], should_stop=after_two)
    assert asked == [False, False, True]
    assert len(locate(embeddings[:1], ["[SEG]"])) == 1  # nothing half-done was kept
    locate(embeddings[:1], ["[SEG]"], should_stop=after_two)  # and what is ready asks nobody
    assert len(asked) == 3


def test_half_precision_lifts_in_float32(
    tiny_checkpoint: Callable[..., Path], ball_body: BodyTemplate, embeddings: np.ndarray, tmp_path: Path
) -> None:
    model = ContactLocalizer.from_folder(tiny_checkpoint(), body=ball_body, dtype=torch.bfloat16, cache_dir=tmp_path)
    answer = model.locate_body(embeddings[:1], ["[SEG]"])[0]
    assert model.body.embeddings.dtype == torch.bfloat16
    assert answer.probabilities.dtype == np.float32
    assert np.isfinite(answer.probabilities).all()


@pytest.mark.parametrize(
    ("wrong", "tokens", "message"),
    [
        (np.zeros((1, 255), np.float32), ["[SEG]"], "must be floats"),
        (np.zeros((1, 256), np.int64), ["[SEG]"], "must be floats"),
        (np.zeros((2, 256), np.float32), ["[SEG]"], "are 1 for 2 embeddings"),
        (np.full((1, 256), np.nan, np.float32), ["[SEG]"], "not finite"),
    ],
)
def test_malformed_embeddings_are_refused(
    localizer: Factory, wrong: np.ndarray, tokens: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        localizer().locate_body(wrong, tokens)


def test_heads_that_do_not_exist_are_refused(localizer: Factory, embeddings: np.ndarray, ball: Mesh) -> None:
    with pytest.raises(QuestionError, match="no human head"):
        localizer(hC_loss_weight=0.0).locate_body(embeddings[:1], ["[SEG]"])
    with pytest.raises(QuestionError, match="no object head"):
        localizer(oC_loss_weight=0.0).locate_object(ball, embeddings[:1], ["[SEG]"])


@pytest.mark.parametrize("size", [(128, 128), (90, 200), (300, 40), (1, 7)])
def test_human_mask_in_the_photos_pixels(
    tiny_checkpoint: Callable[..., Path], embeddings: np.ndarray, size: tuple[int, int]
) -> None:
    model = HumanMask2D.from_folder(tiny_checkpoint(multiview_channels=1, multiview_cam_cond=False))
    photo = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    logits = model.predict(photo, embeddings[:2], ["[SEG]"] * 2)
    assert logits.shape == (2, *size)
    np.testing.assert_allclose(model.predict(photo, embeddings[1:2], ["[SEG]"])[0], logits[1], atol=1e-4)
    assert model.predict(photo, embeddings[:0], []).shape == (0, *size)


def test_human_mask_does_not_see_the_padding_as_photo(
    tiny_checkpoint: Callable[..., Path], embeddings: np.ndarray
) -> None:
    from interactvlm.checkpoints.reader import WeightReader
    from interactvlm.mvloc.decoder import MaskPredictor
    from interactvlm.mvloc.encoder import sam_input

    folder = tiny_checkpoint(multiview_channels=1, multiview_cam_cond=False)
    photo = np.random.default_rng(1).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    logits = HumanMask2D.from_folder(folder).predict(photo, embeddings[:1], ["[SEG]"])
    reader, cpu = WeightReader(folder), torch.device("cpu")
    view = ImageEncoder.load(reader, cpu, torch.float32).encode(sam_input(photo, 128)[0][None])
    prefix = "model.visual_model.mask_decoder."
    predictor = MaskPredictor.load(reader, decoder_prefix=prefix, grid=8, device=cpu, dtype=torch.float32)
    with torch.inference_mode():
        low_res, _ = predictor(view, torch.from_numpy(embeddings[:1])[:, None])
    np.testing.assert_allclose(logits[0], upsampled(low_res, 128)[0, 0, :64], atol=1e-5)


def test_one_view_and_four_view_checkpoints_are_not_confused(
    tiny_checkpoint: Callable[..., Path], ball_body: BodyTemplate, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="multiview_channels 1"):
        ContactLocalizer.from_folder(tiny_checkpoint(multiview_channels=1), body=ball_body, cache_dir=tmp_path)
    with pytest.raises(CheckpointError, match="answers in 4 views"):
        HumanMask2D.from_folder(tiny_checkpoint())

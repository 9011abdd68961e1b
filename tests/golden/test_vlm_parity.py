"""The released models' vision-language part against recorded numbers: features, states, ids, embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from interactvlm.checkpoints.reader import WeightReader
from interactvlm.config import Settings
from interactvlm.loading import load_language, open_checkpoint
from interactvlm.types import ContactAnswer, Question, Task
from interactvlm.vlm.decoding import Prefix, decode_greedily, prefill_prefixes
from interactvlm.vlm.model import ContactVLM
from interactvlm.vlm.network import official_parameters

Arrays = dict[str, np.ndarray]
Samples = dict[str, list[tuple[dict[str, Any], Arrays]]]
RELEASES = ["contact", "joint", "oafford"]
IMAGE = -200
TOLERANCE = 1e-4
MV_LOC = ("model.visual_model.", "cam_pose_encoder.", "attention_splitter.")


@pytest.fixture(scope="module")
def load(only: Callable[[str], Path], release: dict[str, Path]) -> Callable[..., ContactVLM]:
    loaded: dict[str, ContactVLM] = {}

    def get(name: str, dtype: str = "float32") -> ContactVLM:
        key = f"{name} {dtype}"
        if key not in loaded:
            settings = Settings(
                model=str(release[name]),
                vision_tower=str(only("clip-vit-*")),
                device="cpu",
                dtype=dtype,
                object_question="demo",
            )
            loaded[key] = load_language(open_checkpoint(settings))
        return loaded[key]

    return get


def _photo(golden: Path, sample: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(golden / "images" / sample["image"]).convert("RGB"))


def _question(sample: dict[str, Any]) -> Question:
    return Question(Task.SEMANTIC if sample["mode"] == "hcontact" else Task.OBJECT, sample["object"])


def _embed(vlm: ContactVLM, ids: np.ndarray, photo: np.ndarray) -> torch.Tensor:
    """Embeddings [1, L, h] of recorded ids with the image in its place."""
    at = ids.tolist().index(IMAGE)
    words = torch.from_numpy(ids.astype(np.int64))
    parts = [vlm.network.embed(words[:at])[None], vlm.image_tokens([photo]), vlm.network.embed(words[at + 1 :])[None]]
    return torch.cat(parts, dim=1)


def _prefix(vlm: ContactVLM, sample: dict[str, Any], photo: np.ndarray) -> tuple[Prefix, list[int]]:
    prompt = vlm.prompt(_question(sample))
    return vlm.read_photos([photo], prompt), vlm.tokenizer.encode(prompt.after_image)


@pytest.mark.parametrize("name", RELEASES)
def test_every_tensor_is_accounted_for(release: dict[str, Path], load: Callable[[str], ContactVLM], name: str) -> None:
    reader = WeightReader(release[name])
    wanted = official_parameters(load(name).config)
    rest = set(reader.names()) - set(wanted)
    assert {n: reader.shape(n) for n in wanted} == wanted
    assert all(n.startswith(MV_LOC) or n.endswith("rotary_emb.inv_freq") for n in rest)


@pytest.mark.parametrize("name", RELEASES)
@torch.inference_mode()
def test_image_side(golden: Path, samples: Samples, load: Callable[[str], ContactVLM], name: str) -> None:
    vlm = load(name)
    photos = [_photo(golden, sample) for sample, _ in samples[name]]
    pixels = vlm.vision.preprocessor(photos)
    features = vlm.vision(torch.from_numpy(pixels))
    projected = vlm.image_tokens(photos)
    for i, (_, arrays) in enumerate(samples[name]):
        np.testing.assert_allclose(pixels[i][:, ::8, ::8], arrays["clip_pixels_s8"], atol=1e-6)
        stats = [[c.mean(), c.std(ddof=1), c.min(), c.max()] for c in pixels[i].astype(np.float64)]
        np.testing.assert_allclose(stats, arrays["clip_pixels_stats"], atol=1e-6)
        np.testing.assert_allclose(features[i, ::4], arrays["clip_features_s4"], atol=TOLERANCE)
        np.testing.assert_allclose(projected[i, ::4], arrays["image_features_s4"], atol=TOLERANCE)


@pytest.mark.parametrize("name", RELEASES)
@torch.inference_mode()
def test_logits_and_margins(golden: Path, samples: Samples, load: Callable[[str], ContactVLM], name: str) -> None:
    vlm = load(name)
    for sample, arrays in samples[name]:
        photo = _photo(golden, sample)
        prefix, question = _prefix(vlm, sample, photo)
        cache = prefix.cache.spread([0], length=prefix.length, capacity=prefix.length + len(question))
        embedded = vlm.network.embed(torch.tensor([question]))
        states = vlm.network.model(embedded, starts=[prefix.length], cache=cache)
        logits = vlm.network.logits(states[0, -1])
        assert len(logits) == vlm.config.vocab_size
        np.testing.assert_allclose(logits, arrays["prefill_last_logits"], atol=TOLERANCE)

        # The recorded answer fed at once, without a cache: every step's two best scores.
        whole = vlm.network.model(_embed(vlm, arrays["output_ids"], photo))[0]
        steps = len(arrays["step_top2_margin"])
        best = vlm.network.logits(whole[-steps - 1 : -1]).topk(2).values
        np.testing.assert_allclose(best[:, 0] - best[:, 1], arrays["step_top2_margin"], atol=TOLERANCE)


@pytest.mark.parametrize("name", RELEASES)
@torch.inference_mode()
def test_official_generate(golden: Path, samples: Samples, load: Callable[[str], ContactVLM], name: str) -> None:
    vlm = load(name)
    for sample, arrays in samples[name]:
        prefix, question = _prefix(vlm, sample, _photo(golden, sample))
        ids = arrays["input_ids"].tolist()
        assert question == ids[ids.index(IMAGE) + 1 :]
        stop = frozenset({vlm.config.eos_token_id})
        (answer,) = decode_greedily(vlm.network, prefix, [question], photo_of=[0], stop_tokens=stop, max_new_tokens=100)
        assert [*ids, *answer.tokens] == arrays["output_ids"].tolist()
        assert vlm.tokenizer.decode(answer.tokens) == sample["generated_text"]


@pytest.mark.parametrize("name", RELEASES)
@torch.inference_mode()
def test_state_at_the_contact_token(
    golden: Path, samples: Samples, load: Callable[[str], ContactVLM], name: str
) -> None:
    vlm = load(name)
    for sample, arrays in samples[name]:
        prefix, question = _prefix(vlm, sample, _photo(golden, sample))
        (answer,) = decode_greedily(
            vlm.network,
            prefix,
            [question],
            photo_of=[0],
            stop_tokens=frozenset(vlm.contact_tokens.values()),
            max_new_tokens=64,
        )
        assert len(arrays["input_ids"]) + len(answer.tokens) - 1 == int(arrays["seg_index"])
        assert answer.state is not None
        np.testing.assert_allclose(answer.state, arrays["gen_hidden_seg"], atol=TOLERANCE)


@pytest.mark.parametrize("name", RELEASES)
@torch.inference_mode()
def test_teacher_forced_states(golden: Path, samples: Samples, load: Callable[[str], ContactVLM], name: str) -> None:
    vlm = load(name)
    kinds = []
    for sample, arrays in samples[name]:
        for kind in ("forced", "segtok"):
            if f"{kind}_input_ids" not in arrays:
                continue
            kinds.append(kind)
            ids = arrays[f"{kind}_input_ids"]
            tokens = list(vlm.contact_tokens.values())
            (at,) = [i for i, index in enumerate(ids.tolist()) if index in tokens]
            states = vlm.network.model(_embed(vlm, ids, _photo(golden, sample)))[0]
            state = states[at - 1 + vlm.config.img_emb_len]
            np.testing.assert_allclose(state, arrays[f"{kind}_hidden_seg"], atol=TOLERANCE)
            np.testing.assert_allclose(vlm.network.contact_embedding(state), arrays[f"{kind}_E"], atol=TOLERANCE)
    assert kinds.count("forced") == len(samples[name])
    assert name != "joint" or "segtok" in kinds


@pytest.mark.parametrize("name", RELEASES)
def test_answers(golden: Path, samples: Samples, load: Callable[[str], ContactVLM], name: str) -> None:
    vlm = load(name)
    photos = [_photo(golden, sample) for sample, _ in samples[name]]
    questions = [[_question(sample)] for sample, _ in samples[name]]
    normal = vlm.answer(photos, questions)
    fast = vlm.answer(photos, questions, fast=True)
    for (sample, arrays), (answer,), (forced,) in zip(samples[name], normal, fast, strict=True):
        assert answer.embedding is not None
        assert forced.embedding is not None
        np.testing.assert_allclose(answer.embedding, arrays["gen_E"], atol=TOLERANCE)
        np.testing.assert_allclose(forced.embedding, arrays["forced_E"], atol=TOLERANCE)
        assert sample["generated_text"].startswith(answer.text)
        assert sample["forced_answer"] == f"{forced.text}."
        assert answer.text.endswith(str(answer.token))
        assert 0 < answer.confidence <= 1
        assert answer.generated_tokens == int(arrays["seg_index"]) - len(arrays["input_ids"]) + 1


@pytest.mark.parametrize("name", RELEASES)
def test_batches_equal_single_questions(
    golden: Path, samples: Samples, load: Callable[[str], ContactVLM], name: str
) -> None:
    vlm = load(name)
    photos = {sample["image"]: _photo(golden, sample) for sample, _ in samples[name]}
    names = [sample["object"] for sample, _ in samples[name]]
    tasks = [
        t for t, head in ((Task.SEMANTIC, vlm.config.has_human_head), (Task.OBJECT, vlm.config.has_object_head)) if head
    ]
    several = [Question(task, object_name) for object_name in dict.fromkeys([*names, "cup"]) for task in tasks]
    questions = [several, [], several[:1], several[::-1]]
    shown = [list(photos.values())[i % len(photos)] for i in range(len(questions))]
    together = vlm.answer(shown, questions)
    assert list(map(len, together)) == list(map(len, questions))
    for photo, asked, answers in zip(shown, questions, together, strict=True):
        for question, answer in zip(asked, answers, strict=True):
            ((alone,),) = vlm.answer([photo], [[question]])
            _assert_same(answer, alone)


def _assert_same(a: ContactAnswer, b: ContactAnswer) -> None:
    assert (a.text, a.token, a.parts, a.affordance, a.generated_tokens) == (
        b.text, b.token, b.parts, b.affordance, b.generated_tokens,
    )  # fmt: skip
    assert a.confidence == pytest.approx(b.confidence, abs=1e-4)
    assert (a.embedding is None) == (b.embedding is None)
    if a.embedding is not None and b.embedding is not None:
        np.testing.assert_allclose(a.embedding, b.embedding, atol=TOLERANCE)


def test_bfloat16_stays_close(golden: Path, samples: Samples, load: Callable[..., ContactVLM]) -> None:
    # Random weights exaggerate rounding: ids equal, embeddings nearly parallel, no more is asked.
    recorded = np.load(golden / "contact_expected" / "bf16_sample_0.npz")
    vlm = load("contact", "bfloat16")
    sample, arrays = samples["contact"][0]
    ((answer,),) = vlm.answer([_photo(golden, sample)], [[_question(sample)]])
    prompt = len(arrays["input_ids"])
    seg = recorded["output_ids"].tolist().index(vlm.contact_tokens["[SEG]"])
    assert answer.generated_tokens == seg - prompt + 1
    assert answer.text == vlm.tokenizer.decode(recorded["output_ids"][prompt : seg + 1].tolist())
    assert answer.embedding is not None
    for other in (recorded["gen_E"], arrays["gen_E"]):
        cosine = answer.embedding @ other / np.linalg.norm(answer.embedding) / np.linalg.norm(other)
        assert cosine > 0.999


def test_prefix_is_the_recorded_one(golden: Path, samples: Samples, load: Callable[[str], ContactVLM]) -> None:
    vlm = load("contact")
    for sample, arrays in samples["contact"]:
        ids = arrays["input_ids"]
        until = ids.tolist().index(IMAGE) + 1
        photo = _photo(golden, sample)
        with torch.inference_mode():
            recorded = prefill_prefixes(vlm.network, _embed(vlm, ids[:until], photo))
            ours = vlm.read_photos([photo], vlm.prompt(_question(sample)))
        assert ours.length == recorded.length == until + vlm.config.img_emb_len
        torch.testing.assert_close(ours.cache.keys[-1], recorded.cache.keys[-1])

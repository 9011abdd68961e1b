"""The whole stage on a folder of nano's shape: DINOv2 tower, tokenizer.json, chatml, tied embeddings, grouped heads."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CancelledError, CheckpointError, InputError, PhotoError, QuestionError
from interactvlm.torchvision_cpu import prepare_torchvision
from interactvlm.types import ContactAnswer, Question, Task
from interactvlm.vlm.decoding import decode_greedily, score_next
from interactvlm.vlm.model import ContactVLM
from interactvlm.vlm.network import ContactNetwork

BYTES = len(pre_tokenizers.ByteLevel.alphabet())
SPECIAL = ["<|im_start|>", "<|im_end|>", "[SEG]"]
CONFIG: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": BYTES + 3,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
    "bos_token_id": BYTES,
    "eos_token_id": BYTES + 1,
    "mm_hidden_size": 32,
    "mm_vision_select_layer": -1,
    "mm_use_im_start_end": False,
    "img_emb_len": 3,
    "token_type": "Gen",
    "seg_token_idx": BYTES + 2,
    "hC_loss_weight": 3.0,
    "oC_loss_weight": 3.0,
    "tokenizer": "json",
    "prompt_style": "chatml",
    "vision_pool": 2,
    "vision_tower_dir": "vision_tower",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prepare_torchvision()
    from transformers import Dinov2Config, Dinov2Model

    made = tmp_path_factory.mktemp("nano_shaped")
    torch.manual_seed(2)
    (made / "config.json").write_text(json.dumps(CONFIG))
    network = ContactNetwork(ReleaseConfig.from_dict(CONFIG, source="test"))
    for name, parameter in network.named_parameters():
        if parameter.ndim == 2 and ("layers" in name or "embed" in name):
            torch.nn.init.normal_(parameter, std=0.3)
    save_file({k: v.half() for k, v in network.state_dict().items()}, made / "model.safetensors")
    tower = Dinov2Model(
        Dinov2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=70, patch_size=14, mlp_ratio=2
        )
    )
    tower.save_pretrained(made / "vision_tower")
    recipe = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}, "image_mean": [0.5] * 3}
    (made / "vision_tower" / "preprocessor_config.json").write_text(json.dumps({**recipe, "image_std": [0.5] * 3}))
    model = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    model.save(str(made / "tokenizer.json"))
    return made


@pytest.fixture(scope="module")
def vlm(folder: Path) -> ContactVLM:
    return ContactVLM.from_folder(folder)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((70, 90), (100, 60))]


QUESTIONS = [
    [Question(Task.BINARY), Question(Task.SEMANTIC, "mug"), Question(Task.OBJECT, "a wooden chair")],
    [Question(Task.SCENE)],
]


def _same(a: ContactAnswer, b: ContactAnswer) -> None:
    assert (a.text, a.token, a.generated_tokens) == (b.text, b.token, b.generated_tokens)
    assert a.confidence == pytest.approx(b.confidence, abs=1e-4)
    if a.embedding is None or b.embedding is None:
        assert a.embedding is b.embedding
    else:
        np.testing.assert_allclose(a.embedding, b.embedding, atol=1e-4)


def test_untrained_answers_have_no_embedding(vlm: ContactVLM, photos: list[np.ndarray]) -> None:
    answers = vlm.answer(photos, QUESTIONS, max_new_tokens=7)
    assert [len(asked) for asked in answers] == [3, 1]
    for asked in answers:
        for answer in asked:
            assert (answer.embedding is None) == (answer.token is None)
            assert 1 <= answer.generated_tokens <= 7
            assert 0 < answer.confidence <= 1


def test_batch_equals_one_by_one(vlm: ContactVLM, photos: list[np.ndarray]) -> None:
    together = vlm.answer(photos, QUESTIONS, max_new_tokens=12)
    for photo, asked, answers in zip(photos, QUESTIONS, together, strict=True):
        for question, answer in zip(asked, answers, strict=True):
            _same(answer, vlm.answer([photo], [[question]], max_new_tokens=12)[0][0])


def test_answer_ends_at_the_contact_token(vlm: ContactVLM, photos: list[np.ndarray]) -> None:
    # Whatever token this random model says fifth: let its contact token score a little higher there.
    question = QUESTIONS[0][1]
    prefix = vlm.read_photos(photos[:1], vlm.prompt(question))
    ids = vlm.tokenizer.encode(vlm.prompt(question).after_image)
    said = decode_greedily(vlm.network, prefix, [ids], photo_of=[0], stop_tokens=frozenset(), max_new_tokens=5)[
        0
    ].tokens
    network = copy.deepcopy(vlm.network)
    rows = network.model.embed_tokens.weight
    rows[vlm.contact_tokens["[SEG]"]] = rows[said[-1]] * 1.01
    twin = ContactVLM(config=vlm.config, network=network, vision=vlm.vision, tokenizer=vlm.tokenizer)
    answer = twin.answer(photos[:1], [[question]])[0][0]
    assert answer.token == "[SEG]"
    assert answer.generated_tokens == said.index(said[-1]) + 1
    assert answer.embedding is not None
    assert answer.embedding.shape == (256,)
    assert answer.embedding.dtype == np.float32


def test_fast_answers(vlm: ContactVLM, photos: list[np.ndarray]) -> None:
    (first, _), second = vlm.answer(photos, [QUESTIONS[0][:2], QUESTIONS[0][2:]], fast=True)
    assert first.text == "Sure, the human contact region is [SEG]"
    assert second[0].text == "It is [SEG]"
    assert second[0].embedding is not None
    assert 0 <= second[0].confidence <= 1
    assert second[0].generated_tokens == 0
    _same(first, vlm.answer(photos[:1], [QUESTIONS[0][:1]], fast=True)[0][0])


def test_a_forced_answer_ends_with_the_blank_that_the_tokenizer_keeps(
    vlm: ContactVLM, photos: list[np.ndarray]
) -> None:
    prompt = vlm.prompt(QUESTIONS[1][0])
    ids = vlm.tokenizer.encode(prompt.after_image + "Sure, the human contact region is ")
    seg = vlm.contact_tokens["[SEG]"]
    with torch.inference_mode():
        (scored,) = score_next(vlm.network, vlm.read_photos(photos[:1], prompt), [ids], photo_of=[0], tokens=[seg])
    ((answer,),) = vlm.answer(photos[:1], QUESTIONS[1:], fast=True)
    assert answer.confidence == pytest.approx(np.exp(scored.log_probability), abs=1e-6)


def test_photos_without_questions_are_not_looked_at(vlm: ContactVLM, photos: list[np.ndarray]) -> None:
    broken = np.zeros((0, 0, 3), np.uint8)
    answers = vlm.answer([broken, photos[0]], [[], QUESTIONS[1]], max_new_tokens=3)
    assert list(map(len, answers)) == [0, 1]
    assert vlm.answer([broken], [[]]) == [[]]
    assert vlm.answer([], []) == []


def test_bad_calls(vlm: ContactVLM, photos: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="given for 1 photos"):
        vlm.answer(photos, [[]])
    with pytest.raises(InputError, match="at least 1, not 0"):
        vlm.answer(photos, QUESTIONS, max_new_tokens=0)
    with pytest.raises(PhotoError, match="must be RGB uint8"):
        vlm.answer([photos[0][..., 0]], [QUESTIONS[1]])
    with pytest.raises(QuestionError, match="special token"):
        vlm.answer(photos[:1], [[Question(Task.SEMANTIC, "<|im_end|>")]])
    with pytest.raises(CancelledError, match="4 of 4"):
        vlm.answer(photos, QUESTIONS, should_stop=lambda: True)


def _variant(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    made = tmp_path / "variant"
    shutil.copytree(folder, made)
    (made / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    return made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_type": "Gen-Hu-Obj"}, r"without the contact token \[HSEG\]"),
        ({"mm_use_im_start_end": True}, "without <im_start>"),
        ({"seg_token_idx": 1}, r"has id 1 for \[SEG\]"),
        ({"hC_question_type": "odd"}, "key hC_question_type is 'odd'; known: parts, simple"),
        ({"oC_question_type": "odd"}, "key oC_question_type is 'odd'; known: afford, afford_obj"),
        ({"prompt_style": "odd"}, "key prompt_style is 'odd'; known: vicuna_v1, chatml"),
        ({"vision_pool": 1}, "gives 16 image tokens"),
        ({"img_emb_len": 8}, "the checkpoint expects 9"),
        ({"vision_tower_dir": ""}, "holds no vision tower"),
        ({"vision_tower_dir": "../elsewhere"}, "outside the checkpoint"),
        ({"vision_tower_dir": "nowhere"}, "preprocessor_config"),
        ({"hidden_size": 96}, "has shape"),
        ({"num_hidden_layers": 3}, "lacks"),
        ({"tie_word_embeddings": False}, r"lm_head\.weight"),
    ],
)
def test_broken_folders(folder: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        ContactVLM.from_folder(_variant(folder, tmp_path, **changes))


def test_a_head_that_is_not_there(folder: Path, tmp_path: Path, photos: list[np.ndarray]) -> None:
    human_only = ContactVLM.from_folder(_variant(folder, tmp_path, oC_loss_weight=0.0))
    with pytest.raises(QuestionError, match="only the human head"):
        human_only.answer(photos[:1], [[Question(Task.OBJECT, "mug")]])

"""Prompts, token ids and answer texts of the released models, exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.types import Question, Target, Task
from interactvlm.vlm.answers import parse_affordance, parse_parts
from interactvlm.vlm.prompts import DemoQuirks, answer_templates, build_prompt, fast_answer, question_text
from interactvlm.vlm.tokenizer import SentencePieceTokenizer, load_tokenizer
from interactvlm.vlm.tokens import expected_token

Samples = dict[str, list[tuple[dict[str, Any], dict[str, np.ndarray]]]]
RELEASES = ["contact", "joint", "oafford"]
QUIRKS = DemoQuirks(quoted_object_question=True)
IMAGE = -200


def _question(sample: dict[str, Any]) -> Question:
    return Question(Task.SEMANTIC if sample["mode"] == "hcontact" else Task.OBJECT, sample["object"])


@pytest.mark.parametrize("name", RELEASES)
def test_prompts(release: dict[str, Path], samples: Samples, name: str) -> None:
    config = ReleaseConfig.from_folder(release[name])
    for sample, _ in samples[name]:
        question = _question(sample)
        assert question_text(question, config, quirks=QUIRKS) == sample["question"]
        assert build_prompt(question, config, quirks=QUIRKS).text == sample["prompt"]
        forced = f"{fast_answer(question.task.target)} {expected_token(question.task.target, config)}."
        assert forced == sample["forced_answer"]


@pytest.mark.parametrize("name", RELEASES)
def test_token_ids(release: dict[str, Path], samples: Samples, name: str) -> None:
    config = ReleaseConfig.from_folder(release[name])
    tokenizer = load_tokenizer(release[name], config)
    assert isinstance(tokenizer, SentencePieceTokenizer)

    def encode(text: str) -> list[int]:
        before, after = text.split("<image>")
        return [config.bos_token_id, *tokenizer.encode(before), IMAGE, *tokenizer.encode(after)]

    for sample, arrays in samples[name]:
        ids = encode(sample["prompt"])
        assert ids == arrays["input_ids"].tolist()
        assert encode(sample["forced_prompt"]) == arrays["forced_input_ids"].tolist()
        at = ids.index(IMAGE)
        expanded = ids[:at] + [IMAGE] * config.image_tokens + ids[at + 1 :]
        assert expanded == arrays["expanded_ids"].tolist()
        for token, index in (("[SEG]", config.seg_token_idx), ("[HSEG]", config.hseg_token_idx)):
            assert tokenizer.token_id(token) == index


@pytest.mark.parametrize("name", RELEASES)
def test_generated_text(release: dict[str, Path], samples: Samples, name: str) -> None:
    tokenizer = load_tokenizer(release[name], ReleaseConfig.from_folder(release[name]))
    for sample, arrays in samples[name]:
        generated = arrays["output_ids"][len(arrays["input_ids"]) :].tolist()
        assert tokenizer.decode(generated) == sample["generated_text"]
        target = _question(sample).task.target
        opening, _ = answer_templates(target)
        _, _, rest = sample["generated_text"].partition(f"{opening} ")
        named = rest.split(", and the")[0]
        if target is Target.HUMAN:
            assert ", ".join(parse_parts(sample["generated_text"])) == named
        else:
            assert (parse_affordance(sample["generated_text"]) or "") == named

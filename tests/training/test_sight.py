from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from interactvlm.body.parts import PART_NAMES
from interactvlm.datasets.sample import ContactSample, HumanContact
from interactvlm.errors import CheckpointError, InteractVLMError
from interactvlm.training.config import PhasePart
from interactvlm.training.phase import Phase
from interactvlm.training.saving import latest_checkpoint
from interactvlm.training.sight.batches import SightBatches, cell_shares, token_words
from interactvlm.training.sight.heads import SightHeads
from interactvlm.training.sight.photos import CELL, SightPhoto, see
from interactvlm.training.sight.run import sight_phase
from interactvlm.training.sight.words import THINGS, WordVectors
from interactvlm.types import Box, Task
from interactvlm.vlm.preprocess import PhotoPreprocessor
from interactvlm.vlm.projector import BlockProjector

HIDDEN, WIDTH, CELLS = 24, 8, 8
CUP, PERSON = THINGS.index("cup") + 1, THINGS.index("person") + 1
PART_INDEX = np.arange(150, dtype=np.uint8) // 10  # ten vertices a part
LEFT, RIGHT = PART_NAMES.index("left hand"), PART_NAMES.index("right hand")
PREPROCESSOR = PhotoPreprocessor(shortest_edge=32, crop_size=32, mean=(0.5,) * 3, std=(0.5,) * 3)


class Letters:
    """A tokenizer of letters."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) % 64 for letter in text]


@pytest.fixture(scope="session")
def words() -> WordVectors:
    table = torch.randn(64, HIDDEN, generator=torch.Generator().manual_seed(3))
    return WordVectors(table, Letters())  # type: ignore[arg-type]


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def scene(masks: NDArray[np.uint8], part: int, *, person: Box | None = None) -> tuple[ContactSample, dict[str, Any]]:
    """A photo with a person (1) and a mug (2) that a part of the body touches."""
    touched = np.arange(10 * part, 10 * part + 10, dtype=np.int32)
    none = np.zeros(0, np.int32)
    sample = ContactSample(
        sample_id=str(part),
        photo=png(np.repeat(masks[..., None], 3, axis=2) * 60),
        person=person,
        human=(
            HumanContact(Task.BINARY, "", touched, "anny"),
            HumanContact(Task.SEMANTIC, "mug", touched, "anny"),
            HumanContact(Task.SEMANTIC, "chair", none, "anny"),
            HumanContact(Task.SCENE, "", none, "anny"),
        ),
    )
    return sample, {"masks": png(masks), "people": 1, "names": ["mug"]}


def known(masks: NDArray[np.uint8], part: int = LEFT, **options: Any) -> SightPhoto:
    sample, geometry = scene(masks, part, **options)
    return see(sample, geometry, preprocessor=PREPROCESSOR, cells=CELLS, part_index=PART_INDEX)


def test_what_is_asked_and_what_touches() -> None:
    photo = known(np.zeros((40, 40), np.uint8))
    assert photo.names == ("any object", "mug", "chair", "scene")
    wanted = np.zeros((4, 16), np.float32)
    wanted[:2, [LEFT, 15]] = 1
    assert np.array_equal(photo.contacts, wanted)


def test_masks_are_cut_out_as_the_tower_sees_the_photo() -> None:
    # Twice as wide as high: the tower sees the middle square, columns 20 to 60 of 80.
    masks = np.zeros((40, 80), np.uint8)
    masks[:, :30] = 1
    masks[20:, 50:] = 2
    photo = known(masks)
    assert photo.shown is not None
    assert photo.touched is not None
    side = CELLS * CELL
    assert photo.shown.shape == (side, side)
    assert (photo.shown[:, : side // 4] == PERSON).all()
    assert (photo.shown[: side // 2, side // 4 :] == 0).all()
    assert (photo.shown[side // 2 :, 3 * side // 4 :] == CUP).all()  # a mug is a cup
    assert (photo.touched == np.where(photo.shown == CUP, 1 << LEFT, 0)).all()
    # The same around a person's box: half as much again as its longer side, here a square of 30 from (5, 5).
    boxed = known(masks, person=Box(10, 10, 30, 30))
    assert boxed.shown is not None
    assert (boxed.shown[:, : int(25 / 30 * side)] == PERSON).all()
    assert (boxed.shown[:, int(25 / 30 * side) + 1 :] == 0).all()


def test_shares_of_cells_and_words_of_image_tokens() -> None:
    masks = np.zeros((32, 32), np.uint8)  # one pixel a sample
    masks[:4, :4], masks[0, 4], masks[16:, 16:] = 1, 2, 1
    photo = known(masks, RIGHT)
    shares = cell_shares(photo)
    assert shares.shape == (64, 1 + len(THINGS))
    assert torch.allclose(shares.sum(1), torch.ones(64))
    assert shares[0, PERSON] == 1
    assert shares[1, CUP] == pytest.approx(1 / 16)
    tokens = token_words(photo, merge=2)  # 16 tokens of 8 x 8 samples
    assert tokens.shape == (16, len(THINGS) + 15)
    wanted = torch.zeros_like(tokens)
    for token in (0, 10, 11, 14, 15):
        wanted[token, PERSON - 1] = 1
    assert torch.equal(tokens, wanted)  # one sample of 64 is too little for a word
    masks[0, 4:8] = 2
    wanted[0, [CUP - 1, len(THINGS) + RIGHT]] = 1
    assert torch.equal(token_words(known(masks, RIGHT), merge=2), wanted)


def test_questions_do_not_see_each_other_nor_other_photos(words: WordVectors) -> None:
    torch.manual_seed(1)
    heads = SightHeads(words, width=WIDTH).eval()
    tokens = torch.randn(2, 16, HIDDEN)
    names = torch.stack([words(name) for name in ("cup", "chair", "cup")])
    together = heads.answers(tokens, torch.tensor([0, 0, 1]), names)
    alone = torch.cat([heads.answers(tokens[[p]], torch.tensor([0]), names[[i]]) for i, p in enumerate((0, 0, 1))])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[0], together[2], atol=1e-3)


@dataclass
class Learning:
    phase: Phase
    heads: SightHeads
    projector: BlockProjector
    batches: SightBatches

    @property
    def loss(self) -> float:
        return self.heads(self.projector, self.batches.draw(0)).total.item()

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        return {**self.projector.state_dict(), **self.heads.state_dict()}


@pytest.fixture
def learning(tmp_path: Path, words: WordVectors) -> Callable[..., Learning]:
    """Four photos, one of them known by its contacts alone; features tell where the mug is and which hand holds it."""
    scenes = []
    for index, part in enumerate((LEFT, RIGHT, LEFT, RIGHT)):
        masks = np.zeros((32, 32), np.uint8)
        masks[:, :16], masks[8 * index : 8 * index + 8, 16:] = 1, 2
        scenes.append(scene(masks, part))
    samples = [sample for sample, _ in scenes]
    features = torch.randn(4, 16, 4 * WIDTH, generator=torch.Generator().manual_seed(5))

    def known_of(_: object, i: int) -> SightPhoto:
        geometry = scenes[i][1] if i else None
        return see(samples[i], geometry, preprocessor=PREPROCESSOR, cells=CELLS, part_index=PART_INDEX)

    def make(folder: str = "sight", *, recipe: str = "one") -> Learning:
        torch.manual_seed(2)
        projector = BlockProjector(blocks=1, tokens=16, merge=2, width=4 * WIDTH, hidden=HIDDEN)
        heads = SightHeads(words, width=WIDTH)
        batches = SightBatches(
            [samples],
            [1],
            photos=4,
            seed=0,
            features=lambda some: [features[samples.index(sample)] for sample in some],
            see=known_of,
            words=words,
            merge=2,
        )
        phase = sight_phase(
            projector=projector,
            heads=heads,
            batches=batches,
            held_out=batches,
            part=PhasePart(steps=6, photos=4, rate=3e-3, warmup=2),
            folder=tmp_path / folder,
            precision="float32",
            save_every=2,
            writes=True,
            recipe=recipe,
        )
        return Learning(phase, heads, projector, batches)

    return make


def test_it_learns_and_resumes_exactly(learning: Callable[..., Learning], tmp_path: Path) -> None:
    straight = learning("straight")
    first_loss = straight.loss
    assert straight.phase.run().step == 6
    assert straight.phase.done
    assert straight.loss < 0.8 * first_loss
    last = json.loads((tmp_path / "straight" / "log.jsonl").read_text().splitlines()[-1])
    assert last["kind"] == "validation"
    assert {"part_f1", "touched_acc"} < last.keys()

    begun = learning("pieces")
    draw, steps = begun.batches.draw, iter(range(9))

    def three(step: int) -> Any:
        if next(steps) == 3:
            raise KeyboardInterrupt
        return draw(step)

    begun.batches.draw = three  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        begun.phase.run()
    assert not begun.phase.done
    resumed = learning("pieces")
    assert resumed.phase.run().step == 6
    for name, tensor in straight.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name


def test_what_was_learned_is_loaded_by_its_own_recipe_only(learning: Callable[..., Learning]) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        learning().phase.load()
    trained = learning()
    trained.phase.run()
    loaded = learning()
    loaded.phase.load()
    assert all(torch.equal(tensor, loaded.tensors[name]) for name, tensor in trained.tensors.items())
    with pytest.raises(CheckpointError, match="another recipe"):
        learning(recipe="two").phase.load()


def test_time_can_be_limited_in_a_phase(learning: Callable[..., Learning], tmp_path: Path) -> None:
    assert learning().phase.run(minutes=0).step == 0
    assert latest_checkpoint(tmp_path / "sight") is None


def test_a_loss_that_is_not_finite_ends_a_phase(learning: Callable[..., Learning]) -> None:
    broken = learning()
    torch.nn.init.constant_(broken.projector.linear.bias, torch.nan)
    with pytest.raises(InteractVLMError, match="not finite at step 0"):
        broken.phase.run()


def test_scores_count_parts_and_touch(learning: Callable[..., Learning]) -> None:
    made = learning()
    batch = made.batches.first(4)
    made.heads.answers = lambda *_: torch.where(batch.contacts > 0, 5.0, -5.0)  # type: ignore[method-assign, assignment]
    assert made.heads.scores(made.projector, batch) == {"part_f1": 1.0, "touched_acc": 1.0}
    made.heads.answers = lambda *_: torch.full_like(batch.contacts, -5.0)  # type: ignore[method-assign, assignment]
    assert made.heads.scores(made.projector, batch) == {"part_f1": 0.0, "touched_acc": 0.5}

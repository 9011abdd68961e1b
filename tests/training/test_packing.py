from __future__ import annotations

from dataclasses import replace

import torch

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.mvloc.camera_gate import build_camera_gate
from interactvlm.mvloc.decoder import MaskPredictor, build_mask_decoder, build_prompt_encoder
from interactvlm.training.model import TrainableModel, TrainingExample
from interactvlm.training.packing import IGNORED_LABEL, IMAGE_TOKEN, pack
from interactvlm.training.token_rows import train_added_rows
from interactvlm.vlm.network import ContactNetwork

CONFIG = ReleaseConfig(
    hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=40, mm_hidden_size=8, seg_token_idx=39, tie_word_embeddings=True,
)  # fmt: skip


def model() -> TrainableModel:
    torch.manual_seed(0)
    predictor = MaskPredictor(prompt_encoder=build_prompt_encoder(4), mask_decoder=build_mask_decoder())
    return TrainableModel(
        config=CONFIG,
        network=ContactNetwork(CONFIG),
        gate=build_camera_gate(CONFIG),
        splitter=None,
        human_predictor=predictor,
        object_predictor=predictor,
    )


def questions(features: torch.Tensor, *lengths: int) -> list[TrainingExample]:
    made = []
    for length in lengths:
        generator = torch.Generator().manual_seed(length)
        ids = torch.randint(3, 39, (length,), generator=generator)
        ids[:3] = torch.tensor([1, 2, IMAGE_TOKEN])
        labels = ids.clone()
        labels[: 3 + length % 3] = IGNORED_LABEL  # one of them is predicted by the image's last token
        made.append(TrainingExample(ids, labels, features))
    return made


def test_questions_on_one_photo_are_read_as_if_alone() -> None:
    trained = model()
    photo, other = torch.randn(5, 8), torch.randn(5, 8)
    together = [*questions(photo, 7, 9, 12), *questions(other, 8)]
    apart = [replace(example, image_features=example.image_features.clone()) for example in together]
    rows = pack(together)
    assert rows.ids.shape[0] == 2
    assert rows.tree is not None
    assert pack(apart).tree is None

    def gradients(batch: list[TrainingExample]) -> tuple[float, dict[str, torch.Tensor]]:
        trained.zero_grad()
        loss = trained(batch).total
        loss.backward()
        return loss.item(), {n: p.grad.clone() for n, p in trained.named_parameters() if p.grad is not None}

    (loss, found), (expected_loss, expected) = gradients(together), gradients(apart)
    assert abs(loss - expected_loss) < 1e-5
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def test_the_state_that_predicts_the_contact_token() -> None:
    examples = [replace(example, contact_position=5) for example in questions(torch.randn(5, 8), 7, 9)]
    rows = pack(examples)
    # Two words and five image tokens, then the first branch: positions 3 and 4 of the ids are its first two tokens.
    assert rows.contact_places == ((0, 8), (0, 7 + 3 + 1))
    assert rows.ids[0, 8] == examples[0].input_ids[4]
    assert rows.ids[0, 11] == examples[1].input_ids[4]


def test_trained_rows_are_the_whole_tables_end() -> None:
    whole, parts = model(), model()
    train_added_rows(parts.network)
    ids, states = torch.tensor([[3, 39, 38]]), torch.randn(2, 16)
    torch.testing.assert_close(parts.network.embed(ids), whole.network.embed(ids))
    torch.testing.assert_close(parts.network.logits(states), whole.network.logits(states))
    batch = questions(torch.randn(5, 8), 9)
    batch[0].input_ids[7] = 39
    batch[0].labels[7] = 39
    for one in (whole, parts):
        one(batch).total.backward()
    expected = whole.network.model.embed_tokens.weight.grad
    names = dict(parts.named_parameters())
    assert expected is not None
    torch.testing.assert_close(names["network.model.embed_tokens.rows"].grad, expected[39:], atol=1e-6, rtol=1e-4)
    assert not names["network.model.embed_tokens.frozen"].requires_grad

"""Fit nano's answer format: LoRA, the contact token's row and the image projector. This is not training for contact.

Greedy decoding must end in the contact token before anything of the pipeline can run, so the sentence around it is
fitted here on drawn pictures and made-up answers (nano_format_data.py). What nano then says about a photograph means
nothing: the manifest written beside the weights says `"trained": false` and carries the notice.

    python tools/fit_nano_format.py            (about ten minutes on two busy CPU cores)

Writes interactvlm/assets/nano/weights.safetensors and manifest.json. Deterministic on one machine by --seed.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from pathlib import Path

import torch
from nano_format_data import OBJECTS, answer_affordance, answer_parts, draw_picture
from safetensors.torch import save_file
from torch import Tensor, nn

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.torchvision_cpu import prepare_torchvision
from interactvlm.training.initialise import projector_in_range
from interactvlm.types import Question, Target, Task
from interactvlm.vlm.nano.configuration import CONTACT_TOKEN, NANO_NOTICE, nano_config
from interactvlm.vlm.nano.language import GgufLanguageModel
from interactvlm.vlm.nano.manifest import ASSETS, WEIGHTS_FILE, NanoManifest, format_only_parts
from interactvlm.vlm.nano.packages import IMAGE_ENCODER, LANGUAGE_MODEL, file_sha256
from interactvlm.vlm.nano.tensors import ADDED_ROWS
from interactvlm.vlm.nano.vision import read_vision_tower, write_vision_tower
from interactvlm.vlm.prompts import answer_templates, build_prompt
from interactvlm.vlm.vision import VisionTower

prepare_torchvision()
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

RANK, ALPHA = 8, 16
PICTURES = 24
QUESTIONS_PER_STEP = 4
#: Most steps show only some of a picture's 64 image tokens: the format does not depend on them, the time does.
IMAGE_TOKENS_PER_STEP = 16


class LoRALinear(nn.Module):
    """A frozen linear layer and its low-rank update."""

    def __init__(self, base: nn.Linear, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        bound = 1 / math.sqrt(base.in_features)
        self.down = nn.Parameter((torch.rand(RANK, base.in_features, generator=generator) * 2 - 1) * bound)
        self.up = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        return self.base(x) + (ALPHA / RANK) * nn.functional.linear(nn.functional.linear(x, down), up)


class FormatModel(nn.Module):
    """The language model with what is fitted: `lora`, `row` (the contact token, in and out) and `projector`."""

    def __init__(self, reader: GgufLanguageModel, features: Tensor, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        described = reader.config()
        settings = {key: value for key, value in described.items() if key != "rope_theta"}
        rope = {"rope_type": "default", "rope_theta": described["rope_theta"]}
        self.language = LlamaForCausalLM(LlamaConfig(**settings, rope_parameters=rope, attn_implementation="sdpa"))
        self.language.load_state_dict(
            {n: torch.from_numpy(reader.tensor(n).copy()) for n in reader.names()}, strict=False
        )
        self.language.to(torch.bfloat16).requires_grad_(False)
        self.lora: dict[str, LoRALinear] = {}
        for i, layer in enumerate(self.language.model.layers):
            for name in ("q_proj", "v_proj"):
                update = LoRALinear(getattr(layer.self_attn, name), generator)
                setattr(layer.self_attn, name, update)
                self.lora[f"model.layers.{i}.self_attn.{name}"] = update
        table = self.language.model.embed_tokens.weight.float()
        self.row = nn.Parameter(table.mean(0, keepdim=True))
        self.projector = _projector_in_range(features, table, seed)

    def embed(self, ids: list[int]) -> Tensor:
        """[T, h]; the contact token is the row after the table's last."""
        table, index = self.language.model.embed_tokens.weight, torch.tensor(ids)
        known = table[index.clamp(max=len(table) - 1)]
        return torch.where((index < len(table))[:, None], known, self.row.to(known.dtype))

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., h] -> [..., vocabulary + 1], tied to the embedding."""
        table = self.language.model.embed_tokens.weight
        return torch.cat((hidden @ table.T, hidden @ self.row.to(table.dtype).T), dim=-1).float()


def _projector_in_range(features: Tensor, table: Tensor, seed: int) -> nn.Linear:
    """The neutral place to start from, as in training."""
    projector = nn.Linear(features.shape[-1], table.shape[1])
    weight, bias = projector_in_range(features.flatten(0, 1), table, seed=seed)
    with torch.no_grad():
        projector.weight.copy_(weight)
        projector.bias.copy_(bias)
    return projector


@torch.inference_mode()
def picture_features(seeds: range, config: ReleaseConfig) -> Tensor:
    """Pooled patch features [N, 64, 1536] of drawn pictures, by the model's own image encoder."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "vision_tower"
        write_vision_tower(read_vision_tower(IMAGE_ENCODER.verified()), folder)
        tower = VisionTower.from_folder(
            folder,
            select_layer=config.mm_vision_select_layer,
            pool=config.vision_pool,
            merge=config.vision_merge,
            device="cpu",
            dtype=torch.float32,
        )
    return torch.cat([tower(torch.from_numpy(tower.preprocessor([draw_picture(seed)]))) for seed in seeds])


def varied(features: Tensor, rng: random.Random, generator: torch.Generator) -> Tensor:
    """One picture's features [64, 1536], mirrored, mixed with another's or under noise, so that none is learned."""
    grid = features[rng.randrange(len(features))].unflatten(0, (8, 8))
    if rng.random() < 0.5:
        grid = grid.flip(1)
    if rng.random() < 0.5:
        other = features[rng.randrange(len(features))].unflatten(0, (8, 8))
        grid = torch.where((torch.rand(8, 8, 1, generator=generator) < rng.random()), grid, other)
    shown = 64 if rng.random() < 0.1 else IMAGE_TOKENS_PER_STEP
    chosen = torch.randperm(64, generator=generator)[:shown].sort().values
    noise = torch.randn(grid.shape, generator=generator) * features.std((0, 1)) * rng.uniform(0, 0.5)
    return (grid * rng.uniform(0.8, 1.25) + noise).flatten(0, 1)[chosen]


def example(config: ReleaseConfig, rng: random.Random) -> tuple[str, str, str]:
    """(text before the image, text after it, answer) of one made-up question."""
    name = rng.choice(list(OBJECTS))
    task = rng.choices((Task.SEMANTIC, Task.OBJECT, Task.BINARY, Task.SCENE), weights=(0.45, 0.4, 0.08, 0.07))[0]
    prompt = build_prompt(Question(task=task, object_name=name), config)
    opening, closing = answer_templates(task.target)
    filling = (
        ", ".join(answer_parts("ground" if task is Task.SCENE else name, rng))
        if task.target is Target.HUMAN
        else answer_affordance(name, rng)
    )
    return prompt.before_image, prompt.after_image, f"{opening} {filling}{closing} {CONTACT_TOKEN}."


class Packer:
    """Puts several questions on one picture into one sequence: they share the prefix and do not see each other."""

    def __init__(self, reader: GgufLanguageModel, config: ReleaseConfig) -> None:
        self._tokenizer = reader.tokenizer([CONTACT_TOKEN])
        self._config = config

    def encode(self, text: str) -> list[int]:
        """Token ids."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def loss(self, model: FormatModel, image: Tensor, rng: random.Random) -> Tensor:
        """Mean cross entropy of the answers' tokens, the end of turn included."""
        examples = [example(self._config, rng) for _ in range(QUESTIONS_PER_STEP)]
        before = self.encode(examples[0][0])
        prefix = len(before) + len(image)
        pieces, positions, owner, predicted, wanted = [model.embed(before)], [], [], [], []
        pieces.append(model.projector(image).to(pieces[0].dtype))
        positions.extend(range(prefix))
        owner.extend([0] * prefix)
        for number, (_, after, answer) in enumerate(examples, start=1):
            question_ids = self.encode(after)
            answer_ids = [*self.encode(answer), self._config.eos_token_id]
            ids = question_ids + answer_ids[:-1]
            predicted.extend(range(len(owner) + len(question_ids) - 1, len(owner) + len(ids)))
            wanted.extend(answer_ids)
            pieces.append(model.embed(ids))
            positions.extend(range(prefix, prefix + len(ids)))
            owner.extend([number] * len(ids))
        whose = torch.tensor(owner)
        order = torch.arange(len(owner))
        seen = (order[:, None] >= order) & ((whose == whose[:, None]) | (whose == 0))
        hidden = model.language.model(
            inputs_embeds=torch.cat(pieces)[None],
            attention_mask=seen[None, None],
            position_ids=torch.tensor(positions)[None],
            use_cache=False,
        ).last_hidden_state[0, predicted]
        return nn.functional.cross_entropy(model.logits(hidden), torch.tensor(wanted))


def fit(model: FormatModel, packer: Packer, features: Tensor, *, steps: int, seed: int) -> list[float]:
    """Adam on what is fitted; returns the loss of every step."""
    updates = [p for update in model.lora.values() for p in (update.down, update.up)]
    groups = [
        {"params": updates, "lr": 1.5e-3},
        {"params": list(model.projector.parameters()), "lr": 2e-4},
        {"params": [model.row], "lr": 3e-3},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / 6) * (0.55 + 0.45 * math.cos(math.pi * step / steps))
    )
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)  # noqa: S311 - no secret
    losses, begin = [], time.monotonic()
    for step in range(steps):
        loss = packer.loss(model, varied(features, rng, generator), rng)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 10 == 9:
            mean = sum(losses[-10:]) / 10
            print(f"step {step + 1}: loss {mean:.3f}, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return losses


def shipped(model: FormatModel) -> dict[str, Tensor]:
    """The fitted tensors under the names of an unmerged PEFT checkpoint, float16."""
    tensors = {
        "model.mm_projector.weight": model.projector.weight,
        "model.mm_projector.bias": model.projector.bias,
        ADDED_ROWS: model.row,
    }
    for name, update in model.lora.items():
        tensors[f"{name}.lora_A.default.weight"] = update.down
        tensors[f"{name}.lora_B.default.weight"] = update.up
    return {name: value.detach().to(torch.float16).contiguous() for name, value in tensors.items()}


def main() -> None:
    """Fit and write the asset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--out", type=Path, default=ASSETS)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    reader = GgufLanguageModel(LANGUAGE_MODEL.verified())
    config = ReleaseConfig.from_dict(nano_config(reader.config(), trained=False, notice=NANO_NOTICE), source="nano")
    print(f"features of {PICTURES} drawn pictures", file=sys.stderr)
    features = picture_features(range(PICTURES), config).clone()
    model = FormatModel(reader, features, options.seed)
    losses = fit(model, Packer(reader, config), features, steps=options.steps, seed=options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(shipped(model), options.out / WEIGHTS_FILE)
    NanoManifest(
        trained=False,
        notice=NANO_NOTICE,
        weights_sha256=file_sha256(options.out / WEIGHTS_FILE),
        lora_alpha=ALPHA,
        seed=options.seed,
        parts=format_only_parts(),
    ).write(options.out)
    (options.out / WEIGHTS_FILE).chmod(0o644)  # safetensors writes through a private temporary file
    print(f"loss of the last ten steps: {sum(losses[-10:]) / len(losses[-10:]):.3f}", file=sys.stderr)


if __name__ == "__main__":
    main()

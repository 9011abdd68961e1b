"""manifest.json of the shipped weights: which tensor comes from where, and what it has been trained for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.errors import CheckpointError

__all__ = [
    "ASSETS",
    "MANIFEST_FILE",
    "SEED",
    "WEIGHTS_FILE",
    "NanoManifest",
    "NanoPart",
    "Source",
    "base_manifest",
    "format_only_parts",
    "trained_parts",
]

#: Where the shipped weights lie.
ASSETS = Path(__file__).parents[2] / "assets" / "nano"
MANIFEST_FILE = "manifest.json"
WEIGHTS_FILE = "weights.safetensors"

#: "package": read from an installed package, LoRA and added rows from the weights file; "weights": in the weights
#: file; "seed": in neither, filled with numbers drawn from the manifest's seed.
Source = Literal["package", "weights", "seed"]
_FORMAT = 1
#: Seed of the parts that nothing is trained in.
SEED = 20260


@dataclass(frozen=True, slots=True)
class NanoPart:
    """A group of tensors with one origin.

    Attributes:
        prefixes: beginnings of the names in the official layout.
        source: where the numbers come from.
        state: in words, what they have been trained for.
    """

    prefixes: tuple[str, ...]
    source: Source
    state: str


@dataclass(frozen=True, slots=True)
class NanoManifest:
    """What the shipped weights are.

    Attributes:
        trained: whether nano has been trained for contact.
        notice: sentence shown beside every answer; empty once it is trained.
        weights_sha256: hash of the weights file, hex.
        lora_alpha: LoRA's alpha; the rank is read from the shapes.
        seed: seed of the parts whose source is "seed".
        parts: name of a part -> what it is.
    """

    trained: bool
    notice: str
    weights_sha256: str
    lora_alpha: float
    seed: int
    parts: Mapping[str, NanoPart]

    @classmethod
    def read(cls, folder: Path = ASSETS) -> NanoManifest:
        """Read `folder/manifest.json`.

        Raises:
            CheckpointError: it is missing or malformed, or says "not trained" without a notice.
        """
        path = folder / MANIFEST_FILE
        raw = read_json_object(path)
        if raw.pop("format", None) != _FORMAT:
            raise CheckpointError(path, f"is not of format {_FORMAT}")
        try:
            parts = {name: _part(part) for name, part in raw.pop("parts").items()}
            manifest = cls(**raw, parts=parts)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(path, f"is malformed ({error})") from None
        if not manifest.trained and not manifest.notice:
            raise CheckpointError(path, "says that nano is not trained, but has no notice to show beside its answers")
        return manifest

    def write(self, folder: Path, name: str = MANIFEST_FILE) -> None:
        """Write `folder/manifest.json`, or under another name."""
        content = {"format": _FORMAT, **asdict(self)}
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def part_of(self, name: str) -> NanoPart:
        """The part that a tensor belongs to.

        Raises:
            CheckpointError: it belongs to none, or to several: nothing is filled in silently.
        """
        found = [part for part in self.parts.values() if name.startswith(part.prefixes)]
        if len(found) != 1:
            raise CheckpointError(MANIFEST_FILE, f"places tensor {name} in {len(found)} parts; it must be in one")
        return found[0]


def format_only_parts() -> dict[str, NanoPart]:
    """The parts while nano knows its answer format and nothing else."""
    fitted, initialised = "answer format only", "initialised, untrained"
    return {
        "language_model": NanoPart(("model.embed_tokens.", "model.layers.", "model.norm."), "package", fitted),
        "projector": NanoPart(("model.mm_projector.",), "weights", fitted),
        "contact_projection": NanoPart(("model.text_hidden_fcs.",), "seed", initialised),
        "camera_gate": NanoPart(("cam_pose_encoder.",), "seed", initialised),
        "image_encoder": NanoPart(
            tuple(f"model.visual_model.image_encoder.{part}" for part in ("pos_embed", "patch_embed.", "blocks.")),
            "package",
            "pretrained on photographs",
        ),
        "neck": NanoPart(("model.visual_model.image_encoder.neck.",), "seed", initialised),
        "mask_decoder": NanoPart(
            ("model.visual_model.prompt_encoder.", "model.visual_model.mask_decoder."), "seed", initialised
        ),
    }


def trained_parts(state: str) -> dict[str, NanoPart]:
    """The parts once nano is trained for contact; `state` says on what."""
    visual = "model.visual_model."
    ours = {
        "projector": ("model.mm_projector.",),
        "contact_projection": ("model.text_hidden_fcs.",),
        "camera_gate": ("cam_pose_encoder.",),
        "neck": (f"{visual}image_encoder.neck.",),
        "mask_decoder": (f"{visual}mask_decoder.",),
    }
    parts = format_only_parts()
    return {
        "language_model": replace(parts["language_model"], state=state),
        "image_encoder": parts["image_encoder"],
        **{name: NanoPart(prefixes, "weights", state) for name, prefixes in ours.items()},
        # Frozen: random frequencies that tell places apart, and vectors that nothing reads.
        "prompt_encoder": NanoPart((f"{visual}prompt_encoder.",), "seed", "frozen"),
    }


def base_manifest() -> NanoManifest:
    """nano before any training."""
    parts = format_only_parts()
    state = "initialised, untrained"
    return NanoManifest(
        trained=False,
        notice="untrained: this is where training begins",
        weights_sha256="",
        lora_alpha=1,
        seed=SEED,
        parts={
            **parts,
            "language_model": replace(parts["language_model"], state="pretrained on text"),
            "projector": replace(parts["projector"], source="seed", state=state),
        },
    )


def _part(raw: dict[str, Any]) -> NanoPart:
    part = NanoPart(prefixes=tuple(raw["prefixes"]), source=raw["source"], state=raw["state"])
    if part.source not in get_args(Source):
        raise ValueError(f"source {part.source!r}; known: {', '.join(get_args(Source))}")
    return part

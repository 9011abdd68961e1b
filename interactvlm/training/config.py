"""The training configuration: one TOML file, typed, every value checked before anything is loaded.

[model]      which weights to start from, which parts are trained
[[data]]     sources of annotated photos and their share
[sight]      first phase of a fresh nano: the image projector alone
[regions]    second phase of a fresh nano: the mask half alone
[steps]      batch, learning rates, losses
[run]        where checkpoints go, how often, validation, export
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from interactvlm.errors import InputError

__all__ = ["DataSource", "ModelPart", "PhasePart", "RunPart", "StepsPart", "TrainingConfig"]

T = TypeVar("T")
#: Readers of data sets: our own shards, and the published formats.
KINDS = ("shards", "damon", "lemon", "piad", "pico")
_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "rows": ("added", "all"),
    "precision": ("float32", "bfloat16"),
    "parallel": ("none", "ddp", "fsdp2"),
    "start": ("shipped", "fresh"),
}


@dataclass(frozen=True, slots=True)
class ModelPart:
    """[model]: what is trained.

    Attributes:
        base: "nano", or a checkpoint folder in the official layout.
        start: nano only: "shipped" goes on from the weights that ship with the library, "fresh" begins anew.
        vision_tower: CLIP folder of a published checkpoint; empty looks beside the checkpoint.
        body: body files of a published checkpoint; empty looks beside the checkpoint.
        lora_rank: rank of LoRA on q_proj and v_proj.
        lora_alpha: its alpha.
        rows: token embeddings and output layer: only the "added" tokens' rows, or "all".
        projector: whether the image projector is trained (frozen in the paper).
        neck: whether Theta's neck is trained (nano's has no pretrained counterpart; the paper freezes Theta).
        checkpoint_activations: recompute the language model's layers in the backward pass: less memory, more time.
    """

    base: str = "nano"
    start: str = "shipped"
    vision_tower: str = ""
    body: str = ""
    lora_rank: int = 8
    lora_alpha: float = 16.0
    rows: str = "added"
    projector: bool = True
    neck: bool = True
    checkpoint_activations: bool = False


@dataclass(frozen=True, slots=True)
class DataSource:
    """[[data]]: one source of annotated photos.

    Attributes:
        kind: how it is read.
        path: its folder (or file, for "damon").
        split: which part of it.
        ratio: its share of the photos, against the other sources'.
        limit: only so many of its photos, 0 = all (learning curves).
    """

    kind: str
    path: str
    split: str = "train"
    ratio: int = 1
    limit: int = 0


@dataclass(frozen=True, slots=True)
class PhasePart:
    """[sight] and [regions]: what a fresh nano learns before the joint phase, half by half (see `docs/training.md`).

    Attributes:
        steps: its length, 0 = none.
        photos: photos in one step; of [regions], those whose labels are used.
        rate: learning rate.
        warmup: steps until the full rate; it then falls along a cosine to `final_rate` of itself.
        final_rate: see `warmup`.
        held_out: photos of [run.validation] that [sight] is scored on in the end.
    """

    steps: int = 0
    photos: int = 32
    rate: float = 1e-3
    warmup: int = 50
    final_rate: float = 0.05
    held_out: int = 64


@dataclass(frozen=True, slots=True)
class StepsPart:
    """[steps]: the recipe (paper section 3; release). Learning rates of parts are factors of `rate`.

    Attributes:
        steps: length of the run.
        photos: photos in one step, over all processes.
        photos_at_once: photos in one forward pass; gradients add up over a step's passes.
        questions: questions asked about one photo at a time; they share the work done on it.
        contact, scene, words: relative frequency of questions about objects, about the scene, and of those answered
            in words alone.
        untouched: frequency of questions about something that nobody touches, against those about what is touched.
        align: first steps that learn from words alone, before masks (their time is better spent so).
        masks: share of the contact answers whose masks are learned, too.
        code: weight of the distance between a contact token's embedding and the contact code that [regions] learned.
        objects: share of all object meshes that contact on objects is learned on (each is encoded once).
        parts_dropout: how often an answer names no body parts (its question then does not ask for them).
        mask_side: side of the mask targets; 0 = as fine as the renders.
        rate: learning rate of LoRA and everything not named below.
        projector_rate, decoder_rate: factors for the image projector and for Gamma, Phi, Omega and the neck.
        warmup: steps until the full rate; it then falls along a cosine to `final_rate` of itself.
        final_rate: see `warmup`; 1 = constant.
        clip: largest norm of the gradient.
        seed: of everything that is drawn.
        precision: "bfloat16" computes matrix products so; trained weights are float32 either way.
        parallel: "ddp" or "fsdp2" over the processes that a launcher started.
    """

    steps: int = 15000
    photos: int = 8
    photos_at_once: int = 8
    questions: int = 1
    contact: int = 9
    scene: int = 3
    words: int = 1
    untouched: float = 1.0
    align: int = 0
    masks: float = 1.0
    code: float = 1.0
    objects: float = 1.0
    parts_dropout: float = 0.5
    mask_side: int = 0
    rate: float = 3e-4
    projector_rate: float = 1.0
    decoder_rate: float = 1.0
    warmup: int = 100
    final_rate: float = 1.0
    clip: float = 1.0
    seed: int = 0
    precision: str = "bfloat16"
    parallel: str = "none"


@dataclass(frozen=True, slots=True)
class RunPart:
    """[run]: where and how often.

    Attributes:
        folder: checkpoints, TensorBoard events and the export.
        device: "auto", "cpu" or "cuda".
        cache: photo features and render embeddings; empty: the library's cache folder.
        save_every: steps between checkpoints.
        keep: newest checkpoints kept beside the best.
        validate_every: steps between validations, 0 = never.
        validation: source like [[data]] (kind, path, split, limit).
        notice: sentence shown beside every answer of the exported model; empty when it needs none.
    """

    folder: str
    device: str = "auto"
    cache: str = ""
    save_every: int = 100
    keep: int = 2
    validate_every: int = 0
    validation: DataSource | None = None
    notice: str = ""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything one run is decided by."""

    run: RunPart
    data: tuple[DataSource, ...]
    model: ModelPart = field(default_factory=ModelPart)
    sight: PhasePart = field(default_factory=PhasePart)
    regions: PhasePart = field(default_factory=PhasePart)
    steps: StepsPart = field(default_factory=StepsPart)

    @classmethod
    def from_file(cls, path: Path) -> TrainingConfig:
        """Read a TOML file; `~` in folders means the home directory.

        Raises:
            InputError: the file cannot be read, or a key is unknown, missing, of the wrong type or out of range.
        """
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise InputError(str(path), f"cannot be read ({error.strerror})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(str(path), f"is not valid TOML ({error})") from None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> TrainingConfig:
        """The same from parsed TOML."""
        unknown = sorted(set(raw) - {"model", "data", "sight", "regions", "steps", "run"})
        if unknown:
            raise InputError(unknown[0], "is not a section; known: model, data, sight, regions, steps, run")
        sources = raw.get("data")
        if not isinstance(sources, list) or not sources:
            raise InputError("data", "is missing: at least one [[data]] source is needed")
        run = dict(raw.get("run", {}))
        validation = run.pop("validation", None)
        made = _part(RunPart, "run", run)
        if validation is not None:
            made = _part(RunPart, "run", {**run, "validation": _part(DataSource, "run.validation", validation)})
        config = cls(
            run=made,
            data=tuple(_part(DataSource, f"data[{i}]", source) for i, source in enumerate(sources)),
            model=_part(ModelPart, "model", raw.get("model", {})),
            sight=_part(PhasePart, "sight", raw.get("sight", {})),
            regions=_part(PhasePart, "regions", raw.get("regions", {})),
            steps=_part(StepsPart, "steps", raw.get("steps", {})),
        )
        config._check()
        return config

    def _check(self) -> None:
        steps = self.steps
        for name, low, high in (
            ("steps", 1, 10**9), ("photos", 1, 10**6), ("photos_at_once", 1, 10**6), ("questions", 1, 64),
            ("masks", 0, 1), ("objects", 0, 1), ("untouched", 1e-6, 1e6), ("parts_dropout", 0, 1), ("final_rate", 0, 1),
        ):  # fmt: skip
            if not low <= (value := getattr(steps, name)) <= high:
                raise InputError(f"steps.{name}", f"is {value}, must be {low} to {high}")
        for name, phase in (("sight", self.sight), ("regions", self.regions)):
            if phase.steps < 0 or phase.photos < 1 or phase.warmup < 0 or phase.held_out < 1 or not phase.rate > 0:
                raise InputError(name, "steps and warmup must be at least 0, photos and held_out 1, rate above 0")
        if not (steps.rate > 0 and steps.clip > 0 and steps.warmup >= 0):
            raise InputError("steps", "rate and clip must be above 0, warmup at least 0")
        if min(steps.contact, steps.scene, steps.words) < 0 or not steps.contact + steps.scene + steps.words:
            raise InputError("steps", "contact, scene and words must be at least 0, and one of them more")
        for source in self.data:
            if source.ratio < 1:
                raise InputError("data.ratio", f"is {source.ratio}, must be at least 1")
        if self.run.save_every < 1 or self.run.keep < 1:
            raise InputError("run", "save_every and keep must be at least 1")


def _part(kind: type[T], section: str, raw: object) -> T:
    """One section, each value checked against the default's type."""
    if not isinstance(raw, Mapping):
        raise InputError(section, "must be a table")
    known = {f.name: str(f.type) for f in fields(kind)}  # type: ignore[arg-type]  # T is always one of the parts
    values: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in known:
            raise InputError(f"{section}.{name}", f"is not known; known: {', '.join(known)}")
        wanted = known[name]
        fits = {
            "int": type(value) is int,
            "float": type(value) in (int, float),
            "bool": type(value) is bool,
            "str": isinstance(value, str),
        }.get(wanted, isinstance(value, get_args(DataSource | None)))
        if not fits:
            raise InputError(f"{section}.{name}", f"is {value!r}, must be of type {wanted}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise InputError(f"{section}.{name}", f"is {value!r}; known: {', '.join(_CHOICES[name])}")
        values[name] = float(value) if wanted == "float" else value
    try:
        return kind(**values)
    except TypeError:
        missing = next(f.name for f in fields(kind) if f.name not in values)  # type: ignore[arg-type]
        raise InputError(f"{section}.{missing}", "is missing") from None

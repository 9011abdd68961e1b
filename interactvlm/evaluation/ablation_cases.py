"""The paper's switches (its ablation tables) as pure changes of a typed case; nothing here trains anything."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from interactvlm.errors import InputError
from interactvlm.training.config import DataSource, TrainingConfig
from interactvlm.training.objective import LossWeights

__all__ = ["COARSE_PARTS", "SWITCHES", "AblationCase", "AblationPlan", "Switch", "read_plan"]

COARSE_PARTS: Mapping[str, str] = {
    "torso": "torso",
    "hips": "torso",
    "head": "head",
    **{f"{side} {part}": "hands" for side in ("left", "right") for part in ("hand",)},
    **{f"{side} {part}": "arms" for side in ("left", "right") for part in ("arm", "forearm")},
    **{f"{side} {part}": "legs" for side in ("left", "right") for part in ("thigh", "leg")},
    **{f"{side} {part}": "feet" for side in ("left", "right") for part in ("foot",)},
}
"""The fifteen parts as six, left and right together."""

FULL = "full"


@dataclass(frozen=True, slots=True)
class AblationCase:
    """One model of the table; the defaults are the whole method, on the body.

    Attributes:
        training: the run.
        weights: factors of the losses.
        camera: "gate" (Phi), "none", or "concatenated" (the camera's numbers beside E, through one linear layer).
        localization: "views" (MV-Loc), or "direct" (E to one value per vertex through a small network).
        language: "tuned" (LoRA), "frozen" (no LoRA), or "absent" (E from the photo's features alone).
        layers: share of the language model's layers that is kept, from the first.
        whole_masks: masks are learned on the background, too.
        coarse_parts: answers name six parts instead of fifteen.
        object_names: questions name the object.
        questions: there are words at all; without them the language model sees the picture alone.
        data_share: share of the training photos that is used, spread evenly over each source.
    """

    training: TrainingConfig
    weights: LossWeights = field(default_factory=LossWeights)
    camera: str = "gate"
    localization: str = "views"
    language: str = "tuned"
    layers: float = 1.0
    whole_masks: bool = False
    coarse_parts: bool = False
    object_names: bool = True
    questions: bool = True
    data_share: float = 1.0


Change = Callable[[AblationCase], AblationCase]


@dataclass(frozen=True, slots=True)
class Switch:
    """One row of the table.

    Attributes:
        title: as printed.
        paper_f1: the paper's F1 with it (its 13B model on DAMON, true part words given), None where it has none.
        change: from the whole method to this row.
    """

    title: str
    paper_f1: float | None
    change: Change


def _steps(case: AblationCase, **changes: Any) -> AblationCase:
    return replace(case, training=replace(case.training, steps=replace(case.training.steps, **changes)))


def _half_masks(case: AblationCase) -> AblationCase:
    return _steps(case, mask_side=case.training.steps.mask_side // 2)


def _no_surface_loss(case: AblationCase) -> AblationCase:
    return replace(case, weights=replace(case.weights, human=0.0, object_contact=0.0, affordance=0.0))


SWITCHES: Mapping[str, Switch] = {
    FULL: Switch("whole method", 0.756, lambda case: case),
    "half_masks": Switch("masks of half the size", 0.707, _half_masks),
    "no_camera": Switch("no camera", 0.694, lambda case: replace(case, camera="none")),
    "concatenated_camera": Switch("camera concatenated", 0.719, lambda case: replace(case, camera="concatenated")),
    "no_mvloc": Switch("no MV-Loc", 0.623, lambda case: replace(case, localization="direct", camera="none")),
    "whole_masks": Switch("loss on whole masks", 0.693, lambda case: replace(case, whole_masks=True)),
    "no_surface_loss": Switch("no 3D loss (valid masks only)", 0.726, _no_surface_loss),
    "contact_only": Switch("data: contact only", 0.659, lambda case: _steps(case, parts_dropout=1.0, words=0)),
    "contact_and_parts": Switch("data: contact + parts in words", 0.748, lambda case: _steps(case, words=0)),
    "data_1": Switch("1 % of the photos", 0.53, lambda case: replace(case, data_share=0.01)),
    "data_5": Switch("5 % of the photos", 0.58, lambda case: replace(case, data_share=0.05)),
    "data_25": Switch("25 % of the photos", None, lambda case: replace(case, data_share=0.25)),
    "no_vlm": Switch("no VLM", 0.323, lambda case: replace(case, language="absent")),
    "image_only": Switch("VLM sees the image only", 0.672, lambda case: replace(case, questions=False)),
    "frozen_vlm": Switch("VLM not tuned", 0.648, lambda case: replace(case, language="frozen")),
    "smaller_vlm": Switch("smaller VLM (half the layers)", 0.733, lambda case: replace(case, layers=0.5)),
    "coarse_parts": Switch("coarse parts", 0.684, lambda case: replace(case, coarse_parts=True)),
    "no_object_name": Switch("no object name", 0.715, lambda case: replace(case, object_names=False)),
}
"""Every switch by its name."""


@dataclass(frozen=True, slots=True)
class AblationPlan:
    """What `interactvlm ablate` runs.

    Attributes:
        training: the whole method's run; others are changes of it. Contact on the body alone is learned.
        held_out: photos that every case is scored on, by generation.
        cases: names of SWITCHES, "full" first.
        budget_minutes: of training, over all cases together.
    """

    training: TrainingConfig
    held_out: DataSource
    cases: tuple[str, ...] = tuple(SWITCHES)
    budget_minutes: float = 120.0

    def case(self, name: str) -> AblationCase:
        """One case: its own folder, contact on the body alone, and the switch.

        The mask side is made explicit, so that half of it is another number.
        """
        run, steps = self.training.run, self.training.steps
        training = replace(
            self.training,
            run=replace(run, folder=str(Path(run.folder) / name), validation=None, validate_every=0),
            steps=replace(steps, objects=0.0, mask_side=steps.mask_side or 256),
        )
        return SWITCHES[name].change(AblationCase(training))


def read_plan(file: Path) -> AblationPlan:
    """A training configuration with a section [ablation]: held_out (like [[data]]), cases, budget_minutes.

    Raises:
        InputError: the file cannot be read, or a key is unknown, missing or out of range.
    """
    try:
        raw: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(file), f"is not valid TOML ({error})") from None
    section = raw.pop("ablation", None)
    if not isinstance(section, dict):
        raise InputError("ablation", "is missing: a table [ablation] is needed")
    if unknown := sorted(set(section) - {"held_out", "cases", "budget_minutes"}):
        raise InputError(f"ablation.{unknown[0]}", "is not known; known: held_out, cases, budget_minutes")
    held_out = section.get("held_out")
    if not isinstance(held_out, dict):
        raise InputError("ablation.held_out", "is missing: a table {kind, path, split, limit} is needed")
    run = {**raw.get("run", {}), "validation": held_out}  # read and checked by the reader of [run]
    training = TrainingConfig.from_dict({**raw, "run": run})
    source = training.run.validation
    assert source is not None  # noqa: S101 - just given
    plan = AblationPlan(training, source, _cases(section), _minutes(section))
    return replace(plan, training=replace(training, run=replace(training.run, validation=None)))


def _cases(section: Mapping[str, Any]) -> tuple[str, ...]:
    names = section.get("cases", list(SWITCHES))
    if not isinstance(names, list) or not names:
        raise InputError("ablation.cases", "must be a list of names")
    for name in names:
        if name not in SWITCHES:
            raise InputError("ablation.cases", f"names {name!r}; known: {', '.join(SWITCHES)}")
    return tuple(dict.fromkeys([FULL, *names]))


def _minutes(section: Mapping[str, Any]) -> float:
    minutes = section.get("budget_minutes", AblationPlan.__dataclass_fields__["budget_minutes"].default)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= 10**6:
        raise InputError("ablation.budget_minutes", f"is {minutes!r}; a positive number of minutes is needed")
    return float(minutes)

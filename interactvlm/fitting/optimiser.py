"""Joint reconstruction of S scenes from K starts each, as one tensor program (paper section 5).

1. Every start is aligned, contact with contact (`icp`), and the best different ones go on.
2. Phase "contact": contact, centroid and size bring the object to the body.
3. Phase "image": the silhouette joins in, and the starts are halved again and again until a few survive.

Each phase is Adam over all scenes and starts at once. A scene whose best start gains nothing any more leaves the
batch; the others go on without it. Scenes never influence one another: a scene's result does not depend on what else
is in the batch, but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.fitting.batch import SceneBatch
from interactvlm.fitting.descent import Descent
from interactvlm.fitting.energy import TERMS, energy_terms, total_energy
from interactvlm.fitting.icp import align_contacts
from interactvlm.fitting.poses import Poses
from interactvlm.fitting.rotations import spread_rotations
from interactvlm.fitting.starts import best_starts, initial_poses, scale_range

__all__ = ["WEIGHTS", "FitConfig", "FitResult", "Phase", "Progress", "fit"]

WEIGHTS: Mapping[str, float] = {"mask": 1.0, "centroid": 1.0, "contact": 3.0, "penetration": 1.0, "size": 0.02}
"""Weights of the terms by which results are compared (lambda_C and its like), per unit of each term."""

_CHECK = 10
"""Steps between two looks at who is finished."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of the schedule.

    Attributes:
        name: of it.
        steps: most of them.
        weights: term -> weight; other terms are not computed.
        starts: how many go into it.
        keep: how many come out of it; halved on the way, in equal stretches.
        rate: step length of Adam: of the six rotation numbers, and of the translation and log scale at half of it.

    Raises:
        InputError: when a number is not positive, more starts would come out than go in, or a term is unknown.
    """

    name: str
    steps: int
    weights: Mapping[str, float]
    starts: int
    keep: int
    rate: float

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.rate > 0 or not 1 <= self.keep <= self.starts:
            raise InputError(
                self.name, f"has {self.steps} steps of {self.rate}, {self.starts} starts, {self.keep} kept"
            )
        unknown = sorted(set(self.weights) - set(TERMS))
        if unknown or not self.weights:
            raise InputError(self.name, f"weighs {', '.join(unknown) or 'nothing'}; terms are {', '.join(TERMS)}")


def _phases() -> tuple[Phase, ...]:
    contact = {"contact": 3.0, "centroid": 1.0, "size": 0.02}
    return (Phase("contact", 30, contact, 48, 24, 0.04), Phase("image", 120, WEIGHTS, 24, 4, 0.04))


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How to fit.

    Attributes:
        rotations: that alignment is tried from.
        seed: of everything random.
        phases: in order.
        tolerance: a scene is finished when its best energy fell by less than this over `patience` steps.
        patience: steps.
    """

    rotations: int = 96
    seed: int = 0
    phases: tuple[Phase, ...] = field(default_factory=_phases)
    tolerance: float = 2e-3
    patience: int = 30


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a fit is.

    Attributes:
        phase: its name.
        step: of the phase.
        active: scenes that still move.
        starts: of each.
        energy: mean over active scenes of the best start's energy in this phase's weights.
    """

    phase: str
    step: int
    active: int
    starts: int
    energy: float


@dataclass(frozen=True, slots=True, eq=False)
class FitResult:
    """What a fit found for S scenes; K starts survived, best first.

    Attributes:
        poses: [S, K], of the objects as their files have them (not centred).
        energy: [S, K], in `WEIGHTS`.
        terms: name -> [S, K], unweighted.
        steps: int64 [S], gradient steps taken.
    """

    poses: Poses
    energy: Tensor
    terms: Mapping[str, Tensor]
    steps: Tensor

    @property
    def best(self) -> Poses:
        """The best pose of each scene, [S]."""
        return self.poses.each(lambda values: values[:, 0])


def fit(
    batch: SceneBatch,
    config: FitConfig | None = None,
    *,
    given: Tensor | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> FitResult:
    """Find the objects' poses.

    Args:
        batch: S scenes.
        config: the schedule; the default without.
        given: [S, J, 3, 3], rotations to try besides those that are spread evenly, such as a retrieved view's.
        progress: called every few steps; what it raises ends the fit.
    """
    config = config or FitConfig()
    spread = spread_rotations(config.rotations, seed=config.seed).to(batch.extent)
    rotations = spread.expand(len(batch), *spread.shape)
    if given is not None:
        rotations = torch.cat([given.to(rotations), rotations], 1)
    poses = initial_poses(batch, rotations)
    with torch.no_grad():
        aligned = align_contacts(poses, batch.object_contacts, batch.body_contacts, scale_range(batch))
        # Small contacts (two hands on a bar) let alignment turn the object away from a good rotation: both compete.
        poses = poses.joined(aligned)
    steps = torch.zeros(len(batch), dtype=torch.int64)
    for phase in config.phases:
        poses = _choose(batch, poses, WEIGHTS, phase.starts)
        poses = _run(batch, poses, phase, config, steps, progress)
    with torch.no_grad():
        terms = energy_terms(batch, poses)
        energy = total_energy(terms, WEIGHTS)
        order = energy.argsort(dim=1, stable=True)
        poses = poses.each(lambda values: _take(values, order))
        return FitResult(
            poses.recentred(batch.centre[:, None]),
            _take(energy, order),
            {name: _take(values, order) for name, values in terms.items()},
            steps,
        )


def _run(
    batch: SceneBatch,
    poses: Poses,
    phase: Phase,
    config: FitConfig,
    steps: Tensor,
    progress: Callable[[Progress], None],
) -> Poses:
    """One phase; adds to `steps` what each scene took."""
    done: dict[int, Tensor] = {}
    active = list(range(len(batch)))
    working = batch
    descent = Descent(poses.encode())
    halvings = math.ceil(math.log2(poses.scale.shape[1] / phase.keep)) if poses.scale.shape[1] > phase.keep else 0
    history: list[Tensor] = []
    for step in range(phase.steps):
        parameters = descent.parameters.requires_grad_()
        terms = energy_terms(working, Poses.decode(parameters), frozenset(phase.weights))
        energy = total_energy(terms, phase.weights)
        (gradient,) = torch.autograd.grad(torch.where(energy.isfinite(), energy, 0).sum(), parameters)
        decay = 0.1 + 0.45 * (1 + math.cos(math.pi * step / phase.steps))
        descent.step(energy.detach(), gradient, phase.rate * decay)
        steps[active] += 1
        if (step + 1) % _CHECK:
            continue
        # Halvings at equal distances; the last stretch belongs to the survivors.
        due = phase.keep << max(halvings - (step + 1) * (halvings + 1) // phase.steps, 0)
        if descent.starts > max(due, phase.keep):
            chosen = _order(working, descent)[:, : max(due, phase.keep)]
            descent = descent.keep(chosen)
        best = descent.best_energy.amin(1)
        progress(Progress(phase.name, step + 1, len(active), descent.starts, float(best.mean())))
        history.append(best)
        back = config.patience // _CHECK
        if len(history) > back and descent.starts <= phase.keep:
            finished = history[-1 - back] - best < config.tolerance
            if finished.any():
                for place in finished.nonzero()[:, 0].tolist():
                    done[active[place]] = descent.best[place]
                rest = (~finished).nonzero()[:, 0]
                active = [active[place] for place in rest.tolist()]
                if not active:
                    break
                working = working.select(rest.tolist())
                descent = descent.select(rest)
                history = [values[rest] for values in history]
    if active:
        final = descent.keep(_order(working, descent)[:, : phase.keep])
        done.update(zip(active, final.best, strict=True))
    return Poses.decode(torch.stack([done[scene] for scene in range(len(batch))]))


def _order(batch: SceneBatch, descent: Descent) -> Tensor:
    poses = Poses.decode(descent.best)
    return best_starts(poses, descent.best_energy, _size(batch), descent.starts)


def _choose(batch: SceneBatch, poses: Poses, weights: Mapping[str, float], count: int) -> Poses:
    if poses.scale.shape[1] <= count:
        return poses
    with torch.no_grad():
        energy = total_energy(energy_terms(batch, poses, frozenset(weights)), weights)
        chosen = best_starts(poses, energy, _size(batch), count)
    return poses.each(lambda values: _take(values, chosen))


def _size(batch: SceneBatch) -> Tensor:
    return batch.log_size[:, 0].exp()


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Rows `index` [S, J] of values [S, K, ...]."""
    scenes = torch.arange(len(values), device=values.device)[:, None]
    return values[scenes, index]

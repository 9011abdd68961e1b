"""One evaluation from beginning to end: ask, write down, then open the truth, score, compare, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interactvlm.body.conversion import VertexMap
from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample
from interactvlm.errors import InputError
from interactvlm.evaluation.dense import fit_dense
from interactvlm.evaluation.inquiry import Inquiry, blank, inquiry_of, shuffled
from interactvlm.evaluation.predictions import Answer, write_file
from interactvlm.evaluation.prior import CategoryPrior, fit_prior, surfaces_of
from interactvlm.evaluation.report import PRIOR, build_report
from interactvlm.evaluation.runner import EvaluatedModel, predict_all
from interactvlm.evaluation.scores import MethodScores, score_answers
from interactvlm.evaluation.tables import markdown_report
from interactvlm.evaluation.truth import TruthSet, collect_truths
from interactvlm.types import Task

__all__ = ["BASELINES", "EvaluationPlan", "evaluate"]

BASELINES = ("prior", "blank", "shuffled", "dense")
"""`prior`: mean contact by object name. `blank`, `shuffled`: the model on a grey or on somebody else's photo. `dense`:
the DECO-like regressor, binary and semantic. `prior` and `dense` need a training split."""

Progress = Callable[[str, int, int], None]
Samples = Sequence[ContactSample]


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """How an evaluation is run.

    Attributes:
        baselines: of BASELINES, what stands beside the model.
        baseline_photos: photos that `blank` and `shuffled` are asked about, spread evenly over the split.
        training_photos: photos that `dense` is fitted on, likewise.
        photos_per_batch: photos read in one forward pass.
        fast: force the answers' beginning instead of generating it.
        seed: of shuffling and of the regressor.

    Raises:
        InputError: a baseline is unknown, or a number is not positive.
    """

    baselines: tuple[str, ...] = BASELINES
    baseline_photos: int = 200
    training_photos: int = 2000
    photos_per_batch: int = 8
    fast: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := set(self.baselines) - set(BASELINES):
            raise InputError("baselines", f"names {sorted(unknown)[0]!r}; known: {', '.join(BASELINES)}")
        for name in ("baseline_photos", "training_photos", "photos_per_batch"):
            if getattr(self, name) < 1:
                raise InputError(name, f"is {getattr(self, name)}; at least 1 is needed")


def evaluate(
    model: EvaluatedModel,
    samples: Samples,
    out: Path,
    *,
    title: str,
    training: Samples | None = None,
    plan: EvaluationPlan | None = None,
    body: BodyTemplate | None = None,
    body_map: VertexMap | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a model on annotated photos.

    Args:
        model: who answers.
        samples: the split to evaluate on.
        out: folder of this evaluation; one that was interrupted is continued. Afterwards it holds `report.json` and
            `report.md`.
        title: heading of the tables ("nano on heldout").
        training: the split that baselines are fitted on; without it there is no `prior`, no `dense` and no
            `prior_gap_f1`.
        plan: how to run it.
        body: the body of the annotations; by default the model's own.
        body_map: from the model's body to that one, where they differ.
        progress: called with (what is being done, done, in all).

    Returns:
        The report (see `build_report`), with "title", "model" and "plan".

    Raises:
        InputError: there is nothing to ask, the annotations lie on another body, or `out` holds another evaluation.
    """
    plan = plan or EvaluationPlan()
    tell = progress or (lambda *_: None)
    inquiries = [found for sample in samples if (found := inquiry_of(sample, tasks=model.tasks)) is not None]
    if not inquiries:
        raise InputError("samples", "hold no annotation that this model can be asked about")

    def run(name: str, asked: Sequence[Inquiry]) -> Iterator[Answer]:
        return iter(
            predict_all(
                model,
                asked,
                out / name,
                photos_per_batch=plan.photos_per_batch,
                fast=plan.fast,
                progress=lambda done, total: tell(f"asking: {name}", done, total),
            )
        )

    identity = model.pipeline.language.identity
    answers = {identity.name: run("model", inquiries)}
    some = _spread(inquiries, plan.baseline_photos)
    if "blank" in plan.baselines:
        answers["blank image"] = run("blank", blank(some))
    if "shuffled" in plan.baselines and len(some) > 1:
        answers["shuffled image"] = run("shuffled", shuffled(some, seed=plan.seed))
    # Only now is the truth opened.
    body = body or model.pipeline.localization.body
    truths = collect_truths(
        samples, body, tasks=model.tasks, progress=lambda done: tell("measuring distances", done, len(samples))
    )
    methods = [score_answers(name, found, truths, body_map=body_map) for name, found in answers.items()]
    prior: CategoryPrior | None = None
    if training:
        known = collect_truths(training, body, tasks=model.tasks, distances=False)
        if "prior" in plan.baselines:
            surfaces = surfaces_of(training)
            prior = fit_prior(known, surfaces)
            methods.append(score_answers(PRIOR, prior.answers(truths, {**surfaces, **surfaces_of(samples)}), truths))
        if "dense" in plan.baselines and model.features is not None:
            methods += _dense(model, inquiries, truths, training, known, plan, tell)
    report = {
        "title": title,
        "model": {
            "name": identity.name,
            "checkpoint": identity.checkpoint_hash,
            "trained": identity.trained,
            "generated": not plan.fast,
        },
        "plan": {"baseline_photos": len(some), "seed": plan.seed},
        **build_report(truths, methods, prior=prior),
    }
    write_file(out / "report.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    write_file(out / "report.md", markdown_report(report, title=title).encode())
    return report


def _dense(
    model: EvaluatedModel,
    inquiries: Sequence[Inquiry],
    truths: TruthSet,
    training: Samples,
    known: TruthSet,
    plan: EvaluationPlan,
    tell: Progress,
) -> list[MethodScores]:
    """The regressor's two variants, fitted on the features that the model sees."""
    if model.features is None:
        return []
    asked = [found for sample in training if (found := inquiry_of(sample)) is not None]
    learned = model.features(
        _spread(asked, plan.training_photos), lambda done, total: tell("features: training", done, total)
    )
    seen = model.features(inquiries, lambda done, total: tell("features: evaluation", done, total))
    scored = []
    for task, name in ((Task.BINARY, "DECO-like"), (Task.SEMANTIC, "Semantic-DECO-like")):
        rows = {row.sample_id for row in known.human if row.task is task}
        if len(rows & learned.keys()) < 2:
            continue
        regressor = fit_dense(
            known,
            learned,
            task=task,
            seed=plan.seed,
            progress=lambda done, total, name=name: tell(f"fitting {name}", done, total),  # type: ignore[misc]
        )
        scored.append(score_answers(name, regressor.answers(truths, seen), truths))
    return scored


def _spread(inquiries: Sequence[Inquiry], count: int) -> list[Inquiry]:
    """At most `count`, evenly over the sequence."""
    if len(inquiries) <= count:
        return list(inquiries)
    return [inquiries[i * len(inquiries) // count] for i in range(count)]

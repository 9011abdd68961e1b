"""The ablation: every case trained for the same number of steps within a stated time, and scored by generation.

The whole method is trained first, for its share of the time; the number of steps it comes to is what every other case
gets, unless its own share of the time ends earlier (the table then says so).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interactvlm.evaluation.ablation_cases import SWITCHES, AblationCase, AblationPlan
from interactvlm.evaluation.predictions import write_file
from interactvlm.evaluation.tables import markdown_table
from interactvlm.types import Task

if TYPE_CHECKING:
    from interactvlm.datasets.sample import ContactSample

__all__ = ["ablate", "run_case"]

Progress = Callable[[str, int, int], None]
_TASKS = (Task.BINARY, Task.SEMANTIC)


def ablate(plan: AblationPlan, *, progress: Progress | None = None) -> dict[str, Any]:
    """Run every case of a plan; finished ones are not run again.

    Args:
        plan: what to run.
        progress: called with (case, cases done, in all).

    Returns:
        {"budget_minutes", "cases": {name: {"title", "paper_f1", "binary_f1", "semantic_f1", "no_contact", "steps",
        "seconds", "change"}}}; the same is in `ablation.json`, and a table in `ablation.md`, in the run's folder.

    Raises:
        InputError: the configuration names something that is not there.
        CheckpointError: the base checkpoint is incomplete, or a case's folder holds another run.
    """
    from interactvlm.training.sources import open_source

    out = Path(plan.training.run.folder).expanduser()
    sources = [open_source(source) for source in plan.training.data]
    held_out = open_source(plan.held_out)
    share = plan.budget_minutes / len(plan.cases)
    rows: dict[str, dict[str, Any]] = {}
    steps = plan.training.steps.steps
    for number, name in enumerate(plan.cases):
        if progress is not None:
            progress(f"ablation: {name}", number, len(plan.cases))
        case, finished = plan.case(name), out / name / "case.json"
        if finished.exists():
            scores = json.loads(finished.read_text(encoding="utf-8"))
        else:
            scores = run_case(case, sources, held_out, steps=steps, minutes=share)
            write_file(finished, (json.dumps(scores, indent=2) + "\n").encode())
        if number == 0:
            steps = int(scores["steps"])
        rows[name] = {"title": SWITCHES[name].title, "paper_f1": SWITCHES[name].paper_f1, **scores}
    if progress is not None:
        progress("ablation", len(plan.cases), len(plan.cases))
    report = {"budget_minutes": plan.budget_minutes, "photos": len(held_out), "cases": rows}
    write_file(out / "ablation.json", (json.dumps(report, indent=2) + "\n").encode())
    write_file(out / "ablation.md", ablation_table(report).encode())
    return report


def run_case(
    case: AblationCase,
    sources: Sequence[Sequence[ContactSample]],
    held_out: Sequence[ContactSample],
    *,
    steps: int,
    minutes: float,
) -> dict[str, Any]:
    """Train one case and score it.

    Args:
        case: what is trained.
        sources: samples of each of its data sources.
        held_out: samples to score on.
        steps: of training, at most.
        minutes: of training, at most.

    Returns:
        Scores of `training.validation.validate`, "steps" and "seconds" of training, both phases together.
    """
    from interactvlm.evaluation.ablation_model import AblatedBuilder, ablate_model, live_model
    from interactvlm.training.batches import Batches
    from interactvlm.training.run import open_run
    from interactvlm.training.saving import latest_checkpoint
    from interactvlm.training.trainer import Trainer, make_accelerator
    from interactvlm.training.validation import validate

    sources = [_share(source, case.data_share) for source in sources]
    config = replace(case.training, steps=replace(case.training.steps, steps=steps))
    begin, folder = time.monotonic(), Path(config.run.folder).expanduser()
    # What photos show is learned once for all cases that see the same photos.
    opened = open_run(config, sources=sources, phases_folder=folder if case.data_share < 1 else folder.parent)
    opened.learn_phases()
    accelerator = make_accelerator(config)
    model = ablate_model(case, opened)
    batches = Batches(
        sources,
        [source.ratio for source in config.data],
        steps=config.steps,
        builder=AblatedBuilder(case, opened),
        features=opened.features,
        surfaces=opened.surfaces,
    )
    trainer = Trainer(model=model, batches=batches, config=config, accelerator=accelerator, folder=opened.folder)
    left = max(0.0, minutes - (time.monotonic() - begin) / 60)
    state = trainer.run(resume=latest_checkpoint(opened.folder) is not None, minutes=left)
    trained = time.monotonic() - begin
    model.eval()
    scores = validate(live_model(case, opened, model, accelerator.autocast), held_out, tasks=_TASKS)
    return {**scores, "steps": state.step, "seconds": round(max(trained, state.seconds), 1)}


class _Share(Sequence["ContactSample"]):
    """Samples of a source, spread evenly over it, read when they are asked for."""

    def __init__(self, samples: Sequence[ContactSample], count: int) -> None:
        self._samples = samples
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> ContactSample:  # type: ignore[override]  # slices are never asked for
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._samples[self._place(index)]

    def geometry(self, index: int) -> dict[str, Any] | None:
        """The sample's geometry, where the source knows it."""
        from interactvlm.training.sources import geometry_of

        return geometry_of(self._samples, self._place(index))

    def _place(self, index: int) -> int:
        return index * len(self._samples) // self._count


def _share(samples: Sequence[ContactSample], share: float) -> Sequence[ContactSample]:
    return samples if share >= 1 else _Share(samples, max(1, round(share * len(samples))))


def ablation_table(report: dict[str, Any]) -> str:
    """The table in Markdown, beside the paper's F1."""
    whole = report["cases"]["full"]

    def row(entry: dict[str, Any]) -> tuple[Any, ...]:
        ours = entry.get("binary_f1")
        known = ours is not None and whole.get("binary_f1") is not None
        change = f"{100 * (ours - whole['binary_f1']):+.1f}" if known else None
        theirs = entry["paper_f1"]
        paper = f"{100 * (theirs - whole['paper_f1']):+.1f}" if theirs is not None else None
        values = (ours, change, entry.get("semantic_f1"), entry.get("no_contact"), entry["steps"])
        return (entry["title"], *values, theirs, paper)

    heading = ("", "binary F1", "change", "semantic F1", "no contact", "steps", "*paper F1*", "*change*")
    return (
        f"# Ablation ({report['budget_minutes']:g} minutes of training in all, {report['photos']} held-out photos)\n\n"
        "Short runs of a small model, scored by generation: differences count, not levels. Italic: the paper's 13B "
        "model on DAMON with true part words given.\n\n"
        + markdown_table(heading, [row(entry) for entry in report["cases"].values()])
        + "\n"
    )

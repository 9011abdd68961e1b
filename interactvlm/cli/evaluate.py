"""`interactvlm evaluate`: a model against annotated photos, or against what a person sees in real ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interactvlm.cli.console import console, counted_progress, print_json
from interactvlm.config import Settings, load_settings
from interactvlm.errors import InputError
from interactvlm.results.write import check_folder

if TYPE_CHECKING:
    from interactvlm.body.conversion import VertexMap
    from interactvlm.body.template import BodyTemplate
    from interactvlm.datasets.sample import ContactSample
    from interactvlm.evaluation.evaluate import EvaluationPlan

__all__ = ["evaluate"]

_UNSEEN = "unseen"
"""Split of scenes about categories that training never saw; joins "heldout" in a row of its own."""


def evaluate(
    model: Annotated[str | None, typer.Option(help="nano, or a checkpoint folder.")] = None,
    split: Annotated[str, typer.Option(help="Split of the data to evaluate on.")] = "heldout",
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with annotated photos; default: synthetic scenes, made in the cache on first use."),
    ] = None,
    kind: Annotated[str, typer.Option(help="shards, damon, piad, lemon (3DIR) or pico.")] = "shards",
    data_photos: Annotated[Path | None, typer.Option(help="Folder of DAMON's photos, if not the labels' own.")] = None,
    train_split: Annotated[str, typer.Option(help="Split that the baselines are fitted on; empty for none.")] = "train",
    baselines: Annotated[
        str, typer.Option(help="Of prior, blank, shuffled, dense; separated by commas, empty for none.")
    ] = "prior,blank,shuffled,dense",
    limit: Annotated[int, typer.Option(help="Only the first so many photos, 0 for all.")] = 0,
    baseline_photos: Annotated[int, typer.Option(help="Photos for the blank and the shuffled image.")] = 200,
    training_photos: Annotated[int, typer.Option(help="Photos that baselines are fitted on, at most.")] = 2000,
    photos_per_batch: Annotated[int, typer.Option(help="Photos read in one forward pass.")] = 8,
    truth_body: Annotated[
        Path | None, typer.Option(help="Body file of the annotations, where it is not the model's body.")
    ] = None,
    photos: Annotated[Path | None, typer.Option(help="Folder of real photographs; goes with --rows.")] = None,
    rows: Annotated[Path | None, typer.Option(help="TOML: what a person sees in them (docs/evaluation.md).")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of this evaluation; one cut short is continued.")] = None,
    vision_tower: Annotated[str | None, typer.Option(help="CLIP folder of a published checkpoint.")] = None,
    body: Annotated[str | None, typer.Option(help="Body model of a published checkpoint.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Force the answers' beginning (not the reported way).")] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Generated answers against the truth, beside baselines: tables in Markdown and JSON, in OUT and on stdout."""
    settings = load_settings(
        file=config,
        overrides={"model": model, "vision_tower": vision_tower, "body": body, "device": device, "dtype": dtype},
    )
    name = Path(settings.model).name
    if (photos is None) != (rows is None):
        raise InputError("--photos", "and --rows go together: a folder, and a TOML file of what is seen in it")
    if photos is not None and rows is not None:
        folder = out or Path("out/evaluate") / f"{name}-photos"
        check_folder(folder)
        report, text = _photos(settings, photos, rows, folder)
    else:
        folder = out or Path("out/evaluate") / f"{name}-{kind}-{split}"
        check_folder(folder)
        from interactvlm.evaluation.evaluate import EvaluationPlan

        plan = EvaluationPlan(
            baselines=tuple(part.strip() for part in baselines.split(",") if part.strip()),
            baseline_photos=baseline_photos,
            training_photos=training_photos,
            photos_per_batch=photos_per_batch,
            fast=fast,
        )
        source = _Source(settings, data, kind, limit, data_photos, truth_body)
        title = f"{name} on {data.name if data else 'synthetic scenes'}, {split}"
        report, text = _annotated(settings, source, split, train_split, folder, title, plan)
    if as_json:
        print_json(report)
    else:
        sys.stdout.write(text)
    console.print(f"written to {folder}", markup=False, highlight=False)


@dataclass(frozen=True)
class _Source:
    """Where annotated photos come from."""

    settings: Settings
    data: Path | None
    kind: str
    limit: int
    photos: Path | None
    truth_body: Path | None

    def open(self, split: str, limit: int, step: Callable[[str, int, int], None]) -> Sequence[ContactSample]:
        """One split of it."""
        from interactvlm.evaluation.sources import open_split, synthetic_scenes

        if self.data is None:
            if self.kind != "shards":
                raise InputError("--data", f"is needed: the folder of {self.kind}")
            return synthetic_scenes(self.settings.cache_path / "synthetic", split, scenes=limit, progress=step)
        if not self.data.exists():
            raise InputError("--data", f"{self.data} does not exist")
        return open_split(
            self.kind,
            self.data,
            split,
            limit=limit,
            photos=self.photos,
            missing=lambda text: console.print(text, style="yellow", markup=False, highlight=False),
        )

    def optional(self, split: str, limit: int, step: Callable[[str, int, int], None]) -> Sequence[ContactSample]:
        """The same; empty where there is no such split."""
        try:
            return self.open(split, limit, step)
        except InputError:
            return []


def _annotated(
    settings: Settings,
    source: _Source,
    split: str,
    train_split: str,
    out: Path,
    title: str,
    plan: EvaluationPlan,
) -> tuple[dict[str, Any], str]:
    from interactvlm.evaluation.evaluate import evaluate as run
    from interactvlm.evaluation.runner import open_model

    with ExitStack() as stack:
        step = stack.enter_context(counted_progress())
        samples = source.open(split, source.limit, step)
        if source.kind == "shards" and split != _UNSEEN:
            samples = [*samples, *source.optional(_UNSEEN, source.limit, step)]
        training = source.optional(train_split, plan.training_photos, step) if train_split else None
        model = stack.enter_context(open_model(settings, progress=lambda text: step(text, 0, 0)))
        template, body_map = _truth_body(samples, model.pipeline.localization.body, source.truth_body)
        report = run(
            model,
            samples,
            out,
            title=title,
            training=training or None,
            plan=plan,
            body=template,
            body_map=body_map,
            progress=step,
        )
    return report, (out / "report.md").read_text(encoding="utf-8")


def _photos(settings: Settings, folder: Path, rows: Path, out: Path) -> tuple[dict[str, Any], str]:
    from interactvlm.evaluation.photo_report import evaluate_photos
    from interactvlm.evaluation.photo_rows import read_rows

    seen = read_rows(rows, folder)  # before any weight is loaded
    from interactvlm.local import load_pipeline

    with counted_progress() as step:
        pipeline, closing = load_pipeline(settings, progress=lambda text: step(text, 0, 0))
        try:
            report = evaluate_photos(pipeline, folder, seen, out, progress=step)
        finally:
            closing()
    return report, (out / "photos.md").read_text(encoding="utf-8")


def _truth_body(
    samples: Sequence[ContactSample], own: BodyTemplate, file: Path | None
) -> tuple[BodyTemplate | None, VertexMap | None]:
    """The annotations' body and the way to it, where it is not the model's own."""
    from interactvlm.evaluation.truth import same_topology

    topology = next((contact.topology for sample in samples for contact in sample.human), own.topology)
    if same_topology(topology, own.topology):
        return None, None
    if file is None:
        raise InputError(
            "--truth-body",
            f"is needed: the photos are annotated on {topology!r}, the model answers on {own.topology!r}",
        )
    from interactvlm.body.conversion import map_between_templates
    from interactvlm.body.template import load_template

    template = load_template(topology, body_file=file)
    return template, map_between_templates(own, template)

"""`interactvlm prepare`: a downloaded data set, or shards of ours, made ready for training."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interactvlm.cli.console import console, print_json, step_progress
from interactvlm.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from interactvlm.body.template import BodyTemplate
    from interactvlm.datasets.sample import ContactSample
    from interactvlm.preparation.vqa import VisualQuestions

__all__ = ["prepare"]


def prepare(
    source: Annotated[str, typer.Argument(help="damon, piad, lemon (3DIR), pico, or shards (ours).")],
    path: Annotated[Path, typer.Argument(metavar="IN", help="The downloaded folder (DAMON: or its label file).")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the prepared samples.")],
    split: Annotated[str, typer.Option(help="train or test; empty for all of 3DIR; PICO has none.")] = "train",
    photos: Annotated[Path | None, typer.Option(help="DAMON: folder of the photos, if not beside the labels.")] = None,
    body: Annotated[Path | None, typer.Option(help="Your SMPL, SMPL-H or SMPL-X file (npz).")] = None,
    onto: Annotated[str, typer.Option(help="Move contact onto this body: anny for nano; empty leaves it.")] = "",
    masks: Annotated[bool, typer.Option("--masks", help="Draw ground-truth masks and heat as PNG.")] = False,
    corners: Annotated[int, typer.Option(help="Vertices of a pixel's triangle in contact: 2, or 3 as once.")] = 2,
    renders: Annotated[bool, typer.Option("--renders", help="Write the views of bodies and objects.")] = False,
    size: Annotated[int, typer.Option(help="Side of masks and renders, pixels.")] = 1024,
    limit: Annotated[int, typer.Option(help="Only so many photos; 0 for all.")] = 0,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out photos that are not there.")] = False,
    vqa_url: Annotated[
        str, typer.Option(help="OpenAI-compatible address (https://HOST/v1) that gets every photo; costs money.")
    ] = "",
    vqa_model: Annotated[str, typer.Option(help="Its model.")] = "",
    vqa_answers: Annotated[Path | None, typer.Option(help="File of paid answers. Default: OUT.answers.jsonl")] = None,
    vqa_parallel: Annotated[int, typer.Option(help="Questions asked at once.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Read a data set in its published format and write it as shards, with part words, masks and texts.

    The key of the address in --vqa-url is read from the environment variable INTERACTVLM_VQA_KEY. Photos show people:
    only send them where you may.
    """
    for package in ("torch", "numba", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(package, "train")
    from interactvlm.preparation.bodies import load_body_file
    from interactvlm.preparation.drawing import DrawingPlan
    from interactvlm.preparation.prepare import Plan
    from interactvlm.preparation.prepare import prepare as prepare_samples

    plan = Plan(onto, DrawingPlan(masks, corners, renders, size), vqa_parallel)
    if limit < 0:
        raise InputError("--limit", f"is {limit}; it must be 0 (all) or more")
    template = None if body is None else load_body_file(body)
    left_out: list[str] = []
    samples: Iterable[ContactSample] = _samples(
        source, path, split, photos, template, left_out if skip_missing else None
    )
    answers = vqa_answers or out.with_name(out.name + ".answers.jsonl")
    with step_progress() as step, _questions(vqa_url, vqa_model, answers) as questions:
        done = prepare_samples(
            samples,
            out,
            plan,
            source=source,
            split=split or "all",
            limit=limit,
            body=template,
            questions=questions,
            step=step,
        )
    if left_out:
        console.print(f"{len(left_out)} photos are not there, such as {left_out[0]}", markup=False, highlight=False)
    if as_json:
        print_json({"target": str(out), **asdict(done), "left_out": len(left_out)})
        return
    typer.echo(
        f"wrote {out}: {done.samples} photos, {done.human_contacts} contacts on bodies, {done.object_contacts} on "
        f"objects, {done.texts} texts, {done.masks} masks"
    )
    if questions is not None:
        typer.echo(f"asked {done.requests} times, {done.tokens} tokens; {done.unanswered} photos stay without answers")


def _samples(
    source: str, path: Path, split: str, photos: Path | None, body: BodyTemplate | None, left_out: list[str] | None
) -> Iterable[ContactSample]:
    if source == "shards":
        from interactvlm.datasets.shards import read_shards

        return read_shards(path, split)
    from interactvlm.datasets.published import open_published

    missing = None if left_out is None else left_out.append
    return open_published(source, path, split=split, photos=photos, body=body, missing=missing)


@contextmanager
def _questions(url: str, model: str, answers: Path) -> Iterator[VisualQuestions | None]:
    if bool(url) != bool(model):
        raise InputError("--vqa-url", "and --vqa-model belong together: name both or none")
    if not url:
        yield None
        return
    from interactvlm.preparation.answers import AnswerStore
    from interactvlm.preparation.endpoint import KEY_VARIABLE, ChatEndpoint, Endpoint
    from interactvlm.preparation.vqa import VisualQuestions

    endpoint = Endpoint(url, model, os.environ.get(KEY_VARIABLE, ""))
    with AnswerStore(answers) as store:
        yield VisualQuestions(ChatEndpoint(endpoint), store)

"""`interactvlm predict`: one photo to contacts, files and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from interactvlm.cli.console import console, print_json, step_progress
from interactvlm.cli.inputs import check_timeout, parse_objects, parse_person
from interactvlm.cli.photo_mask import predict_masks, print_masks
from interactvlm.cli.remote import ask_server, make_endpoint, refuse_options
from interactvlm.config import load_settings
from interactvlm.facade import InteractVLM, parse_task
from interactvlm.photo import load_photo
from interactvlm.photo_mask import holds_photo_masks
from interactvlm.pipeline import plan_questions
from interactvlm.results.archive import prediction_to_dict
from interactvlm.results.naming import check_stem
from interactvlm.results.write import check_folder, write_prediction
from interactvlm.types import Prediction

__all__ = ["predict"]


def predict(
    photo: Annotated[Path, typer.Argument(help="JPEG, PNG, WebP or BMP; EXIF rotation is honoured.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; made when missing.")],
    objects: Annotated[
        list[str] | None, typer.Option("--object", help="An object's everyday name; repeat for more.")
    ] = None,
    mesh: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE (GLB, PLY, OBJ, or a point cloud), or FILE where one object is named; a folder in the "
            "file's place holds the release's own renders and maps beside the mesh."
        ),
    ] = None,
    person: Annotated[str, typer.Option(help="largest, whole, X,Y or LEFT,TOP,RIGHT,BOTTOM in pixels.")] = "largest",
    task: Annotated[
        list[str] | None, typer.Option(help="binary, semantic, scene or object; repeat for more. Default: by --object.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="nano, or a checkpoint folder.")] = None,
    vision_tower: Annotated[str | None, typer.Option(help="CLIP folder of a published checkpoint.")] = None,
    body: Annotated[str | None, typer.Option(help="Body model file or folder of a published checkpoint.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    smplx_matrix: Annotated[
        Path | None, typer.Option(help="Your [10475, 6890] SMPL-H to SMPL-X matrix, for the community file.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Force the answer's beginning: quicker, less accurate.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which to give up.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    server: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ask this server; no model is loaded here.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="With --server: file with the bearer token (or INTERACTVLM_TOKEN).")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="With --server: authority of its certificate (PEM).")] = None,
    certificate: Annotated[Path | None, typer.Option(help="With --server: this client's certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="With --server: the key of --certificate (PEM).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Contacts of one person in one photo: npz, JSON, GLB and PNG files in OUT."""
    model_options = {"model": model, "vision_tower": vision_tower, "body": body, "device": device, "dtype": dtype}
    server_options = {"--token-file": token_file, "--ca": ca, "--certificate": certificate, "--key": key}
    if server is None:
        refuse_options(server_options, "goes with --server")
    else:
        refuse_options(
            {"--mesh": next((value for value in mesh or [] if Path(value.rpartition("=")[2]).is_dir()), None)},
            "names a folder, whose renders no server takes; with --server, name the mesh file in it",
        )
        named = {f"--{name.replace('_', '-')}": value for name, value in {**model_options, "config": config}.items()}
        refuse_options(named, "is chosen where the server starts; it does not go with --server")
    pixels = load_photo(photo)
    check_stem(photo.stem)
    check_folder(out)
    check_timeout(timeout)
    selector = parse_person(person)
    queries = parse_objects(objects or [], mesh or [])
    tasks = [parse_task(name) for name in task] if task else None
    plan_questions(queries, tasks)  # a question that cannot be asked is told before any weight is loaded
    settings = load_settings(file=config, overrides=model_options) if server is None else None
    if settings is not None and holds_photo_masks(settings):
        refuse_options({"--smplx-matrix": smplx_matrix}, "goes with a body; this model answers with masks on the photo")
        with step_progress() as step:
            masks, written = predict_masks(
                settings,
                pixels,
                out,
                stem=photo.stem,
                objects=queries,
                tasks=tasks,
                person=selector,
                fast=fast,
                timeout=timeout,
                progress=step,
            )
        print_masks(masks, written, as_json=as_json)
        return
    to_smplx = _smplx_matrix(smplx_matrix)
    with step_progress() as step:
        if settings is None:
            endpoint = make_endpoint(str(server), token_file=token_file, ca=ca, certificate=certificate, key=key)
            answer, template = ask_server(
                endpoint,
                photo,
                objects=queries,
                tasks=tasks,
                person=selector,
                fast=fast,
                timeout=timeout,
                progress=step,
            )
        else:
            from interactvlm.local import load_pipeline

            step(f"loading {settings.model}")
            pipeline, closing = load_pipeline(settings, progress=step)
            with InteractVLM(pipeline, closing=closing) as loaded:
                template = loaded.body
                answer = loaded.predict(
                    pixels, objects=queries, tasks=tasks, person=selector, fast=fast, timeout=timeout, progress=step
                )
        step("writing results")
        surfaces = {item.surface.content_hash: item.surface for item in queries if item.surface is not None}
        files = write_prediction(
            answer,
            out,
            stem=photo.stem,
            photo=pixels,
            body=template,
            surfaces=surfaces,
            smplh_to_smplx=to_smplx,
        )
    if as_json:
        print_json({**prediction_to_dict(answer), "files": [str(path) for path in files]})
    else:
        _print_table(answer, files)
    if answer.failures:  # the notices say which and why
        raise typer.Exit(1)


def _smplx_matrix(file: Path | None) -> Any:
    if file is None:
        return None
    from interactvlm.body.conversion import load_matrix

    return load_matrix(file, source="smplh", target="smplx").matrix


def _print_table(answer: Prediction, files: list[Path]) -> None:
    for notice in answer.notices:
        console.print(notice, style="bold yellow", markup=False)
    caution = "" if answer.model.trained else " (UNTRAINED: these answers mean nothing)"
    table = Table(title=f"{answer.model.name}{caution}, {sum(answer.timings.values()):.1f} s")
    for heading in ("task", "object", "vertices", "parts", "confidence", "answer"):
        table.add_column(heading)
    for result in answer.results:
        row: list[Any] = [
            result.task.value,
            result.object_name or "-",
            f"{len(result.vertex_ids)} of {len(result.probabilities)}",
            ", ".join(result.parts_touched) or result.affordance or "-",
            f"{result.confidence:.2f}",
            result.text,
        ]
        table.add_row(*row)
    stdout = Console(soft_wrap=True)
    stdout.print(table)
    for path in files:
        stdout.print(str(path), markup=False, highlight=False)

"""`interactvlm retrieve`: the meshes that look like what a photo shows, or are called so."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from interactvlm.cli.console import console, print_json, step_progress
from interactvlm.cli.inputs import check_timeout
from interactvlm.cli.mesh_queries import Conditions, MeshQuery, parse_size, read_query
from interactvlm.cli.remote import make_endpoint, refuse_options
from interactvlm.config import load_settings
from interactvlm.results.mesh_sheet import THUMBNAIL, MeshTile, draw_mesh_sheet
from interactvlm.results.naming import check_stem
from interactvlm.results.write import check_folder, png_bytes, write_files

if TYPE_CHECKING:
    from interactvlm.cli.mesh_sources import FoundMeshes, MeshSource

__all__ = ["retrieve"]

_PIPED_WIDTH = 200
_NOTHING_CLOSE = "nothing close; the nearest are"


def retrieve(
    query: Annotated[
        str,
        typer.Argument(metavar="PHOTO|TEXT", help="A photo, a mesh or point file, or words such as 'office chair'."),
    ],
    box: Annotated[str | None, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM of the object in the photo, pixels.")] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Picture of the photo's size, not black where the object is.")
    ] = None,
    category: Annotated[list[str] | None, typer.Option(help="Only this category; repeat for more.")] = None,
    licence: Annotated[list[str] | None, typer.Option(help="Only this licence, as SPDX; repeat for more.")] = None,
    max_faces: Annotated[int, typer.Option(min=0, help="Only meshes of at most so many faces.")] = 0,
    size: Annotated[str | None, typer.Option(help="Only meshes of LEAST,MOST metres at their largest.")] = None,
    top: Annotated[int, typer.Option(min=1, max=100, help="Hits wanted.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a sheet of thumbnails, the nearest mesh as GLB, and JSON.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Your table; default: the packaged catalogue.")
    ] = None,
    shape_encoder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --table: its point encoder, converted.")
    ] = None,
    query_encoder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --table: its CLIP, converted.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    server: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Ask this server.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="With --server: file with the bearer token (or INTERACTVLM_TOKEN).")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="With --server: authority of its certificate (PEM).")] = None,
    certificate: Annotated[Path | None, typer.Option(help="With --server: this client's certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="With --server: the key of --certificate (PEM).")] = None,
    timeout: Annotated[float | None, typer.Option(help="With --server: seconds after which to give up.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Find meshes that look like the object in a photo, or are called like a text."""
    encoders = {"--shape-encoder": shape_encoder, "--query-encoder": query_encoder}
    here: dict[str, object] = {"--table": table, **encoders, "--device": device, "--config": config}
    there = {"--token-file": token_file, "--ca": ca, "--certificate": certificate, "--key": key, "--timeout": timeout}
    if server is None:
        refuse_options(there, "goes with --server")
        if table is None:
            refuse_options(encoders, "goes with --table")
    else:
        refuse_options(here, "is chosen where the server starts; it does not go with --server")
    check_timeout(timeout)
    conditions = Conditions(
        tuple(category or ()), tuple(licence or ()), max_faces, None if size is None else parse_size(size)
    )
    asked = read_query(query, box=box, mask=mask)
    if out is not None:
        check_stem(asked.stem)
        check_folder(out)

    @contextmanager
    def source(step: Callable[[str], None]) -> Iterator[MeshSource]:
        if server is None:
            with _local(table, shape_encoder, query_encoder, config, device, step) as local:
                yield local
        else:
            endpoint = make_endpoint(server, token_file=token_file, ca=ca, certificate=certificate, key=key)
            step(f"asking {endpoint.target}")
            with _remote(endpoint, timeout) as remote:
                yield remote

    with step_progress() as step, source(step) as meshes:
        found = meshes.search(asked, conditions, limit=top)
        files = [] if out is None else _write(asked, found, meshes, out, step)
    document = _document(found, files)
    if as_json:
        print_json(document)
    else:
        _print(found, files)


@contextmanager
def _local(
    table: Path | None,
    shape_encoder: Path | None,
    query_encoder: Path | None,
    config: Path | None,
    device: str | None,
    step: Callable[[str], None],
) -> Iterator[MeshSource]:
    from interactvlm.cli.mesh_sources import LocalMeshes
    from interactvlm.object_search import load_retriever

    settings = load_settings(file=config, overrides={"device": device})

    def tell(what: str, done: int, total: int) -> None:
        step(f"{what} {done}/{total}" if total else what)

    step(f"opening {table or 'the packaged catalogue'}")
    retriever = load_retriever(
        settings, table=table, shape_encoder=shape_encoder, query_encoder=query_encoder, progress=tell
    )
    try:
        yield LocalMeshes(retriever)
    finally:
        retriever.close()


@contextmanager
def _remote(endpoint: Any, timeout: float | None) -> Iterator[MeshSource]:
    from interactvlm.cli.mesh_sources import RemoteMeshes
    from interactvlm.client import DEFAULT_TIMEOUT, Client

    with Client(endpoint) as client:
        yield RemoteMeshes(client, timeout=DEFAULT_TIMEOUT if timeout is None else timeout)


def _write(
    asked: MeshQuery, found: FoundMeshes, meshes: MeshSource, out: Path, step: Callable[[str], None]
) -> list[Path]:
    """The sheet, the chosen mesh (none when nothing is close) and the document."""
    step("drawing the meshes")
    chosen = None if found.nothing_close else next((hit for hit in found.hits if hit["mesh_sha256"]), None)
    tiles = [
        MeshTile(
            meshes.thumbnail(hit["mesh_sha256"], THUMBNAIL) if hit["mesh_sha256"] else None,
            [f"{place}. {hit['category'] or hit['name'] or hit['id']}", hit["name"], _worth(hit), _facts(hit)],
            chosen=hit is chosen,
        )
        for place, hit in enumerate(found.hits, start=1)
    ]
    sheet = draw_mesh_sheet(
        tiles,
        title=asked.text or asked.stem,
        notice=_NOTHING_CLOSE if found.nothing_close else "",
        query=asked.photo,
        box=asked.box,
    )
    files = {f"{asked.stem}.png": png_bytes(sheet)}
    if chosen is not None:
        files[f"{asked.stem}.glb"] = meshes.mesh(chosen["mesh_sha256"])
    files[f"{asked.stem}.json"] = json.dumps(_document(found, []), indent=2, ensure_ascii=False).encode()
    return write_files(files, out)


def _document(found: FoundMeshes, files: list[Path]) -> dict[str, Any]:
    return {
        "nothing_close": found.nothing_close,
        "category": found.category,
        "version": found.version,
        "hits": list(found.hits),
        **({"files": [str(path) for path in files]} if files else {}),
    }


def _print(found: FoundMeshes, files: list[Path]) -> None:
    if found.nothing_close:
        console.print(f"{_NOTHING_CLOSE}:" if found.hits else "nothing close", style="bold yellow", markup=False)
    table = Table(title=f"means {found.category}" if found.category else None)
    for heading in ("", "category", "name", "similarity", "confidence", "size", "faces", "licence", "id"):
        table.add_column(heading, overflow="fold")  # an id that is cut cannot be used
    for place, hit in enumerate(found.hits, start=1):
        confidence = "-" if hit["confidence"] is None else f"{hit['confidence']:.2f}"
        table.add_row(
            *(str(place), hit["category"] or "-", hit["name"] or "-", f"{hit['similarity']:.3f}", confidence),
            *(_size(hit), str(hit["faces"] or "-"), hit["licence"] or "-", hit["id"]),
        )
    stdout = Console(soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    stdout.print(table)
    for path in files:
        stdout.print(str(path), markup=False, highlight=False)


def _worth(hit: dict[str, Any]) -> str:
    confidence = "" if hit["confidence"] is None else f", confidence {hit['confidence']:.2f}"
    return f"similarity {hit['similarity']:.3f}{confidence}"


def _facts(hit: dict[str, Any]) -> str:
    return "  ·  ".join(filter(None, [_size(hit), hit["licence"]]))


def _size(hit: dict[str, Any]) -> str:
    if not hit["extent_source"]:
        return "-"
    spread = f" ± {hit['extent_spread']:.2f}" if hit["extent_spread"] else ""
    return f"{hit['extent_metres']:.2f}{spread} m"

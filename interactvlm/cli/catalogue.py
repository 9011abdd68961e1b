"""`interactvlm catalogue`: the object meshes that retrieval knows, the packaged ones and tables of the user's own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interactvlm.cli.catalogue_rows import RowSource, open_rows, opened_table, picture
from interactvlm.cli.console import counted_progress, print_json, step_progress
from interactvlm.cli.remote import make_endpoint, refuse_options
from interactvlm.errors import InputError
from interactvlm.results.write import check_folder, png_bytes, write_files

if TYPE_CHECKING:
    from interactvlm.client import Endpoint

__all__ = ["app"]

app = typer.Typer(
    help="Object meshes: list and show them, add and remove your own, import published tables.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Table = Annotated[Path | None, typer.Option("--table", metavar="DIR", help="Your table; default: the packaged one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


Png = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Also draw what is printed, as thumbnails.")]
Server = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="What this server can find.")]
TokenFile = Annotated[Path | None, typer.Option(help="With --server: file with the bearer token.")]
Ca = Annotated[Path | None, typer.Option(help="With --server: authority of its certificate (PEM).")]
Certificate = Annotated[Path | None, typer.Option(help="With --server: this client's certificate (PEM).")]
Key = Annotated[Path | None, typer.Option(help="With --server: the key of --certificate (PEM).")]


@app.command("list")
def list_rows(
    table: Table = None,
    category: Annotated[str, typer.Option(help="Only this category, in any spelling.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most rows printed.")] = 1000,
    png: Png = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Id, category, largest extent, faces, licence and name of each mesh."""
    endpoint = _endpoint(server, table, png, token_file=token_file, ca=ca, certificate=certificate, key=key)
    with open_rows(table, endpoint) as source:
        rows = source.rows(category, limit)
        if png is not None:
            _draw(rows, png, source, title=f"{source.title}{f': {category}' if category else ''} ({len(rows)})")
    if as_json:
        print_json(rows)
        return
    for row in rows:
        extent = f"{row['extent_metres']:.2f} m" if row["extent_metres"] else "-"
        facts = (row["id"], row["category"] or "-", extent, str(row["faces"] or "-"), row["licence"] or "-")
        typer.echo("  ".join((*facts, row["name"])))


@app.command("show")
def show(
    row_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` prints it.")],
    table: Table = None,
    png: Png = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Everything known about one mesh."""
    endpoint = _endpoint(server, table, png, token_file=token_file, ca=ca, certificate=certificate, key=key)
    with open_rows(table, endpoint) as source:
        found = source.find(row_id)
        if found is None:
            raise InputError("ID", f"{row_id!r} is not in {server or table or 'the packaged catalogue'}")
        if png is not None:
            _draw([found], png, source, title=row_id)
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        typer.echo(f"{name}: {value}")


@app.command("add")
def add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="glb, ply or obj, or folders of such, y up.")],
    table: Annotated[Path, typer.Option("--table", metavar="DIR", help="Made where it does not exist.")],
    encoder: Annotated[Path, typer.Option("--encoder", metavar="DIR", help="OpenShape's point encoder, converted.")],
    category: Annotated[str, typer.Option(help="Of all of them.")] = "",
    licence: Annotated[str, typer.Option(help="Of all of them, such as CC0-1.0.")] = "",
    metres: Annotated[bool, typer.Option("--metres", help="Their unit is the metre.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add meshes to a table, embedded by their shape."""
    from interactvlm.retrieval.additions import add_meshes, mesh_files
    from interactvlm.retrieval.shape_embedding import ShapeEmbedder
    from interactvlm.retrieval.shape_encoder import load_shape_encoder

    named = mesh_files(files)
    embedder = ShapeEmbedder(load_shape_encoder(encoder))
    with counted_progress() as tell:
        done = add_meshes(named, table, embedder, category=category, licence=licence, metres=metres, progress=tell)
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(f"added {len(done.ids)} of {len(named)} meshes: {table} has version {done.version}")
        for file, why in done.refused:
            typer.echo(f"left out {file}: {why}")
    if not done.ids:
        raise typer.Exit(InputError.exit_code)


@app.command("remove")
def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `list` prints them.")],
    table: Annotated[Path, typer.Option("--table", metavar="DIR", help="Your table.")],
    as_json: AsJson = False,
) -> None:
    """Remove rows from a table, and mesh files with the last row that refers to them."""
    from interactvlm.retrieval.removals import remove_meshes

    opened_table(table).close()  # refuses what is no table
    done = remove_meshes(table, ids)
    missing = [row_id for row_id in ids if row_id not in done.ids]
    if as_json:
        print_json({**asdict(done), "missing": missing})
    else:
        typer.echo(f"removed {len(done.ids)} of {len(ids)} rows: {table} has version {done.version}")
        for row_id in missing:
            typer.echo(f"not in the table: {row_id}")
    if not done.ids:
        raise typer.Exit(InputError.exit_code)


@app.command("import")
def import_table(
    embeddings: Annotated[Path, typer.Argument(metavar="EMBEDDINGS", help="OpenShape's objaverse.pt.")],
    metadata: Annotated[Path, typer.Argument(metavar="METADATA", help="Its objaverse_meta.json.")],
    table: Annotated[Path, typer.Option("--table", metavar="DIR", help="Made where it does not exist.")],
    labels: Annotated[Path | None, typer.Option(help="lvis-annotations.json.gz: categories.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn the published table of Objaverse into a table of yours; the pickle is read in a restricted process."""
    from interactvlm.retrieval.objaverse import import_objaverse

    with step_progress() as step:
        done = import_objaverse(embeddings, metadata, table, labels=labels, progress=step)
    if as_json:
        print_json(asdict(done))
        return
    typer.echo(
        f"imported {done.rows} rows, {done.described} with metadata, {done.labelled} with a category: "
        f"{table} has version {done.version}"
    )


def _endpoint(server: str | None, table: Path | None, png: Path | None, **access: Path | None) -> Endpoint | None:
    """Where the options say that the server is, once they are known to fit together."""
    if png is not None:
        if png.suffix.lower() != ".png":
            raise InputError("--png", f"is {str(png)!r}; it must end in .png")
        check_folder(png.parent)
    if server is None:
        refuse_options({f"--{name.replace('_', '-')}": value for name, value in access.items()}, "goes with --server")
        return None
    refuse_options({"--table": table}, "is chosen where the server starts; it does not go with --server")
    return make_endpoint(
        server,
        token_file=access["token_file"],
        ca=access["ca"],
        certificate=access["certificate"],
        key=access["key"],
    )


def _draw(rows: list[dict[str, Any]], png: Path, source: RowSource, *, title: str) -> None:
    """A sheet of thumbnails; rows without a mesh, or with one that cannot be read, have an empty tile."""
    from interactvlm.results.mesh_sheet import THUMBNAIL, MeshTile, draw_mesh_sheet

    side = THUMBNAIL if len(rows) > 1 else 2 * THUMBNAIL
    tiles = []
    with counted_progress() as tell:
        for place, row in enumerate(rows):
            tell("thumbnails", place, len(rows))
            size = f"{row['extent_metres']:.2f} m" if row["extent_metres"] else ""
            facts = "  ·  ".join(filter(None, [size, row["licence"]]))
            lines = [row["category"] or row["name"] or row["id"], row["name"], facts]
            tiles.append(MeshTile(picture(source, row, side), lines))
        tell("thumbnails", len(rows), len(rows))
    write_files({png.name: png_bytes(draw_mesh_sheet(tiles, title=title, columns=8))}, png.parent)

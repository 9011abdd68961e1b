"""Meshes at a glance: thumbnails in a grid, a few words below each; beside them the picture that was searched with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from interactvlm.results.lettering import draw_lines, line_height, wrap
from interactvlm.types import Box

__all__ = ["THUMBNAIL", "MeshTile", "draw_mesh_sheet"]

THUMBNAIL = 224
"""Pixels of a thumbnail's sides."""

_GAP = 16
_TITLE, _TEXT = 24, 15
_INK, _PALE, _TILE, _CHOSEN, _CAUTION = (24, 26, 32), (104, 108, 118), (246, 246, 248), (0, 150, 110), (178, 0, 24)
_CELL = THUMBNAIL + 16
_NO_PICTURE = "no mesh kept"


@dataclass(frozen=True, slots=True, eq=False)
class MeshTile:
    """One mesh of a sheet.

    Attributes:
        picture: RGB uint8 [S, S, 3]; None where there is no mesh.
        lines: below it, the first in bold.
        chosen: framed.
    """

    picture: NDArray[np.uint8] | None
    lines: Sequence[str]
    chosen: bool = False


def draw_mesh_sheet(
    tiles: Sequence[MeshTile],
    *,
    title: str,
    notice: str = "",
    query: NDArray[np.uint8] | None = None,
    box: Box | None = None,
    columns: int = 5,
) -> Image.Image:
    """Draw a sheet.

    Args:
        tiles: row by row.
        title: above all.
        notice: a sentence in red below the title.
        query: the picture that was searched with, RGB uint8 [H, W, 3]; drawn first, twice as large.
        box: around the object in it, pixels.
        columns: tiles a row.
    """
    photo = None if query is None else _query_picture(query, box)
    beside = 0 if photo is None else photo.width + _GAP
    columns = max(1, min(columns, len(tiles)))
    lines = max((len(tile.lines) for tile in tiles), default=0)
    cell_height = _CELL + lines * line_height(_TEXT) + 8
    rows = -(-len(tiles) // columns)
    width = max(2 * _GAP + beside + columns * (_CELL + _GAP) - _GAP, 2 * _GAP + 2 * _CELL)
    heading = wrap(title, size=_TITLE, width=width - 2 * _GAP, lines=2, bold=True)
    caution = wrap(notice, size=_TEXT, width=width - 2 * _GAP, lines=2)
    top = _GAP + len(heading) * line_height(_TITLE) + len(caution) * line_height(_TEXT) + _GAP
    below = max(rows * (cell_height + _GAP), 0 if photo is None else photo.height + _GAP)
    sheet = Image.new("RGB", (width, top + below), "white")
    pen = ImageDraw.Draw(sheet)
    y = draw_lines(pen, (_GAP, _GAP), heading, size=_TITLE, fill=_INK, bold=True)
    draw_lines(pen, (_GAP, y), caution, size=_TEXT, fill=_CAUTION)
    if photo is not None:
        sheet.paste(photo, (_GAP, top))
    for place, tile in enumerate(tiles):
        left = _GAP + beside + place % columns * (_CELL + _GAP)
        _draw_tile(sheet, pen, tile, (left, top + place // columns * (cell_height + _GAP)), cell_height)
    return sheet


def _draw_tile(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: MeshTile, corner: tuple[int, int], height: int
) -> None:
    x, y = corner
    frame = _CHOSEN if tile.chosen else None
    pen.rectangle((x, y, x + _CELL - 1, y + height - 1), fill=_TILE, outline=frame, width=3 if frame else 0)
    inside = (x + 8, y + 8)
    if tile.picture is None:
        draw_lines(pen, (x + 16, y + THUMBNAIL // 2), [_NO_PICTURE], size=_TEXT, fill=_PALE)
    else:
        sheet.paste(Image.fromarray(tile.picture).resize((THUMBNAIL, THUMBNAIL)), inside)
    at = y + THUMBNAIL + 12
    for number, text in enumerate(tile.lines):
        fitted = wrap(text, size=_TEXT, width=_CELL - 16, lines=1, bold=not number)
        draw_lines(pen, (x + 8, at), fitted, size=_TEXT, fill=_PALE if number else _INK, bold=not number)
        at += line_height(_TEXT)


def _query_picture(query: NDArray[np.uint8], box: Box | None) -> Image.Image:
    picture = Image.fromarray(query)
    scale = min(2 * _CELL / picture.width, 2 * _CELL / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.resize(size, Image.Resampling.LANCZOS)
    if box is not None:
        x0, x1 = (min(max(edge * scale, 0), small.width - 1) for edge in (box.left, box.right))
        y0, y1 = (min(max(edge * scale, 0), small.height - 1) for edge in (box.top, box.bottom))
        ImageDraw.Draw(small).rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=_CHOSEN, width=3)
    return small

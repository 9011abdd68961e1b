"""One picture that a person understands at a glance: photo, canonical views and answer, a row a result.

Width 1600 pixels, at most six rows a picture. A banner across the whole top says what a reader must know first; when
the model is untrained it is red, and every row repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from interactvlm.errors import InputError
from interactvlm.geometry.cameras import HUMAN_VIEWS, OBJECT_VIEWS, View
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.results.colours import contact_colours
from interactvlm.results.lettering import draw_lines, line_height, text_width, wrap
from interactvlm.results.views import FRONT_AND_BACK, draw_views
from interactvlm.types import Prediction, Target, Task, TaskResult

__all__ = ["MAX_ROWS", "WIDTH", "draw_figures"]

WIDTH = 1600
MAX_ROWS = 6

_MARGIN = 40
_GAP = 16
_PHOTO_WIDTH = 460
_TILE_HEIGHT = 300
_PANEL_HEIGHT = 2 * _TILE_HEIGHT + _GAP
_MIN_CLOSE_UP = 160
_RENDER_SIDE = 800
_INNER = WIDTH - 2 * _MARGIN

Colour = tuple[int, int, int]
_PAPER: Colour = (255, 255, 255)
_TILE: Colour = (246, 246, 248)
_INK: Colour = (24, 26, 32)
_PALE: Colour = (104, 108, 118)
_RULE: Colour = (218, 220, 226)
_ALARM: Colour = (178, 0, 24)
_CAUTION: Colour = (255, 196, 0)
_PERSON: Colour = (0, 122, 255)
_REGION: Colour = (0, 150, 110)


def draw_figures(
    prediction: Prediction,
    *,
    title: str,
    photo: NDArray[np.uint8],
    surfaces: Mapping[str, Mesh | PointCloud],
) -> list[Image.Image]:
    """Draw a prediction.

    Args:
        prediction: one row is drawn for each of its results.
        title: the photo's name.
        photo: upright RGB uint8 [H, W, 3].
        surfaces: by `TaskResult.surface`; bodies in their canonical pose.

    Returns:
        RGB images 1600 pixels wide, one for every six results; one without rows when there is no result.

    Raises:
        InputError: a result's surface is missing or has another number of vertices than its probabilities.
    """
    results = prediction.results
    pages = [results[start : start + MAX_ROWS] for start in range(0, max(len(results), 1), MAX_ROWS)]
    panel = _photo_panel(photo, prediction)
    figures = []
    for number, page in enumerate(pages, start=1):
        page_title = title if len(pages) == 1 else f"{title}  ({number} of {len(pages)})"
        bands = [*_banner(prediction), _header(prediction, page_title)]
        bands += [_row(result, panel, surfaces, trained=prediction.model.trained) for result in page]
        figure = Image.new("RGB", (WIDTH, sum(band.height for band in bands)), _PAPER)
        y = 0
        for band in bands:
            figure.paste(band, (0, y))
            y += band.height
        figures.append(figure)
    return figures


def _banner(prediction: Prediction) -> list[Image.Image]:
    trained = prediction.model.trained
    sentences = list(dict.fromkeys(filter(None, (prediction.model.notice, *prediction.notices))))
    if trained and not sentences:
        return []
    ground, ink = (_CAUTION, _INK) if trained else (_ALARM, _PAPER)
    heading = "PLEASE NOTE" if trained else "UNTRAINED MODEL: THESE ANSWERS MEAN NOTHING"
    lines = [line for text in sentences for line in wrap(text, size=24, width=_INNER, lines=3)]
    banner = Image.new("RGB", (WIDTH, 2 * 20 + line_height(40) + len(lines) * line_height(24)), ground)
    draw = ImageDraw.Draw(banner)
    y = draw_lines(draw, (_MARGIN, 16), [heading], size=40, fill=ink, bold=True)
    draw_lines(draw, (_MARGIN, y), lines, size=24, fill=ink)
    return [banner]


def _header(prediction: Prediction, title: str) -> Image.Image:
    header = Image.new("RGB", (WIDTH, 112), _PAPER)
    draw = ImageDraw.Draw(header)
    legend_width = 420
    width = _INNER - legend_width - _MARGIN
    y = draw_lines(
        draw, (_MARGIN, 24), wrap(title, size=34, width=width, lines=1, bold=True), size=34, fill=_INK, bold=True
    )
    height, photo_width = prediction.photo_size
    facts = [
        f"model {prediction.model.name} ({prediction.model.checkpoint_hash[:12]})",
        f"photo {photo_width} x {height}",
    ]
    if prediction.timings:
        facts.append(f"{sum(prediction.timings.values()):.1f} s")
    draw_lines(draw, (_MARGIN, y), wrap("  ·  ".join(facts), size=20, width=width, lines=1), size=20, fill=_PALE)

    left, top = WIDTH - _MARGIN - legend_width, 20
    draw_lines(draw, (left, top), ["probability of contact"], size=18, fill=_PALE)
    top += 28
    scale = contact_colours(np.linspace(0, 1, legend_width, dtype=np.float32))
    header.paste(Image.fromarray(np.repeat(scale[None], 22, axis=0)), (left, top))
    for value in (0.0, 0.5, 1.0):
        label = f"{value:g}"
        x = left + round(value * (legend_width - text_width(label, size=18)))
        draw_lines(draw, (x, top + 28), [label], size=18, fill=_PALE)
    return header


def _row(
    result: TaskResult, panel: Image.Image, surfaces: Mapping[str, Mesh | PointCloud], *, trained: bool
) -> Image.Image:
    text = _text_block(result, trained=trained)
    row = Image.new("RGB", (WIDTH, text.height + _PANEL_HEIGHT + 28), _PAPER)
    row.paste(text, (0, 0))
    row.paste(panel, (_MARGIN, text.height))
    tiles = _tiles(result, surfaces)
    columns = len(tiles) // 2
    left = _MARGIN + _PHOTO_WIDTH + _GAP
    width = (WIDTH - _MARGIN - left - (columns - 1) * _GAP) // columns
    for index, (caption, picture) in enumerate(tiles):
        # Column by column: the last column of a body holds front and back.
        x = left + (index // 2) * (width + _GAP)
        y = text.height + (index % 2) * (_TILE_HEIGHT + _GAP)
        row.paste(_tile(caption, picture, width), (x, y))
    return row


def _text_block(result: TaskResult, *, trained: bool) -> Image.Image:
    answer = wrap(f"“{result.text}”", size=22, width=_INNER, lines=2) if result.text.strip() else []
    block = Image.new("RGB", (WIDTH, 24 + line_height(32) + line_height(22) * (1 + len(answer)) + 18), _PAPER)
    draw = ImageDraw.Draw(block)
    draw.line([(_MARGIN, 0), (WIDTH - _MARGIN, 0)], fill=_RULE, width=2)
    y, x = 22, _MARGIN
    heading = wrap(_heading(result), size=32, width=_INNER - 220, lines=1, bold=True)
    if not trained:
        x += _tag(draw, (x, y), "UNTRAINED") + _GAP
    y = draw_lines(draw, (x, y), heading, size=32, fill=_INK, bold=True)
    y = draw_lines(draw, (_MARGIN, y), wrap(_facts(result), size=22, width=_INNER, lines=1), size=22, fill=_INK)
    draw_lines(draw, (_MARGIN, y), answer, size=22, fill=_PALE)
    return block


def _heading(result: TaskResult) -> str:
    match result.task:
        case Task.BINARY:
            return "Where the person touches anything"
        case Task.SCENE:
            return "Where the person touches the scene"
        case Task.SEMANTIC:
            return f"Where the person touches: {result.object_name}"
        case Task.OBJECT:
            return f"Where it is touched: {result.object_name}"


def _facts(result: TaskResult) -> str:
    unit = "vertices" if result.target is Target.HUMAN else "points"
    facts = [
        f"{len(result.vertex_ids):,} of {len(result.probabilities):,} {unit} at {result.threshold:g} or more",
        f"confidence {result.confidence:.2f}",
    ]
    if result.target is Target.HUMAN:
        facts.insert(0, f"touched: {', '.join(result.parts_touched) or 'no part'}")
        if result.parts_named:
            facts.append(f"named: {', '.join(result.parts_named)}")
    if result.affordance:
        facts.insert(0, f"affordance: {result.affordance}")
    return "  ·  ".join(facts)


def _tiles(result: TaskResult, surfaces: Mapping[str, Mesh | PointCloud]) -> list[tuple[str, Image.Image]]:
    surface = surfaces.get(result.surface)
    if surface is None:
        raise InputError("surfaces", f"has no {result.surface!r}, on which an answer lies")
    count = len(surface.vertices if isinstance(surface, Mesh) else surface.xyz)
    if result.probabilities.shape != (count,):
        raise InputError("surfaces", f"{result.surface!r} has {count} vertices; the answer {result.probabilities.size}")
    if result.target is Target.HUMAN:
        views: tuple[View, ...] = HUMAN_VIEWS + FRONT_AND_BACK
    else:
        views, surface = OBJECT_VIEWS, surface.centred()
    pictures = draw_views(surface, contact_colours(result.probabilities), views, side=_RENDER_SIDE)
    return list(zip([view.name for view in views], pictures, strict=True))


def _tile(caption: str, picture: Image.Image, width: int) -> Image.Image:
    tile = Image.new("RGB", (width, _TILE_HEIGHT), _TILE)
    room = (width - 24, _TILE_HEIGHT - 52)
    small, _ = _fit(picture, room)
    tile.paste(small, ((width - small.width) // 2, 38 + (room[1] - small.height) // 2), small)
    draw_lines(ImageDraw.Draw(tile), (12, 8), [caption], size=18, fill=_PALE)
    return tile


def _photo_panel(photo: NDArray[np.uint8], prediction: Prediction) -> Image.Image:
    """The photo with its boxes and, below it where there is room, what lies in the model's (or person's) box."""
    panel = Image.new("RGB", (_PHOTO_WIDTH, _PANEL_HEIGHT), _TILE)
    image = Image.fromarray(photo)
    whole, scale = _fit(image, (_PHOTO_WIDTH, _PANEL_HEIGHT))
    whole = _with_boxes(whole, scale, prediction)
    chosen = prediction.region or prediction.person
    room = (_PHOTO_WIDTH, _PANEL_HEIGHT - whole.height - _GAP)
    if chosen is None or room[1] < _MIN_CLOSE_UP:
        panel.paste(whole, ((_PHOTO_WIDTH - whole.width) // 2, (_PANEL_HEIGHT - whole.height) // 2))
        return panel
    corners = np.clip(
        [round(chosen.left), round(chosen.top), round(chosen.right), round(chosen.bottom)], 0, 2 * image.size
    )
    panel.paste(whole, (0, 0))
    panel.paste(_PAPER, (0, whole.height, _PHOTO_WIDTH, whole.height + _GAP))
    if (corners[2:] > corners[:2]).all():
        close_up, _ = _fit(image.crop(tuple(corners.tolist())), room)
        panel.paste(close_up, ((_PHOTO_WIDTH - close_up.width) // 2, _PANEL_HEIGHT - (room[1] + close_up.height) // 2))
    return panel


def _with_boxes(picture: Image.Image, scale: float, prediction: Prediction) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    tags: list[tuple[tuple[int, int], str, Colour]] = []
    for box, colour, label in (
        (prediction.region, _REGION, "seen by the model"),
        (prediction.person, _PERSON, "person"),
    ):
        if box is None:
            continue
        x0, x1 = (min(max(side * scale, 0), picture.width) for side in (box.left, box.right))
        y0, y1 = (min(max(side * scale, 0), picture.height) for side in (box.top, box.bottom))
        if x1 - x0 < 1 or y1 - y0 < 1:
            continue
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=4)
        # The label sits at the foot of the region and at the head of the person: they seldom overlap.
        tags.append(((round(x0), round(max(y1 - 29, 0) if colour == _REGION else y0)), label, colour))
    for position, label, colour in tags:
        _tag(draw, position, label, size=18, ground=colour)
    return picture


def _fit(picture: Image.Image, room: tuple[int, int]) -> tuple[Image.Image, float]:
    """The picture as large as the room (width, height) allows, and the scale that took."""
    scale = min(room[0] / picture.width, room[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS), scale


def _tag(
    draw: ImageDraw.ImageDraw, position: tuple[int, int], text: str, *, size: int = 26, ground: Colour = _ALARM
) -> int:
    """A word on a coloured ground; returns its width."""
    x, y = position
    width = text_width(text, size=size, bold=True) + 20
    draw.rectangle((x, y, x + width, y + line_height(size) + 4), fill=ground)
    draw_lines(draw, (x + 10, y + 2), [text], size=size, fill=_PAPER, bold=True)
    return width

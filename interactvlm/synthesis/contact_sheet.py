"""Many samples at a glance: pictures in a grid, each with what it claims to show."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from interactvlm.body.anny import load_anny
from interactvlm.body.parts import parts_in_contact
from interactvlm.datasets.sample import ContactSample
from interactvlm.types import Task

__all__ = ["contact_sheet", "save_contact_sheet"]

_LINE = 12
_LINES = 3


def contact_sheet(samples: Sequence[ContactSample], *, columns: int = 6, side: int = 240) -> Image.Image:
    """A grid of pictures with template, object and touched parts below each.

    Args:
        samples: shown row by row.
        columns: pictures a row.
        side: pixels of a picture's longer side.
    """
    rows = -(-len(samples) // columns)
    cell = side + _LINES * _LINE + 4
    sheet = Image.new("RGB", (columns * side, rows * cell), "white")
    pen = ImageDraw.Draw(sheet)
    for place, sample in enumerate(samples):
        left, top = place % columns * side, place // columns * cell
        with Image.open(io.BytesIO(sample.photo)) as photo:
            photo.thumbnail((side - 4, side - 4))
            sheet.paste(photo, (left + (side - photo.width) // 2, top + (side - photo.height) // 2))
        for line, text in enumerate(_caption(sample)):
            pen.text((left + 3, top + side + line * _LINE), text[: side // 6], fill="black")
    return sheet


def save_contact_sheet(samples: Sequence[ContactSample], path: Path) -> None:
    """Write the sheet as PNG, complete or not at all."""
    temporary = path.with_name(f".writing-{path.name}")
    contact_sheet(samples).save(temporary, "PNG")
    temporary.replace(path)


def _caption(sample: ContactSample) -> list[str]:
    tags = sample.tags
    lines = [f"{tags.get('template', '')} {tags.get('category', '')} {tags.get('hand', '')}".strip()]
    part_index = load_anny().template.part_index
    for contact in sample.human:
        if contact.task is Task.SEMANTIC and len(contact.vertex_ids) and len(lines) < _LINES:
            touched = np.zeros(len(part_index), dtype=bool)
            touched[contact.vertex_ids] = True
            parts = ", ".join(_short(part) for part in parts_in_contact(touched, part_index)) or "a little"
            lines.append(f"{contact.object_name}: {parts}")
    return lines


def _short(part: str) -> str:
    return part.replace("left ", "L ").replace("right ", "R ")

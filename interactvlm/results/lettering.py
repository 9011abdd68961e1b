"""Text in pictures: Pillow's own font, so that a figure looks the same on every machine."""

from __future__ import annotations

import unicodedata
from functools import cache

from PIL import ImageDraw, ImageFont

__all__ = ["draw_lines", "line_height", "text_width", "wrap"]

#: Beyond ASCII the font has little more than these.
_DRAWABLE = frozenset("·…“”")
_APOSTROPHES = {0x2018: "'", 0x2019: "'"}
#: Stroke, relative to the size, that stands in for a bold cut.
_BOLD = 0.014


def wrap(text: str, *, size: int, width: int, lines: int, bold: bool = False) -> list[str]:
    """The text in at most `lines` lines of at most `width` pixels; what does not fit ends in an ellipsis.

    Accents are dropped, other letters that the font lacks become "?", line breaks and control characters blanks.
    """
    wrapped: list[str] = []
    rest = _legible(text)
    while rest and len(wrapped) < lines:
        count = _fitting(rest, size=size, width=width, bold=bold)
        if count < len(rest) and len(wrapped) == lines - 1:
            count = _fitting(rest, size=size, width=width - text_width("…", size=size, bold=bold), bold=bold)
            wrapped.append(rest[:count].rstrip() + "…")
            break
        if count < len(rest) and rest[count] != " ":
            count = rest.rfind(" ", 1, count) + 1 or count  # break at a blank where there is one
        wrapped.append(rest[:count].rstrip())
        rest = rest[count:].lstrip()
    return wrapped


def draw_lines(
    draw: ImageDraw.ImageDraw,
    position: tuple[int, int],
    lines: list[str],
    *,
    size: int,
    fill: tuple[int, int, int],
    bold: bool = False,
) -> int:
    """Write the lines from their upper left corner; returns the y below the last one."""
    x, y = position
    for line in lines:
        draw.text((x, y), line, font=_font(size), fill=fill, stroke_width=size * _BOLD if bold else 0)
        y += line_height(size)
    return y


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    return round(1.35 * size)


def text_width(text: str, *, size: int, bold: bool = False) -> int:
    """Pixels that the text takes."""
    return round(_font(size).getlength(text) + (2 * size * _BOLD if bold else 0))


def _fitting(text: str, *, size: int, width: int, bold: bool) -> int:
    """How many leading characters fit, at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle], size=size, bold=bold) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def _legible(text: str) -> str:
    plain = []
    for sign in unicodedata.normalize("NFKD", text).translate(_APOSTROPHES):
        if sign in _DRAWABLE or (sign.isascii() and sign.isprintable()):
            plain.append(sign)
        elif unicodedata.category(sign) == "Pd":
            plain.append("-")
        elif unicodedata.category(sign)[0] in "ZC":
            plain.append(" ")
        elif not unicodedata.combining(sign):
            plain.append("?")
    return " ".join("".join(plain).split())


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # a Pillow built without FreeType has one fixed bitmap font
        raise RuntimeError("Pillow was built without FreeType; install Pillow from its wheels")
    return font

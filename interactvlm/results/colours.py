"""The one colour scale of every picture and GLB: grey where nothing touches, through orange to dark red.

Legend (sRGB): 0.00 grey (203, 205, 210), 0.25 sand (240, 214, 160), 0.50 orange (250, 160, 56), 0.75 red (222, 66, 42),
1.00 dark red (140, 0, 40); linear between the stops. Nothing untouched is warm, so contact is seen in grey print too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEGEND", "contact_colours", "srgb_to_linear"]

#: (probability, sRGB colour) stops, ascending.
LEGEND: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (0.00, (203, 205, 210)),
    (0.25, (240, 214, 160)),
    (0.50, (250, 160, 56)),
    (0.75, (222, 66, 42)),
    (1.00, (140, 0, 40)),
)


def contact_colours(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour of each vertex.

    Args:
        probabilities: float [...] in [0, 1]; values outside are clamped.

    Returns:
        sRGB uint8 [..., 3].
    """
    stops = np.array([stop for stop, _ in LEGEND])
    colours = np.array([colour for _, colour in LEGEND], dtype=np.float64)
    channels = [np.interp(probabilities, stops, colours[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def srgb_to_linear(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same colours as glTF wants them in COLOR_0 (linear light), uint8 [..., 3] in and out (IEC 61966-2-1)."""
    value = colours / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.rint(255.0 * linear).astype(np.uint8)

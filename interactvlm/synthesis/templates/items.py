"""What is held, and how: where the hand goes, how it is turned, and PIAD's word for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DEFAULT_ITEM", "ITEMS", "STYLES", "Item", "Style", "Triple"]

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Style:
    """Where a hand is and how it is turned; directions are (outwards, up, front).

    Attributes:
        at: the palm from the shoulder joint, in arm lengths.
        lateral: where the thumb's side points.
        palm: where the palm faces; None where it does not matter.
        spread: random displacement, in arm lengths.
        near: a landmark that `at` is counted from instead, then in metres.
        looked_at: how often the person looks at the hand.
        seated: whether it also works sitting.
    touches: how often the object touches the head, where the style is near it.
    hangs: whether the object hangs down from the hand, whatever the hand's turn.
    """

    at: Triple
    lateral: Triple
    palm: Triple | None = None
    spread: float = 0.08
    near: str = ""
    looked_at: float = 0.5
    seated: bool = True
    hangs: bool = False
    touches: float = 0.8


STYLES: Mapping[str, Style] = {
    "side": Style(
        (0.16, -0.93, 0.06), (0.0, 0.05, 1.0), (-1.0, 0.0, 0.0), 0.03, looked_at=0.1, seated=False, hangs=True
    ),
    "down": Style((0.2, -0.88, 0.2), (0.0, 0.3, 1.0), (-1.0, 0.0, 0.0), 0.07, looked_at=0.2, seated=False),
    "front": Style((-0.08, -0.42, 0.62), (0.0, 1.0, 0.12), (-1.0, 0.0, 0.25)),
    "chest": Style((-0.18, -0.3, 0.52), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.1), 0.06),
    "forward": Style((-0.05, -0.12, 0.9), (0.0, 1.0, 0.2), (-1.0, 0.0, 0.0), 0.06),
    "pointing": Style((-0.02, -0.25, 0.8), (-0.15, 0.65, 0.75), (-1.0, 0.0, 0.1), 0.08),
    "up": Style((0.3, 0.6, 0.42), (0.0, 1.0, 0.1), (-0.3, 0.0, 1.0), 0.1, looked_at=0.4),
    "out": Style((0.8, -0.1, 0.3), (0.0, 1.0, 0.0), (-0.2, 0.0, 1.0), 0.1),
    "swing": Style((0.45, 0.05, 0.6), (0.3, 0.9, 0.2), None, 0.18, looked_at=0.3, seated=False),
    "backhand": Style((-0.35, -0.15, 0.6), (-0.3, 0.7, 0.5), None, 0.12, looked_at=0.3, seated=False),
    "tray": Style((0.02, -0.36, 0.6), (1.0, 0.0, 0.25), (0.0, 1.0, 0.1), 0.06),
    "read": Style((-0.2, -0.28, 0.5), (0.45, 0.85, 0.25), (-0.35, 0.35, -0.85), 0.05, looked_at=0.9),
    "mouth": Style((0.04, -0.07, 0.085), (-0.1, 0.8, -0.5), (-1.0, 0.0, -0.1), 0.008, "mouth", 0.0),
    "bite": Style((0.05, -0.065, 0.08), (-0.3, 0.6, -0.65), (-0.9, -0.1, -0.3), 0.01, "mouth", 0.0),
    "fork": Style((0.075, -0.085, 0.12), (-0.4, 0.5, -0.75), (-0.85, -0.2, -0.3), 0.01, "mouth", 0.0),
    "ear": Style((0.045, -0.045, 0.012), (-0.1, 0.4, -0.9), (-1.0, 0.0, 0.0), 0.006, "ear", 0.0),
    "hair": Style((0.2, 0.06, 0.06), (-0.1, 0.65, -0.7), (-1.0, 0.0, -0.2), 0.03, "ear", 0.0, touches=0.0),
}


@dataclass(frozen=True, slots=True)
class Item:
    """How a category is held: styles with their affordance, and how its grip may be rolled in the fist, in degrees."""

    styles: Mapping[str, str]
    roll: tuple[float, float] = (-12.0, 12.0)


_EAT = {"bite": "grasp", "front": "grasp", "chest": "grasp"}
_TOOL = {"front": "grasp", "pointing": "grasp", "down": "grasp"}
_RACKET = {"swing": "grasp", "backhand": "grasp", "up": "grasp", "down": "grasp", "front": "grasp"}
_BAG = {"side": "lift"}
_SMALL = {"front": "grasp", "chest": "grasp", "forward": "grasp", "out": "grasp", "down": "grasp"}

ITEMS: Mapping[str, Item] = {
    "cup": Item({"front": "wrapgrasp", "chest": "wrapgrasp", "mouth": "wrapgrasp", "out": "wrapgrasp"}),
    "bottle": Item({"front": "wrapgrasp", "mouth": "wrapgrasp", "down": "wrapgrasp", "out": "wrapgrasp"}),
    "wine glass": Item({"front": "wrapgrasp", "chest": "wrapgrasp", "mouth": "wrapgrasp", "out": "wrapgrasp"}),
    "bowl": Item({"tray": "contain"}),
    "vase": Item({"front": "wrapgrasp", "chest": "wrapgrasp"}),
    "fork": Item({"fork": "grasp", "front": "grasp", "pointing": "grasp"}),
    "spoon": Item({"fork": "grasp", "front": "grasp", "pointing": "grasp"}),
    "knife": Item({**_TOOL, "forward": "cut"}),
    "scissors": Item({"front": "cut", "pointing": "cut", "chest": "grasp"}),
    "toothbrush": Item({"fork": "grasp", "front": "grasp"}),
    "hair drier": Item({"hair": "grasp", "pointing": "grasp"}),
    "banana": Item({**_EAT, "out": "grasp"}),
    "apple": Item({**_EAT, "out": "grasp"}, (-180, 180)),
    "orange": Item({**_EAT, "out": "grasp"}, (-180, 180)),
    "sandwich": Item(_EAT),
    "carrot": Item(_EAT),
    "hot dog": Item(_EAT),
    "pizza": Item(_EAT),
    "donut": Item(_EAT, (-180, 180)),
    "cake": Item({"tray": "support"}),
    "cell phone": Item({"ear": "listen", "read": "press", "chest": "grasp", "front": "grasp", "up": "grasp"}),
    "remote": Item({"pointing": "press", "front": "press", "forward": "press"}),
    "book": Item({"read": "open", "chest": "grasp", "down": "grasp"}),
    "umbrella": Item({"chest": "grasp", "front": "grasp"}, (-6, 6)),
    "tennis racket": Item(_RACKET),
    "baseball bat": Item({"swing": "grasp", "down": "grasp", "up": "grasp"}),
    "baseball glove": Item({"front": "wear", "out": "wear", "up": "wear"}),
    "frisbee": Item({"swing": "grasp", "out": "grasp", "backhand": "grasp", "front": "grasp"}, (-40, 40)),
    "sports ball": Item({"front": "grasp", "out": "grasp", "up": "grasp", "tray": "grasp"}, (-180, 180)),
    "kite": Item({"up": "pull", "forward": "pull"}),
    "handbag": Item(_BAG, (-6, 6)),
    "suitcase": Item({"side": "lift"}, (-4, 4)),
    "surfboard": Item({"down": "lift", "front": "lift"}, (-6, 6)),
    "eye glasses": Item({"front": "grasp", "chest": "grasp"}),
    "hat": Item({"front": "grasp", "chest": "grasp", "up": "grasp"}),
    "shoe": Item({"front": "grasp", "side": "lift"}),
    "teddy bear": Item({"chest": "grasp", "front": "grasp", "down": "grasp"}),
    "skateboard": Item({"down": "lift", "front": "lift"}),
    "mouse": Item({"front": "grasp"}),
    "laptop": Item({"tray": "support"}, (75.0, 105.0)),
    "tie": Item({"chest": "grasp"}),
    "broom": Item({"front": "grasp"}),
}
DEFAULT_ITEM = Item(_SMALL)

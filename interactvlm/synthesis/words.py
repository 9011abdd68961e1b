"""What a scene's five text answers say (paper, section 3: VQA), from the scene and from the picture itself."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.parts import PART_NAMES, parts_in_contact
from interactvlm.datasets.sample import TextAnswer
from interactvlm.preparation.vqa import VQA_QUESTIONS
from interactvlm.synthesis.render import Picture
from interactvlm.synthesis.scene import Scene

__all__ = ["colour_name", "parts_text", "text_answers"]

#: What people do with things, by the beginning of the interaction's name; the first that fits.
_DOING = {
    "sit": "sitting on",
    "lie": "lying on",
    "stand_on": "standing on",
    "ski": "standing on",
    "ride": "riding",
    "lean": "leaning on",
    "support": "resting on",
    "type": "typing on",
    "carry": "carrying",
    "wear": "wearing",
    "kick": "kicking",
    "push": "pushing",
    "hold": "holding",
}
#: Interactions whose sentence names the body parts too.
_WITH_PARTS = ("holding", "carrying", "pushing", "touching", "leaning on", "typing on")


def text_answers(
    scene: Scene, picture: Picture, index: int, name: str, touched: NDArray[np.bool_], part_index: NDArray[np.uint8]
) -> list[TextAnswer]:
    """The five fields about the main person and one touched object.

    Args:
        scene: what was rendered.
        picture: how it looks.
        index: into `scene.objects`.
        name: what the questions call it.
        touched: bool [V], the body's contact with it.
        part_index: uint8 [V].
    """
    placed = scene.objects[index]
    doing = next((word for start, word in _DOING.items() if placed.template.startswith(start)), "touching")
    answers = {
        "person": _person(scene, picture, f"{doing} {_article(name)}"),
        "body parts": _sentence(parts_text(touched, part_index)),
        "interaction": f"The person is {doing} the {name} with the {parts_text(touched, part_index)}."
        if doing in _WITH_PARTS
        else f"The person is {doing} the {name}.",
        "object": _thing(scene, picture, index, name),
        "object parts": _object_parts(scene, index, name),
    }
    return [TextAnswer(field, VQA_QUESTIONS[field].format(name=name), text) for field, text in answers.items()]


def parts_text(touched: NDArray[np.bool_], part_index: NDArray[np.uint8]) -> str:
    """The parts in contact as words; where no part reaches the rule's tenth, the one that is touched most."""
    parts = list(parts_in_contact(touched, part_index))
    if not parts:
        parts = [PART_NAMES[int(np.bincount(part_index[touched], minlength=len(PART_NAMES)).argmax())]]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def colour_name(srgb: NDArray[np.floating]) -> str:
    """The everyday name of a colour, sRGB in [0, 1]."""
    red, green, blue = (float(value) for value in srgb)
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if value < 0.2:
        return "black"
    if saturation < 0.18:
        return "white" if value > 0.8 else "grey"
    degrees = 360 * hue
    if (degrees < 40 or degrees > 345) and value < 0.6 and degrees >= 8:
        return "brown"
    for limit, name in (
        *((16, "red"), (42, "orange"), (68, "yellow"), (165, "green"), (200, "turquoise")),
        *((258, "blue"), (295, "purple"), (345, "pink")),
    ):
        if degrees < limit:
            return name
    return "red"


def _person(scene: Scene, picture: Picture, doing: str) -> str:
    shape = scene.people[0].phenotype
    grown = shape.get("age", 2 / 3)
    male = shape.get("gender", 0.5) < 0.5
    if grown < 0.5:
        who = "child"
    else:
        who = ("man" if male else "woman") if grown < 0.85 else ("old man" if male else "old woman")
    top = picture.outfits[0].materials[1].colour
    bottom = picture.outfits[0].materials[2].colour
    colours = [colour_name(np.array(colour) ** (1 / 2.2)) for colour in (top, bottom)]
    return f"{_article(who).capitalize()} in {colours[0]} over {colours[1]}, {doing}."


def _thing(scene: Scene, picture: Picture, index: int, name: str) -> str:
    shown = picture.labels == len(scene.people) + index
    if not shown.any():
        return f"The {name} is hidden."
    colour = colour_name(np.median(picture.image[shown], axis=0) / 255)
    share = float(np.nonzero(shown)[1].mean()) / shown.shape[1]
    place = "on the left of" if share < 0.35 else ("on the right of" if share > 0.65 else "in the middle of")
    return f"{_article(f'{colour} {name}').capitalize()} {place} the photo."


def _object_parts(scene: Scene, index: int, name: str) -> str:
    """Where on the object, in its own frame (+y up, +z its front)."""
    vertices = scene.objects[index].mesh.vertices.astype(np.float64)
    heat = scene.object_contacts[index].astype(np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centre = (heat[:, None] * vertices).sum(axis=0) / max(float(heat.sum()), 1e-9)
    share = (centre - low) / np.maximum(high - low, 1e-6)
    up = "upper" if share[1] > 0.62 else ("lower" if share[1] < 0.38 else "middle")
    front = "front" if share[2] > 0.65 else ("back" if share[2] < 0.35 else "")
    where = f"the {up} part" + (f" at the {front}" if front else "")
    return f"The person touches {where} of the {name}."


def _sentence(parts: str) -> str:
    return f"The {parts}."


def _article(noun: str) -> str:
    """The noun with its article; none for pairs of things ("skis")."""
    if noun.endswith("s") and not noun.endswith(("ss", "us")):
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"

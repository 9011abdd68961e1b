"""What data sets and people call things, as the index calls them: LVIS's and COCO's spellings, plurals, phone words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from interactvlm.errors import InputError
from interactvlm.objects.categories import category

__all__ = ["canonical_name", "table_category"]

#: LVIS says which of a word's meanings is meant; these are the categories we know. Other qualified names ("bat
#: (animal)") are never shortened to their first word.
_QUALIFIED = {
    "bus (vehicle)": "bus",
    "cab (taxi)": "car",
    "cap (headwear)": "hat",
    "car (automobile)": "car",
    "flip-flop (sandal)": "shoe",
    "football (american)": "sports ball",
    "gondola (boat)": "boat",
    "monitor (computer equipment) computer monitor": "tv",
    "mouse (computer equipment)": "mouse",
    "orange (fruit)": "orange",
    "sandal (type of shoe)": "shoe",
    "train (railroad vehicle)": "train",
}
#: Names of LVIS and COCO, by category, that are not among its everyday synonyms.
_OTHER_NAMES = {
    "airplane": ("fighter jet", "jet plane", "seaplane"),
    "boat": ("kayak", "river boat", "houseboat"),
    "bottle": ("beer bottle", "thermos bottle"),
    "bus": ("school bus",),
    "car": ("jeep", "minivan", "race car"),
    "cell phone": ("cellular telephone",),
    "chair": ("recliner", "rocking chair"),
    "couch": ("sofa bed",),
    "motorcycle": ("dirt bike", "motor scooter"),
    "potted plant": ("flowerpot",),
    "shoe": ("running shoe", "sandal"),
    "stroller": ("baby buggy",),
    "train": ("bullet train", "passenger car"),
    "truck": ("garbage truck", "pickup truck", "tow truck", "trailer truck"),
}
_OTHER_WORDS = {word: name for name, words in _OTHER_NAMES.items() for word in words}
_ARTICLES = re.compile(r"^(?:a|an|the|some|my|his|her|their|one)\s+(?=\S)")
_IRREGULAR = {"knives": "knife", "shelves": "shelf", "mice": "mouse", "scarves": "scarf", "televisions": "tv"}


def canonical_name(name: str) -> str:
    """The category that a name means: "tennis_racket", "Tennis Rackets" and "a racquet" are "tennis racket".

    Args:
        name: in any case, with "_" or "-" for blanks, singular or plural, with LVIS's explanations in parentheses.

    Returns:
        The canonical name; "" where no known category is meant.
    """
    text = unicodedata.normalize("NFKC", name).lower().replace("_", " ")
    plain = " ".join(text.split())
    if plain in _QUALIFIED:
        return _QUALIFIED[plain]
    if "(" in plain:
        return ""
    plain = " ".join(_ARTICLES.sub("", plain).split())
    for spelling in _spellings(plain):
        if spelling in _OTHER_WORDS:
            return _OTHER_WORDS[spelling]
        try:
            return category(spelling).name
        except InputError:
            continue
    return ""


def table_category(label: str) -> str:
    """A label of a data set as a row's category: the known category it means, else the label in plain writing.

    Unknown things keep their label whole, explanations included, so that they can still be asked for: "bat_(animal)"
    is "bat (animal)".
    """
    return canonical_name(label) or " ".join(label.replace("_", " ").lower().split())


def _spellings(plain: str) -> Iterator[str]:
    """The name as it is, then with less and less of its plural and hyphens."""
    words = plain.replace("-", " ")
    for text in dict.fromkeys((plain, words, words.replace(" ", ""))):
        yield text
        start, _, last = text.rpartition(" ")
        start = f"{start} " if start else ""
        if last in _IRREGULAR:
            yield start + _IRREGULAR[last]
        if last.endswith("ies"):
            yield f"{start}{last[:-3]}y"
        if last.endswith("es"):
            yield start + last[:-2]
        if last.endswith("s"):
            yield start + last[:-1]

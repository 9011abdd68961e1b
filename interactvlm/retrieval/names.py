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
    "car (automobile)": "car",
    "mouse (computer equipment)": "mouse",
    "orange (fruit)": "orange",
    "train (railroad vehicle)": "train",
    "monitor (computer equipment) computer monitor": "tv",
}
#: Words of LVIS and COCO that are neither a category nor among its synonyms.
_OTHER_WORDS = {
    "cellular telephone": "cell phone",
    "frankfurter": "hot dog",
    "garbage": "",
    "sandal": "shoe",
    "trousers": "",
    "wooden chair": "chair",
    "flowerpot": "potted plant",
    "sofa bed": "couch",
    "coffee table": "table",
    "pickup truck": "truck",
    "passenger car": "train",
    "motor scooter": "motorcycle",
    "basketball": "sports ball",
    "soccer ball": "sports ball",
    "tennis ball": "sports ball",
    "volleyball": "sports ball",
    "armchair": "chair",
    "rocking chair": "chair",
    "folding chair": "chair",
    "beer bottle": "bottle",
    "thermos bottle": "bottle",
}
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

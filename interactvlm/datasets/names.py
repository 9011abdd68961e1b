"""What data sets call objects, as questions and tables call them."""

from __future__ import annotations

import re
from functools import cache

from interactvlm.objects.categories import CATEGORIES, Category

__all__ = ["damon_category", "everyday_name"]


def everyday_name(name: str) -> str:
    """A data set's name of an object as a question names it.

    "StorageFurniture" -> "storage furniture"; "Baseballbat" -> "baseball bat", where a known category is spelled so.
    """
    plain = " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-]+", " ", name).split()).lower()
    found = _spellings().get(plain.replace(" ", ""))
    return found[0] if found else plain


def damon_category(name: str) -> str:
    """DAMON's name of an object's category ("tennis_racket"), "" where it has none; synonyms count ("mug": "cup")."""
    found = _spellings().get(everyday_name(name).replace(" ", ""))
    return found[1].damon if found else ""


@cache
def _spellings() -> dict[str, tuple[str, Category]]:
    """Names and synonyms of all categories by their letters alone; canonical names go before synonyms."""
    found = {category.name.replace(" ", ""): (category.name, category) for category in CATEGORIES.values()}
    for category in CATEGORIES.values():
        for synonym in category.synonyms:
            found.setdefault(synonym.replace(" ", ""), (synonym, category))
    return found

"""What the embedded catalogue finds: `python -m benchmarks.retrieval_accuracy --json`.

Words: each category's name, the everyday words that the catalogue lists, and five that it does not
(`retrieval_words`), with and without the spelling rules of `interactvlm/retrieval/names.py`. Right is the category
first; a listed word that several categories share ("bag") is right for any of them.

Photos: every object that has a category, photographed (`object_photos`) in lights, poses and places that the index has
not seen; asked with its mask and with its box alone. `photos_any_roll` turns it in the picture as held things are, and
the queries say that it may be turned.

The index is built on the first run (some minutes).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.object_photos import ObjectPhoto, photograph
from benchmarks.retrieval_words import HELD_OUT_WORDS
from interactvlm.config import load_settings
from interactvlm.object_search import load_retriever
from interactvlm.objects.categories import CATEGORIES
from interactvlm.retrieval.catalogue_objects import CatalogueObject, catalogue_objects
from interactvlm.retrieval.catalogue_retriever import CatalogueRetriever
from interactvlm.retrieval.retriever import Answer, ImageQuery, Retriever
from interactvlm.retrieval.text_embedding import load_text_embedder
from interactvlm.vlm.nano.patches import load_nano_patches

_SEED = 20_000
_QUICK_STEP = 40


def words(retriever: Retriever) -> dict[str, Any]:
    """Accuracy of text queries."""
    owners: dict[str, set[str]] = {}
    for name, entry in CATEGORIES.items():
        for word in (name, *entry.synonyms[:5]):
            owners.setdefault(word, set()).add(name)
    listed = {name: entry.synonyms[:5] for name, entry in CATEGORIES.items()}
    embed = load_text_embedder()

    def raw(texts: Sequence[str]) -> list[Answer]:
        return retriever.by_embedding(embed(texts), limit=1)

    def share(asked: Mapping[str, Sequence[str]], ask: Callable[[Sequence[str]], list[Answer]]) -> float:
        pairs = [(name, word) for name, chosen in asked.items() for word in chosen]
        found = [answer.hits[0].row.category for answer in ask([word for _, word in pairs])]
        right = [kind in owners.get(word, {name}) for (name, word), kind in zip(pairs, found, strict=True)]
        return float(np.mean(right))

    def normalised(texts: Sequence[str]) -> list[Answer]:
        return retriever.by_text(texts, limit=1)

    return {
        "names": share({name: (name,) for name in CATEGORIES}, normalised),
        "listed_words": share(listed, normalised),
        "held_out_words": share(HELD_OUT_WORDS, normalised),
        "held_out_words_without_names": share(HELD_OUT_WORDS, raw),
        "queries": sum(map(len, HELD_OUT_WORDS.values())),
    }


def photos(retriever: CatalogueRetriever, objects: Sequence[CatalogueObject], *, any_roll: bool) -> dict[str, Any]:
    """Accuracy of image queries, one photo an object."""
    dice = np.random.default_rng(_SEED + any_roll)
    asked = [item for item in objects if item.row.category]
    tallies: dict[str, list[tuple[bool, bool, bool, float]]] = {"mask": [], "box": []}
    seconds = []
    for number, item in enumerate(asked):
        shot = photograph(item.mesh(), dice, any_roll=any_roll)
        for way, tally in tallies.items():
            query = ImageQuery(shot.photo, shot.box, shot.mask if way == "mask" else None, turned=any_roll)
            began = time.perf_counter()
            (answer,) = retriever.by_image([query], limit=5)
            seconds.append(time.perf_counter() - began)
            tally.append(_judged(answer, item, shot))
        if number % 20 == 0:
            print(f"photo {number} of {len(asked)}", file=sys.stderr)
    return {
        "photos": len(asked),
        "seconds_a_query": float(np.median(seconds)),
        **{f"{way}_{name}": value for way, tally in tallies.items() for name, value in _summary(tally).items()},
    }


def _judged(answer: Answer, item: CatalogueObject, shot: ObjectPhoto) -> tuple[bool, bool, bool, float]:
    first, ids = answer.hits[0], [hit.row.id for hit in answer.hits]
    view = next((hit.view for hit in answer.hits if hit.row.id == item.row.id), None)
    turned = np.nan
    if view is not None:
        turned = abs((view.azimuth - shot.pose.azimuth + 180) % 360 - 180)
    return first.row.category == item.row.category, ids[0] == item.row.id, item.row.id in ids, float(turned)


def _summary(tally: Sequence[tuple[bool, bool, bool, float]]) -> dict[str, float]:
    category, first, five, turned = (np.array(values, float) for values in zip(*tally, strict=True))
    return {
        "category_top1": float(category.mean()),
        "instance_top1": float(first.mean()),
        "instance_top5": float(five.mean()),
        "azimuth_within_30_degrees": float((turned[np.isfinite(turned)] <= 30).mean()) if five.any() else 0.0,
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the default and only form")
    parser.add_argument("--quick", action="store_true", help="few objects, for smoke tests")
    parser.add_argument("--words", action="store_true", help="words only, which needs no index of views")
    parser.add_argument("--turned", action="store_true", help="of the photos, only those that turn the object")
    options = parser.parse_args()

    def told(what: str, done: int, total: int) -> None:
        if done % 20 == 0:
            print(f"{what}: {done} of {total}", file=sys.stderr)

    settings = load_settings()
    result: dict[str, Any] = {"objects": len(catalogue_objects())}
    whole = load_retriever(settings, progress=told)
    result["words"] = words(whole)
    if not options.words:
        with TemporaryDirectory() as scratch:
            objects = catalogue_objects()[::_QUICK_STEP] if options.quick else catalogue_objects()
            cache = Path(scratch) if options.quick else settings.cache_path / "retrieval"
            retriever = CatalogueRetriever(cache, load_nano_patches, objects=objects, progress=told)
            if not options.turned:
                result["photos"] = photos(retriever, objects, any_roll=False)
            result["photos_any_roll"] = photos(retriever, objects[::4], any_roll=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""What the embedded catalogue finds for objects in photos of your own, to look at.

    python -m benchmarks.retrieval_crops kitchen.jpg@120,80,260,310 street.jpg@0,0,90,60

Prints one line a crop and hit: similarity, confidence, category, object, and from where it seems to be seen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from interactvlm.cli.console import counted_progress
from interactvlm.config import load_settings
from interactvlm.object_search import load_retriever
from interactvlm.photo import load_photo
from interactvlm.retrieval.retriever import ImageQuery
from interactvlm.types import Box


def main() -> None:
    """Print the hits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", nargs="+", metavar="PHOTO@LEFT,TOP,RIGHT,BOTTOM")
    parser.add_argument("--limit", type=int, default=5)
    options = parser.parse_args()
    with counted_progress() as tell:
        retriever = load_retriever(load_settings(), progress=tell)
        for crop in options.crops:
            path, _, corners = crop.partition("@")
            box = Box(*map(float, corners.split(","))) if corners else None
            (answer,) = retriever.by_image([ImageQuery(load_photo(Path(path)), box)], limit=options.limit)
            print(f"{Path(path).name} {corners}{'  (nothing close)' if answer.nothing_close else ''}")
            for hit in answer.hits:
                view = hit.view
                seen = f"azimuth {view.azimuth:.0f}, elevation {view.elevation:.0f}" if view else ""
                kind = hit.row.category or "-"
                print(f"  {hit.similarity:.3f}  {hit.confidence:.2f}  {kind:16} {hit.row.id:28} {seen}")


if __name__ == "__main__":
    main()

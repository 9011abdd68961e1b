from __future__ import annotations

import hashlib

import pytest

from benchmarks.retrieval_words import HELD_OUT_WORDS
from interactvlm.objects.categories import CATEGORIES
from interactvlm.retrieval.catalogue_objects import catalogue_objects, contents_key, mesh_content
from interactvlm.retrieval.names import canonical_name


def test_every_category_has_a_mesh_and_150_of_them_ship() -> None:
    objects = catalogue_objects()
    assert {item.row.category for item in objects} >= set(CATEGORIES)
    assert sum(item.source.startswith("catalogue/") for item in objects) >= 150
    assert len({item.row.id for item in objects}) == len(objects)


def test_rows_are_complete() -> None:
    for item in catalogue_objects():
        row = item.row
        assert row.name
        assert row.licence in ("CC0-1.0", "Apache-2.0")
        assert row.faces > 0
        assert row.extent_metres > 0
        assert row.category in ("", *CATEGORIES)


def test_sizes_agree_with_the_prior_of_their_category() -> None:
    far = [
        item.row.id
        for item in catalogue_objects()
        if item.row.category
        and abs(item.row.extent_metres - CATEGORIES[item.row.category].size_mean)
        > 4 * CATEGORIES[item.row.category].size_spread + 0.5 * CATEGORIES[item.row.category].size_mean
    ]
    assert len(far) <= 0.03 * len(catalogue_objects()), far


@pytest.mark.parametrize("step", [0, 40, 80])
def test_hashes_are_of_the_bytes_served(step: int) -> None:
    for item in catalogue_objects()[step::97]:
        assert hashlib.sha256(mesh_content(item.source)).hexdigest() == item.row.mesh_sha256


def test_the_key_names_the_contents() -> None:
    objects = catalogue_objects()
    assert contents_key(objects) == contents_key(list(objects))
    assert contents_key(objects[1:]) != contents_key(objects)


def test_held_out_words_are_held_out() -> None:
    listed = {word for entry in CATEGORIES.values() for word in (entry.name, *entry.synonyms)}
    assert set(HELD_OUT_WORDS) == set(CATEGORIES)
    for name, words in HELD_OUT_WORDS.items():
        assert len(set(words)) == 5, name
        assert not listed & set(words), name
    # The spelling rules may know a few of them ("sun glasses"); most they must not.
    known = sum(bool(canonical_name(word)) for words in HELD_OUT_WORDS.values() for word in words)
    assert known < 0.15 * 5 * len(HELD_OUT_WORDS)

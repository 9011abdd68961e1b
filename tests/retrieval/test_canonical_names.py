from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.objects.categories import CATEGORIES
from interactvlm.retrieval import names
from interactvlm.retrieval.names import canonical_name, table_category


@pytest.mark.parametrize("name", CATEGORIES)
@pytest.mark.parametrize("change", [str.upper, lambda n: n.replace(" ", "_"), lambda n: f"a {n}s", str.title])
def test_every_category_is_known_however_it_is_written(name: str, change) -> None:
    assert canonical_name(change(name)) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cell phone", "cell phone"),
        ("mobile", "cell phone"),
        ("cellular_telephone", "cell phone"),
        ("Tennis  Racquets", "tennis racket"),
        ("tennis-racket", "tennis racket"),
        ("knives", "knife"),
        ("benches", "bench"),
        ("teddy bears", "teddy bear"),
        ("skate board", "skateboard"),
        ("mouse_(computer_equipment)", "mouse"),
        ("orange_(fruit)", "orange"),
        ("television_set", "tv"),
        ("hair_dryer", "hair drier"),
        ("wineglass", "wine glass"),
        ("computer_keyboard", "keyboard"),
        ("remote_control", "remote"),
        ("doughnut", "donut"),
        ("fireplug", "fire hydrant"),
        ("sofa", "couch"),
        ("cap_(headwear)", "hat"),
        ("pickup_trucks", "truck"),
        ("bow_(weapon)", ""),
        ("bat_(animal)", ""),
        ("chicken_(animal)", ""),
        ("zebra", ""),
        ("", ""),
        ("the", ""),
    ],
)
def test_spellings_of_data_sets_and_people(name: str, expected: str) -> None:
    assert canonical_name(name) == expected


def test_extra_names_are_neither_known_already_nor_of_unknown_categories() -> None:
    known = {word for entry in CATEGORIES.values() for word in (entry.name, *entry.synonyms)}
    assert not known & set(names._OTHER_WORDS)
    assert {*names._OTHER_NAMES, *names._QUALIFIED.values()} <= set(CATEGORIES)


def test_unknown_labels_keep_their_words() -> None:
    assert table_category("bat_(animal)") == "bat (animal)"
    assert table_category("Hot_Air_Balloon") == "hot air balloon"


@given(st.text(max_size=40))
def test_any_text_is_a_category_or_none(text: str) -> None:
    assert canonical_name(text) in {"", *CATEGORIES}

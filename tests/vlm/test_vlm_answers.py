from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.body.parts import PART_NAMES
from interactvlm.vlm.answers import AFFORDANCES, PIAD_AFFORDANCES, parse_affordance, parse_parts

WORDS = st.sampled_from(
    ["and", "the", "armpit", "forearms", "leftover", "subtorso", "ahead", "left", "xx", "[SEG]", ","]
)


def test_vocabulary_sizes() -> None:
    assert len(set(PART_NAMES)) == 15
    assert len(set(PIAD_AFFORDANCES)) == 17
    assert len(set(AFFORDANCES)) == 21


def test_forearm_is_not_arm() -> None:
    text = (
        "The contacting body parts are left forearm, right  arm, Left Forearm, elbow, and the contact region is [SEG]"
    )
    assert parse_parts(text) == ("left forearm", "right arm")


@given(st.lists(st.sampled_from(PART_NAMES), max_size=20), st.lists(WORDS, max_size=5))
def test_named_parts_are_found_once_in_order(parts: list[str], noise: list[str]) -> None:
    text = "The contacting body parts are " + ", ".join([*parts, *noise]) + ", and the contact region is [SEG]."
    assert parse_parts(text) == tuple(dict.fromkeys(parts))


@given(st.text())
def test_any_text_gives_known_parts_and_affordances(text: str) -> None:
    assert set(parse_parts(text)) <= set(PART_NAMES)
    assert parse_affordance(text) in (None, *AFFORDANCES)


@given(st.sampled_from(AFFORDANCES), st.text(alphabet=" ,.[]x", max_size=10))
def test_affordance_of_the_template(affordance: str, tail: str) -> None:
    assert (
        parse_affordance(f"The affordance type is {affordance}, and the contact region is [OSEG]{tail}") == affordance
    )


@pytest.mark.parametrize(
    ("text", "affordance"),
    [
        ("It is [OSEG].", None),
        ("The affordance type is wrapgrasp, and", "wrapgrasp"),
        ("The affordance type is dance, open [SEG]", None),
        ("one may sit or lay", "sit"),
        ("babysitting", None),
        ("The affordance type is", None),
    ],
)
def test_affordance_cases(text: str, affordance: str | None) -> None:
    assert parse_affordance(text) == affordance

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.datasets.names import damon_category, everyday_name
from interactvlm.evaluation.damon import DAMON_CATEGORIES


@pytest.mark.parametrize(
    ("name", "everyday", "category"),
    [
        ("StorageFurniture", "storage furniture", ""),
        ("Bed", "bed", "bed"),
        ("tennis_racket", "tennis racket", "tennis_racket"),
        ("Baseballbat", "baseball bat", "baseball_bat"),
        ("BackPack", "backpack", "backpack"),
        ("Mug", "mug", "cup"),
        ("TrashCan", "trash can", ""),
        ("Faucet", "faucet", ""),
        ("", "", ""),
    ],
)
def test_names(name, everyday, category) -> None:
    assert everyday_name(name) == everyday
    assert damon_category(name) == category


@pytest.mark.parametrize("name", [name for names in DAMON_CATEGORIES.values() for name in names])
def test_damons_own_names_stay(name) -> None:
    assert damon_category(name) == name


@given(st.text(max_size=20))
def test_everyday_names_are_stable(name) -> None:
    assert everyday_name(everyday_name(name)) == everyday_name(name)

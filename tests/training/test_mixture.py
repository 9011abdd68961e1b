from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.training.mixture import Mixture

SOURCES = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9)), min_size=1, max_size=4)


@given(SOURCES, st.integers(0, 5), st.integers(0, 300))
def test_a_draw_depends_on_its_number_alone(sources: list[tuple[int, int]], seed: int, number: int) -> None:
    sizes, ratios = zip(*sources, strict=True)
    begun_anew = Mixture(sizes, ratios, seed=seed)
    followed = Mixture(sizes, ratios, seed=seed)
    for earlier in range(number % 7):
        followed.draw(earlier)
    assert followed.draw(number) == begun_anew.draw(number)


@given(SOURCES, st.integers(0, 5))
def test_shares_are_kept_and_photos_take_turns(sources: list[tuple[int, int]], seed: int) -> None:
    sizes, ratios = zip(*sources, strict=True)
    mixture = Mixture(sizes, ratios, seed=seed)
    cycles = 12
    drawn = [mixture.draw(number) for number in range(cycles * sum(ratios))]
    for source, (size, ratio) in enumerate(sources):
        indices = [index for found, index in drawn if found == source]
        assert len(indices) == cycles * ratio
        for epoch in range(len(indices) // size):
            assert sorted(indices[epoch * size : (epoch + 1) * size]) == list(range(size))
        counts = Counter(indices)
        assert max(counts.values()) - min((counts[i] for i in range(size)), default=0) <= 1


def test_another_seed_is_another_order() -> None:
    one, other = (Mixture([50], [1], seed=seed) for seed in (1, 2))
    assert [one.draw(i) for i in range(50)] != [other.draw(i) for i in range(50)]


def test_an_empty_source_is_named() -> None:
    with pytest.raises(InputError, match=r"data\[1\]: holds no photos"):
        Mixture([3, 0], [1, 1], seed=0)

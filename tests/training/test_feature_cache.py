from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.training.feature_cache import FeatureCache, feature_key


def features(names: list[str]) -> torch.Tensor:
    return torch.stack([torch.full((2, 3), float(sum(name.encode()) % 97)) for name in names])


def ask(cache: FeatureCache, names: list[str], computed: list[str]) -> list[torch.Tensor]:
    def compute(missing: list[int]) -> torch.Tensor:
        computed.extend(names[i] for i in missing)
        return features([names[i] for i in missing])

    return cache.get([feature_key(name) for name in names], compute)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5), max_size=6))
def test_everything_is_computed_once(tmp_path_factory: pytest.TempPathFactory, asked: list[list[str]]) -> None:
    folder, computed = tmp_path_factory.mktemp("cache"), list[str]()
    for names in asked:
        names = list(dict.fromkeys(names))
        found = ask(FeatureCache(folder, (2, 3)), names, computed)  # opened anew every time
        assert torch.equal(torch.stack(found), features(names).half())
    assert len(computed) == len(set(computed))


def test_a_cut_off_write_is_forgotten(tmp_path: Path) -> None:
    computed: list[str] = []
    ask(FeatureCache(tmp_path, (2, 3)), ["a", "b"], computed)
    with (tmp_path / "index.txt").open("a") as index:
        index.write("0123")  # the process was killed inside a line
    with (tmp_path / "features.bin").open("ab") as data:
        data.write(b"half a record")
    cache = FeatureCache(tmp_path, (2, 3))
    assert len(cache) == 2
    found = ask(cache, ["a", "c", "b"], computed)
    assert torch.equal(torch.stack(found), features(["a", "c", "b"]).half())
    assert computed == ["a", "b", "c"]
    assert len(FeatureCache(tmp_path, (2, 3))) == 3


def test_two_writers_share_a_folder(tmp_path: Path) -> None:
    one, other, computed = FeatureCache(tmp_path, (2, 3)), FeatureCache(tmp_path, (2, 3)), list[str]()
    ask(one, ["a"], computed)
    ask(other, ["b", "a"], computed)
    assert torch.equal(ask(one, ["b"], computed)[0], features(["b"]).half()[0])
    assert computed == ["a", "b"]


def test_another_shape_or_a_damaged_index_is_named(tmp_path: Path) -> None:
    ask(FeatureCache(tmp_path, (2, 3)), ["a"], [])
    with pytest.raises(InputError, match="of another size"):
        FeatureCache(tmp_path, (200, 3))
    (tmp_path / "index.txt").write_text("nonsense\n")
    with pytest.raises(InputError, match="is damaged"):
        FeatureCache(tmp_path, (2, 3))


def test_keys_tell_parts_apart() -> None:
    assert len({feature_key("ab", "c"), feature_key("a", "bc"), feature_key("abc"), feature_key(b"ab", "cd")}) == 4
    assert np.all([len(feature_key(name)) == 32 for name in ("", "x")])

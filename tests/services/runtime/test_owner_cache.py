from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.owner_cache import OwnerCache


def _cache(max_bytes: int) -> OwnerCache[bytes]:
    return OwnerCache("test", max_bytes=max_bytes, size=len)


def test_entries_belong_to_their_owner() -> None:
    cache = _cache(100)
    cache.put("alice", "key", b"a")
    assert cache.get("alice", "key") == b"a"
    assert cache.get("bob", "key") is None
    cache.put("bob", "key", b"bb")
    assert (cache.get("alice", "key"), cache.get("bob", "key")) == (b"a", b"bb")
    assert cache.clear("alice") == 1
    assert (cache.get("alice", "key"), cache.get("bob", "key")) == (None, b"bb")
    assert (cache.clear(), cache.nbytes, len(cache)) == (1, 0, 0)


def test_the_least_recently_used_goes_first() -> None:
    cache = _cache(3)
    for key in "abc":
        cache.put("alice", key, b"1")
    assert cache.get("alice", "a") == b"1"
    cache.put("alice", "d", b"1")
    assert [cache.get("alice", key) is not None for key in "abcd"] == [True, False, True, True]


def test_a_flood_pushes_out_its_own_entries() -> None:
    cache = _cache(10)
    cache.put("quiet", "key", b"12")
    for key in range(100):
        cache.put("loud", key, b"1")
    assert cache.get("quiet", "key") == b"12"
    assert cache.nbytes == 10


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = _cache(4)
    cache.put("alice", "small", b"123")
    cache.put("alice", "large", b"12345")
    assert cache.get("alice", "large") is None
    assert cache.get("alice", "small") == b"123"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.binary(max_size=6)), max_size=60))
def test_the_bound_holds(entries: list[tuple[str, int, bytes]]) -> None:
    cache = _cache(12)
    for owner, key, value in entries:
        cache.put(owner, key, value)
        assert cache.nbytes <= 12
        assert cache.get(owner, key) == value
    held = {(owner, key): value for owner, key, value in entries}
    for (owner, key), value in held.items():
        assert cache.get(owner, key) in (None, value)

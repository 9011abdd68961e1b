from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.checkpoints.reader import WeightReader
from interactvlm.mvloc.cache import EmbeddingCache, tensors_identity

PREFIX = "model.visual_model.image_encoder."
KEY = hashlib.sha256(b"one").hexdigest()


def must_not_compute() -> torch.Tensor:
    raise AssertionError("the entry should have been found")


def entry(seed: int) -> torch.Tensor:
    return torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(seed)).bfloat16()


def test_computed_once_and_found_by_another_instance(tmp_path: Path) -> None:
    made = EmbeddingCache(tmp_path).get_or_compute(KEY, lambda: entry(1))
    found = EmbeddingCache(tmp_path).get_or_compute(KEY, must_not_compute)
    assert found.dtype == torch.bfloat16
    assert torch.equal(made, found)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_damage_is_found_and_repaired(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    cache = EmbeddingCache(tmp_path_factory.mktemp("cache"))
    cache.get_or_compute(KEY, lambda: entry(1))
    path = next(cache.folder.glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert torch.equal(cache.get_or_compute(KEY, lambda: entry(1)), entry(1))
    assert torch.equal(cache.get_or_compute(KEY, must_not_compute), entry(1))


def test_entry_under_another_name_is_not_believed(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.get_or_compute(KEY, lambda: entry(1))
    other = hashlib.sha256(b"two").hexdigest()
    (tmp_path / f"{KEY}.safetensors").rename(tmp_path / f"{other}.safetensors")
    assert torch.equal(cache.get_or_compute(other, lambda: entry(2)), entry(2))


def test_bound_holds_and_the_oldest_read_goes_first(tmp_path: Path) -> None:
    one = entry(0).numel() * 2 + 200
    cache = EmbeddingCache(tmp_path, max_bytes=3 * one)
    keys = [hashlib.sha256(bytes([i])).hexdigest() for i in range(5)]
    for age, key in enumerate(keys[:3]):
        cache.get_or_compute(key, lambda: entry(0))
        os.utime(tmp_path / f"{key}.safetensors", (1000 + age, 1000 + age))
    cache.get_or_compute(keys[0], must_not_compute)  # read again: now the youngest
    for key in keys[3:]:
        cache.get_or_compute(key, lambda: entry(0))
        assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= cache.max_bytes
    assert {p.stem for p in tmp_path.iterdir()} == {keys[0], keys[3], keys[4]}


def test_leftovers_of_dead_writers_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / "old.tmp", tmp_path / "young.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    EmbeddingCache(tmp_path).get_or_compute(KEY, lambda: entry(1))
    assert not old.exists()
    assert young.exists()


def test_folder_that_cannot_be_written_costs_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        made = EmbeddingCache(tmp_path / "file" / "views").get_or_compute(KEY, lambda: entry(1))
    assert torch.equal(made, entry(1))
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "ab/cd"])
def test_only_digests_are_keys(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="hex digests"):
        EmbeddingCache(tmp_path).get_or_compute(key, must_not_compute)


def _hammer(folder: Path, seed: int, failures: multiprocessing.Queue[str]) -> None:
    """Read and write the same few keys under a bound that keeps evicting them."""
    torch.set_num_threads(1)
    cache = EmbeddingCache(folder, max_bytes=entry(0).numel() * 2 * 2)
    order = torch.randint(0, 4, (60,), generator=torch.Generator().manual_seed(seed)).tolist()
    for which in order:
        key = hashlib.sha256(bytes([which])).hexdigest()
        if not torch.equal(cache.get_or_compute(key, lambda which=which: entry(which)), entry(which)):
            failures.put(f"process {seed} read a wrong entry {which}")


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    failures: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_hammer, args=(tmp_path, seed, failures)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert failures.empty()
    assert not list(tmp_path.glob("*.tmp"))


def test_identity_is_of_the_content(
    tmp_path: Path, tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two checkpoints that differ elsewhere share the frozen encoder, and its embeddings.
    reader, other = WeightReader(tiny_checkpoint()), WeightReader(tiny_checkpoint(token_type="Gen-Hu-Obj"))
    identity = tensors_identity(reader, PREFIX, tmp_path)
    assert identity == tensors_identity(reader, PREFIX, tmp_path / "elsewhere")
    assert identity == tensors_identity(other, PREFIX, tmp_path)
    assert identity != tensors_identity(reader, PREFIX + "neck.", tmp_path)
    monkeypatch.setattr(WeightReader, "tensors", lambda *_: pytest.fail("hashed again"))
    assert tensors_identity(reader, PREFIX, tmp_path) == identity

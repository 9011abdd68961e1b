from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from interactvlm.checkpoints import manifest
from interactvlm.checkpoints.manifest import checkpoint_hash, read_manifest, verify_manifest, write_manifest
from interactvlm.errors import CheckpointError


def test_the_manifest_is_what_sha256sum_checks(contact_release: Path) -> None:
    path = write_manifest(contact_release)
    assert path.name == "SHA256SUMS"
    assert verify_manifest(contact_release) == len(list(contact_release.iterdir())) - 1
    done = subprocess.run(["sha256sum", "--check", "--quiet", path.name], cwd=contact_release, check=False)  # noqa: S607
    assert done.returncode == 0


def test_known_hashes_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    write_manifest(tmp_path, {"a": "0" * 64})
    assert read_manifest(tmp_path) == {"a": "0" * 64}
    with pytest.raises(CheckpointError, match="its sha256 differs"):
        verify_manifest(tmp_path)


def test_changed_and_missing_files(contact_release: Path) -> None:
    write_manifest(contact_release)
    (contact_release / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config\.json: is not the file"):
        verify_manifest(contact_release)
    (contact_release / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"lacks config\.json"):
        verify_manifest(contact_release)


@pytest.mark.parametrize("line", ["abc  a", "0" * 64 + "  ../a", "0" * 64 + "  /etc/passwd", "0" * 64 + "a", "\0"])
def test_malformed_manifests(tmp_path: Path, line: str) -> None:
    (tmp_path / "SHA256SUMS").write_text(line + "\n")
    with pytest.raises(CheckpointError, match='line 1 is not "sha256  file name"'):
        read_manifest(tmp_path)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_manifest(tmp_path)


def test_the_hash_names_the_content_not_the_place(contact_release: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = checkpoint_hash(contact_release, cache=cache)
    assert len(first) == 64
    copy = tmp_path / "elsewhere"
    shutil.copytree(contact_release, copy)
    (copy / "README.md").write_text("a note changes nothing")
    assert checkpoint_hash(copy, cache=cache) == first
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert checkpoint_hash(copy, cache=cache) != first


def test_the_hash_is_computed_once(contact_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = checkpoint_hash(contact_release, cache=cache)
    read: list[str] = []
    real = manifest._sha256
    monkeypatch.setattr(manifest, "_sha256", lambda path: read.append(path.name) or real(path))
    assert checkpoint_hash(contact_release, cache=cache) == first
    assert read == []
    shard = contact_release / "model-00002-of-00003.safetensors"
    os.utime(shard, ns=(1, 1))
    assert checkpoint_hash(contact_release, cache=cache) == first
    assert read == [shard.name]
    for sidecar in (cache / "hashes").iterdir():
        sidecar.write_text("damaged")
    assert checkpoint_hash(contact_release, cache=cache) == first


def test_a_cache_that_cannot_be_written(contact_release: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(checkpoint_hash(contact_release, cache=tmp_path / "file")) == 64


def test_no_weights_no_hash(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        checkpoint_hash(tmp_path, cache=tmp_path / "cache")

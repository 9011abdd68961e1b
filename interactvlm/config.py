"""One typed configuration for the library, the command line and (later) the servers.

Order of precedence, last wins: defaults, a TOML file (`INTERACTVLM_CONFIG` or `--config`), environment variables
(`INTERACTVLM_DEVICE=cuda`), flags.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from interactvlm.errors import InputError

__all__ = ["Settings", "load_settings"]

_PREFIX = "INTERACTVLM_"
#: Settings that are one of a few words.
_CHOICES = {
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "human_lift": ("soft", "hard"),
    "object_camera": ("demo", "rendered"),
    "object_question": ("trained", "demo"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process runs with.

    Attributes:
        model: "nano", or a checkpoint folder in the official layout.
        vision_tower: CLIP folder of a published checkpoint; empty looks beside the checkpoint.
        body: folder of the user's body files for a published checkpoint; empty looks beside the checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: "auto" (bfloat16 on CUDA, float32 on CPU), "float32", "bfloat16" or "float16" (CUDA only).
        cache_dir: where dequantised weights and view embeddings are kept.
        cache_bytes: bound of the view-embedding cache.
        human_lift: "soft" (probabilities), or "hard" (0 or 1) as older human checkpoints were published with.
        object_camera: camera distance told to the model for object meshes: "demo" (2 m, as the released demo), or
            "rendered" (1.5 m, as the joint model trained on PICO was trained).
        object_question: wording of object questions: as "trained", or "demo" (with the released demo's stray quotes).

    Raises:
        InputError: a value is out of range.
    """

    model: str = "nano"
    vision_tower: str = ""
    body: str = ""
    device: str = "auto"
    dtype: str = "auto"
    cache_dir: str = ""
    cache_bytes: int = 4 * 2**30
    human_lift: str = "soft"
    object_camera: str = "demo"
    object_question: str = "trained"

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name, known in _CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(name, f"is {value!r}; known: {', '.join(known)}")
        if self.cache_bytes < 0:
            raise InputError("cache_bytes", f"is {self.cache_bytes}; it cannot be negative")

    @property
    def cache_path(self) -> Path:
        """The cache directory, the platform's default when none is set."""
        return Path(self.cache_dir) if self.cache_dir else user_cache_path("interactvlm")


def load_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge file, environment and overrides (None among the overrides means "not given").

    Raises:
        InputError: the file cannot be read, or a key is unknown, of the wrong type or out of range.
    """
    environment = os.environ if environment is None else environment
    if file is None and environment.get(_PREFIX + "CONFIG"):
        file = Path(environment[_PREFIX + "CONFIG"])
    types = {f.name: type(f.default) for f in fields(Settings)}
    merged: dict[str, Any] = {}
    if file is not None:
        merged.update(_read_toml(file))
    for name in types:
        if (value := environment.get(_PREFIX + name.upper())) is not None:
            merged[name] = value
    merged.update({name: value for name, value in (overrides or {}).items() if value is not None})
    for name, value in merged.items():
        if name not in types:
            raise InputError(name, f"is not a setting; known: {', '.join(types)}")
        merged[name] = _convert(name, value, types[name])
    return Settings(**merged)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(file), f"is not valid TOML ({error})") from None


def _convert(name: str, value: Any, kind: type) -> Any:
    if kind is int:
        try:
            return int(value)
        except (TypeError, ValueError):
            raise InputError(name, f"is {value!r}; it must be a whole number") from None
    if not isinstance(value, (str, Path)):
        raise InputError(name, f"is {value!r}; it must be a string")
    return str(value)

from __future__ import annotations

from pathlib import Path

import pytest

from interactvlm.config import Settings, load_settings
from interactvlm.errors import InputError


def test_defaults() -> None:
    assert load_settings(environment={}) == Settings()


def test_precedence_is_file_then_environment_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('model = "from-file"\ndevice = "cpu"\ncache_bytes = 7\n')
    environment = {"INTERACTVLM_DEVICE": "cuda", "INTERACTVLM_CONFIG": str(file)}
    settings = load_settings(environment=environment, overrides={"dtype": "bfloat16", "model": None})
    assert settings == Settings(model="from-file", device="cuda", cache_bytes=7, dtype="bfloat16")


def test_environment_numbers_are_parsed() -> None:
    assert load_settings(environment={"INTERACTVLM_CACHE_BYTES": "12"}).cache_bytes == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle = 'nano'", "modle: is not a setting; known: model"),
        ("model = 3", "model: is 3; it must be a string"),
        ("cache_bytes = 'many'", "cache_bytes: is 'many'; it must be a whole number"),
        ("cache_bytes = -1", "cache_bytes: is -1; it cannot be negative"),
        ("dtype = 'int3'", "dtype: is 'int3'; known: auto"),
        ("human_lift = 'firm'", "human_lift: is 'firm'; known: soft, hard"),
        ("object_camera = 'far'", "object_camera: is 'far'; known: demo, rendered"),
        ("object_question = 'odd'", "object_question: is 'odd'; known: trained, demo"),
        ("model = ", "is not valid TOML"),
    ],
)
def test_bad_files_say_which_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_settings(file=file, environment={})
    assert message in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_settings(file=tmp_path / "none.toml", environment={})

"""Put nano together: packages, shipped weights and seeded parts become one folder in the official checkpoint layout.

Done once into the cache (under half a minute), then read like any checkpoint. Safe to run from many processes at once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from interactvlm.checkpoints import layout
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.layout import official_layout
from interactvlm.checkpoints.manifest import write_manifest
from interactvlm.checkpoints.safetensors_file import write_file
from interactvlm.config import load_settings
from interactvlm.errors import CheckpointError, InteractVLMError
from interactvlm.vlm.nano.cache import exclusive, is_intact, mark_intact
from interactvlm.vlm.nano.configuration import CONTACT_TOKEN, PROJECTOR_BLOCKS, VISION_TOWER_DIR, nano_config
from interactvlm.vlm.nano.language import GgufLanguageModel
from interactvlm.vlm.nano.manifest import ASSETS, MANIFEST_FILE, NanoManifest, base_manifest
from interactvlm.vlm.nano.packages import IMAGE_ENCODER, LANGUAGE_MODEL, PACKAGES
from interactvlm.vlm.nano.renders import RENDER_ENCODER, render_encoder_tensors
from interactvlm.vlm.nano.tensors import NanoTensors, base_weights, projector_blocks, shipped_weights
from interactvlm.vlm.nano.vision import read_vision_tower, write_vision_tower

__all__ = ["assemble", "assemble_base", "nano_key"]


def assemble(cache_dir: Path | None = None) -> Path:
    """The folder of nano, built on the first call.

    Progress goes to stderr while it is built. A folder that exists is checked (sizes and times of its files; their
    hashes when those differ) and built anew when it is damaged.

    Args:
        cache_dir: where the folder lies; by default the cache of the settings (INTERACTVLM_CACHE_DIR).

    Returns:
        A checkpoint folder: config.json, model.safetensors (float16), tokenizer.json, vision_tower/, SHA256SUMS, and
        the manifest that says what is trained.

    Raises:
        MissingDependencyError: a package that nano is made of, or a library that reads it, is not installed.
        CheckpointError: a package or the shipped weights are damaged, or the cache cannot be written.
    """
    return _assembled(cache_dir, f"nano-{nano_key()}", base=False)


def assemble_base(cache_dir: Path | None = None) -> Path:
    """The folder of nano before any training, for training to start from; arguments and errors as `assemble`."""
    return _assembled(cache_dir, f"nano-base-{_key(b'base')}", base=True)


def _assembled(cache_dir: Path | None, name: str, *, base: bool) -> Path:
    root = load_settings().cache_path if cache_dir is None else cache_dir
    target = root / name
    if is_intact(target):
        return target
    sources = (LANGUAGE_MODEL.verified(), IMAGE_ENCODER.verified())
    try:
        root.mkdir(parents=True, exist_ok=True)
        with exclusive(root / "nano.lock"):
            if not is_intact(target):  # another process may have built it while this one waited
                _build(target, *sources, base=base)
    except OSError as error:
        raise CheckpointError(root, f"cannot hold nano's weights ({error})") from None
    return target


def nano_key() -> str:
    """Names one version of nano: shipped weights, pinned packages and the code that puts them together."""
    return _key((ASSETS / MANIFEST_FILE).read_bytes())


def _key(start: bytes) -> str:
    digest = hashlib.sha256(start)
    for package in PACKAGES:
        digest.update(f"{package.requirement} {package.sha256}\n".encode())
    for source in (*sorted(Path(__file__).parent.glob("*.py")), Path(layout.__file__)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _build(target: Path, language_file: Path, image_encoder_file: Path, *, base: bool) -> None:
    """Build beside `target` and move into place. The caller holds the lock."""
    for leftover in target.parent.glob(".nano-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=".nano-", dir=target.parent))
    try:
        scratch.chmod(0o755)
        _write_folder(scratch, language_file, image_encoder_file, base=base)
        mark_intact(scratch)
        if target.exists():  # damaged
            target.rename(scratch.with_name(scratch.name + "-damaged"))
        scratch.rename(target)
    finally:
        for leftover in target.parent.glob(".nano-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _write_folder(folder: Path, language_file: Path, image_encoder_file: Path, *, base: bool) -> None:
    language = GgufLanguageModel(language_file)
    manifest = base_manifest() if base else NanoManifest.read()
    shipped = base_weights(language) if base else shipped_weights(manifest, ASSETS)
    raw_config = nano_config(
        language.config(),
        trained=manifest.trained,
        notice=manifest.notice,
        projector_blocks=PROJECTOR_BLOCKS if base else projector_blocks(shipped),
    )
    config = ReleaseConfig.from_dict(raw_config, source="nano")
    tower = read_vision_tower(image_encoder_file)
    renders = render_encoder_tensors(tower)
    tensors = NanoTensors(manifest=manifest, language=language, renders=renders, shipped=shipped)
    shapes = official_layout(config, RENDER_ENCODER).required
    tensors.check(shapes)
    write_vision_tower(tower, folder / VISION_TOWER_DIR)
    write_manifest(folder / VISION_TOWER_DIR)
    weights = folder / "model.safetensors"
    digest = write_file(weights, [(name, "F16", shape) for name, shape in shapes.items()], _halves(tensors, shapes))
    (folder / "config.json").write_text(json.dumps(raw_config, indent=2) + "\n", encoding="utf-8")
    language.tokenizer([CONTACT_TOKEN]).save(str(folder / "tokenizer.json"))
    manifest.write(folder, f"nano_{MANIFEST_FILE}")
    write_manifest(folder, {weights.name: digest})


def _halves(tensors: NanoTensors, shapes: dict[str, tuple[int, ...]]) -> Iterator[memoryview]:
    for name, shape in tqdm(shapes.items(), desc="assembling nano", mininterval=0.5, file=sys.stderr, leave=False):
        value: NDArray[np.float16] = tensors.read(name, shape).astype(np.float16)
        if not np.isfinite(value).all():
            raise InteractVLMError(f"tensor {name} of nano does not fit float16")
        yield value.ravel().data

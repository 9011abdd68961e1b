"""Training at the smallest scale: a recorded release folder of tiny sizes, and photos that are coloured squares."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from interactvlm.body.template import BodyTemplate
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.datasets.sample import ContactSample, HumanContact, TextAnswer
from interactvlm.mvloc.encoder import encoder_sizes
from interactvlm.training.config import TrainingConfig
from interactvlm.training.run import OpenedRun, open_run
from interactvlm.types import Task

GOLDEN = Path(os.environ.get("INTERACTVLM_GOLDEN") or Path(__file__).parents[1] / "golden" / "data")
GRID = 8
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}


@pytest.fixture(scope="session")
def tiny_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded release with an 8 x 8 grid of render embeddings: the mask decoder's time grows with the grid."""
    source, folder = GOLDEN / "contact_release", tmp_path_factory.mktemp("tiny_release")
    reader = WeightReader(source)
    whole = 2 * encoder_sizes(reader).grid - 1
    tensors = {}
    for name, value in reader.tensors(list(reader.names())):
        if name.endswith("image_encoder.pos_embed"):
            value = value[:, :GRID, :GRID]
        elif ".rel_pos_" in name and len(value) == whole:
            value = value[: 2 * GRID - 1]
        tensors[name] = value.contiguous()
    save_file(tensors, folder / "model.safetensors")
    for path in source.iterdir():
        if path.suffix != ".safetensors" and not path.name.startswith("model."):
            (folder / path.name).symlink_to(path.resolve())
    return folder


@pytest.fixture(scope="session")
def tiny_body() -> BodyTemplate:
    """The recorded body with parts by height: what matters is that every vertex has one."""
    mesh = np.load(GOLDEN / "body" / "mesh.npz")
    rank = mesh["vertices"][:, 1].argsort().argsort()
    return BodyTemplate(
        topology="smplh",
        vertices=mesh["vertices"].astype(np.float32),
        faces=mesh["faces"].astype(np.int32),
        part_index=(rank * 15 // len(rank)).astype(np.uint8),
    )


@pytest.fixture(scope="session")
def make_sample(tiny_body: BodyTemplate) -> Callable[..., ContactSample]:
    def make(colour: str = "red", parts: tuple[int, ...] = (3,), *, untouched: str = "chair") -> ContactSample:
        buffer = io.BytesIO()
        Image.new("RGB", (48, 48), COLOURS[colour]).save(buffer, "PNG")
        touched = np.flatnonzero(np.isin(tiny_body.part_index, parts)).astype(np.int32)
        nothing = np.zeros(0, dtype=np.int32)
        return ContactSample(
            sample_id=colour,
            photo=buffer.getvalue(),
            human=(
                HumanContact(Task.SEMANTIC, "cup", touched, "smpl"),
                HumanContact(Task.SEMANTIC, untouched, nothing, "smpl"),
                HumanContact(Task.BINARY, "", touched, "smpl"),
            ),
            texts=(TextAnswer("object", "Which colour is it?", f"It is {colour}."),),
        )

    return make


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training_cache")


@pytest.fixture
def tiny_run(
    tmp_path: Path, shared_cache: Path, tiny_release: Path, tiny_body: BodyTemplate, make_sample: Any
) -> Callable[..., OpenedRun]:
    """A run over two photos; keyword arguments go to [steps] but for those of other sections."""

    def make(
        folder: str = "run",
        *,
        run: dict[str, Any] | None = None,
        model: dict[str, Any] | None = None,
        regions: dict[str, Any] | None = None,
        **steps: Any,
    ) -> OpenedRun:
        (tower,) = GOLDEN.glob("clip-vit-*")
        config = TrainingConfig.from_dict(
            {
                "model": {
                    "base": str(tiny_release), "vision_tower": str(tower), "rows": "all", "projector": False,
                    "neck": False, **(model or {}),
                },
                "regions": regions or {},
                "data": [{"kind": "damon", "path": "."}],
                "steps": {
                    "steps": 6, "photos": 2, "photos_at_once": 2, "questions": 2, "mask_side": 32, "warmup": 2,
                    "precision": "float32", **steps,
                },
                "run": {"folder": str(tmp_path / folder), "device": "cpu", "cache": str(shared_cache), **(run or {})},
            }
        )  # fmt: skip
        samples = [make_sample("red", (3,)), make_sample("blue", (9, 10))]
        return open_run(config, sources=[samples], held_out=samples, body=(tiny_body, tiny_body))

    return make

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import trimesh

from interactvlm.body.parts import PART_NAMES
from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample
from interactvlm.evaluation.runner import EvaluatedModel
from tests.evaluation.fakes import Seen, model_of, sample_of


@pytest.fixture(scope="session")
def small_body() -> BodyTemplate:
    sphere = trimesh.creation.icosphere(subdivisions=3)
    order = np.argsort(sphere.vertices[:, 2], kind="stable")
    parts = np.empty(len(order), np.uint8)
    parts[order] = np.arange(len(order)) * len(PART_NAMES) // len(order)
    return BodyTemplate("anny", sphere.vertices.astype(np.float32), sphere.faces.astype(np.int32), parts)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def model(seen: Seen, small_body: BodyTemplate) -> EvaluatedModel:
    return model_of(seen, small_body)


@pytest.fixture(scope="session")
def make_samples(small_body: BodyTemplate) -> Callable[..., list[ContactSample]]:
    def make(count: int = 8, *, shift: int = 0, words: str = "the left hand", **more: str) -> list[ContactSample]:
        rng = np.random.default_rng(shift)
        made = []
        for index in range(count):
            touched = (np.arange(12) + 40 * (index % 4) + shift) % small_body.vertex_count
            template = ("hold_left", "hold_right")[index % 2]
            heat = rng.random(40)
            made.append(
                sample_of(
                    index, small_body, touched=touched.tolist(), heat=heat, template=template, words=words, **more
                )
            )
        return made

    return make

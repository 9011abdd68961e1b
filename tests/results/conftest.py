from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from interactvlm.body.template import BodyTemplate
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.photo import photo_sha256
from interactvlm.types import Box, ModelIdentity, Prediction, Task, TaskResult

NOTICE = "The weights are random: the answers must not be used."


@dataclass(frozen=True)
class Scene:
    body: BodyTemplate
    mesh: Mesh
    points: PointCloud
    photo: np.ndarray
    prediction: Prediction

    @property
    def surfaces(self) -> dict[str, Mesh | PointCloud]:
        return {self.mesh.content_hash: self.mesh, self.points.content_hash: self.points}

    def results(self, *tasks: Task) -> tuple[TaskResult, ...]:
        return tuple(result for result in self.prediction.results if result.task in tasks)

    def with_results(self, *results: TaskResult) -> Prediction:
        return replace(self.prediction, results=results)


def _sphere(rings: int, sectors: int) -> tuple[np.ndarray, np.ndarray]:
    theta = np.repeat(np.linspace(0.05, np.pi - 0.05, rings), sectors)
    phi = np.tile(np.arange(sectors) * 2 * np.pi / sectors, rings)
    vertices = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], axis=1)
    a = np.arange(rings - 1)[:, None] * sectors + np.arange(sectors)
    b = np.arange(rings - 1)[:, None] * sectors + np.roll(np.arange(sectors), -1)
    quads = [np.stack([a, a + sectors, b], axis=-1), np.stack([b, a + sectors, b + sectors], axis=-1)]
    return vertices.astype(np.float32), np.concatenate([q.reshape(-1, 3) for q in quads]).astype(np.int32)


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    vertices, faces = _sphere(12, 16)

    def make(*, trained: bool = True, notices: tuple[str, ...] = ()) -> Scene:
        rng = np.random.default_rng(3)
        body = BodyTemplate("toy", vertices * np.float32(0.6), faces, np.zeros(len(vertices), np.uint8))
        mesh = Mesh(vertices * np.float32([3, 1, 1]), faces)
        points = PointCloud(rng.normal(size=(300, 3)).astype(np.float32))
        photo = rng.integers(0, 255, (90, 160, 3), dtype=np.uint8)

        def human(task: Task, name: str) -> TaskResult:
            return TaskResult(
                task=task,
                object_name=name,
                probabilities=rng.random(len(vertices), dtype=np.float32),
                threshold=0.5,
                surface="toy",
                text="The contacting body parts are left hand, and the contact region is [SEG].",
                confidence=0.8,
                parts_named=("left hand",),
                parts_touched=("torso",),
                contact_token="[SEG]",
                view_logits=rng.normal(size=(4, 16, 16)).astype(np.float32),
            )

        def on_object(surface: Mesh | PointCloud, count: int) -> TaskResult:
            return TaskResult(
                task=Task.OBJECT,
                object_name="tennis racket",
                probabilities=rng.random(count, dtype=np.float32),
                threshold=0.3,
                surface=surface.content_hash,
                text="The affordance type is grasp, and the contact region is [OSEG].",
                confidence=0.7,
                affordance="grasp",
                contact_token="[OSEG]",
            )

        prediction = Prediction(
            photo_sha256=photo_sha256(photo),
            photo_size=(90, 160),
            model=ModelIdentity("tiny", "ab" * 32, trained=trained, notice="" if trained else NOTICE),
            results=(
                human(Task.BINARY, ""),
                human(Task.SEMANTIC, "tennis racket"),
                human(Task.SCENE, ""),
                on_object(mesh, len(vertices)),
                on_object(points, 300),
            ),
            region=Box(10, 5, 150, 85),
            person=Box(30, 10, 80, 80),
            timings={"vlm": 0.25, "mvloc": 0.5},
            notices=notices,
        )
        return Scene(body, mesh, points, photo, prediction)

    return make


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    return make_scene()

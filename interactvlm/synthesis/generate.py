"""Many scenes into shards, over processes: the same files whatever the number of workers, and resumable at any time.

The unit of work is a shard. A worker builds all of it and puts it under its name in one step; a run that was killed
goes on with the shards that are missing.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interactvlm.datasets.sample import ContactSample
from interactvlm.datasets.shards import shard_path, write_shard
from interactvlm.errors import InputError, InteractVLMError
from interactvlm.synthesis.labels import SceneGeometry, label, scene_geometry
from interactvlm.synthesis.scene import Scene

__all__ = ["SCENES_A_SHARD", "Order", "generate", "make_scene"]

SCENES_A_SHARD = 50

#: Splits' seeds lie apart, so that not even a camera or a shirt is shared.
_FIRST_SEED = {"train": 0, "heldout": 10**9, "unseen": 2 * 10**9}
_LAST_SEED = 10**8
#: What a scene's seed becomes when it cannot be built.
_RETRY = 10**10
_RETRIES = 4

#: (seed, split) -> Scene
Compose = Callable[[int, str], Scene]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made.

    Attributes:
        scenes: how many.
        seed: of the first one; scene i has seed + i.
        split: "train", "heldout" or "unseen".
        shard_scenes: how many a shard.

    Raises:
        InputError: a value outside its limits.
    """

    scenes: int
    seed: int
    split: str
    shard_scenes: int = SCENES_A_SHARD

    def __post_init__(self) -> None:
        if self.split not in _FIRST_SEED:
            raise InputError("split", f"{self.split!r} is none of {', '.join(_FIRST_SEED)}")
        if not 1 <= self.scenes <= _LAST_SEED:
            raise InputError("scenes", f"is {self.scenes}; 1 to {_LAST_SEED} can be made")
        if not 0 <= self.seed <= _LAST_SEED:
            raise InputError("seed", f"is {self.seed}; it must be 0 to {_LAST_SEED}")
        if not 1 <= self.shard_scenes <= 10_000:
            raise InputError("shard_scenes", f"is {self.shard_scenes}; a shard holds 1 to 10000 scenes")

    @property
    def shards(self) -> int:
        """How many files that makes."""
        return -(-self.scenes // self.shard_scenes)

    def seeds(self, shard: int) -> range:
        """The scenes of one shard."""
        first = _FIRST_SEED[self.split] + self.seed + shard * self.shard_scenes
        return range(first, first + min(self.shard_scenes, self.scenes - shard * self.shard_scenes))


def generate(
    order: Order,
    folder: Path,
    *,
    workers: int,
    progress: Callable[[int], None] = lambda scenes: None,
    compose: Compose | None = None,
) -> None:
    """Make every shard of an order that is not there yet.

    Args:
        order: how many scenes of which split from which seed.
        folder: where the shards go; a folder holds one order a split.
        workers: processes, one core each.
        progress: called with the number of scenes done, also for those that were there.
        compose: builds a scene of a seed and a split; the default is `compose.build_scene`. Must be importable.

    Raises:
        InputError: the folder holds a split of another order, or a value is outside its limits.
        InteractVLMError: a worker process died; what is finished stays, and the same call goes on from there.
    """
    if workers < 1:
        raise InputError("workers", f"is {workers}; at least one process is needed")
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, order)
    missing = []
    for shard in range(order.shards):
        if shard_path(folder, order.split, shard).exists():
            progress(len(order.seeds(shard)))
        else:
            missing.append(shard)
    if not missing:
        return
    work = partial(_make_shard, order, folder, compose or _build)
    with _one_thread_each(), ProcessPoolExecutor(min(workers, len(missing)), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(work, shard): shard for shard in missing}
        try:
            for future in as_completed(futures):
                future.result()
                progress(len(order.seeds(futures[future])))
        except BrokenProcessPool:
            raise InteractVLMError(
                f"{folder}: a worker process died (out of memory?); the same command goes on from what is finished"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def make_scene(seed: int, split: str, compose: Compose | None = None) -> tuple[ContactSample, SceneGeometry]:
    """One scene, photographed and labelled.

    Raises:
        InputError: neither this seed nor its successors gave a scene.
    """
    from interactvlm.synthesis.render import render

    for attempt in range(_RETRIES):
        try:
            scene = (compose or _build)(seed + attempt * _RETRY, split)
            break
        except InputError:
            if attempt == _RETRIES - 1:
                raise
    picture = render(scene)
    sample = label(scene, picture, sample_id=f"synthetic-{split}-{seed:010d}", split=split)
    return sample, scene_geometry(scene, picture)


def _build(seed: int, split: str) -> Scene:
    from interactvlm.synthesis.compose import build_scene

    return build_scene(seed, split=split)


def _make_shard(order: Order, folder: Path, compose: Compose, shard: int) -> None:
    made = []
    for seed in order.seeds(shard):
        sample, geometry = make_scene(seed, order.split, compose)
        made.append((sample, _row(geometry)))
    origin = {"order": json.dumps(asdict(order)), "shard": str(shard)}
    write_shard(folder, order.split, shard, made, origin=origin)


def _row(geometry: SceneGeometry) -> dict[str, Any]:
    return {
        "masks": _png(geometry.masks),
        "depth": _png(geometry.depth),
        "focal": geometry.focal,
        "rotation": geometry.rotation.ravel().tolist(),
        "translation": geometry.translation.tolist(),
        "people": geometry.people,
        "names": list(geometry.names),
        "sources": list(geometry.sources),
        "poses": geometry.poses.ravel().tolist(),
    }


def _png(values: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _claim(folder: Path, order: Order) -> None:
    """Write down what this folder's split is, or check that it is the same; more scenes may be asked for later."""
    path = folder / f"{order.split}.json"
    try:
        known = json.loads(path.read_text())
    except FileNotFoundError:
        known = None
    except (OSError, ValueError):
        raise InputError(str(path), "is damaged; delete the split's files and start again") from None
    if known is not None:
        for name in ("seed", "shard_scenes"):
            if known.get(name) != getattr(order, name):
                raise InputError(
                    str(folder), f"holds {order.split} scenes of {name} {known.get(name)}, not {getattr(order, name)}"
                )
        begun = known["scenes"] % order.shard_scenes
        if order.scenes < known["scenes"]:
            raise InputError(str(folder), f"is for {known['scenes']} scenes already, more than {order.scenes}")
        if order.scenes > known["scenes"] and begun:  # its last shard is short: it is made again
            shard_path(folder, order.split, known["scenes"] // order.shard_scenes).unlink(missing_ok=True)
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    temporary.write_text(json.dumps(asdict(order)))
    temporary.replace(path)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Children inherit the environment: every library keeps to one core, and sums in one order."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

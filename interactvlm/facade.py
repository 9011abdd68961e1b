"""The synchronous face of the library, for notebooks, scripts and the command line."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError as FutureCancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.config import Settings, load_settings
from interactvlm.errors import InteractVLMError, QuestionError
from interactvlm.photo import load_photo
from interactvlm.pipeline import ObjectQuery, Pipeline
from interactvlm.stages import CallContext
from interactvlm.types import PersonSelector, Prediction, Task

if TYPE_CHECKING:
    from interactvlm.body.template import BodyTemplate

__all__ = ["InteractVLM", "from_pretrained"]

Progress = Callable[[str], None]


class InteractVLM:
    """A loaded model set; `predict` answers about one photo.

    It owns one thread with an event loop, so that it also works where a loop is running already (a notebook). Use it
    as a context manager, or call `close`.
    """

    def __init__(self, pipeline: Pipeline, *, closing: Callable[[], None] | None = None) -> None:
        self.pipeline = pipeline
        self._closing = closing
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="interactvlm", daemon=True)
        self._thread.start()

    @property
    def body(self) -> BodyTemplate:
        """The body that human contacts lie on."""
        return self.pipeline.localization.body

    def predict(
        self,
        photo: Path | str | bytes | NDArray[np.uint8],
        *,
        objects: Iterable[str | ObjectQuery] = (),
        tasks: Sequence[Task | str] | None = None,
        person: PersonSelector | None = None,
        fast: bool = False,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Contacts in one photo; see `Pipeline.predict`.

        Args:
            photo: a file, its bytes, or upright RGB uint8 [H, W, 3].
            objects: names, or `ObjectQuery` where a mesh goes with the name.
            tasks: `Task` members or their names.
            person: whom; default the largest person.
            fast: force the answer's beginning instead of generating it.
            timeout: seconds after which the call is given up.
            progress: called with each stage's name as it begins.

        Raises:
            InputError: the photo, an object, the person or a task is not usable.
            DeadlineExceededError: `timeout` passed.
            InteractVLMError: the model was closed.
        """
        for field, given in (("objects", objects), ("tasks", tasks)):
            if isinstance(given, str):  # whose letters would be asked about one by one
                raise QuestionError(field, f"is the text {given!r}; give a list")
        if not self._thread.is_alive():
            raise InteractVLMError("this model was closed; load it anew with interactvlm.from_pretrained")
        pixels = photo if isinstance(photo, np.ndarray) else load_photo(photo)
        queries = [item if isinstance(item, ObjectQuery) else ObjectQuery(item) for item in objects]
        context = CallContext.within(timeout)
        answer = self.pipeline.predict(
            pixels,
            objects=queries,
            tasks=None if tasks is None else [parse_task(task) for task in tasks],
            person=person,
            fast=fast,
            context=context,
            progress=progress,
        )
        future = asyncio.run_coroutine_threadsafe(answer, self._loop)
        try:
            return future.result()
        except (KeyboardInterrupt, FutureCancelledError):
            context.cancel()  # the worker thread stops at its next step
            raise

    def close(self) -> None:
        """Release the threads; the object cannot be used afterwards."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            if self._closing is not None:
                self._closing()

    def __enter__(self) -> InteractVLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def from_pretrained(model: str | Path = "nano", *, progress: Progress | None = None, **settings: Any) -> InteractVLM:
    """Load a model set.

    Args:
        model: "nano", or a checkpoint folder in the official layout (see docs/bring-your-weights.md).
        progress: called with a sentence as each part is loaded.
        **settings: fields of `Settings` (device, dtype, vision_tower, body, cache_dir ...).

    Raises:
        CheckpointError: the folder is incomplete or inconsistent.
        InputError: a setting is unknown or out of range.
        MissingDependencyError: an optional package is not installed.
    """
    from interactvlm.local import load_pipeline

    merged: Settings = load_settings(overrides={"model": str(model), **settings})
    pipeline, closing = load_pipeline(merged, progress=progress)
    return InteractVLM(pipeline, closing=closing)


def parse_task(task: Task | str) -> Task:
    """A task by its name.

    Raises:
        QuestionError: there is no such task.
    """
    try:
        return Task(task)
    except ValueError:
        raise QuestionError("task", f"is {task!r}; known: {', '.join(item.value for item in Task)}") from None

"""InteractVLM: from one photograph, which vertices of a human body touch which object, and where on the object.

    >>> import interactvlm
    >>> model = interactvlm.from_pretrained("nano")
    >>> answer = model.predict("photo.jpg", objects=["chair"])
    >>> answer.results[0].vertex_ids

The stages are sub-packages of their own: `vlm` (the language model and its contact tokens), `mvloc` (masks in four
views and their lift to the surface), `geometry`, `body`. docs/architecture.md says which sentence of the paper lives
where.
"""

from interactvlm.errors import InteractVLMError
from interactvlm.facade import InteractVLM, from_pretrained
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import Box, LargestPerson, PointOnPerson, Prediction, Task, TaskResult, WholePhoto

__all__ = [
    "Box",
    "InteractVLM",
    "InteractVLMError",
    "LargestPerson",
    "ObjectQuery",
    "PointOnPerson",
    "Prediction",
    "Task",
    "TaskResult",
    "WholePhoto",
    "__version__",
    "from_pretrained",
]

__version__ = "0.1.0"

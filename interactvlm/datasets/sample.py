"""One annotated photograph: what training, evaluation and preparation read, whatever the source.

V vertices of the body's topology, N vertices or points of an object's surface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.types import Box, Task

__all__ = ["ContactSample", "HumanContact", "ObjectContact", "TextAnswer"]


@dataclass(frozen=True, slots=True, eq=False)
class HumanContact:
    """Contact on the body, for one object name or for everything together.

    Attributes:
        task: BINARY (any object and the ground), SEMANTIC or SCENE (the ground and other supports).
        object_name: as a question names it; "" for BINARY and SCENE.
        vertex_ids: int32, ascending; empty: the person does not touch it.
        topology: the body whose vertices these are ("anny", "smpl", "smplx").
        category: DAMON's name of the object's category ("tennis_racket"); "" where there is none.
    """

    task: Task
    object_name: str
    vertex_ids: NDArray[np.int32]
    topology: str
    category: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectContact:
    """Contact or affordance on an object.

    Attributes:
        object_name: as a question names it.
        surface: its mesh (contact) or points (affordance heat).
        values: float32 [N] in [0, 1].
        affordance: PIAD's word ("grasp"); "" where unknown.
        category: as in `HumanContact`.
    """

    object_name: str
    surface: Mesh | PointCloud
    values: NDArray[np.float32]
    affordance: str = ""
    category: str = ""


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """One question about the photo with an answer in words alone (the paper's five VQA fields).

    Attributes:
        field: "person", "body parts", "interaction", "object" or "object parts".
        question: as asked.
        answer: as trained.
    """

    field: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True, eq=False)
class ContactSample:
    """One photograph of one person.

    Attributes:
        sample_id: unique within its source, stable across machines.
        photo: encoded JPEG, PNG or WebP; open it with `interactvlm.photo`.
        person: the person's box in pixels; None: the only one.
        human: contacts on the body.
        objects: contacts on objects.
        texts: questions answered in words alone.
        tags: what tables group by ("template": "hold_right", "split": "heldout", "unseen_category": "1" ...).
    """

    sample_id: str
    photo: bytes
    person: Box | None = None
    human: tuple[HumanContact, ...] = ()
    objects: tuple[ObjectContact, ...] = ()
    texts: tuple[TextAnswer, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

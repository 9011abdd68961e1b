"""Every error this library raises on purpose.

::

    InteractVLMError
    ├── InputError              something the caller sent is wrong          (INVALID_ARGUMENT)
    │   ├── PhotoError
    │   ├── MeshError
    │   └── QuestionError
    ├── CheckpointError         a folder of weights cannot be used          (FAILED_PRECONDITION)
    ├── MissingDependencyError  an optional package is not installed        (FAILED_PRECONDITION)
    ├── DeadlineExceededError   the caller's time ran out                   (DEADLINE_EXCEEDED)
    └── CancelledError          the caller gave up                          (CANCELLED)

The message of each is one sentence that a user can act on: it names the field, the value and the limit. Servers map
the class to the gRPC code on the right; the command line prints the sentence and exits with `exit_code`.
"""

from __future__ import annotations

__all__ = [
    "CancelledError",
    "CheckpointError",
    "DeadlineExceededError",
    "InputError",
    "InteractVLMError",
    "MeshError",
    "MissingDependencyError",
    "PhotoError",
    "QuestionError",
]


class InteractVLMError(Exception):
    """Base class of every deliberate error."""

    #: Name of the matching gRPC status code.
    grpc_code: str = "INTERNAL"
    #: Exit status of the `interactvlm` command.
    exit_code: int = 1


class InputError(InteractVLMError):
    """The caller's input breaks a stated rule.

    Args:
        field: the name of the input, as the caller knows it (a file name, a message field).
        problem: what is wrong with it, naming the value and the limit; completes "`field` ...".
    """

    grpc_code = "INVALID_ARGUMENT"
    exit_code = 2

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class PhotoError(InputError):
    """A photograph cannot be read or is outside the limits."""


class MeshError(InputError):
    """A mesh or point cloud cannot be read or is outside the limits."""


class QuestionError(InputError):
    """An object name, person or task is malformed, or the model has no head for it."""


class CheckpointError(InteractVLMError):
    """A checkpoint folder is incomplete, inconsistent or unsafe.

    Args:
        folder: the folder or file, as the user gave it.
        problem: what is wrong; completes "`folder` ...".
    """

    grpc_code = "FAILED_PRECONDITION"
    exit_code = 3

    def __init__(self, folder: object, problem: str) -> None:
        super().__init__(f"{folder}: {problem}")
        self.folder = str(folder)
        self.problem = problem


class MissingDependencyError(InteractVLMError):
    """An optional package is needed for what was asked.

    Args:
        package: the distribution that is missing.
        extra: the extra of this project that brings it.
    """

    grpc_code = "FAILED_PRECONDITION"
    exit_code = 3

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'interactvlm[{extra}]'")
        self.package = package
        self.extra = extra


class DeadlineExceededError(InteractVLMError):
    """The caller's deadline passed before the work was done."""

    grpc_code = "DEADLINE_EXCEEDED"
    exit_code = 4


class CancelledError(InteractVLMError):
    """The caller withdrew the request."""

    grpc_code = "CANCELLED"
    exit_code = 130

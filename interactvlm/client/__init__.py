"""The Python client of the gRPC API. Needs the extra `client`, no torch.

    >>> from interactvlm.client import Client
    >>> with Client("localhost:50051") as client:
    ...     answer = client.predict("photo.jpg", objects=["chair"])
    >>> answer.results[0].vertex_ids

`Client` waits for each answer, `AsyncClient` is the same for asyncio; both return the library's own types, so that code
written against `interactvlm.from_pretrained` reads the same. docs/api.md is the contract behind them.
"""

from interactvlm.errors import MissingDependencyError

try:
    import google.rpc as _google_rpc  # noqa: F401
    import grpc as _grpc  # noqa: F401
except ImportError as _error:
    # The distribution, which a user can install: the modules are called otherwise.
    raise MissingDependencyError("grpcio" if _error.name == "grpc" else "googleapis-common-protos", "client") from None

from interactvlm.client.aio import DEFAULT_TIMEOUT, AsyncClient
from interactvlm.client.endpoint import Endpoint, Tls
from interactvlm.client.errors import (
    OverloadedError,
    RefusedInputError,
    ServerCancelledError,
    ServerDeadlineError,
    ServerError,
    ServerUnavailableError,
)
from interactvlm.client.requests import LiveModel, Outcome, PhotoRequest, ServerInfo
from interactvlm.client.search import FoundMesh, FoundView, ListedMesh, MeshAnswer, MeshSearch
from interactvlm.client.sync import Client

__all__ = [
    "DEFAULT_TIMEOUT",
    "AsyncClient",
    "Client",
    "Endpoint",
    "FoundMesh",
    "FoundView",
    "ListedMesh",
    "LiveModel",
    "MeshAnswer",
    "MeshSearch",
    "Outcome",
    "OverloadedError",
    "PhotoRequest",
    "RefusedInputError",
    "ServerCancelledError",
    "ServerDeadlineError",
    "ServerError",
    "ServerInfo",
    "ServerUnavailableError",
    "Tls",
]

"""FittingService on the chassis; its engine is not part of this version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from interactvlm.errors import InputError
from interactvlm.v1 import fitting_service_pb2, fitting_service_pb2_grpc
from services.runtime.errors import Unimplemented

__all__ = ["FittingService"]


class FittingService(fitting_service_pb2_grpc.FittingServiceServicer):
    """Answers UNIMPLEMENTED, and says what to do meanwhile."""

    name = "interactvlm.v1.FittingService"

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicer."""
        fitting_service_pb2_grpc.add_FittingServiceServicer_to_server(self, server)

    async def load(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go."""

    async def admin(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """There are no commands."""
        raise InputError("command", f"{command!r} is not known; FittingService has none")

    def Fit(  # noqa: N802
        self, request: fitting_service_pb2.FitRequest, context: Any
    ) -> AsyncIterator[fitting_service_pb2.FitResponse]:
        """Fit one scene."""
        raise Unimplemented("Fit: this version predicts contacts; the fitting engine is not part of it yet")

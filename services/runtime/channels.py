"""Channels between services: TLS, token, deadline, request id, owner, priority and trace go along by themselves."""

from __future__ import annotations

import grpc

from services.runtime.config import ClientConfig

__all__ = ["make_channel"]


def make_channel(target: str, config: ClientConfig) -> grpc.aio.Channel:
    """A channel to `target` ("dns:///vlm:50051", "127.0.0.1:50051").

    Calls made on it while a call is being served carry that call's request id, owner, priority, trace and, unless
    given, what is left of its deadline.
    """
    raise NotImplementedError

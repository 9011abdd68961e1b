"""From configured targets to the addresses of replicas: a static list, DNS names, or both."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from interactvlm.errors import InputError

__all__ = ["Address", "Discovery"]

_DNS = "dns:///"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """One replica.

    Attributes:
        target: what to dial ("10.0.0.7:50051").
        server_name: the name it was found under, which its certificate bears; "" where `target` is that name.
    """

    target: str
    server_name: str = ""


class Discovery:
    """The replicas of one stage as far as they are known now.

    Args:
        targets: "HOST:PORT" (one replica) or "dns:///HOST:PORT" (every address of the name).
        field: the setting's name, for errors.

    Raises:
        InputError: there is no target, or one is malformed.
    """

    def __init__(self, targets: Sequence[str], *, field: str) -> None:
        if not targets:
            raise InputError(field, "is empty; name replicas as HOST:PORT or dns:///HOST:PORT")
        self._names = [_split(entry.removeprefix(_DNS), field) for entry in targets if entry.startswith(_DNS)]
        static = [entry for entry in targets if not entry.startswith(_DNS)]
        for entry in static:
            _split(entry, field)
        self._static = frozenset(Address(entry) for entry in static)
        self._resolved: dict[tuple[str, int], frozenset[Address]] = {}

    @property
    def changes(self) -> bool:
        """Whether looking again can find anything new."""
        return bool(self._names)

    async def addresses(self) -> frozenset[Address]:
        """All replicas; a name that cannot be resolved now keeps the addresses it had."""
        loop = asyncio.get_running_loop()
        for host, port in self._names:
            try:
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                _log.warning("cannot resolve %s: %s", host, error)
                continue
            self._resolved[host, port] = frozenset(
                Address(f"[{peer[0]}]:{port}" if family == socket.AF_INET6 else f"{peer[0]}:{port}", host)
                for family, _, _, _, peer in found
            )
        return self._static.union(*self._resolved.values())


def _split(entry: str, field: str) -> tuple[str, int]:
    host, _, port = entry.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host:
        raise InputError(field, f"holds {entry!r}; replicas are HOST:PORT or dns:///HOST:PORT")
    return host.strip("[]"), int(port)

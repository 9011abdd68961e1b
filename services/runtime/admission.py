"""Who may enter a server: readiness, identity, scope, quota, room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.runtime.calls import OWNER_KEY
from services.runtime.config import ServerConfig
from services.runtime.errors import Loading, PermissionDenied, ServerBusy
from services.runtime.quotas import Quotas
from services.runtime.tokens import Token, TokenFile, require_scope

__all__ = ["Admission", "scope_of"]

#: gRPC's own services (reflection) are open to every known caller.
_GRPC_OWN = "/grpc."
_ANONYMOUS = Token(owner="anonymous")


def scope_of(method: str) -> str:
    """The scope a method asks for: its service's short name ("/interactvlm.v1.VlmService/Answer" -> "vlm")."""
    service = method.split("/")[1].rpartition(".")[2]
    return service.removesuffix("Service").lower()


class Admission:
    """Decides for every call, on the event loop.

    Args:
        config: tokens file, client CA, delegates, room.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._tokens = TokenFile(config.tokens_file) if config.tokens_file else None
        self._certificates = bool(config.tls_client_ca)
        self._delegates = frozenset(config.delegates)
        self._room = config.max_concurrent_calls
        self._quotas = Quotas()
        self._inside = 0
        self._entered = 0
        self._serving: set[str] = set()
        self._known: set[str] = set()

    def add(self, service: str) -> None:
        """Make a service known; its calls are answered LOADING until `open` names it."""
        self._known.add(service)

    def open(self, service: str) -> None:
        """Let calls of a service in."""
        self._serving.add(service)

    def calls(self) -> tuple[int, int]:
        """Calls that are inside now, and those that have entered so far."""
        return self._inside, self._entered

    def identify(self, method: str, metadata: Mapping[str, Any], context: Any) -> tuple[Token, str]:
        """The caller's token and the owner it works for.

        Raises:
            Unauthenticated: no valid token where one is needed.
            PermissionDenied: the token's scopes do not cover the method, or it names an owner without "delegate".
        """
        if self._tokens is not None:
            token = self._tokens.authenticate(metadata.get("authorization"))
            if not method.startswith(_GRPC_OWN):
                require_scope(token.scopes, scope_of(method))
        elif self._certificates:
            token = Token(owner=_common_name(context))
        else:
            token = _ANONYMOUS
        owner = metadata.get(OWNER_KEY)
        if not owner or owner == token.owner:
            return token, token.owner
        if not self._may_delegate(token):
            raise PermissionDenied(
                "authorization: only a caller with the scope 'delegate' may name another owner",
                metadata={"scope": "delegate"},
            )
        return token, owner

    def _may_delegate(self, token: Token) -> bool:
        if self._tokens is not None:
            return bool(token.scopes & {"delegate", "*"})
        return not self._certificates or token.owner in self._delegates

    def enter(self, method: str, token: Token) -> None:
        """Count a call in.

        Raises:
            Loading: its service is not ready.
            ServerBusy: the process is full.
            QuotaExceeded: the token's owner is at a limit.
        """
        service = method.split("/")[1]
        if service in self._known and service not in self._serving:
            raise Loading(f"{service} is loading its models", retry_after=1.0)
        if self._inside >= self._room:
            raise ServerBusy(f"the server holds {self._inside} calls; the limit is {self._room}", retry_after=0.2)
        self._quotas.enter(token)
        self._inside += 1
        self._entered += 1

    def leave(self, token: Token) -> None:
        """Count a call out."""
        self._inside -= 1
        self._quotas.leave(token)


def _common_name(context: Any) -> str:
    names = context.auth_context().get("x509_common_name") or [b"anonymous"]
    return bytes(names[0]).decode("utf-8", "replace")

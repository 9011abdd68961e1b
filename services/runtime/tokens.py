"""Bearer tokens: who may call what, and how much. The file holds hashes, never tokens.

::

    [[tokens]]
    sha256 = "9f86d0..."            # of the token's text
    owner = "alice"                 # answers, meshes and jobs belong to the owner, not to the token
    scopes = ["contact", "batch"]   # a service's short name ("vlm", "contact"), "delegate" or "*"
    expires = 2027-01-01T00:00:00Z  # optional
    requests_per_second = 50.0      # optional, 0 for no limit
    burst = 100                     # optional: calls at once before the rate counts; default 2 seconds' worth
    max_in_flight = 64              # optional, 0 for no limit

A changed file counts within a second; a broken one is reported in the log and the last good one stays.
`delegate` lets a service of ours name the owner it works for (metadata `interactvlm-owner`).
"""

from __future__ import annotations

import hashlib
import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from interactvlm.errors import InputError
from services.runtime.errors import PermissionDenied, TokenExpired, TokenMissing, Unauthenticated
from services.runtime.watched import WatchedFiles

__all__ = ["Token", "TokenFile", "require_scope"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """What one token allows.

    Attributes:
        owner: to whom things belong.
        scopes: what may be called.
        expires: end of its life, None for none.
        requests_per_second: sustained rate, 0 for no limit.
        burst: calls at once before the rate counts.
        max_in_flight: calls at the same time, 0 for no limit.
    """

    owner: str
    scopes: frozenset[str] = frozenset({"*"})
    expires: datetime | None = None
    requests_per_second: float = 0.0
    burst: int = 0
    max_in_flight: int = 0


class TokenFile:
    """The tokens of a file, read again when it changes.

    Args:
        path: TOML file, see the module's text.

    Raises:
        InputError: the file cannot be read at start.
    """

    def __init__(self, path: str, *, period: float = 1.0) -> None:
        self._path = Path(path)
        self._watched = WatchedFiles([path], period=period)
        self._tokens = _read(self._path)

    def authenticate(self, authorization: str | None) -> Token:
        """The token behind the value of the `authorization` metadata ("Bearer ...").

        Raises:
            TokenMissing: there is none.
            Unauthenticated: it is unknown.
            TokenExpired: its time is over.
        """
        if self._watched.changed():
            self._reload()
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise TokenMissing("authorization: a bearer token is needed (metadata 'authorization: Bearer TOKEN')")
        token = self._tokens.get(hashlib.sha256(text.strip().encode()).hexdigest())
        if token is None:
            raise Unauthenticated("authorization: this token is not known here")
        if token.expires is not None and datetime.now(UTC) >= token.expires:
            raise TokenExpired(f"authorization: this token expired at {token.expires.isoformat()}")
        return token

    def _reload(self) -> None:
        try:
            self._tokens = _read(self._path)
        except InputError as error:
            _log.error("tokens file not reloaded, the last good one stays: %s", error)
        else:
            _log.info("tokens file reloaded: %d tokens", len(self._tokens))


def require_scope(scopes: frozenset[str], scope: str) -> None:
    """Raise PermissionDenied unless `scopes` holds `scope` or "*"."""
    if scope not in scopes and "*" not in scopes:
        raise PermissionDenied(f"authorization: this token lacks the scope {scope!r}", metadata={"scope": scope})


def _read(path: Path) -> dict[str, Token]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise InputError(str(path), "is not valid TOML") from None
    entries = document.get("tokens", [])
    if not isinstance(entries, list) or set(document) - {"tokens"}:
        raise InputError(str(path), "must hold [[tokens]] entries and nothing else")
    return dict(_entry(f"{path}: tokens[{index}]", entry) for index, entry in enumerate(entries))


def _entry(where: str, entry: Mapping[str, Any]) -> tuple[str, Token]:
    kinds: dict[str, Any] = {
        "sha256": str,
        "owner": str,
        "scopes": list,
        "expires": datetime,
        "requests_per_second": (int, float),
        "burst": int,
        "max_in_flight": int,
    }
    for name, value in entry.items():
        if name not in kinds:
            raise InputError(where, f"has the unknown key {name}; known: {', '.join(kinds)}")
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise InputError(where, f"{name} has the wrong type")
    digest = entry.get("sha256", "").lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise InputError(where, "sha256 must be 64 hex digits")
    if not entry.get("owner"):
        raise InputError(where, "owner is missing")
    expires: datetime | None = entry.get("expires")
    if expires is not None and expires.tzinfo is None:
        raise InputError(where, "expires needs a time zone (2027-01-01T00:00:00Z)")
    rate = float(entry.get("requests_per_second", 0))
    return digest, Token(
        owner=entry["owner"],
        scopes=frozenset(str(scope) for scope in entry.get("scopes", [])),
        expires=expires,
        requests_per_second=rate,
        burst=entry.get("burst", max(1, round(2 * rate))),
        max_in_flight=entry.get("max_in_flight", 0),
    )

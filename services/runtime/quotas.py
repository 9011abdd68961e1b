"""Per-owner limits: a rate with a burst, and calls at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.runtime.errors import QuotaExceeded
from services.runtime.tokens import Token

__all__ = ["Quotas"]

#: Owners remembered while they have nothing in flight; beyond it the idle ones are forgotten.
_KEPT_OWNERS = 10_000


class _Account:
    __slots__ = ("at", "filled", "in_flight")

    def __init__(self, filled: float, at: float) -> None:
        self.filled = filled
        self.at = at
        self.in_flight = 0


class Quotas:
    """What each owner has used in this process; only touched from the event loop.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    def enter(self, token: Token) -> None:
        """Count one call in.

        Raises:
            QuotaExceeded: the owner is at a limit; nothing is counted then.
        """
        now = self._clock()
        account = self._accounts.get(token.owner)
        if account is None:
            self._forget_idle()
            account = self._accounts[token.owner] = _Account(float(token.burst), now)
        if token.max_in_flight and account.in_flight >= token.max_in_flight:
            raise QuotaExceeded(
                f"quota: {token.owner} has {account.in_flight} calls in flight; the limit is {token.max_in_flight}",
                metadata={"limit": "max_in_flight"},
                retry_after=0.1,
            )
        if token.requests_per_second:
            rate = token.requests_per_second
            account.filled = min(float(token.burst), account.filled + (now - account.at) * rate)
            account.at = now
            if account.filled < 1:
                raise QuotaExceeded(
                    f"quota: {token.owner} is above {rate:g} requests a second",
                    metadata={"limit": "requests_per_second"},
                    retry_after=(1 - account.filled) / rate,
                )
            account.filled -= 1
        account.in_flight += 1

    def leave(self, token: Token) -> None:
        """Count one call out."""
        self._accounts[token.owner].in_flight -= 1

    def _forget_idle(self) -> None:
        if len(self._accounts) >= _KEPT_OWNERS:
            self._accounts = {owner: one for owner, one in self._accounts.items() if one.in_flight}

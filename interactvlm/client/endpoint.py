"""Where the server is and how to prove who calls: target, TLS, token; and the channel made of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from interactvlm.errors import InputError

__all__ = ["CHANNEL_OPTIONS", "Endpoint", "Tls"]

#: A request may carry a photo (32 MiB); answers carry masks on request.
_MAX_MESSAGE_BYTES = 64 * 2**20

#: gRPC's own retries (client channel, gRFC A6): at most 5 attempts, a server's `grpc-retry-pushback-ms` honoured, and a
#: budget: each failure costs one of 10 tokens, each success returns a tenth, below half nothing is retried.
#: Only where a server goes away: UNAVAILABLE, and CANCELLED, with which gRPC's servers answer a call that arrives in
#: the moment in which they begin to drain (a call that its own caller cancels is never repeated). Photos are asked
#: about under a request_id and meshes kept under their hash, so a repeated call does no harm. A prediction stream
#: resumes itself (see `stream`): gRPC cannot know which items it lost.
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        },
        {"name": [{"service": "interactvlm.v1.ContactService", "method": "PredictStream"}]},
    ],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}

#: How every client of ours keeps its connections and repeats what a server's end has cost.
CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.per_rpc_retry_buffer_size", _MAX_MESSAGE_BYTES),
    # A server that froze is noticed within a minute and a half, also in the middle of a long call.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # One of several servers that was restarted takes calls again before its neighbour is restarted (gRPC's own: 1 s to
    # 2 min between attempts, long enough for a rolling update to pass by).
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.primary_user_agent", "interactvlm-python"),
]


@dataclass(frozen=True, slots=True)
class Tls:
    """Encryption, and the client's own certificate where the server asks for one (mTLS). PEM files.

    Attributes:
        ca: certificates that the server's must descend from; None takes the system's.
        certificate: the client's certificate chain.
        key: the client's private key; goes with `certificate`.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InputError("certificate", "and key go together; one of them is missing")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One deployment of the services, as a client sees it.

    Attributes:
        target: "HOST:PORT", or another gRPC name: "dns:///HOST:PORT", "ipv4:ADDRESS:PORT,ADDRESS:PORT", "unix:PATH".
            Several addresses are used in turn.
        tls: encryption; None speaks plainly, for loopback and for meshes that encrypt by themselves.
        token: the bearer token.
        token_file: a file that holds it, read anew whenever it changes; not with `token`.

    Raises:
        InputError: no port, both kinds of token, or a token that would cross a network unencrypted.
    """

    target: str
    tls: Tls | None = None
    token: str = field(default="", repr=False)
    token_file: Path | None = None

    def __post_init__(self) -> None:
        foreign = "://" in self.target and not self.target.startswith(("dns://", "unix://"))
        if foreign or not (self.target.startswith("unix:") or self.target.rpartition(":")[2].isdecimal()):
            raise InputError("server", f"is {self.target!r}; it must be HOST:PORT")
        if self.token and self.token_file is not None:
            raise InputError("token", "is given twice, itself and as a file")
        if (self.token or self.token_file) and self.tls is None and not _is_local(self.target):
            raise InputError("token", f"would travel unencrypted to {self.target}; use TLS")

    def open_channel(self) -> aio.Channel:
        """A channel; connects when first used.

        Raises:
            InputError: a certificate or key cannot be read.
        """
        if self.tls is None:
            return aio.insecure_channel(self.target, options=CHANNEL_OPTIONS)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read("ca", self.tls.ca),
            private_key=_read("key", self.tls.key),
            certificate_chain=_read("certificate", self.tls.certificate),
        )
        return aio.secure_channel(self.target, credentials, options=CHANNEL_OPTIONS)

    def read_token(self) -> str:
        """The token to send with a call, "" for none.

        Raises:
            InputError: the token file cannot be read or is no token.
        """
        if self.token_file is None:
            return self.token
        token = (_read("token_file", self.token_file) or b"").decode("ascii", "replace").strip()
        if not token or not token.isascii() or not token.isprintable():
            raise InputError(str(self.token_file), "holds no token")
        return token


def _is_local(target: str) -> bool:
    if target.startswith("unix:"):
        return True
    addresses = target.rpartition("/")[2].removeprefix("ipv4:").removeprefix("ipv6:").split(",")
    hosts = [address.rpartition(":")[0].strip("[]") for address in addresses]
    return all(host in ("localhost", "::1") or host.startswith("127.") for host in hosts)


def _read(name: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(name, f"{os.fspath(path)} cannot be read ({error.strerror})") from None

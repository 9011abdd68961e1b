"""TLS of the public port, certificates renewed without a restart."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

import grpc

from interactvlm.errors import InputError
from services.runtime.config import ServerConfig
from services.runtime.watched import WatchedFiles

__all__ = ["make_server_credentials"]

_log = logging.getLogger(__name__)


def make_server_credentials(config: ServerConfig, *, period: float = 1.0) -> grpc.ServerCredentials | None:
    """Credentials that read their files again when those change; None without `tls_certificate`.

    New connections see the new certificate within `period` seconds; open ones live on until `max_connection_age`.
    A half-written or mismatched pair is reported in the log and the last good one stays.

    Raises:
        InputError: the files cannot be used at start.
    """
    if not config.tls_certificate:
        return None
    first = _read(config)
    watched = WatchedFiles([config.tls_certificate, config.tls_key, config.tls_client_ca], period=period)

    def renew() -> Any:  # None keeps the present ones, which the stubs do not know
        if not watched.changed():
            return None
        try:
            renewed = _read(config)
        except InputError as error:
            _log.error("certificates not reloaded, the last good ones stay: %s", error)
            return None
        _log.info("certificates reloaded")
        return renewed

    return grpc.dynamic_ssl_server_credentials(first, renew, require_client_authentication=bool(config.tls_client_ca))


def _read(config: ServerConfig) -> grpc.ServerCertificateConfiguration:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Python's own TLS checks that chain and key belong together; gRPC would only fail every handshake later.
        context.load_cert_chain(config.tls_certificate, config.tls_key)
        if config.tls_client_ca:
            context.load_verify_locations(config.tls_client_ca)
        roots = Path(config.tls_client_ca).read_bytes() if config.tls_client_ca else None
        pair = (Path(config.tls_key).read_bytes(), Path(config.tls_certificate).read_bytes())
    except (OSError, ssl.SSLError) as error:
        raise InputError("server.tls_certificate", f"certificate, key or client CA cannot be used ({error})") from None
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)

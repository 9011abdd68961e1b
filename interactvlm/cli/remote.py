"""Asking a server instead of a model in this process: what `predict --server` needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InputError, MissingDependencyError
from interactvlm.geometry.rasterizer import available_backends
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import PersonSelector, Prediction, Target, Task

if TYPE_CHECKING:
    from interactvlm.client import Endpoint

__all__ = ["ask_server", "make_endpoint", "refuse_options"]

_TOKEN_VARIABLE = "INTERACTVLM_TOKEN"  # noqa: S105 - the variable's name


def make_endpoint(
    server: str, *, token_file: Path | None, ca: Path | None, certificate: Path | None, key: Path | None
) -> Endpoint:
    """The server that the options name; TLS as soon as one of its files is given, and on port 443.

    Raises:
        InputError: the options do not fit together.
        MissingDependencyError: the client's packages are not installed.
    """
    from interactvlm.client import Endpoint, Tls

    encrypted = bool(ca or certificate or key) or server.endswith(":443")
    token = "" if token_file else os.environ.get(_TOKEN_VARIABLE, "")
    tls = Tls(ca, certificate, key) if encrypted else None
    return Endpoint(server, tls=tls, token=token, token_file=token_file)


def refuse_options(options: Mapping[str, object], why: str) -> None:
    """Say that options do not go with the others.

    Raises:
        InputError: one of `options` was given.
    """
    for name, value in options.items():
        if value is not None:
            raise InputError(name, why)


def ask_server(
    endpoint: Endpoint,
    photo: Path,
    *,
    objects: Sequence[ObjectQuery],
    tasks: Sequence[Task] | None,
    person: PersonSelector,
    fast: bool,
    timeout: float | None,
    progress: Callable[[str], None],
) -> tuple[Prediction, BodyTemplate]:
    """The server's prediction with all that the files show, and the body its human answers lie on.

    Raises:
        ServerError: the server refused or failed.
        MissingDependencyError: the package that draws the picture is not installed.
    """
    from interactvlm.client import DEFAULT_TIMEOUT, Client

    if "numba" not in available_backends():  # better known now than after the server's work
        raise MissingDependencyError("numba", "mvloc")
    with Client(endpoint) as client:
        progress(f"asking {endpoint.target}")
        answer = client.predict(
            photo,
            objects=objects,
            tasks=tasks,
            person=person,
            fast=fast,
            view_logits=True,
            timeout=DEFAULT_TIMEOUT if timeout is None else timeout,
        )
        topology = next((result.surface for result in answer.results if result.target is Target.HUMAN), "")
        progress("fetching the body")
        return answer, client.body(topology)

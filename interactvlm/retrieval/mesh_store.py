"""Mesh files by content: `TABLE/meshes/<sha256>.<type>`, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from pathlib import Path

from interactvlm.errors import InputError
from interactvlm.geometry.load import MESH_TYPES
from interactvlm.retrieval.segments import sync_folder

__all__ = ["MeshStore"]

_HASH = re.compile(r"[0-9a-f]{64}")


class MeshStore:
    """The mesh files of a table; any number of processes may use it at a time.

    Args:
        table: the table's folder.
    """

    def __init__(self, table: Path) -> None:
        self._folder = table / "meshes"

    def put(self, content: bytes, *, file_type: str) -> str:
        """Keep a file that was loaded successfully before; returns its sha256, hex."""
        digest = hashlib.sha256(content).hexdigest()
        target = self._folder / f"{digest}.{file_type}"
        if not target.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = self._folder / f".{uuid.uuid4().hex}"
            try:
                with draft.open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(self._folder)
        return digest

    def find(self, digest: str) -> Path:
        """The file of that sha256; its suffix is its type.

        Raises:
            InputError: it is no sha256, or there is no such mesh.
        """
        if not _HASH.fullmatch(digest):
            raise InputError("mesh_sha256", "must be 64 hexadecimal digits")
        for file_type in MESH_TYPES:
            path = self._folder / f"{digest}.{file_type}"
            if path.is_file():
                return path
        raise InputError("mesh_sha256", f"{digest} is not among the table's meshes")

    def remove(self, digest: str) -> None:
        """Erase the mesh of that sha256, where there is one.

        Raises:
            InputError: it is no sha256.
        """
        if not _HASH.fullmatch(digest):
            raise InputError("mesh_sha256", "must be 64 hexadecimal digits")
        for file_type in MESH_TYPES:
            (self._folder / f"{digest}.{file_type}").unlink(missing_ok=True)

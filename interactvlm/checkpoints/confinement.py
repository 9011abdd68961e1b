"""What the converting process may still do once it starts to read a file nobody vouches for.

The unpicklers refuse code by themselves. This is the second wall, should one of them have a hole: no new programs, no
network, no writing outside one folder, bounded memory, time and file sizes. Python offers no way to remove an audit
hook; what native code does is not seen by it.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

__all__ = ["confine"]

_GIB = 1 << 30
_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile", "pty.spawn",
    "subprocess.Popen", "socket.", "ctypes.", "webbrowser.", "ftplib.", "smtplib.", "urllib.", "http.",
    "os.kill", "os.killpg", "signal.", "sqlite3.", "dbm.",
)  # fmt: skip
_CHANGES_FILES = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "os.setxattr", "os.removexattr", "shutil.",
)  # fmt: skip
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def confine(*, writable: Path, input_bytes: int) -> None:
    """Confine this process for the rest of its life.

    Args:
        writable: the only folder in which files may be created or changed.
        input_bytes: size of what will be read; sets the limits.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)  # the kernel's own "no new programs"; it does not bind root
    _limit(resource.RLIMIT_AS, 16 * _GIB + 3 * input_bytes)  # torch alone maps several GiB; shards are mapped whole
    _limit(resource.RLIMIT_FSIZE, 2 * input_bytes + _GIB)
    _limit(resource.RLIMIT_CPU, 600 + 60 * (input_bytes // _GIB))
    root = os.path.realpath(writable)

    def inside(path: Any) -> bool:
        if isinstance(path, int):  # a descriptor that is open already
            return True
        return os.path.commonpath([root, os.path.realpath(os.fsdecode(path))]) == root

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITE_FLAGS and path is not None and not inside(path):
                raise PermissionError(f"writing to {path!r} is not allowed here")
        elif event.startswith(_FORBIDDEN):
            raise PermissionError(f"{event} is not allowed here")
        elif event.startswith(_CHANGES_FILES):
            for path in arguments[:2]:
                if isinstance(path, (str, bytes, os.PathLike)) and not inside(path):
                    raise PermissionError(f"{event} of {path!r} is not allowed here")

    sys.addaudithook(hook)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))

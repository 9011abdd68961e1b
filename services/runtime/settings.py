"""Reading dataclasses from a TOML file, the environment and a command line; printing them without secrets.

Last wins: the field's default, the TOML file (`--config FILE` or INTERACTVLM_CONFIG), the environment
(`server.port` is INTERACTVLM_SERVER_PORT), flags (`--server.port 50051` or `--server.port=50051`).
Fields are str, int, float, bool, tuple[str, ...] (comma separated outside TOML), a nested dataclass, or a tuple of
dataclasses (TOML arrays of tables only).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from interactvlm.errors import InputError

__all__ = ["describe", "load_config"]

T = TypeVar("T")
_PREFIX = "INTERACTVLM_"


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: tuple[str, ...]
    kind: Any

    @property
    def dotted(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return _PREFIX + "_".join(self.path).upper()


def load_config(
    cls: type[T],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> T:
    """A `cls` from all sources; see the module's text for their order.

    Args:
        cls: a dataclass whose fields all have defaults.
        file: TOML file; `--config` among the arguments and INTERACTVLM_CONFIG name one too.
        environment: variables, the process's own by default.
        arguments: a command line without the program's name.

    Raises:
        InputError: a source cannot be read, a name is unknown, a value has the wrong type or breaks a rule.
    """
    environment = os.environ if environment is None else environment
    leaves = {leaf.dotted: leaf for leaf in _leaves(cls)}
    flags = _parse_arguments(arguments, leaves)
    named = flags.pop("config", None) or environment.get(_PREFIX + "CONFIG")
    if file is None and named:
        file = Path(named)
    tree = _read_toml(file) if file is not None else {}
    for leaf in leaves.values():
        if leaf.variable in environment:
            _place(tree, leaf, environment[leaf.variable])
    for dotted, text in flags.items():
        _place(tree, leaves[dotted], text)
    return _build(cls, tree, ())


def describe(config: Any) -> dict[str, Any]:
    """The configuration as plain values; fields whose metadata says `secret` read "***"."""

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return describe(value)
        return [plain(one) for one in value] if isinstance(value, (tuple, list)) else value

    return {
        field.name: "***" if field.metadata.get("secret") else plain(getattr(config, field.name))
        for field in fields(config)
    }


def _leaves(cls: Any, path: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        kind = hints[field.name]
        if is_dataclass(kind):
            yield from _leaves(kind, (*path, field.name))
        elif not _is_table_array(kind):
            yield _Leaf((*path, field.name), kind)


def _is_table_array(kind: Any) -> bool:
    return get_origin(kind) is tuple and is_dataclass(get_args(kind)[0])


def _parse_arguments(arguments: Sequence[str], leaves: Mapping[str, _Leaf]) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = iter(arguments)
    for argument in waiting:
        if not argument.startswith("--"):
            raise InputError(argument, "is not a flag; flags look like --server.port 50051")
        name, equals, value = argument[2:].partition("=")
        if name != "config" and name not in leaves:
            raise InputError(f"--{name}", f"is not known; known: --config, --{', --'.join(leaves)}")
        if not equals:
            if (following := next(waiting, None)) is None:
                raise InputError(f"--{name}", "needs a value")
            value = following
        found[name] = value
    return found


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(file), f"is not valid TOML ({error})") from None


def _place(tree: dict[str, Any], leaf: _Leaf, text: str) -> None:
    for name in leaf.path[:-1]:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise InputError(leaf.dotted, f"cannot be set: {name} is not a table in the file")
    tree[leaf.path[-1]] = _from_text(leaf, text)


def _from_text(leaf: _Leaf, text: str) -> Any:
    if leaf.kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise InputError(leaf.dotted, f"is {text!r}; it must be true or false")
        return text.lower() in ("true", "1", "yes")
    if leaf.kind in (int, float):
        try:
            return leaf.kind(text)
        except ValueError:
            raise InputError(leaf.dotted, f"is {text!r}; it must be a number ({leaf.kind.__name__})") from None
    if get_origin(leaf.kind) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _build(cls: type[T], tree: Any, path: tuple[str, ...]) -> T:
    if not isinstance(tree, dict):
        raise InputError(".".join(path), "must be a table")
    hints = get_type_hints(cls)
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if name not in known:
            raise InputError(".".join((*path, name)), f"is not a setting; known: {', '.join(known)}")
        values[name] = _checked(hints[name], value, (*path, name))
    return cls(**values)


def _checked(kind: Any, value: Any, path: tuple[str, ...]) -> Any:
    dotted = ".".join(path)
    if is_dataclass(kind) and isinstance(kind, type):
        return _build(kind, value, path)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise InputError(dotted, f"is {value!r}; it must be a list")
        return tuple(_checked(get_args(kind)[0], one, (*path, str(index))) for index, one in enumerate(value))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise InputError(dotted, f"is {value!r}; it must be of type {kind.__name__}")
    return value

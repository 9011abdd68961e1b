"""What the index knows of a mesh beside its embedding, and the conditions a search may set on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from interactvlm.errors import InputError

__all__ = ["ROW_SCHEMA", "RowFilter", "TableRow", "row_at", "table_of_rows"]

MAX_TEXT = 512
"""Longest text of a row, characters."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One mesh of the table.

    Attributes:
        id: unique in the table; adding the same id again replaces the row.
        category: canonical category name ("tennis racket"); "" where unknown.
        name: what people call it.
        licence: SPDX identifier ("CC0-1.0").
        faces: triangles of the mesh; 0 where unknown.
        extent_metres: largest extent; 0 where the mesh has no metric size.
        mesh_sha256: content hash of the mesh; "" where only its embedding is held.
    """

    id: str
    category: str = ""
    name: str = ""
    licence: str = ""
    faces: int = 0
    extent_metres: float = 0.0
    mesh_sha256: str = ""


ROW_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("category", pa.dictionary(pa.int32(), pa.string())),
        ("name", pa.string()),
        ("licence", pa.dictionary(pa.int32(), pa.string())),
        ("faces", pa.int32()),
        ("extent_metres", pa.float64()),
        ("mesh_sha256", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Conditions that every hit meets; an empty field sets none.

    Attributes:
        categories: any of these.
        licences: any of these.
        max_faces: at most so many triangles (rows of unknown count do not pass).
        extent_metres: (least, most) largest extent (rows without metric size do not pass).
    """

    categories: frozenset[str] = frozenset()
    licences: frozenset[str] = frozenset()
    max_faces: int = 0
    extent_metres: tuple[float, float] | None = None

    def __bool__(self) -> bool:
        return self != RowFilter()

    def passing(self, table: pa.Table) -> NDArray[np.bool_]:
        """bool [rows] of a table in ROW_SCHEMA."""
        passed = np.ones(table.num_rows, bool)
        for column, wanted in (("category", self.categories), ("licence", self.licences)):
            if wanted:
                passed &= _is_in(table.column(column), wanted)
        if self.max_faces:
            faces = table.column("faces").to_numpy()
            passed &= (faces > 0) & (faces <= self.max_faces)
        if self.extent_metres is not None:
            least, most = self.extent_metres
            extent = table.column("extent_metres").to_numpy()
            passed &= (extent > 0) & (extent >= least) & (extent <= most)
        return passed


def table_of_rows(rows: Sequence[TableRow]) -> pa.Table:
    """Rows as a table in ROW_SCHEMA.

    Raises:
        InputError: an id is empty or stands twice, a text is too long, a number is negative or not finite.
    """
    seen: set[str] = set()
    for index, row in enumerate(rows):
        for name, value in asdict(row).items():
            where = f"rows[{index}].{name}"
            if isinstance(value, str):
                if len(value) > MAX_TEXT:
                    raise InputError(where, f"has {len(value)} characters, the limit is {MAX_TEXT}")
            elif not 0 <= value < np.iinfo(np.int32).max:
                raise InputError(where, f"is {value}, it must be finite and not negative")
        if not row.id or row.id in seen:
            raise InputError(f"rows[{index}].id", f"is {row.id!r}; every row needs an id of its own")
        seen.add(row.id)
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(TableRow)}
    return pa.table(
        {name: pa.array(values, type=ROW_SCHEMA.field(name).type) for name, values in columns.items()},
        schema=ROW_SCHEMA,
    )


def row_at(table: pa.Table, index: int) -> TableRow:
    """One row of a table in ROW_SCHEMA."""
    return TableRow(**{name: table.column(name)[index].as_py() for name in ROW_SCHEMA.names})


def _is_in(column: pa.ChunkedArray, wanted: frozenset[str]) -> NDArray[np.bool_]:
    """Membership by dictionary code: texts are compared once a distinct value, not once a row."""
    parts = []
    for chunk in column.chunks:
        codes = np.flatnonzero(pc.is_in(chunk.dictionary, value_set=pa.array(sorted(wanted))).to_numpy(False))
        parts.append(np.isin(chunk.indices.to_numpy(False), codes))
    return np.concatenate(parts) if parts else np.zeros(0, bool)

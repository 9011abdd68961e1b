from __future__ import annotations

import numpy as np
import pytest

from interactvlm.results.mesh_sheet import THUMBNAIL, MeshTile, draw_mesh_sheet
from interactvlm.types import Box

RED = np.full((50, 50, 3), (200, 0, 0), np.uint8)


def _reds(image: np.ndarray) -> int:
    return int((image == (200, 0, 0)).all(axis=2).sum())


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (3, 3, 1), (5, 5, 1), (6, 5, 2), (12, 5, 3)])
def test_tiles_fill_rows(count: int, columns: int, rows: int) -> None:
    sheet = np.asarray(draw_mesh_sheet([MeshTile(RED, ["a", "b"])] * count, title="x"))
    assert _reds(sheet) == count * THUMBNAIL**2
    one = np.asarray(draw_mesh_sheet([MeshTile(RED, ["a", "b"])] * min(count, 5), title="x"))
    assert sheet.shape[1] == one.shape[1]
    assert (sheet.shape[0] > one.shape[0]) == (rows > 1)
    assert sheet.shape[1] >= columns * THUMBNAIL


def test_what_was_searched_with_stands_beside() -> None:
    query = np.full((100, 300, 3), (0, 0, 200), np.uint8)
    plain = np.asarray(draw_mesh_sheet([MeshTile(RED, ["a"])], title="x"))
    sheet = np.asarray(draw_mesh_sheet([MeshTile(RED, ["a"])], title="x", query=query, box=Box(-5, 10, 1000, 50)))
    assert sheet.shape[1] > plain.shape[1]
    assert (sheet == (0, 0, 200)).all(axis=2).any()
    assert (sheet == (0, 150, 110)).all(axis=2).any()  # the box


def test_frames_gaps_and_empty_sheets() -> None:
    chosen = np.asarray(draw_mesh_sheet([MeshTile(RED, ["a"], chosen=True)], title="x"))
    assert (chosen == (0, 150, 110)).all(axis=2).any()
    assert _reds(np.asarray(draw_mesh_sheet([MeshTile(None, ["a"])], title="x"))) == 0
    empty = np.asarray(draw_mesh_sheet([], title="nothing", notice="nothing close"))
    assert (empty == (178, 0, 24)).all(axis=2).any()
    long = draw_mesh_sheet([MeshTile(RED, ["w" * 500] * 4)], title="w" * 900)
    assert max(long.size) < 1200

"""The files that community tools read, in the layout of the published release's demo outputs.

- `{name}_hcontact_vertices.npz`: `pred_contact_3d_smplh` float32 [1, 6890] and `pred_contact_3d_smplx` float32 [10475],
  each only where it can be had: SMPL / SMPL-H bodies give the first, and with the user's own [10475, 6890] matrix the
  second; an SMPL-X body gives the second alone.
- `{name}_hcontact_vertices_{topology}.npz` with `pred_contact_3d_{topology}` float32 [1, V] for every other body
  ("anny"): other name and other key, so that no tool takes its vertices for SMPL's.
- `{name}_oafford_vertices.npz`: `pred_contact_3d` float32 [1, N].

`name` is made by `interactvlm.results.naming`. Each file also carries `trained` (bool) and `notice` (text), which
readers of the keys above ignore.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InputError
from interactvlm.types import ModelIdentity, Target, TaskResult

__all__ = ["SMPLH_VERTICES", "SMPLX_VERTICES", "community_file", "npz_bytes"]

SMPLH_VERTICES = 6890
SMPLX_VERTICES = 10475


def community_file(
    result: TaskResult, *, name: str, model: ModelIdentity, smplh_to_smplx: Any | None = None
) -> tuple[str, bytes]:
    """One result as the file of that layout.

    Args:
        result: a human or object answer.
        name: the file stem of this result, see `result_stems`.
        model: which weights answered.
        smplh_to_smplx: the user's matrix [10475, 6890], dense or scipy sparse, whose rows sum to 1 (or to 0).

    Returns:
        (file name, content).

    Raises:
        InputError: the number of probabilities is not that of the topology, or the matrix has another shape.
    """
    arrays: dict[str, NDArray[Any]]
    if result.target is Target.OBJECT:
        file_name = f"{name}_oafford_vertices.npz"
        arrays = {"pred_contact_3d": _row(result.probabilities)}
    elif result.surface in ("smpl", "smplh"):
        file_name = f"{name}_hcontact_vertices.npz"
        _check_count(result, SMPLH_VERTICES)
        arrays = {"pred_contact_3d_smplh": _row(result.probabilities)}
        if smplh_to_smplx is not None:
            arrays["pred_contact_3d_smplx"] = _convert(smplh_to_smplx, result.probabilities)
    elif result.surface == "smplx":
        file_name = f"{name}_hcontact_vertices.npz"
        _check_count(result, SMPLX_VERTICES)
        arrays = {"pred_contact_3d_smplx": result.probabilities.astype(np.float32)}
    else:
        file_name = f"{name}_hcontact_vertices_{result.surface}.npz"
        arrays = {f"pred_contact_3d_{result.surface}": _row(result.probabilities)}
    return file_name, npz_bytes(arrays | {"trained": np.array(model.trained), "notice": np.array(model.notice)})


def npz_bytes(arrays: dict[str, NDArray[Any]]) -> bytes:
    """A compressed npz; equal arrays give equal bytes."""
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def _row(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    return probabilities.astype(np.float32)[None]


def _check_count(result: TaskResult, expected: int) -> None:
    if result.probabilities.shape != (expected,):
        raise InputError(
            "result", f"has {result.probabilities.size} vertices; the {result.surface} body has {expected}"
        )


def _convert(matrix: Any, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    if tuple(matrix.shape) != (SMPLX_VERTICES, SMPLH_VERTICES):
        raise InputError("smplh_to_smplx", f"is {list(matrix.shape)}; it must be [{SMPLX_VERTICES}, {SMPLH_VERTICES}]")
    converted: NDArray[np.float32] = np.clip(np.asarray(matrix @ probabilities), 0.0, 1.0).astype(np.float32)
    return converted

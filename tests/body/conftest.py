from __future__ import annotations

import numpy as np
import pytest

JOINTS = {"smpl": 24, "smplh": 52, "smplx": 55}
BODY_PARENTS = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]


@pytest.fixture
def smpl_file(tmp_path):
    """Writes a made-up body of the official layout: random numbers, right shapes, any vertex count."""

    def write(topology, vertices=40, **changes):
        random = np.random.default_rng(5)
        joints = JOINTS[topology]
        extra = random.integers(12, 22, joints - 22)
        parents = np.array(BODY_PARENTS + list(extra), dtype=np.uint32)
        parents[0] = 2**32 - 1
        weights = random.random((vertices, joints)) ** 12
        weights[np.arange(vertices), np.arange(vertices) % joints] += 3
        regressor = random.random((joints, vertices))
        arrays = {
            "v_template": random.standard_normal((vertices, 3)),
            "f": random.integers(0, vertices, (2 * vertices, 3)).astype(np.uint32),
            "weights": weights / weights.sum(axis=1, keepdims=True),
            "posedirs": random.standard_normal((vertices, 3, 9 * (joints - 1))) * 0.01,
            "shapedirs": random.standard_normal((vertices, 3, 10)),
            "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
            "kintree_table": np.stack([parents, np.arange(joints, dtype=np.uint32)]),
        } | changes
        path = tmp_path / f"{topology}.npz"
        np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
        return path, arrays

    return write

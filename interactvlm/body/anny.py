"""The embedded body: Anny's outer surface, sampled evenly, in the star pose.

Anny's own mesh spends 70% of its vertices on head, hands and feet, which hold 20% of the skin. Contact is therefore
labelled on a watertight mesh of even density that follows every pose and shape of Anny by one sparse product.
Built by `tools/build_body.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["AnnyBody", "load_anny"]


@dataclass(frozen=True, slots=True, eq=False)
class AnnyBody:
    """The contact template and how it hangs on Anny.

    Attributes:
        template: 10,066 vertices in the star pose.
        mirror: int32 [V], index of each vertex's left-right partner.
        surface_map: float32 CSR [V, 13718]; `surface_map @ anny_vertices` are the template's vertices in the pose and
            shape of `anny_vertices` [13718, 3] (and in its axes), exactly: at most two weights a row.
    """

    template: BodyTemplate
    mirror: NDArray[np.int32]
    surface_map: csr_array


@cache
def load_anny() -> AnnyBody:
    """Read the shipped asset (once per process)."""
    from scipy.sparse import csr_array

    with as_file(files("interactvlm") / "assets" / "body" / "anny.npz") as path, np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    template = BodyTemplate(
        topology="anny",
        vertices=arrays["vertices"],
        faces=arrays["faces"].astype(np.int32),
        part_index=arrays["part_index"],
    )
    surface_map = csr_array(
        (arrays["map_data"], arrays["map_indices"].astype(np.int32), arrays["map_indptr"]),
        shape=tuple(arrays["map_shape"].tolist()),
    )
    mirror = arrays["mirror"].astype(np.int32)
    mirror.setflags(write=False)
    return AnnyBody(template=template, mirror=mirror, surface_map=surface_map)

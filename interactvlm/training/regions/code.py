"""A contact map of the body as the embedding that should bring about its masks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ContactCode", "vertex_patches"]

#: Patches that the body's surface is divided into; a hand has several.
_PATCHES = 256
_HIDDEN = 512
#: Patches that a usual contact touches.
_FEW = 8


class ContactCode(nn.Module):
    """Body contact to an embedding E that Phi and Omega turn into its masks; learned along with them.

    What the language model's contact token must become (through Gamma) is then known for every annotated answer, and
    costs no masks. It is no part of the method's inference.

    Args:
        patch_of: int64 [V], patch of each vertex (`vertex_patches`).
        channels: width of E.
    """

    patch_of: Tensor
    counts: Tensor

    def __init__(self, patch_of: NDArray[np.int64], *, channels: int) -> None:
        super().__init__()
        patches = int(patch_of.max()) + 1
        self.register_buffer("patch_of", torch.from_numpy(patch_of), persistent=False)
        counts = torch.from_numpy(np.bincount(patch_of, minlength=patches)).float()
        self.register_buffer("counts", counts, persistent=False)
        # Without biases, and with weights for the few patches that are touched at a time: regions differ at once.
        self.first = nn.Linear(patches, _HIDDEN, bias=False)
        self.second = nn.Linear(_HIDDEN, channels, bias=False)
        nn.init.normal_(self.first.weight, std=_FEW**-0.5)

    def forward(self, contact: Tensor) -> Tensor:
        """Embeddings of mean 0 and deviation 1: contact float32 [Q, V] to [Q, C]."""
        shares = contact.new_zeros((len(contact), len(self.counts))).index_add(1, self.patch_of, contact) / self.counts
        code = self.second(functional.gelu(self.first(shares)))
        return functional.layer_norm(code.float(), code.shape[-1:])


def vertex_patches(vertices: NDArray[np.floating], *, count: int = _PATCHES) -> NDArray[np.int64]:
    """Patch of each vertex: the nearest of `count` vertices that lie as far from one another as can be.

    Args:
        vertices: float [V, 3] of the template.
        count: patches, at most V.
    """
    points = vertices.astype(np.float64)
    nearest = np.full(len(points), np.inf)
    patch_of = np.zeros(len(points), dtype=np.int64)
    chosen = int(np.argmax(points[:, 1]))
    for patch in range(min(count, len(points))):
        distance = np.square(points - points[chosen]).sum(1)
        closer = distance < nearest
        patch_of[closer], nearest[closer] = patch, distance[closer]
        chosen = int(nearest.argmax())
    return patch_of

"""Where objects stand: similarity transforms of S scenes x K starts.

Row vectors: v' = (s v) R + t, with v in the object's own frame and v' in the photo's (x right, y down, z forward,
metres).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.fitting.rotations import rotation_from_6d, rotation_to_6d

__all__ = ["PARAMETERS", "Poses"]

PARAMETERS = 10
"""Numbers of an encoded pose: six of the rotation, three of the translation, log scale."""


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """Similarity transforms, any leading axes (usually S x K).

    Attributes:
        rotation: float [..., 3, 3], determinant +1.
        translation: float [..., 3], metres.
        scale: float [...], greater than 0.

    Raises:
        InputError: when the shapes do not belong together.
    """

    rotation: Tensor
    translation: Tensor
    scale: Tensor

    def __post_init__(self) -> None:
        lead = self.scale.shape
        if self.rotation.shape != (*lead, 3, 3) or self.translation.shape != (*lead, 3):
            shapes = [list(values.shape) for values in (self.rotation, self.translation, self.scale)]
            raise InputError("poses", f"have shapes {shapes}, [..., 3, 3], [..., 3] and [...] are needed")

    @classmethod
    def decode(cls, parameters: Tensor) -> Poses:
        """Poses [...] of free parameters [..., 10]; differentiable, and every parameter gives a valid pose."""
        return cls(rotation_from_6d(parameters[..., :6]), parameters[..., 6:9], parameters[..., 9].exp())

    def encode(self) -> Tensor:
        """Parameters [..., 10] that `decode` turns back into these poses."""
        return torch.cat([rotation_to_6d(self.rotation), self.translation, self.scale.log()[..., None]], -1)

    def apply(self, points: Tensor) -> Tensor:
        """Points [..., N, 3] of the object in the photo's frame [..., N, 3]; leading axes broadcast."""
        return self.scale[..., None, None] * (points @ self.rotation) + self.translation[..., None, :]

    def turn(self, directions: Tensor) -> Tensor:
        """Directions [..., N, 3], such as normals, turned without scale or shift."""
        return directions @ self.rotation

    def each(self, change: Callable[[Tensor], Tensor]) -> Poses:
        """The poses whose three tensors went through `change`, which may only touch leading axes."""
        return Poses(change(self.rotation), change(self.translation), change(self.scale))

    def joined(self, other: Poses) -> Poses:
        """These starts and another's, [S, K + K']."""
        return Poses(
            torch.cat([self.rotation, other.rotation], 1),
            torch.cat([self.translation, other.translation], 1),
            torch.cat([self.scale, other.scale], 1),
        )

    def recentred(self, centre: Tensor) -> Poses:
        """The same placement for points measured from another origin: `recentred(c).apply(p) = apply(p - c)`.

        Args:
            centre: [..., 3], broadcast over the leading axes.
        """
        shift = self.scale[..., None] * (centre[..., None, :] @ self.rotation)[..., 0, :]
        return Poses(self.rotation, self.translation - shift, self.scale)

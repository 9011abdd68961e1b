"""The photo's camera as the body estimator (OSX) defines it: x right, y down, z forward, metres and pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interactvlm.errors import InputError

__all__ = ["PhotoCamera"]

_CROP_FOCAL = 5000.0
_CROP_WIDTH, _CROP_HEIGHT = 192.0, 256.0


@dataclass(frozen=True, slots=True)
class PhotoCamera:
    """A pinhole camera.

    Attributes:
        focal: (x, y) focal lengths, pixels.
        principal: (x, y) of the principal point, pixels.
    """

    focal: tuple[float, float]
    principal: tuple[float, float]

    @classmethod
    def from_body_crop(cls, box: tuple[float, float, float, float]) -> PhotoCamera:
        """The camera behind OSX's crop of a person: focal length 5000 on a 192 x 256 input.

        Args:
            box: (left, top, width, height) of the crop, pixels of the photo.

        Raises:
            InputError: when the crop has no extent.
        """
        left, top, width, height = box
        if not (width > 0 and height > 0):
            raise InputError("box", f"is {width} x {height} pixels, both must be greater than 0")
        return cls(
            focal=(_CROP_FOCAL / _CROP_WIDTH * width, _CROP_FOCAL / _CROP_HEIGHT * height),
            principal=(width / 2 + left, height / 2 + top),
        )

    def project(self, points: Tensor) -> Tensor:
        """Screen coordinates [..., 3] of points [..., 3] in metres: x and y in pixels, then depth; differentiable."""
        focal, principal = points.new_tensor(self.focal), points.new_tensor(self.principal)
        depth = points[..., 2:]
        return torch.cat([points[..., :2] / depth * focal + principal, depth], dim=-1)

    def unproject(self, x: float, y: float, depth: float) -> tuple[float, float, float]:
        """The point in metres that is seen at pixel (x, y) at this depth."""
        (fx, fy), (cx, cy) = self.focal, self.principal
        return (x - cx) / fx * depth, (y - cy) / fy * depth, depth

"""Where fits start from, and which starts are worth going on with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from interactvlm.errors import InputError
from interactvlm.fitting.batch import Contacts, SceneBatch
from interactvlm.fitting.poses import Poses
from interactvlm.fitting.rotations import rotation_angle

__all__ = ["best_starts", "initial_poses", "scale_range"]

_DEVIATIONS = 2.0
"""Standard deviations of the size prior that alignment may use."""
_ALIKE_ANGLE = math.radians(15)
"""Starts that differ by less, and by less than a tenth of the object's size, count as one."""
_ALIKE_SHIFT = 0.1


def scale_range(batch: SceneBatch) -> Tensor:
    """Lowest and highest scale [S, 2] that an alignment may take: two deviations of the prior; 1 without one."""
    mean, deviation = batch.log_size.unbind(-1)
    reach = torch.where(deviation.isfinite(), _DEVIATIONS * deviation, 0)
    middle = mean - batch.extent.log()
    return torch.stack([(middle - reach).exp(), (middle + reach).exp()], -1)


def initial_poses(batch: SceneBatch, rotations: Tensor) -> Poses:
    """A pose for each rotation: at the prior's size, contact on contact.

    Scenes without contact on one of the sides start where the mask's middle is seen, as far away as the body.

    Args:
        batch: S scenes.
        rotations: [K, 3, 3], or [S, K, 3, 3].

    Returns:
        [S, K].

    Raises:
        InputError: when there is no rotation.
    """
    if rotations.ndim < 3 or rotations.shape[-2:] != (3, 3) or not rotations.shape[-3]:
        raise InputError("rotations", f"have shape {list(rotations.shape)}, [K, 3, 3] with K >= 1 is needed")
    turns = rotations.to(batch.extent).expand(len(batch), *rotations.shape[-3:])
    scale = (batch.log_size[:, 0].exp() / batch.extent)[:, None].expand(turns.shape[:2])
    on_object, on_body = _mean(batch.object_contacts), _mean(batch.body_contacts)
    at_contact = on_body[:, None] - scale[..., None] * (on_object[:, None, None] @ turns)[..., 0, :]
    touching = (batch.object_contacts.weights > 0).any(1) & (batch.body_contacts.weights > 0).any(1)
    return Poses(turns, torch.where(touching[:, None, None], at_contact, _in_view(batch)[:, None]), scale)


def best_starts(poses: Poses, energy: Tensor, size: Tensor, count: int) -> Tensor:
    """The starts of least energy that differ from one another: int64 [S, count], best first.

    Starts in the same place as a better one come after all others.

    Args:
        poses: [S, K].
        energy: [S, K].
        size: [S], the objects' sizes, metres.
        count: how many, at most K.
    """
    order = energy.argsort(dim=1, stable=True)
    angle = rotation_angle(poses.rotation[:, :, None], poses.rotation[:, None])
    shift = (poses.translation[:, :, None] - poses.translation[:, None]).norm(dim=-1) / size[:, None, None]
    ratio = (poses.scale[:, :, None] / poses.scale[:, None]).log().abs()
    alike = (angle < _ALIKE_ANGLE) & (shift < _ALIKE_SHIFT) & (ratio < _ALIKE_SHIFT)
    repeated = torch.zeros_like(energy, dtype=torch.bool)
    scenes = torch.arange(len(energy), device=energy.device)
    taken = torch.zeros_like(repeated)
    for place in range(energy.shape[1]):
        one = order[:, place]
        repeated[scenes, one] = (alike[scenes, one] & taken).any(1)
        taken[scenes, one] = ~repeated[scenes, one]
    repeated_in_order = repeated.gather(1, order)
    return order.gather(1, repeated_in_order.int().argsort(dim=1, stable=True))[:, :count]


def _mean(contacts: Contacts) -> Tensor:
    total = contacts.weights.sum(1, keepdim=True)
    return (contacts.weights[..., None] * contacts.points).sum(1) / torch.where(total > 0, total, 1)


def _in_view(batch: SceneBatch) -> Tensor:
    """Where the mask's middle is seen, at the body's depth: [S, 3]."""
    image = batch.target * batch.known
    at = torch.arange(image.shape[-1], device=image.device).to(image) + 0.5
    mass = image.sum((1, 2)).clamp_min(1e-6)
    middle = torch.stack([(image.sum(1) @ at) / mass, (image.sum(2) @ at) / mass], -1)
    depth = batch.body_centre[:, 2:].clamp_min(0.1)
    return torch.cat([(middle - batch.principal) / batch.focal * depth, depth], -1)

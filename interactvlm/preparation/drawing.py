"""Which pictures are drawn of annotated photos, and where they lie (`pictures` says what they hold)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample, HumanContact
from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.mvloc.surfaces import SurfaceViews, body_views, object_views
from interactvlm.preparation.bodies import BodyContacts
from interactvlm.preparation.pictures import mask_png, write_renders
from interactvlm.training.targets import MaskTargets

__all__ = ["Drawer", "DrawingPlan"]

#: Objects whose views are kept in memory: some 100 MB each at 1024 pixels.
_OBJECTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class DrawingPlan:
    """What is drawn.

    Attributes:
        masks: whether ground-truth masks (contact) and heat (affordance) are drawn.
        corners: vertices of a pixel's triangle that must be in contact: 2, or 3 as older checkpoints.
        renders: whether the views of bodies and objects are written with their pixel maps.
        image_size: side of masks and renders, pixels.

    Raises:
        InputError: a number is out of range.
    """

    masks: bool = False
    corners: int = 2
    renders: bool = False
    image_size: int = 1024

    def __post_init__(self) -> None:
        if self.corners not in (2, 3):
            raise InputError("corners", f"is {self.corners}; a pixel counts from 2 or from 3 vertices in contact")
        if not 16 <= self.image_size <= 2048:
            raise InputError("size", f"is {self.image_size}; the limits are 16 and 2048 pixels")


class Drawer:
    """Draws masks and renders; each surface is rendered once while it is in use.

    Args:
        folder: gets `masks/<sample>/human-<i>.png`, `object-<i>.png`, and `renders/body-<topology>/`,
            `renders/object-<hash>/`.
        plan: which pictures.
        bodies: the bodies that contact may lie on.

    Attributes:
        masks: PNG files written.
        renders: folders of renders written.
    """

    def __init__(self, folder: Path, plan: DrawingPlan, bodies: BodyContacts) -> None:
        self._folder, self._plan, self._bodies = folder, plan, bodies
        self.masks = self.renders = 0
        self._body_targets: dict[str, MaskTargets] = {}
        self._object_targets: OrderedDict[str, MaskTargets] = OrderedDict()

    def draw(self, sample: ContactSample) -> None:
        """Write a sample's masks, and the renders of surfaces that come for the first time.

        Raises:
            InputError: contact lies on a body whose file is not given, or values are not of their surface.
        """
        if not (self._plan.masks or self._plan.renders):
            return
        for index, contact in enumerate(sample.human):
            targets, template = self._of_body(contact)
            values = np.zeros(template.vertex_count, dtype=np.float32)
            values[contact.vertex_ids] = 1
            self._mask(sample, f"human-{index}", targets, values)
        for index, item in enumerate(sample.objects):
            self._mask(sample, f"object-{index}", self._of_object(item.surface), item.values)

    def _mask(self, sample: ContactSample, name: str, targets: MaskTargets, values: NDArray[np.float32]) -> None:
        if not self._plan.masks:
            return
        home = self._folder / "masks" / sample.sample_id
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{name}.png").write_bytes(mask_png(targets, values, corners=self._plan.corners))
        self.masks += 1

    def _of_body(self, contact: HumanContact) -> tuple[MaskTargets, BodyTemplate]:
        template = self._bodies.template(contact.topology)
        if template is None:
            raise InputError("body", f"contact lies on {contact.topology}, whose model file is not given (--body)")
        if contact.topology not in self._body_targets:
            views = body_views(template, self._plan.image_size)
            self._render(views, f"body-{contact.topology}")
            self._body_targets[contact.topology] = MaskTargets(views, self._plan.image_size)
        return self._body_targets[contact.topology], template

    def _of_object(self, surface: Mesh | PointCloud) -> MaskTargets:
        key = surface.content_hash
        if key in self._object_targets:
            self._object_targets.move_to_end(key)
            return self._object_targets[key]
        views = object_views(surface, self._plan.image_size)
        self._render(views, f"object-{key}")
        self._object_targets[key] = MaskTargets(views, self._plan.image_size)
        if len(self._object_targets) > _OBJECTS_AT_ONCE:
            self._object_targets.popitem(last=False)
        return self._object_targets[key]

    def _render(self, views: SurfaceViews, name: str) -> None:
        if self._plan.renders and not (self._folder / "renders" / name).exists():
            write_renders(views, self._folder / "renders" / name)
            self.renders += 1

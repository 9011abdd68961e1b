"""Contact moved from a data set's body onto the one a model is trained with, and the words for the parts it lies on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from interactvlm.body.conversion import VertexMap, map_between_templates
from interactvlm.body.parts import parts_in_contact
from interactvlm.body.template import BodyTemplate, load_template
from interactvlm.datasets.sample import ContactSample, HumanContact
from interactvlm.errors import InputError
from interactvlm.npz import read_arrays

__all__ = ["BodyContacts", "load_body_file", "vertex_order"]

_JOINTS = {24: "smpl", 52: "smplh", 55: "smplx"}


def vertex_order(topology: str) -> str:
    """The topology whose vertices these are: SMPL-H has SMPL's."""
    return "smpl" if topology == "smplh" else topology


def load_body_file(path: Path) -> BodyTemplate:
    """A user's SMPL, SMPL-H or SMPL-X file (npz); which one it is, its joints say.

    Raises:
        InputError: a pickle, or a file with another number of joints.
        MeshError: the file is damaged or no such body.
    """
    if path.suffix.lower() in (".pkl", ".pickle"):
        return load_template("smpl", body_file=path)  # whose error says how to convert it
    weights = read_arrays(path, ("weights",))["weights"]
    joints = weights.shape[1] if weights.ndim == 2 else 0
    if joints not in _JOINTS:
        raise InputError(str(path), f"has {joints} joints; SMPL has 24, SMPL-H 52, SMPL-X 55")
    return load_template(_JOINTS[joints], body_file=path)


class BodyContacts:
    """What is known about bodies: their parts, and the way onto the wanted one.

    Args:
        body: the data set's body, None where the user has no file; "anny" is always known.
        onto: topology that contact is moved onto ("anny"); "" leaves it where it is.

    Raises:
        InputError: `onto` needs a file, or the way onto it needs one.
    """

    def __init__(self, body: BodyTemplate | None, onto: str = "") -> None:
        known = [load_template("anny"), *([body] if body is not None else [])]
        self._templates: Mapping[str, BodyTemplate] = {vertex_order(template.topology): template for template in known}
        self.onto = vertex_order(onto)
        if self.onto and self.onto not in self._templates:
            raise InputError("onto", f"is {onto!r}, whose model file is not given (--body)")
        self._maps: dict[str, VertexMap] = {}

    def template(self, topology: str) -> BodyTemplate | None:
        """The body of a topology, None where its file is not given."""
        return self._templates.get(vertex_order(topology))

    def moved(self, sample: ContactSample) -> ContactSample:
        """The sample with its contact on the wanted body.

        Raises:
            InputError: its body's file is not given.
        """
        return replace(sample, human=tuple(self._moved(contact) for contact in sample.human)) if self.onto else sample

    def parts(self, contact: HumanContact) -> tuple[str, ...]:
        """Names of the parts in contact (a tenth of their vertices); empty where the body's file is not given.

        Raises:
            InputError: the contact names vertices that the body does not have.
        """
        template = self.template(contact.topology)
        return () if template is None else parts_in_contact(_touched(contact, template), template.part_index)

    def _moved(self, contact: HumanContact) -> HumanContact:
        topology = vertex_order(contact.topology)
        if topology == self.onto:
            return contact
        source = self.template(topology)
        if source is None:
            raise InputError("body", f"contact lies on {topology}, whose model file is not given (--body)")
        if topology not in self._maps:
            self._maps[topology] = map_between_templates(source, self._templates[self.onto])
        shares = self._maps[topology].apply(_touched(contact, source).astype(np.float32))
        return replace(contact, vertex_ids=np.flatnonzero(shares >= 0.5).astype(np.int32), topology=self.onto)


def _touched(contact: HumanContact, template: BodyTemplate) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if len(contact.vertex_ids) and int(contact.vertex_ids.max()) >= template.vertex_count:
        raise InputError(
            "vertex_ids", f"name vertex {contact.vertex_ids.max()}, {template.topology} has {template.vertex_count}"
        )
    touched = np.zeros(template.vertex_count, dtype=np.bool_)
    touched[contact.vertex_ids] = True
    return touched

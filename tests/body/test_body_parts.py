from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interactvlm.body import PART_NAMES, load_template, parts_in_contact, vertices_of_parts
from interactvlm.body.parts import part_fractions
from interactvlm.errors import InputError


@given(st.lists(st.sampled_from(PART_NAMES), unique=True))
def test_names_to_vertices_and_back(names):
    template = load_template("anny")
    mask = vertices_of_parts(names, template.part_index)
    assert parts_in_contact(mask, template.part_index) == tuple(name for name in PART_NAMES if name in names)


def test_a_part_is_named_from_a_tenth_of_its_vertices():
    part_index = np.repeat(np.arange(15, dtype=np.uint8), 30)
    contact = np.zeros(450, dtype=bool)
    contact[:3] = True
    contact[30:32] = True
    assert parts_in_contact(contact, part_index) == ("torso",)
    assert part_fractions(contact, part_index)[:3].tolist() == [0.1, 2 / 30, 0.0]


def test_a_part_without_vertices_is_never_named():
    part_index = np.ones(10, dtype=np.uint8)
    assert parts_in_contact(np.ones(10, dtype=bool), part_index) == ("hips",)


def test_errors_name_the_input():
    part_index = np.zeros(10, dtype=np.uint8)
    with pytest.raises(InputError, match=r"part: 'tail' is none of torso, hips"):
        vertices_of_parts(["tail"], part_index)
    with pytest.raises(InputError, match=r"contact: has shape \(9,\), the body has 10 vertices"):
        parts_in_contact(np.zeros(9, dtype=bool), part_index)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from interactvlm.body.conversion import map_between_templates
from interactvlm.body.template import load_template
from interactvlm.datasets.sample import ContactSample, HumanContact
from interactvlm.errors import InputError, InteractVLMError
from interactvlm.preparation.bodies import BodyContacts, load_body_file, vertex_order
from interactvlm.types import Task

ANNY = load_template("anny")
#: A body like anny's under another name and in another order of vertices.
ORDER = np.random.default_rng(0).permutation(ANNY.vertex_count)
OTHER = replace(
    ANNY,
    topology="smplh",
    vertices=ANNY.vertices[ORDER],
    faces=np.argsort(ORDER)[ANNY.faces].astype(np.int32),
    part_index=ANNY.part_index[ORDER],
)


def contact(ids, topology: str = "smpl") -> HumanContact:
    return HumanContact(Task.SEMANTIC, "chair", np.asarray(ids, dtype=np.int32), topology, "chair")


@pytest.fixture(scope="module")
def bodies() -> BodyContacts:
    return BodyContacts(OTHER, "anny")


def test_contact_moves_onto_the_wanted_body(bodies) -> None:
    hand = np.flatnonzero(OTHER.part_index == 3)
    sample = ContactSample("s", b"", human=(contact(hand), contact([1, 2], "anny")))
    moved, kept = bodies.moved(sample).human
    assert moved.topology == "anny"
    assert sorted(moved.vertex_ids) == sorted(np.flatnonzero(ANNY.part_index == 3))
    assert moved.vertex_ids.dtype == np.int32
    assert (moved.object_name, moved.category, moved.task) == ("chair", "chair", Task.SEMANTIC)
    assert kept is sample.human[1]


def test_contact_stays_where_nobody_moves_it() -> None:
    sample = ContactSample("s", b"", human=(contact([1]),))
    assert BodyContacts(None).moved(sample) is sample


def test_parts_in_words(bodies) -> None:
    seat = np.flatnonzero(np.isin(OTHER.part_index, [1, 11]))
    assert bodies.parts(contact(seat)) == ("hips", "left thigh")
    assert bodies.parts(contact(np.flatnonzero(ANNY.part_index == 2), "anny")) == ("head",)
    assert bodies.parts(contact([])) == ()
    assert BodyContacts(None).parts(contact(seat)) == ()


def test_bodies_without_a_file() -> None:
    with pytest.raises(InputError, match=r"onto: is 'smplx', whose model file is not given \(--body\)"):
        BodyContacts(None, "smplx")
    with pytest.raises(InputError, match=r"body: contact lies on smpl, whose model file is not given \(--body\)"):
        BodyContacts(None, "anny").moved(ContactSample("s", b"", human=(contact([1]),)))


def test_vertices_that_the_body_does_not_have(bodies) -> None:
    with pytest.raises(InputError, match=f"name vertex 20000, smplh has {OTHER.vertex_count}"):
        bodies.parts(contact([20000]))


def test_one_map_serves_all_samples(bodies, monkeypatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        "interactvlm.preparation.bodies.map_between_templates",
        lambda a, b: made.append(a.topology) or map_between_templates(a, b),
    )
    fresh = BodyContacts(OTHER, "anny")
    for _ in range(2):
        fresh.moved(ContactSample("s", b"", human=(contact([1]),)))
    assert made == ["smplh"]


def test_which_body_a_file_is(tmp_path) -> None:
    np.savez(tmp_path / "odd.npz", weights=np.zeros((10, 7)))
    with pytest.raises(InputError, match=r"odd\.npz: has 7 joints; SMPL has 24, SMPL-H 52, SMPL-X 55"):
        load_body_file(tmp_path / "odd.npz")
    np.savez(tmp_path / "flat.npz", weights=np.zeros(10))
    with pytest.raises(InputError, match="has 0 joints"):
        load_body_file(tmp_path / "flat.npz")
    np.savez(tmp_path / "half.npz", weights=np.zeros((10, 52)))
    with pytest.raises(InteractVLMError, match="lacks J_regressor"):
        load_body_file(tmp_path / "half.npz")
    with pytest.raises(InputError, match="convert it once with `interactvlm convert-checkpoint"):
        load_body_file(tmp_path / "SMPL_NEUTRAL.pkl")


def test_orders_of_vertices() -> None:
    assert [vertex_order(t) for t in ("smpl", "smplh", "smplx", "anny")] == ["smpl", "smpl", "smplx", "anny"]

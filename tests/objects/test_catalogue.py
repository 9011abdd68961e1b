from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np
import pytest
import trimesh

from interactvlm.errors import InputError
from interactvlm.geometry.load import load_mesh
from interactvlm.objects import catalogue
from interactvlm.objects.anchors import ANCHOR_NAMES, object_for
from interactvlm.objects.catalogue import load_catalogue, load_object
from interactvlm.objects.categories import CATEGORIES

FOLDER = resources.files("interactvlm") / "assets" / "objects"
ENTRIES = load_catalogue()


def test_the_catalogue_is_large_licensed_and_small_on_disk():
    assert len(ENTRIES) >= 150
    assert len({entry.id for entry in ENTRIES}) == len(ENTRIES)
    assert [entry.id for entry in ENTRIES] == sorted(entry.id for entry in ENTRIES)
    assert {entry.licence for entry in ENTRIES} == {"CC0-1.0"}
    assert all(entry.author and entry.name and entry.source for entry in ENTRIES)
    assert {entry.category for entry in ENTRIES} <= {"", *CATEGORIES}
    assert {path.name for path in FOLDER.iterdir()} == {"catalogue.json", *(entry.file for entry in ENTRIES)}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 6_000_000


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_every_mesh_is_the_listed_one(entry):
    content = (FOLDER / entry.file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry.sha256
    mesh = load_object(entry.id)
    assert (len(mesh.vertices), len(mesh.faces)) == (entry.vertices, entry.faces)
    assert entry.faces <= 2000
    assert mesh.vertex_colors is not None
    np.testing.assert_allclose(np.ptp(mesh.bounds, axis=0), entry.size_m, atol=2e-4)
    low, high = mesh.bounds
    np.testing.assert_allclose([low[1], low[0] + high[0], low[2] + high[2]], 0, atol=3e-4)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.anchors], ids=lambda entry: entry.id)
def test_anchors_lie_on_the_surface(entry):
    model = object_for(f"catalogue/{entry.id}")
    corners = model.mesh.vertices.astype(np.float64)[model.mesh.faces]
    for name, anchor in model.anchors.items():
        assert name in ANCHOR_NAMES
        assert abs(anchor.normal @ anchor.direction) < 1e-3
        assert np.linalg.norm(anchor.normal) == pytest.approx(1, abs=1e-3)
        nearest = trimesh.triangles.closest_point(corners, np.tile(anchor.position, (len(corners), 1)))
        assert np.linalg.norm(nearest - anchor.position, axis=1).min() < 0.002 + 0.01 * max(entry.size_m), name


def test_furniture_is_metric_and_has_the_places_it_is_for():
    by_category: dict[str, list[catalogue.CatalogueEntry]] = {}
    for entry in ENTRIES:
        by_category.setdefault(entry.category, []).append(entry)
    for entry in by_category["chair"]:
        assert 0.3 < entry.anchors["seat"][0][1] < 0.6, entry.id
    for entry in by_category["stool"]:
        assert 0.4 < entry.anchors["seat"][0][1] < 0.8, entry.id
    for entry in by_category["couch"]:
        assert {"seat", "lie"} <= set(entry.anchors), entry.id
        assert entry.anchors["back"][0][2] < entry.anchors["seat"][0][2], entry.id
    for entry in by_category["dining table"]:
        assert 0.65 < entry.anchors["top"][0][1] < 0.8, entry.id
    assert sum("lie" in entry.anchors for entry in by_category["bed"]) >= 4


def test_colours_are_those_that_a_screen_shows():
    blue = load_object("plasticChair").vertex_colors.mean(axis=0)
    assert blue[2] > blue[0]
    assert blue[2] > blue[1]
    raw = load_mesh((FOLDER / "plasticChair.glb").read_bytes(), file_type="glb").vertex_colors.mean()
    assert raw < load_object("plasticChair").vertex_colors.mean()  # glTF keeps linear light


def test_a_damaged_or_unknown_file_is_refused(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="no such entry"):
        load_object("dragon")
    (tmp_path / "catalogue.json").write_bytes((FOLDER / "catalogue.json").read_bytes())
    (tmp_path / "barrel.glb").write_bytes((FOLDER / "barrel.glb").read_bytes()[:-4] + b"abcd")
    monkeypatch.setattr(catalogue, "_folder", lambda: tmp_path)
    with pytest.raises(InputError, match="sha256 differs"):
        load_object("barrel")

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file
from scipy.sparse import csr_array, save_npz

from interactvlm.body import BodyTemplate, load_template
from interactvlm.body.conversion import load_matrix, load_mhr_map, map_between_templates
from interactvlm.body.surface import closest_points
from interactvlm.errors import InputError, MeshError

MATRIX = np.array([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0.25, 0.25, 0.5], [0, 0, 0, 1]])
CONTACT = np.array([1, 0.5, 0, 1], dtype=np.float32)


def save(path, matrix=MATRIX):
    if path.suffix == ".npy":
        np.save(path, matrix)
    elif path.suffix == ".safetensors":
        save_file({"m": matrix}, path)
    elif path.stem == "csr":
        save_npz(path, csr_array(matrix))
    else:
        np.savez_compressed(path, matrix=matrix)
    return path


@pytest.mark.parametrize("name", ["m.npy", "m.npz", "csr.npz", "m.safetensors"])
def test_a_matrix_of_barycentric_rows_is_the_plain_product(tmp_path, name):
    conversion = load_matrix(save(tmp_path / name), source="smplh", target="smplx")
    np.testing.assert_allclose(conversion.apply(CONTACT), MATRIX @ CONTACT, rtol=1e-6)
    assert (conversion.source, conversion.target) == ("smplh", "smplx")
    many = conversion.apply(np.stack([CONTACT, 1 - CONTACT]))
    assert many.shape == (2, 5)
    assert many.dtype == np.float32
    np.testing.assert_allclose(many[1], MATRIX @ (1 - CONTACT), rtol=1e-6)


def test_the_way_back_averages_and_unfed_vertices_have_no_contact(tmp_path):
    back = load_matrix(save(tmp_path / "m.npy"), source="smplh", target="smplx").transposed()
    assert (back.source, back.target) == ("smplx", "smplh")
    np.testing.assert_allclose(back.apply(np.ones(5)), 1, rtol=1e-6)
    only_last = back.apply(np.array([0, 0, 0, 0, 1.0]))
    np.testing.assert_allclose(only_last, [0, 0, 0, 1 / 1.5], rtol=1e-6)
    assert load_matrix(tmp_path / "m.npy", source="a", target="b").apply(np.ones(4))[2] == 0


@given(
    matrix=hnp.arrays(np.float64, (6, 5), elements=st.floats(0, 100)).filter(lambda m: m.max() > 1e-8),
    contact=hnp.arrays(np.float32, 5, elements=st.floats(0, 1, width=32)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_probabilities_stay_probabilities(tmp_path, matrix, contact):
    result = load_matrix(save(tmp_path / "m.npy", matrix), source="a", target="b").apply(contact)
    assert ((result >= 0) & (result <= 1)).all()
    fed = matrix.max(axis=1) > 1e-8
    assert (result[fed] <= contact.max() + 1e-6).all()
    assert (result[fed] >= contact.min() - 1e-6).all()


@pytest.mark.parametrize(
    ("matrix", "problem"),
    [
        (-MATRIX, "must lie between 0 and 1e\\+06"),
        (np.full((2, 2), np.nan), "must lie between 0 and 1e\\+06"),
        (np.zeros((2, 2)), "zeros only"),
        (np.zeros(4), r"must hold numbers \[V_target, V_source\]"),
        (np.zeros((0, 4)), r"must hold numbers"),
    ],
)
@pytest.mark.parametrize("name", ["m.npy", "m.npz", "m.safetensors"])
def test_wrong_matrices_are_refused(tmp_path, name, matrix, problem):
    with pytest.raises(MeshError, match=problem):
        load_matrix(save(tmp_path / name, matrix), source="a", target="b")


@pytest.mark.parametrize("name", ["m.npy", "m.npz", "csr.npz", "m.safetensors"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 600), flips=st.lists(st.tuples(st.integers(0, 700), st.integers(1, 255)), max_size=4))
def test_damaged_matrices_end_in_one_sentence(tmp_path, name, cut, flips):
    content = bytearray(save(tmp_path / name).read_bytes())
    for place, change in flips:
        content[place % len(content)] ^= change
    (tmp_path / f"damaged{name}").write_bytes(content if flips else content[:cut])
    outcome = "loaded"
    try:
        load_matrix(tmp_path / f"damaged{name}", source="a", target="b")
    except MeshError as error:
        outcome = str(error)
    assert outcome == "loaded" or outcome.startswith(f"damaged{name}: ")


def test_files_of_other_kinds_and_objects_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"m\.pkl: must be one of \.npy, \.npz, \.safetensors; pickles are not opened"):
        load_matrix(tmp_path / "m.pkl", source="a", target="b")
    np.save(tmp_path / "o.npy", np.array([[{}]], dtype=object))
    with pytest.raises(MeshError, match=r"o\.npy: is damaged"):
        load_matrix(tmp_path / "o.npy", source="a", target="b")
    np.savez(tmp_path / "two.npz", a=MATRIX, b=MATRIX)
    with pytest.raises(MeshError, match="must hold one matrix, it holds a, b"):
        load_matrix(tmp_path / "two.npz", source="a", target="b")
    conversion = load_matrix(save(tmp_path / "m.npy"), source="smplh", target="smplx")
    with pytest.raises(InputError, match=r"contact: has shape \(5,\), smplh has 4 vertices"):
        conversion.apply(np.ones(5))


def test_mhr_maps_weigh_the_corners_of_a_source_triangle(tmp_path):
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    weights = np.array([[0.2, 0.3, 0.5], [1, 0, -1e-7], [0, 0.5, 0.5]])
    path = tmp_path / "mhr2smplx_mapping.npz"
    np.savez(path, triangle_ids=np.array([0, 1, 1]), baryc_coords=weights)
    conversion = load_mhr_map(path, faces, source_vertices=5, source="mhr", target="smplx")
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.9])
    expected = [0.2 * 0.1 + 0.3 * 0.2 + 0.5 * 0.3, 0.3, 0.5 * 0.2 + 0.5 * 0.4]
    np.testing.assert_allclose(conversion.apply(values), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"triangle_ids": np.array([0])}, "lacks baryc_coords"),
        ({"triangle_ids": np.array([2]), "baryc_coords": np.ones((1, 3))}, "triangles beyond the 2 of mhr"),
        ({"triangle_ids": np.array([-1]), "baryc_coords": np.ones((1, 3))}, "triangles beyond the 2 of mhr"),
        ({"triangle_ids": np.array([0]), "baryc_coords": np.ones((2, 3))}, r"shape \(2, 3\) for 1 triangle_ids"),
        ({"triangle_ids": np.array([0.5]), "baryc_coords": np.ones((1, 3))}, "must hold integers"),
        ({"triangle_ids": np.array([0]), "baryc_coords": np.full((1, 3), np.inf)}, "baryc_coords"),
    ],
)
def test_wrong_mhr_maps_are_refused(tmp_path, arrays, problem):
    np.savez(tmp_path / "map.npz", **arrays)
    with pytest.raises(MeshError, match=problem):
        load_mhr_map(
            tmp_path / "map.npz", np.array([[0, 1, 2], [2, 1, 3]]), source_vertices=4, source="mhr", target="x"
        )


@settings(max_examples=40, deadline=None)
@given(
    triangles=hnp.arrays(np.float64, (7, 3, 3), elements=st.integers(-3, 3)),
    points=hnp.arrays(np.float64, (5, 3), elements=st.floats(-4, 4)),
)
def test_closest_points_beat_every_sampled_point(triangles, points):
    index, weights = closest_points(points, triangles)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-9)
    found = np.linalg.norm(np.einsum("nk,nkc->nc", weights, triangles[index]) - points, axis=1)
    one, two = np.meshgrid(np.linspace(0, 1, 12), np.linspace(0, 1, 12))
    grid = np.stack([1 - one - two, one, two], axis=-1).reshape(-1, 3)
    samples = (grid[grid[:, 0] >= 0] @ triangles.reshape(-1, 3, 3)).reshape(-1, 3)
    sampled = np.linalg.norm(samples[None] - points[:, None], axis=2).min(axis=1)
    assert (found <= sampled + 1e-9).all()


def test_a_template_maps_to_itself_and_to_another_build_and_density():
    anny = load_template("anny")
    same = map_between_templates(anny, anny)
    contact = np.random.default_rng(0).random(anny.vertex_count)
    np.testing.assert_allclose(same.apply(contact), contact, atol=1e-5)

    # Every fourth face split, every axis stretched: other vertices, same parts.
    vertices, faces, made = trimesh.remesh.subdivide(
        anny.vertices, anny.faces, face_index=np.arange(0, len(anny.faces), 4), return_index=True
    )
    assert len(made) == len(anny.faces) / 4
    nearest = np.linalg.norm(vertices[anny.vertex_count :, None] - anny.vertices[None, ::5], axis=2).argmin(axis=1) * 5
    other = BodyTemplate(
        topology="other",
        vertices=(vertices * [1.1, 0.9, 1.05]).astype(np.float32),
        faces=faces.astype(np.int32),
        part_index=anny.part_index[np.concatenate([np.arange(anny.vertex_count), nearest])],
    )
    palm = (anny.part_index == 3).astype(np.float64)
    moved = map_between_templates(anny, other).apply(palm)
    agrees = (moved > 0.5) == (other.part_index == 3)
    assert agrees.mean() > 0.995
    back = map_between_templates(other, anny).apply(moved)
    assert np.abs(back - palm).mean() < 0.01


def test_bodies_that_lack_a_part_cannot_be_mapped():
    anny = load_template("anny")
    headless = BodyTemplate(
        topology="headless",
        vertices=anny.vertices,
        faces=anny.faces,
        part_index=np.where(anny.part_index == 2, 0, anny.part_index).astype(np.uint8),
    )
    with pytest.raises(MeshError, match="headless: has no head"):
        map_between_templates(headless, anny)

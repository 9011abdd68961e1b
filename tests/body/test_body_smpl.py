from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from interactvlm.body import PART_NAMES, load_template
from interactvlm.body.smpl import load_skinned_body, load_smpl, part_of_joint
from interactvlm.errors import InputError, InteractVLMError, MeshError

TOPOLOGIES = ("smpl", "smplh", "smplx")


def skin_with_homogeneous_chains(arrays, rotation_vectors):
    """Each vertex through 4 x 4 matrices multiplied along its chain, as in the SMPL paper's equations 2 to 4."""
    joints = arrays["J_regressor"] @ arrays["v_template"]
    parents = arrays["kintree_table"][0].astype(int)
    local = Rotation.from_rotvec(rotation_vectors).as_matrix()
    feature = (local[1:] - np.eye(3)).reshape(-1)
    rest = arrays["v_template"] + np.einsum("vcp,p->vc", arrays["posedirs"], feature)
    world = []
    for joint, own in enumerate(local):
        matrix = np.eye(4)
        matrix[:3, :3] = own
        matrix[:3, 3] = joints[joint] - (joints[parents[joint]] if joint else 0)
        world.append(matrix if joint == 0 else world[parents[joint]] @ matrix)
    posed = np.zeros_like(rest)
    for vertex, point in enumerate(rest):
        for joint, matrix in enumerate(world):
            moved = matrix @ np.append(point - joints[joint], 1)
            posed[vertex] += arrays["weights"][vertex, joint] * moved[:3]
    return posed


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_skinning_agrees_with_an_independent_computation(smpl_file, topology):
    path, arrays = smpl_file(topology)
    body = load_skinned_body(path, topology=topology)
    vectors = np.random.default_rng(1).normal(size=(len(body.joints), 3)) * 0.5
    expected = skin_with_homogeneous_chains(arrays, vectors)
    np.testing.assert_allclose(body.pose(Rotation.from_rotvec(vectors).as_matrix()), expected, atol=1e-10)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_canonical_pose_spreads_the_hips_alone(smpl_file, topology):
    path, arrays = smpl_file(topology)
    body = load_skinned_body(path, topology=topology)
    vectors = np.zeros((len(body.joints), 3))
    vectors[1, 2], vectors[2, 2] = np.radians(30), np.radians(-30)
    template = body.canonical()
    np.testing.assert_allclose(template.vertices, skin_with_homogeneous_chains(arrays, vectors), atol=1e-5)
    assert template.topology == topology
    np.testing.assert_array_equal(template.faces, arrays["f"])


def test_positive_rotation_moves_the_left_foot_outwards(smpl_file):
    """+x is the person's left: a leg hanging down from the left hip must end further left."""
    vertices = np.zeros((24, 3))
    vertices[[1, 4, 7, 10], 0], vertices[[2, 5, 8, 11], 0] = 0.1, -0.1
    vertices[[4, 5], 1], vertices[[7, 8, 10, 11], 1] = -0.4, -0.8
    path, _ = smpl_file("smpl", 24, v_template=vertices, weights=np.eye(24), J_regressor=np.eye(24),
                        posedirs=np.zeros((24, 3, 207)))  # fmt: skip
    posed = load_skinned_body(path, topology="smpl").canonical().vertices
    np.testing.assert_allclose(posed[7], [0.1 + 0.8 * 0.5, -0.8 * 3**0.5 / 2, 0], atol=1e-6)
    np.testing.assert_allclose(posed[8], [-0.1 - 0.8 * 0.5, -0.8 * 3**0.5 / 2, 0], atol=1e-6)
    np.testing.assert_allclose(posed[[0, 15]], 0, atol=1e-7)


@pytest.mark.parametrize(("topology", "joints"), [("smpl", 24), ("smplh", 52), ("smplx", 55)])
def test_every_joint_belongs_to_a_part_and_sides_match(smpl_file, topology, joints):
    parts = part_of_joint(topology)
    assert len(parts) == joints
    assert set(parts) == set(PART_NAMES)
    swapped = sorted(p.replace("left", "#").replace("right", "left").replace("#", "right") for p in parts)
    assert swapped == sorted(parts)
    path, _ = smpl_file(topology, joints, weights=np.eye(joints))
    template = load_skinned_body(path, topology=topology).canonical()
    assert tuple(PART_NAMES[i] for i in template.part_index) == parts


def test_parts_follow_the_summed_weights_not_the_largest_one(smpl_file):
    weights = np.eye(52)
    weights[0] = 0
    weights[0, 0], weights[0, [22, 23, 24]] = 0.4, 0.2
    path, _ = smpl_file("smplh", 52, weights=weights)
    template = load_skinned_body(path, topology="smplh").canonical()
    assert PART_NAMES[template.part_index[0]] == "left hand"


def test_whole_bodies_load_by_name(smpl_file):
    path, _ = smpl_file("smpl", 6890)
    template = load_template("smpl", body_file=path)
    assert (template.topology, template.vertex_count) == ("smpl", 6890)


def test_wrong_vertex_counts_are_refused(smpl_file):
    path, _ = smpl_file("smplx", 40)
    with pytest.raises(MeshError, match=r"smplx\.npz: has 40 vertices, smplx has 10475"):
        load_smpl(path, topology="smplx")


def test_pickles_are_not_opened(tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps({"v_template": 1}))
    with pytest.raises(InputError, match="is a pickle, which could run code"):
        load_smpl(path, topology="smpl")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"weights": None}, "lacks weights"),
        ({"J_regressor": np.array([{}], dtype=object)}, "stores J_regressor as a Python object"),
        ({"v_template": np.full((40, 3), np.nan)}, "not finite"),
        ({"v_template": np.float64(1)}, "holds v_template of shape"),
        ({"v_template": np.array(["a"])}, "must hold plain numbers"),
        ({"weights": np.ones((40, 52))}, r"holds weights of shape \(40, 52\), smpl needs \(40, 24\)"),
        ({"weights": np.ones((40, 24))}, "do not sum to 1"),
        ({"f": np.full((4, 3), 40)}, "triangles of its 40 vertices"),
        ({"f": np.zeros((0, 3), dtype=np.int64)}, "triangles of its 40 vertices"),
        ({"kintree_table": np.tile(np.arange(24), (2, 1))}, "does not come before its child"),
    ],
)
def test_every_broken_file_has_its_sentence(smpl_file, changes, problem):
    path, _ = smpl_file("smpl", **changes)
    with pytest.raises(MeshError, match=problem):
        load_skinned_body(path, topology="smpl")


def test_a_declared_size_is_not_believed(smpl_file):
    path, _ = smpl_file("smpl")
    header = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 3), }"
    text += b" " * (63 - (len(header) + 2 + len(text)) % 64) + b"\n"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["v_template.npy"] = header + len(text).to_bytes(2, "little") + text
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(MeshError, match="declares 3000000000 numbers in v_template, the limit is 200000000"):
        load_skinned_body(path, topology="smpl")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=8))
def test_damaged_files_end_in_one_of_our_errors(smpl_file, tmp_path, cut, flips):
    whole, _ = smpl_file("smpl", 24)
    content = bytearray(whole.read_bytes())
    for place, change in flips:
        content[int(place * len(content))] ^= change
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content[: int(cut * len(content)) if not flips else None])
    outcome = "loaded"
    try:
        load_skinned_body(damaged, topology="smpl")
    except InteractVLMError as error:
        outcome = str(error)
    assert outcome == "loaded" or outcome.startswith("damaged.npz: ")

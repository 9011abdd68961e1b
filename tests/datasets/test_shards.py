import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.datasets.sample import ContactSample, HumanContact, ObjectContact, TextAnswer
from interactvlm.datasets.shard_format import SCHEMA, decode_surface, encode_surface, from_row, surface_key, to_row
from interactvlm.datasets.shards import read_shards, shard_path, write_shard
from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.types import Box, Task

TRIANGLE = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], dtype=np.int32))
COLOURED = Mesh(TRIANGLE.vertices, TRIANGLE.faces, np.arange(9, dtype=np.uint8).reshape(3, 3))
POINTS = PointCloud(np.arange(12, dtype=np.float32).reshape(4, 3))


def sample(number, *, surface=TRIANGLE, person=True):
    count = len(surface.vertices if isinstance(surface, Mesh) else surface.xyz)
    return ContactSample(
        sample_id=f"s{number}",
        photo=bytes([number % 256]) * 50,
        person=Box(1.0, 2.0, 3.5, 4.0) if person else None,
        human=(
            HumanContact(Task.BINARY, "", np.array([1, 5, number + 6], np.int32), "anny"),
            HumanContact(Task.SEMANTIC, "cup", np.zeros(0, np.int32), "anny", "cup"),
        ),
        objects=(ObjectContact("cup", surface, np.linspace(0, 1, count, dtype=np.float32), "grasp", "cup"),),
        texts=(TextAnswer("object", "What?", "A cup."),),
        tags={"template": "hold", "split": "train"},
    )


def equal(one, other):
    assert (one.sample_id, one.photo, one.person, one.texts) == (
        other.sample_id, other.photo, other.person, other.texts,
    )  # fmt: skip
    assert dict(one.tags) == dict(other.tags)
    for a, b in zip(one.human, other.human, strict=True):
        assert (a.task, a.object_name, a.topology, a.category) == (b.task, b.object_name, b.topology, b.category)
        assert b.vertex_ids.dtype == np.int32
        np.testing.assert_array_equal(a.vertex_ids, b.vertex_ids)
    for a, b in zip(one.objects, other.objects, strict=True):
        assert (a.object_name, a.affordance, a.category) == (b.object_name, b.affordance, b.category)
        assert surface_key(a.surface) == surface_key(b.surface)
        assert b.values.dtype == np.float32
        np.testing.assert_array_equal(a.values, b.values)


@pytest.fixture
def folder(tmp_path):
    write_shard(tmp_path, "train", 0, [(sample(i), None) for i in range(11)])
    write_shard(tmp_path, "train", 1, [(sample(i, surface=COLOURED, person=False), None) for i in range(11, 14)])
    return tmp_path


def test_what_is_written_is_read_in_any_order(folder):
    samples = read_shards(folder, "train")
    assert len(samples) == 14
    for index in (13, 0, 10, 11, 4, -1):
        surface, person = (TRIANGLE, True) if index % 14 < 11 else (COLOURED, False)
        equal(sample(index % 14, surface=surface, person=person), samples[index])
    assert [each.sample_id for each in samples] == [f"s{i}" for i in range(14)]
    assert [each.sample_id for each in samples[2:5]] == ["s2", "s3", "s4"]
    assert samples.geometry(0) is None
    with pytest.raises(IndexError):
        samples[14]


def test_a_reader_travels_to_another_process(folder):
    samples = read_shards(folder, "train")
    equal(samples[3], pickle.loads(pickle.dumps(samples))[3])  # noqa: S301


def test_each_surface_is_stored_once(folder):
    assert sorted(path.stem for path in (folder / "surfaces").iterdir()) == sorted(
        [surface_key(TRIANGLE), surface_key(COLOURED)]
    )
    first, second = read_shards(folder, "train")[:2]
    assert first.objects[0].surface is second.objects[0].surface


def test_points_are_surfaces_too(tmp_path):
    write_shard(tmp_path, "points", 0, [(sample(0, surface=POINTS), None)])
    (read,) = read_shards(tmp_path, "points")
    assert isinstance(read.objects[0].surface, PointCloud)
    np.testing.assert_array_equal(read.objects[0].surface.xyz, POINTS.xyz)


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"no shard at all" * 9])
def test_a_damaged_shard_is_one_clear_error(folder, damage):
    path = shard_path(folder, "train", 1)
    path.write_bytes(damage)
    with pytest.raises(InputError, match=rf"{path.name}.*damaged"):
        read_shards(folder, "train")


@pytest.mark.parametrize("place", [10, 200, 600])
def test_flipped_bytes_are_an_error_or_harmless(folder, place):
    path = shard_path(folder, "train", 1)
    data = bytearray(path.read_bytes())
    data[place : place + 24] = bytes(255 - byte for byte in data[place : place + 24])
    path.write_bytes(bytes(data))
    try:
        names = [each.sample_id for each in read_shards(folder, "train")]
    except InputError as error:
        assert path.name in str(error)  # noqa: PT017
    else:
        assert len(names) == 14


def test_a_truncated_shard_is_one_clear_error(folder):
    path = shard_path(folder, "train", 0)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        read_shards(folder, "train")


def test_another_version_is_refused(folder):
    path = shard_path(folder, "train", 0)
    pq.write_table(pa.Table.from_pylist([], schema=SCHEMA.with_metadata({"interactvlm_schema": "2"})), path)
    with pytest.raises(InputError, match="version 2; this reads version 1"):
        read_shards(folder, "train")


def test_missing_or_damaged_surfaces_are_named(folder):
    path = folder / "surfaces" / f"{surface_key(TRIANGLE)}.npz"
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match=path.name):
        read_shards(folder, "train")[0]
    path.unlink()
    with pytest.raises(InputError, match="missing"):
        read_shards(folder, "train")[0]


def test_nothing_to_read_and_impossible_names(tmp_path):
    with pytest.raises(InputError, match="no shards of the split 'heldout'"):
        read_shards(tmp_path, "heldout")
    with pytest.raises(InputError, match="split"):
        write_shard(tmp_path, "../x", 0, [])


def test_a_failed_write_leaves_nothing(tmp_path):
    def samples():
        yield sample(0), None
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path, "train", 0, samples())
    assert not list(tmp_path.glob("*.parquet"))
    assert not list(tmp_path.rglob(".writing-*"))


@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3),
    ids=st.sets(st.integers(0, 10_065), max_size=30),
    tags=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)
def test_any_sample_survives_the_columns(names, ids, tags):
    original = ContactSample(
        sample_id="x",
        photo=b"\x00\xff",
        human=tuple(HumanContact(Task.SEMANTIC, name, np.array(sorted(ids), np.int32), "anny") for name in names),
        tags=tags,
    )
    table = pa.Table.from_pylist([to_row(original)], schema=SCHEMA)
    equal(original, from_row(table.to_pylist()[0], {}))


@pytest.mark.parametrize("surface", [TRIANGLE, COLOURED, POINTS])
def test_surfaces_are_stored_byte_for_byte_alike(surface):
    assert encode_surface(surface) == encode_surface(surface)
    assert surface_key(decode_surface(encode_surface(surface))) == surface_key(surface)

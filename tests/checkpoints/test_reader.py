from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from interactvlm.checkpoints.reader import WeightReader
from interactvlm.checkpoints.safetensors_file import TORCH_NAME, read_header, write_file
from interactvlm.errors import CheckpointError

INDEX = "model.safetensors.index.json"
unhurried = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=150
)


def raw_file(path: Path, header: Any, data: bytes = b"") -> Path:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return path


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, torch.Tensor]:
    tensors = {"inner.weight": torch.randn(2, 3), "inner.bias": torch.randn(2), "count": torch.tensor(5)}
    save_file(tensors, tmp_path / "model.safetensors")
    return tensors


def load(folder: Path, **changes: Any) -> Net:
    with torch.device("meta"):
        net = Net()
    arguments: dict[str, Any] = {"stored_name": lambda own: own, "dtype": torch.float32} | changes
    WeightReader(folder).load_into(net, **arguments)
    return net


def test_a_meta_module_is_filled(tmp_path: Path, saved: dict[str, torch.Tensor]) -> None:
    net = load(tmp_path)
    assert all(torch.equal(value, saved[name]) for name, value in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in net.parameters())
    half = load(tmp_path, dtype=torch.bfloat16)
    assert half.inner.weight.dtype == torch.bfloat16
    assert half.count.dtype == torch.int64


def test_every_dtype_as_safetensors_reads_it(tmp_path: Path) -> None:
    tensors = {
        name: torch.arange(6).reshape(2, 3).to(getattr(torch, attribute)) for name, attribute in TORCH_NAME.items()
    }
    tensors |= {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4)}
    save_file(tensors, tmp_path / "model.safetensors")
    reader = WeightReader(tmp_path)
    found = dict(reader.tensors(list(tensors)))
    assert all(found[n].dtype == tensors[n].dtype and found[n].shape == tensors[n].shape for n in tensors)
    assert all(torch.equal(found[n].view(torch.uint8), tensors[n].view(torch.uint8)) for n in TORCH_NAME)
    assert reader.nbytes == sum(t.numel() * t.element_size() for t in tensors.values())


def test_what_is_written_safetensors_reads(tmp_path: Path) -> None:
    value = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    path = tmp_path / "model.safetensors"
    digest = write_file(path, [("a", "F32", (2, 3)), ("b", "U8", ())], [memoryview(value.numpy()), memoryview(b"\x07")])
    found = load_file(path)
    assert torch.equal(found["a"], value)
    assert int(found["b"]) == 7
    import hashlib

    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_tied_names_share_one_tensor(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(4, 3)
            self.head = nn.Linear(3, 4, bias=False)

    save_file({"embed.weight": torch.randn(4, 3)}, tmp_path / "model.safetensors")
    with torch.device("meta"):
        net = Tied()
    WeightReader(tmp_path).load_into(net, stored_name=lambda own: "embed.weight", dtype=torch.float32)
    assert net.head.weight is net.embed.weight


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"inner.weight": torch.zeros(2, 3)}, "lacks 2 tensors"),
        ({"inner.weight": torch.zeros(3, 2)}, "inner.weight has shape (3, 2), expected (2, 3)"),
        (
            {"inner.weight": torch.zeros(2, 3, dtype=torch.int8)},
            "inner.weight is stored as I8, expected a floating dtype",
        ),
        ({"count": torch.zeros(())}, "count is stored as F32, expected int64"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, saved: dict[str, Any], tensors: dict[str, Any], said: str) -> None:
    kept = saved | tensors if "lacks" not in said else tensors
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert said in str(caught.value)


def test_an_unknown_name_is_one_error(tmp_path: Path, saved: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="lacks the tensor absent"):
        list(WeightReader(tmp_path).tensors(["absent"]))


def test_nothing_there_and_only_pickles(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        WeightReader(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match="convert-checkpoint"):
        WeightReader(tmp_path)


def test_missing_shards_are_counted(contact_release: Path) -> None:
    (contact_release / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of 3 shards: model-00002-of-00003"):
        WeightReader(contact_release)


def test_a_link_to_a_shard_is_followed_and_a_loop_is_missing(contact_release: Path, tmp_path: Path) -> None:
    shard = contact_release / "model-00001-of-00003.safetensors"
    shard.rename(tmp_path / "blob")
    shard.symlink_to(tmp_path / "blob")  # as hub caches lay them out
    assert "model.norm.weight" in WeightReader(contact_release)
    shard.unlink()
    shard.symlink_to(shard.name)
    with pytest.raises(CheckpointError, match="lacks 1 of 3 shards"):
        WeightReader(contact_release)


def test_special_files_are_not_opened(contact_release: Path) -> None:
    shard = contact_release / "model-00001-of-00003.safetensors"
    shard.unlink()
    os.mkfifo(shard)  # opening it would wait for ever
    with pytest.raises(CheckpointError, match="lacks 1 of 3 shards"):
        WeightReader(contact_release)
    shard.unlink()
    shard.symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="lacks 1 of 3 shards"):
        WeightReader(contact_release)


@pytest.mark.parametrize("shard", ["../x", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "C:x", "a\0b", 3, None, ["x"]])
def test_index_entries_cannot_leave_the_folder(contact_release: Path, shard: object) -> None:
    index = json.loads((contact_release / INDEX).read_text())
    index["weight_map"]["model.norm.weight"] = shard
    (contact_release / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="file name in the index's own folder"):
        WeightReader(contact_release)


def test_duplicates_in_the_index_are_refused(contact_release: Path) -> None:
    name = "model-00001-of-00003.safetensors"
    (contact_release / INDEX).write_text(f'{{"weight_map": {{"a": "{name}", "a": "{name}"}}}}')
    with pytest.raises(CheckpointError, match="names the key 'a' twice"):
        WeightReader(contact_release)


def test_a_tensor_the_shard_lacks(contact_release: Path, edit_json: Callable[..., None]) -> None:
    edit_json(contact_release / INDEX, weight_map={"ghost": "model-00001-of-00003.safetensors"})
    with pytest.raises(CheckpointError, match="lacks 1 tensors that the index places in it: ghost"):
        WeightReader(contact_release)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "{" * 5000])
def test_malformed_index(contact_release: Path, content: str) -> None:
    (contact_release / INDEX).write_text(content)
    with pytest.raises(CheckpointError):
        WeightReader(contact_release)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_truncated_files(contact_release: Path, kept: int) -> None:
    shard = contact_release / "model-00003-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"truncated|not safetensors"):
        WeightReader(contact_release)


def test_a_file_that_shrinks_after_it_was_opened(contact_release: Path) -> None:
    reader = WeightReader(contact_release)
    shard = contact_release / "model-00003-of-00003.safetensors"
    os.truncate(shard, 20_000)
    with pytest.raises(CheckpointError, match="ended inside"):
        list(reader.tensors(list(reader.names())))


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"[]", b""),
        (b'{"a": 1}', b""),
        (b"\xff\xff", b""),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {}}', b"x" * 8),
        ({"a": entry(dtype="F31")}, b"x" * 8),
        ({"a": entry(dtype=["F32"])}, b"x" * 8),
        ({"a": entry(shape=[3])}, b"x" * 8),
        ({"a": entry(shape=[-2])}, b"x" * 8),
        ({"a": entry(shape=[2.0])}, b"x" * 8),
        ({"a": entry(shape=[True, 2])}, b"x" * 8),
        ({"a": entry(shape=[10**18, 10**18])}, b"x" * 8),
        ({"a": entry(shape=[1] * 40)}, b"x" * 8),
        ({"a": entry(offsets=[8, 0])}, b"x" * 8),
        ({"a": entry(offsets=[0, 8, 9])}, b"x" * 8),
        ({"a": entry(offsets=[-8, 0])}, b"x" * 8),
        ({"a": entry(), "b": entry()}, b"x" * 8),
        ({"a": entry(offsets=[8, 16])}, b"x" * 16),
        ({"a": entry()}, b"x" * 9),
        ({"a": entry()}, b"x" * 7),
    ],
)
def test_headers_that_lie(tmp_path: Path, header: Any, data: bytes) -> None:
    raw_file(tmp_path / "model.safetensors", header, data)
    with pytest.raises(CheckpointError) as caught:
        WeightReader(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_header_length_beyond_the_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(CheckpointError, match="declares a header of"):
        WeightReader(tmp_path)


@unhurried
@given(data=st.data())
def test_damaged_files_are_refused_or_stay_inside_the_file(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(4.0), "b": torch.arange(3)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        found = read_header(path)
    except CheckpointError:
        return
    assert all(e.offset + e.nbytes <= path.stat().st_size for e in found.values())


@unhurried
@given(weight_map=st.dictionaries(st.text(max_size=6), st.text(max_size=8) | st.integers() | st.none(), max_size=4))
def test_any_index_is_refused_or_names_files(tmp_path: Path, weight_map: dict[str, Any]) -> None:
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError):
        WeightReader(tmp_path)

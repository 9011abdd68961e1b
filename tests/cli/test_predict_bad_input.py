"""Bad input to the command: one clear sentence, the right exit code, nothing written."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

RELEASE = Path(__file__).parents[1] / "golden" / "data" / "contact_release"
TOWER = RELEASE.parent / "clip-vit-tiny-patch14"
Run = Callable[..., Any]


def _image(file_format: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 40).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


def _bmp_declaring(width: int, height: int) -> bytes:
    return struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


PHOTOS = {
    "missing.jpg": (None, "does not exist"),
    "empty.jpg": (b"", "is empty"),
    "truncated.jpg": (_image("JPEG")[:-200], "damaged or truncated"),
    "text.jpg": (b"Dear model, who touches what?", "is not a readable"),
    "huge.bmp": (_bmp_declaring(16_001, 16_001), "more pixels than the limit"),
    "cmyk.jpg": (_image("JPEG", "CMYK"), "colour mode CMYK"),
    "animated.webp": (_image("WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64))]), "is animated"),
}

_PLY = """ply
format ascii 1.0
element vertex {vertices}
property float x
property float y
property float z
element face {faces}
property list uchar int vertex_indices
end_header
"""
_CORNERS = "0 0 0\n1 0 0\n0 1 0\n"

MESHES = {
    "nan.ply": (_PLY.format(vertices=3, faces=1) + "0 0 0\n1 0 0\n0 nan 0\n3 0 1 2\n", "finite"),
    "outside.ply": (_PLY.format(vertices=3, faces=1) + _CORNERS + "3 0 1 7\n", "outside"),
    "no_faces.ply": (_PLY.format(vertices=3, faces=0) + _CORNERS, "face"),
    "billion.ply": (_PLY.format(vertices=10**9, faces=1) + _CORNERS + "3 0 1 2\n", "1000000000"),
    "outside.obj": ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", ""),
    "text.glb": ("this is no mesh", ""),
    "mesh.stl": ("solid", "meshes are read from glb, obj, ply, point clouds from ply, npy, npz, xyz"),
}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(_image("PNG"))
    return path


def _assert_one_sentence(finished: Any, code: int, text: str, out: Path) -> None:
    assert finished.code == code, finished.err
    errors = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, finished.err
    assert text in errors[0]
    assert "Traceback" not in finished.err
    assert not out.exists()


@pytest.mark.parametrize("name", PHOTOS)
def test_photos(run_command: Run, tmp_path: Path, name: str) -> None:
    data, message = PHOTOS[name]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    out = tmp_path / "out"
    _assert_one_sentence(run_command("predict", tmp_path / name, "--out", out), 2, message, out)


@pytest.mark.parametrize("name", MESHES)
def test_meshes(run_command: Run, tmp_path: Path, photo: Path, name: str) -> None:
    text, message = MESHES[name]
    (tmp_path / name).write_text(text)
    out = tmp_path / "out"
    finished = run_command("predict", photo, "--object", "cup", "--mesh", tmp_path / name, "--out", out)
    _assert_one_sentence(finished, 2, message, out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--object", "[SEG]"], "special token"),
        (["--object", "a\nb"], "control characters"),
        (["--object", "x" * 65], "65 characters"),
        (["--task", "reading"], "known: binary"),
        (["--task", "semantic"], "at least one object name"),
        (["--person", "1,2,3"], "known: largest"),
        (["--person", "900,900"], "leaves the photo"),
        (["--dtype", "int4"], "known: auto"),
        (["--dtype", "float16", "--device", "cpu"], "use float32 or bfloat16"),
        (["--device", "abacus"], "known: auto"),
        (["--device", "cuda:99"], "this machine has"),
    ],
)
def test_arguments(run_command: Run, tmp_path: Path, photo: Path, arguments: list[str], message: str) -> None:
    out = tmp_path / "out"
    finished = run_command("predict", photo, *arguments, "--model", RELEASE, *_companions(tmp_path), "--out", out)
    _assert_one_sentence(finished, 2, message, out)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    shutil.copytree(RELEASE, folder)
    return folder


def _companions(tmp_path: Path) -> list[object]:
    return ["--vision-tower", TOWER, "--body", _body_file(tmp_path)]


def _body_file(tmp_path: Path) -> Path:
    """A body file of the published layout with the golden mesh in it, enough to get past its loader."""
    mesh = np.load(RELEASE.parent / "body" / "mesh.npz")
    count, joints = len(mesh["vertices"]), 52
    weights = np.zeros((count, joints), np.float32)
    weights[np.arange(count), np.arange(count) % joints] = 1
    path = tmp_path / "SMPLH_NEUTRAL.npz"
    np.savez(
        path,
        v_template=mesh["vertices"].astype(np.float64),
        f=mesh["faces"].astype(np.uint32),
        weights=weights.astype(np.float64),
        shapedirs=np.zeros((count, 3, 10)),
        posedirs=np.zeros((count, 3, (joints - 1) * 9)),
        J_regressor=np.full((joints, count), 1 / count),
        kintree_table=np.stack([np.maximum(np.arange(joints) - 1, 0), np.arange(joints)]).astype(np.int64),
    )
    return path


def _damage(folder: Path, kind: str) -> str:
    """Break a release folder in one way; what the error must say."""
    config = json.loads((folder / "config.json").read_text())
    if kind == "no config":
        (folder / "config.json").unlink()
        return "config.json"
    if kind == "missing shard":
        (folder / "model-00002-of-00003.safetensors").unlink()
        return "model-00002-of-00003.safetensors"
    if kind == "wrong shapes":
        config["out_dim"] = 128
        (folder / "config.json").write_text(json.dumps(config))
        return "shape"
    if kind == "missing token":
        added = json.loads((folder / "added_tokens.json").read_text())
        del added["[SEG]"]
        (folder / "added_tokens.json").write_text(json.dumps(added))
        return "[SEG]"
    if kind == "no tokenizer":
        (folder / "tokenizer.model").unlink()
        return "tokenizer.model"
    for path in folder.glob("model*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    return "convert-checkpoint"


@pytest.mark.parametrize(
    "kind", ["no config", "missing shard", "wrong shapes", "missing token", "no tokenizer", "only a pickle"]
)
def test_checkpoints(run_command: Run, tmp_path: Path, photo: Path, release: Path, kind: str) -> None:
    message = _damage(release, kind)
    out = tmp_path / "out"
    finished = run_command(
        "predict", photo, "--object", "cup", "--model", release, *_companions(tmp_path), "--out", out
    )
    _assert_one_sentence(finished, 3, message, out)


class _Runs:
    """A pickle that would run code when read."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (self.command,)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(run_command: Run, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    folder = tmp_path / "evil"
    folder.mkdir()
    shutil.copy(RELEASE / "config.json", folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Runs(f"touch {proof}")))
    out = tmp_path / "out"
    finished = run_command("convert-checkpoint", folder, out)
    _assert_one_sentence(finished, 3, "", out)
    assert not proof.exists()

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from interactvlm.body.smpl import BODY_ARRAYS
from interactvlm.checkpoints.companions import BODY_RENDER_FILES, find_body_folder, find_vision_tower
from interactvlm.checkpoints.doctor import Diagnosis, diagnose
from interactvlm.errors import CheckpointError
from interactvlm.geometry.cameras import OBJECT_VIEWS

GOLDEN = Path(__file__).parents[1] / "golden" / "data"


@pytest.fixture
def complete(contact_release: Path) -> Path:
    """A release with everything it needs beside it."""
    tower = contact_release.parent / "openai" / "clip-vit-large-patch14"
    shutil.copytree(GOLDEN / "clip-vit-tiny-patch14", tower)
    write_body(contact_release.parent / "body" / "SMPLH_NEUTRAL.npz")
    return contact_release


def write_body(path: Path) -> None:
    """A file with the arrays of a body model's names, which is all that the doctor looks at."""
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{name: np.zeros(1) for name in BODY_ARRAYS})


def levels(diagnosis: Diagnosis) -> dict[str, str]:
    return {finding.subject: finding.level for finding in diagnosis.findings}


def text_of(diagnosis: Diagnosis, subject: str) -> str:
    return next(finding.text for finding in diagnosis.findings if finding.subject == subject)


def test_a_complete_release(complete: Path) -> None:
    found = diagnose(complete)
    assert (found.kind, found.ready) == ("release", True)
    assert "human contact" in found.title
    assert set(levels(found).values()) == {"ok"}
    assert "ready to use" in str(found)
    json.dumps(asdict(found))


def test_what_stands_beside_is_missing(contact_release: Path) -> None:
    found = diagnose(contact_release)
    assert not found.ready
    assert levels(found) | {"clip-vit-large-patch14": "missing", "body": "missing"} == levels(found)
    assert str(contact_release.parent / "clip-vit-large-patch14") in text_of(found, "clip-vit-large-patch14")
    assert find_vision_tower(contact_release) is None
    assert find_body_folder(contact_release) is None


def test_renders_alone_are_no_body(complete: Path) -> None:
    body = complete.parent / "body"
    (body / "SMPLH_NEUTRAL.npz").rename(complete.parent / "elsewhere.npz")
    for name in BODY_RENDER_FILES:
        (body / name).touch()
    found = diagnose(complete)
    assert not found.ready
    assert levels(found)["body"] == "missing"
    write_body(body / "SMPL_NEUTRAL.npz")
    assert "the release's own" in text_of(diagnose(complete), "body renders")
    (body / BODY_RENDER_FILES[0]).unlink()
    found = diagnose(complete)
    assert found.ready
    assert levels(found)["body renders"] == "note"


def test_companions_are_looked_into(complete: Path) -> None:
    (complete.parent / "body" / "SMPLH_NEUTRAL.npz").write_bytes(b"")
    tower = complete.parent / "openai" / "clip-vit-large-patch14"
    (tower / "preprocessor_config.json").unlink()
    whole = (tower / "model.safetensors").read_bytes()
    (tower / "model.safetensors").write_bytes(whole[:100])
    found = diagnose(complete)
    assert not found.ready
    assert levels(found)["SMPLH_NEUTRAL.npz"] == "problem"
    assert levels(found)["clip-vit-large-patch14/preprocessor_config.json"] == "missing"
    assert levels(found)["clip-vit-large-patch14/model.safetensors"] == "problem"
    np.savez(complete.parent / "body" / "SMPLH_NEUTRAL.npz", v_template=np.zeros(1))
    assert "lacks the arrays J_regressor" in text_of(diagnose(complete), "SMPLH_NEUTRAL.npz")
    (tower / "model.safetensors").rename(tower / "pytorch_model.bin")
    assert levels(diagnose(tower)) | {"pytorch_model.bin": "missing"} == levels(diagnose(tower))
    (tower / "pytorch_model.bin").unlink()
    assert levels(diagnose(tower))["model.safetensors"] == "missing"


def test_the_current_folder(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(complete)
    assert diagnose(Path()).ready


@pytest.mark.parametrize(
    ("changes", "role"),
    [
        ({"hC_loss_weight": 0.0, "oC_loss_weight": 3.0}, "object affordance"),
        ({"oC_loss_weight": 3.0}, "joint"),
        ({"multiview_channels": 1}, "2D contact masks"),
        ({"hC_loss_weight": 0.0}, "no trained contact head"),
    ],
)
def test_roles(complete: Path, edit_json: Callable[..., None], changes: dict[str, object], role: str) -> None:
    edit_json(complete / "config.json", **changes)
    assert role in diagnose(complete).title


def test_missing_shards_and_pickles_to_convert(complete: Path) -> None:
    (complete / "model-00002-of-00003.safetensors").unlink()
    assert levels(diagnose(complete))["model-00002-of-00003.safetensors"] == "missing"
    for path in complete.glob("model*"):
        path.unlink()
    assert "download all shards" in text_of(diagnose(complete), "model.safetensors")
    weight_map = {"model.norm.weight": "pytorch_model-00001-of-00001.bin"}
    (complete / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    found = diagnose(complete)
    assert levels(found)["pytorch_model-00001-of-00001.bin"] == "missing"
    assert "interactvlm convert-checkpoint" in text_of(found, "model.safetensors")


def test_tensors_missing_left_over_and_of_other_shape(complete: Path) -> None:
    shard = complete / "model-00003-of-00003.safetensors"
    tensors = load_file(shard)
    del tensors["lm_head.weight"]
    tensors["model.text_hidden_fcs.0.2.bias"] = torch.zeros(255)
    tensors["extra"] = torch.zeros(1)
    save_file(tensors, shard)
    index = json.loads((complete / "model.safetensors.index.json").read_text())
    del index["weight_map"]["lm_head.weight"]
    index["weight_map"]["extra"] = shard.name
    (complete / "model.safetensors.index.json").write_text(json.dumps(index))
    found = levels(diagnose(complete))
    assert found["lm_head.weight"] == "missing"
    assert found["model.text_hidden_fcs.0.2.bias"] == "problem"
    assert found["extra"] == "note"


def test_tokens(complete: Path, edit_json: Callable[..., None]) -> None:
    added = complete / "added_tokens.json"
    edit_json(added, **{"[SEG]": 7})
    assert "has id 7 in added_tokens.json and 600 in config.json" in text_of(diagnose(complete), "[SEG]")
    added.write_text("{}")
    found = levels(diagnose(complete))
    assert (found["[SEG]"], found["<im_start>"], found["<im_end>"]) == ("missing",) * 3
    added.unlink()
    (complete / "tokenizer.model").unlink()
    found = levels(diagnose(complete))
    assert (found["added_tokens.json"], found["tokenizer.model"]) == ("missing", "missing")
    edit_json(complete / "config.json", seg_token_idx=None)
    assert "names no contact token" in text_of(diagnose(complete), "config.json")
    edit_json(complete / "config.json", seg_token_idx=10_000)
    assert "outside the vocabulary" in text_of(diagnose(complete), "config.json")


def test_an_unmerged_checkpoint(tmp_path: Path) -> None:
    names = ("weight", "lora_A.default.weight", "lora_B.default.weight")
    state = {f"base_model.model.model.layers.0.self_attn.q_proj.{name}": torch.ones(2, 2) for name in names}
    torch.save(state, tmp_path / "pytorch_model.bin")
    found = diagnose(tmp_path)
    assert (found.kind, found.ready) == ("lora", False)
    assert "convert-checkpoint" in text_of(found, "weights")
    assert levels(found)["config.json"] == "missing"


def test_names_in_a_pickle_are_read_without_running_it(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'it_ran')!r}, 'w')",)

    torch.save({"image_encoder.pos_embed": torch.ones(2), "x": Runs()}, tmp_path / "sam_vit_h_4b8939.pth")
    found = diagnose(tmp_path / "sam_vit_h_4b8939.pth")
    assert found.kind == "sam"
    assert "a release holds its own copy" in str(found)
    assert not (tmp_path / "it_ran").exists()


def test_other_downloads(tmp_path: Path, complete: Path) -> None:
    clip = diagnose(complete.parent / "openai" / "clip-vit-large-patch14")
    assert (clip.kind, clip.ready) == ("clip", True)
    body = tmp_path / "smpl"
    body.mkdir()
    (body / "SMPL_NEUTRAL.pkl").write_bytes(pickle.dumps({}))
    found = diagnose(body)
    assert found.kind == "body"
    assert "convert-checkpoint SMPL_NEUTRAL.pkl SMPL_NEUTRAL.npz" in text_of(found, "SMPL_NEUTRAL.pkl")
    write_body(body / "SMPL_NEUTRAL.npz")
    assert diagnose(body).ready
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "objaverse.pt").touch()
    assert diagnose(tmp_path / "table").kind == "retrieval"
    (tmp_path / "object").mkdir()
    (tmp_path / "object" / "lift2d_dict.pkl").touch()
    assert diagnose(tmp_path / "object").kind == "object"
    assert diagnose(tmp_path).kind == "collection"
    assert str(diagnose(tmp_path)).endswith("name one of the above")
    assert "contact_release" in levels(diagnose(tmp_path))


def test_an_objects_folder_is_ready_when_it_can_be_read(tmp_path: Path) -> None:
    def missing() -> set[str]:
        return {f.subject for f in diagnose(tmp_path).findings if f.level == "missing"}

    (tmp_path / "lift2d_dict.pkl").touch()
    assert f"convert-checkpoint {tmp_path / 'lift2d_dict.pkl'}" in str(diagnose(tmp_path))
    assert {"lift2d_dict.pkl", "mesh", "obj_render_color_frontleft.png"} <= missing()
    (tmp_path / "lift2d_dict.npz").touch()
    (tmp_path / "chair.obj").touch()
    for view in OBJECT_VIEWS:
        assert not diagnose(tmp_path).ready
        (tmp_path / f"obj_render_color_{view.name}.png").touch()
    assert not missing()
    assert diagnose(tmp_path).ready
    (tmp_path / "stool.ply").touch()
    assert "there are 2" in str(diagnose(tmp_path))


def test_an_objects_folder_with_points(tmp_path: Path) -> None:
    for view in OBJECT_VIEWS:
        (tmp_path / f"sam_{view.name}.png").touch()
        (tmp_path / f"p2pmap_{view.name}_1024.npz").touch()
    assert "file of points" in str(diagnose(tmp_path))
    (tmp_path / "points.npz").touch()
    assert diagnose(tmp_path).ready
    (tmp_path / "p2pmap_backleft_1024.npz").unlink()
    assert "p2pmap_backleft_*.npz" in str(diagnose(tmp_path))


def test_git_lfs_pointers(contact_release: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (contact_release / "model-00001-of-00003.safetensors").write_text(pointer)
    assert "git lfs pull" in str(diagnose(contact_release))


def test_nothing_and_unknown(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert diagnose(tmp_path / "empty").kind == "empty"
    (tmp_path / "empty" / "notes.txt").write_text("x")
    assert diagnose(tmp_path / "empty").kind == "unknown"
    with pytest.raises(CheckpointError, match="does not exist"):
        diagnose(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="cannot be read"):
        diagnose(tmp_path / ("x" * 300))


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    max_examples=60,
)
@given(data=st.data())
def test_damage_anywhere_is_a_finding(contact_release: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(contact_release.iterdir())))
    whole = path.read_bytes()
    try:
        spoiled = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
        for _ in range(data.draw(st.integers(0, 3)) if spoiled else 0):
            spoiled[data.draw(st.integers(0, min(len(spoiled), 2000) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(spoiled))
        assert not diagnose(contact_release).ready  # the vision tower is missing in any case
    finally:
        path.write_bytes(whole)


def test_the_doctor_needs_no_torch(contact_release: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "import interactvlm.checkpoints.convert, interactvlm.checkpoints.manifest\n"
        "from interactvlm.checkpoints.doctor import diagnose\n"
        "print(diagnose(Path(sys.argv[1])).kind)\n"
    )
    command = [sys.executable, "-c", program, str(contact_release)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "release", result.stderr

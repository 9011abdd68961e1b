from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import CheckpointError
from interactvlm.geometry.cameras import HUMAN_VIEWS, camera_parameters
from interactvlm.mvloc.camera_gate import CAMERA_GATE_PREFIX, build_camera_gate, load_camera_gate
from interactvlm.mvloc.splitter import AttentionSplitter, side_of_token
from interactvlm.types import Target

CAMERAS = torch.from_numpy(camera_parameters(HUMAN_VIEWS))


@pytest.mark.parametrize("kind", ["vi_v1", "simple", "view_index"])
def test_every_kind_of_conditioning_loads_and_is_constant_per_view(
    tiny_checkpoint: Callable[..., Path], kind: str
) -> None:
    folder = tiny_checkpoint(cam_encoder_type=kind)
    reader, config = WeightReader(folder), ReleaseConfig.from_folder(folder)
    gate = load_camera_gate(reader, config, torch.device("cpu"), torch.float32)
    stored = dict(reader.tensors([n for n in reader.names() if n.startswith(CAMERA_GATE_PREFIX)]))
    embeddings = torch.randn(3, 256)
    conditioned = gate(embeddings, CAMERAS)
    assert conditioned.shape == (3, 4, 256)
    if kind == "vi_v1":
        hidden = CAMERAS
        for i in (0, 2):
            layer = f"cam_pose_encoder.spatial_encoder.{i}"
            hidden = torch.relu(hidden @ stored[f"{layer}.weight"].T + stored[f"{layer}.bias"])
        last = "cam_pose_encoder.view_transforms.2"
        gates = torch.sigmoid(stored[f"{last}.weight"] @ hidden[2] + stored[f"{last}.bias"])
        torch.testing.assert_close(conditioned[:, 2], embeddings * gates)
    elif kind == "simple":
        offset = torch.relu(CAMERAS @ stored["cam_pose_encoder.w"].T + stored["cam_pose_encoder.b"])
        torch.testing.assert_close(conditioned, embeddings[:, None] + offset)
    else:
        torch.testing.assert_close(conditioned, embeddings[:, None] + stored["cam_pose_encoder.table"])


def test_tensors_that_cannot_be_told_apart_are_refused(tmp_path: Path, tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint(cam_encoder_type="view_index")
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"cam_pose_encoder.other": torch.zeros(4, 256)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="has 2 cam_pose_encoder"):
        load_camera_gate(WeightReader(tmp_path), ReleaseConfig.from_folder(folder), torch.device("cpu"), torch.float32)


def test_without_cameras_the_embedding_is_the_only_token(tiny_checkpoint: Callable[..., Path]) -> None:
    config = ReleaseConfig.from_folder(tiny_checkpoint(multiview_cam_cond=False))
    embeddings = torch.randn(2, 256)
    assert torch.equal(build_camera_gate(config)(embeddings, CAMERAS), embeddings[:, None])


def test_splitter_mixes_views_of_one_question_only() -> None:
    torch.manual_seed(0)
    splitter = AttentionSplitter().eval()
    prompts = torch.randn(4, 4, 256)
    sides = [Target.HUMAN, None, Target.OBJECT, Target.HUMAN]
    with torch.inference_mode():
        together = splitter(prompts, sides)
        assert torch.equal(together[1], prompts[1])
        for i, side in enumerate(sides):
            torch.testing.assert_close(splitter(prompts[i : i + 1], [side])[0], together[i])
        # Attention has no order: permuting the views permutes the answer.
        order = torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(splitter(prompts[:, order], sides), together[:, order], atol=1e-5, rtol=0)
        assert not torch.allclose(splitter(prompts[:1], [Target.OBJECT])[0], together[0])


@pytest.mark.parametrize(
    ("token", "target", "side"),
    [
        ("[SEG]", Target.HUMAN, None),
        ("[HSEG]", Target.HUMAN, Target.HUMAN),
        ("[OSEG]", Target.OBJECT, Target.OBJECT),
        ("[ISEG]", Target.HUMAN, Target.HUMAN),
        ("[ISEG]", Target.OBJECT, Target.OBJECT),
    ],
)
def test_token_decides_the_side(token: str, target: Target, side: Target | None) -> None:
    assert side_of_token(token, target) is side

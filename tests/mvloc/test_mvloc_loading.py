from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interactvlm.config import Settings
from interactvlm.errors import CheckpointError, InputError
from interactvlm.geometry.mesh import Mesh
from interactvlm.loading import load_localizer, open_checkpoint
from interactvlm.mvloc.lift import HardLift, SoftLift
from interactvlm.mvloc.surfaces import ObjectCamera


@pytest.mark.parametrize(
    ("human_lift", "lift", "object_camera", "camera"),
    [("soft", SoftLift, "demo", ObjectCamera.DEMO), ("hard", HardLift, "rendered", ObjectCamera.RENDERED)],
)
def test_settings_reach_the_localizer(
    tiny_checkpoint: Callable[..., Path],
    tmp_path: Path,
    human_lift: str,
    lift: type,
    object_camera: str,
    camera: ObjectCamera,
) -> None:
    folder = tiny_checkpoint(body_topology="anny")
    settings = Settings(
        model=str(folder), device="cpu", cache_dir=str(tmp_path), human_lift=human_lift, object_camera=object_camera
    )
    localizer, body = load_localizer(open_checkpoint(settings))
    assert type(localizer.body.lift) is lift
    assert localizer.body.lift.count == body.vertex_count
    assert localizer.object_camera is camera
    assert list((tmp_path / "views").glob("*.safetensors"))


def test_the_mask_model_is_named_before_a_body_is_missed(tiny_checkpoint: Callable[..., Path]) -> None:
    opened = open_checkpoint(Settings(model=str(tiny_checkpoint(multiview_channels=1)), device="cpu"))
    with pytest.raises(CheckpointError, match="PhotoMaskModel"):
        load_localizer(opened)


def test_a_checkpoint_without_a_human_head_needs_no_body(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, ball: Mesh
) -> None:
    settings = Settings(model=str(tiny_checkpoint(hC_loss_weight=0.0)), device="cpu", cache_dir=str(tmp_path))
    localizer, _ = load_localizer(open_checkpoint(settings))
    embedding = np.zeros((1, 256), dtype=np.float32)
    assert len(localizer.locate_object(ball, embedding, ["[SEG]"])[0].probabilities) == len(ball.vertices)
    with pytest.raises(CheckpointError, match=r"needs the body model SMPLH_NEUTRAL\.npz"):
        load_localizer(open_checkpoint(Settings(model=str(tiny_checkpoint()), device="cpu")))


@pytest.mark.parametrize("device", ["meta", "banana", "cuda:99", ""])
def test_devices_that_do_not_exist(tiny_checkpoint: Callable[..., Path], device: str) -> None:
    with pytest.raises(InputError, match="device"):
        open_checkpoint(Settings(model=str(tiny_checkpoint()), device=device))

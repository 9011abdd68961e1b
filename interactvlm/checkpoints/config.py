"""What a checkpoint folder's config.json says, typed: the keys that decide behaviour (paper release, PAPER layout).

The same file describes the published folders and the embedded `nano` set; keys that only `nano` needs have defaults
that mean "as published".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from interactvlm.errors import CheckpointError

__all__ = ["ReleaseConfig", "TokenType"]

TokenType = Literal["Gen", "Gen-Hu-Obj", "Gen-Int"]
_BASE_TOKEN_TYPES = ("Gen", "Gen-Hu-Obj", "Gen-Int")


@dataclass(frozen=True, slots=True)
class ReleaseConfig:
    """config.json of one checkpoint.

    Attributes:
        hidden_size: width of the language model (h).
        intermediate_size: width of its MLP.
        num_hidden_layers: its depth.
        num_attention_heads: attention heads.
        num_key_value_heads: key/value heads.
        vocab_size: rows of the embedding, added tokens included.
        max_position_embeddings: longest sequence.
        rms_norm_eps: epsilon of the RMS norms.
        rope_theta: base of the rotary embedding.
        tie_word_embeddings: whether lm_head shares the embedding's rows.
        bos_token_id: begin of sequence.
        eos_token_id: end of sequence.
        pad_token_id: padding.
        mm_hidden_size: width of the vision tower's patch features.
        mm_vision_select_layer: hidden state of the vision tower that is used (-2).
        mm_use_im_start_end: whether <im_start> and <im_end> stand around the image.
        img_emb_len: image tokens minus one (255).
        out_dim: width of the projected contact embedding E (256).
        token_type: which contact tokens exist, with the optional suffix "-DifDe" (separate mask decoders).
        seg_token_idx: id of [SEG].
        hseg_token_idx: id of [HSEG], None where the model has none.
        oseg_token_idx: id of [OSEG].
        iseg_token_idx: id of the interaction token [ISEG].
        hC_sam_view_type: view set of the body renders.
        oC_sam_view_type: view set of the object renders.
        hC_loss_weight: > 0 when the human head was trained.
        oC_loss_weight: > 0 when the object head was trained.
        hC_question_type: wording of the human question.
        oC_question_type: wording of the object question.
        multiview_channels: views a mask answer has: 4, or 1 for the 2D human-mask model.
        multiview_cam_cond: whether the embedding is conditioned on cameras.
        cam_encoder_type: "vi_v1", "simple" or "view_index".
        tokenizer: "sentencepiece" (the released slow Llama tokenizer) or "json" (tokenizer.json, nano).
        prompt_style: "vicuna_v1" or "chatml" (nano).
        vision_pool: side of the square of patch features averaged into one image token (1 = none, nano: 2).
        vision_tower_dir: vision tower folder, relative to the checkpoint; "" = supplied by the user.
        sam_image_size: side of the renders fed to the mask model's encoder (1024; nano: smaller).
        body_topology: body template the human masks are rendered from.
        trained: False while the weights are not trained for contact.
        notice: sentence shown beside every answer of an untrained model.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = False
    bos_token_id: int = 1
    eos_token_id: int = 2
    pad_token_id: int = 0
    mm_hidden_size: int = 1024
    mm_vision_select_layer: int = -2
    mm_use_im_start_end: bool = True
    img_emb_len: int = 255
    out_dim: int = 256
    token_type: str = "Gen"  # noqa: S105 - the release's name for a kind of contact token
    seg_token_idx: int | None = None
    hseg_token_idx: int | None = None
    oseg_token_idx: int | None = None
    iseg_token_idx: int | None = None
    hC_sam_view_type: str = "4MV-Z_Vitru"  # noqa: N815 - key of config.json
    oC_sam_view_type: str = "4MV-Z_HM"  # noqa: N815 - key of config.json
    hC_loss_weight: float = 0.0  # noqa: N815 - key of config.json
    oC_loss_weight: float = 0.0  # noqa: N815 - key of config.json
    hC_question_type: str = "parts"  # noqa: N815 - key of config.json
    oC_question_type: str = "afford_obj"  # noqa: N815 - key of config.json
    multiview_channels: int = 4
    multiview_cam_cond: bool = True
    cam_encoder_type: str = "vi_v1"
    tokenizer: str = "sentencepiece"
    prompt_style: str = "vicuna_v1"
    vision_pool: int = 1
    vision_tower_dir: str = ""
    sam_image_size: int = 1024
    body_topology: str = "smplh"
    trained: bool = True
    notice: str = ""

    @property
    def base_token_type(self) -> str:
        """`token_type` without its suffixes: "Gen", "Gen-Hu-Obj" or "Gen-Int"."""
        return max((t for t in _BASE_TOKEN_TYPES if self.token_type.startswith(t)), key=len)

    @property
    def separate_decoders(self) -> bool:
        """Whether body and object have mask decoders of their own (token types ending in -DifDe)."""
        return "-DifDe" in self.token_type

    @property
    def has_human_head(self) -> bool:
        """Whether the checkpoint answers questions about the body."""
        return self.hC_loss_weight > 0

    @property
    def has_object_head(self) -> bool:
        """Whether the checkpoint answers questions about objects."""
        return self.oC_loss_weight > 0

    @property
    def image_tokens(self) -> int:
        """Embeddings that `<image>` expands to."""
        return self.img_emb_len + 1

    @classmethod
    def from_folder(cls, folder: Path) -> ReleaseConfig:
        """Read `folder/config.json`.

        Raises:
            CheckpointError: the file is missing, not JSON, lacks a key or holds a value of the wrong type.
        """
        path = folder / "config.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(folder, "has no config.json; see `interactvlm doctor`") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(path, f"is not valid JSON: {error}") from None
        if not isinstance(raw, dict):
            raise CheckpointError(path, "must hold one JSON object")
        return cls.from_dict(raw, source=path)

    @classmethod
    def from_dict(cls, raw: dict[str, Any], *, source: object) -> ReleaseConfig:
        """Take the known keys of `raw`; unknown keys are left alone.

        Raises:
            CheckpointError: a required key is missing, or a value is of the wrong type or out of range.
        """
        known = {f.name: f for f in fields(cls)}
        values = {name: raw[name] for name in known if raw.get(name) is not None}
        values.setdefault("num_key_value_heads", raw.get("num_attention_heads"))
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
            value = values.get(name)
            if not isinstance(value, int) or value <= 0:
                raise CheckpointError(source, f"key {name} must be a positive integer, not {value!r}")
        for name, value in values.items():
            default = known[name].default
            expected = type(default) if default is not None and name not in ("num_key_value_heads",) else int
            if isinstance(default, (bool, int, float, str)):
                accepted: tuple[type, ...] = (int, float) if expected is float else (expected,)
                if not isinstance(value, accepted) or (expected is not bool and isinstance(value, bool)):
                    raise CheckpointError(source, f"key {name} must be {expected.__name__}, not {value!r}")
        config = cls(**values)
        if not any(config.token_type.startswith(t) for t in _BASE_TOKEN_TYPES):
            raise CheckpointError(
                source, f"key token_type is {config.token_type!r}; known: {', '.join(_BASE_TOKEN_TYPES)}"
            )
        if config.cam_encoder_type not in ("vi_v1", "simple", "view_index"):
            raise CheckpointError(
                source, f"key cam_encoder_type is {config.cam_encoder_type!r}; known: vi_v1, simple, view_index"
            )
        if config.multiview_channels not in (1, 4):
            raise CheckpointError(source, f"key multiview_channels is {config.multiview_channels}; known: 1, 4")
        return config

"""What a checkpoint folder's config.json says, typed: the keys that decide behaviour (paper release, PAPER layout).

The same file describes the published folders and the embedded `nano` set; keys that only `nano` needs have defaults
that mean "as published".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.errors import CheckpointError

__all__ = ["ReleaseConfig", "TokenType"]

TokenType = Literal["Gen", "Gen-Hu-Obj", "Gen-Int"]
_BASE_TOKEN_TYPES = ("Gen", "Gen-Hu-Obj", "Gen-Int")
_TOKEN_INDEX_OF = {
    "seg_token_idx": "[SEG]",
    "hseg_token_idx": "[HSEG]",
    "oseg_token_idx": "[OSEG]",
    "iseg_token_idx": "[ISEG]",
}
_REQUIRED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
#: Keys that may be null in the file although they have a type.
_OPTIONAL_INTEGERS = ("num_key_value_heads", *_TOKEN_INDEX_OF)
#: Inclusive limits. The upper ones are far above any model, and keep a wrong file from asking for absurd memory.
_LIMITS: dict[str, tuple[float, float]] = {
    "hidden_size": (1, 1 << 16),
    "intermediate_size": (1, 1 << 18),
    "num_hidden_layers": (1, 1024),
    "num_attention_heads": (1, 1024),
    "num_key_value_heads": (1, 1024),
    "vocab_size": (1, 1 << 24),
    "max_position_embeddings": (1, 1 << 24),
    "rms_norm_eps": (1e-12, 1.0),
    "rope_theta": (1.0, 1e12),
    "mm_hidden_size": (1, 1 << 16),
    "mm_vision_select_layer": (-256, 256),
    "img_emb_len": (0, 1 << 16),
    "out_dim": (1, 1 << 16),
    "hC_loss_weight": (0.0, 1e9),
    "oC_loss_weight": (0.0, 1e9),
    "mm_projector_blocks": (0, 64),
    "vision_pool": (1, 64),
    "vision_merge": (1, 64),
    "sam_image_size": (16, 1 << 13),
}
_CHOICES: dict[str, tuple[object, ...]] = {
    "cam_encoder_type": ("vi_v1", "simple", "view_index"),
    "multiview_channels": (1, 4),
    "tokenizer": ("sentencepiece", "json"),
    "prompt_style": ("vicuna_v1", "chatml"),
}


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
        mm_hidden_size: width of an image token before the projector: the vision tower's, times vision_merge squared.
        mm_projector_blocks: transformer blocks of the image projector (0 = the released linear layer; nano has some).
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
        vision_pool: side of the square of patch features that are averaged (1 = none, nano: 2).
        vision_merge: side of the square of such averages that make one image token together (1 = none, nano: 2).
        vision_tower_dir: vision tower folder, relative to the checkpoint; "" = supplied by the user.
        sam_image_size: side of the renders fed to the mask model's encoder (1024; nano: smaller).
        body_topology: body template the human masks are rendered from.
        trained: False while the weights are not trained for contact.
        notice: sentence shown beside every answer of an untrained model.
        close_up: the photo is always cropped to the person (nano), not only where several people are in it.
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
    mm_projector_blocks: int = 0
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
    vision_merge: int = 1
    vision_tower_dir: str = ""
    sam_image_size: int = 1024
    body_topology: str = "smplh"
    trained: bool = True
    notice: str = ""
    close_up: bool = False

    @property
    def base_token_type(self) -> str:
        """`token_type` without its suffixes: "Gen", "Gen-Hu-Obj" or "Gen-Int"."""
        return max((t for t in _BASE_TOKEN_TYPES if self.token_type.startswith(t)), key=len)

    @property
    def separate_decoders(self) -> bool:
        """Whether body and object have mask decoders of their own (token types ending in -DifDe)."""
        return "-DifDe" in self.token_type

    @property
    def has_splitter(self) -> bool:
        """Whether an attention splitter stands between the camera gate and the mask decoder."""
        return self.base_token_type in ("Gen-Hu-Obj", "Gen-Int")

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

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def contact_token_ids(self) -> dict[str, int]:
        """Text of each contact token the model has -> its id ("[SEG]" -> 32000)."""
        ids = {text: getattr(self, key) for key, text in _TOKEN_INDEX_OF.items()}
        return {text: index for text, index in ids.items() if index is not None}

    @classmethod
    def from_folder(cls, folder: Path) -> ReleaseConfig:
        """Read `folder/config.json`.

        Raises:
            CheckpointError: the file is missing, not JSON, lacks a key or holds a value of the wrong type or range.
        """
        path = folder / "config.json"
        if not path.exists():
            raise CheckpointError(folder, "has no config.json; see `interactvlm doctor`")
        return cls.from_dict(read_json_object(path), source=path)

    @classmethod
    def from_dict(cls, raw: dict[str, Any], *, source: object) -> ReleaseConfig:
        """Take the known keys of `raw`; unknown keys are left alone, null means the default.

        Raises:
            CheckpointError: a required key is missing, or a value is of the wrong type, out of range or contradicts
                another.
        """
        types = {f.name: f.type for f in fields(cls)}  # strings: annotations are postponed
        values = {name: raw[name] for name in types if raw.get(name) is not None}
        values.setdefault("num_key_value_heads", raw.get("num_attention_heads"))
        for name in _REQUIRED:
            if name not in values:
                raise CheckpointError(source, f"lacks the key {name}, a positive integer")
        for name, value in values.items():
            values[name] = _typed(name, value, "int" if name in _OPTIONAL_INTEGERS else str(types[name]), source)
        config = cls(**values)
        config._check(source)
        return config

    def _check(self, source: object) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                known = ", ".join(map(str, choices))
                raise CheckpointError(source, f"key {name} is {value!r}; known: {known}")
        if not any(self.token_type.startswith(t) for t in _BASE_TOKEN_TYPES):
            raise CheckpointError(
                source, f"key token_type is {self.token_type!r}; known: {', '.join(_BASE_TOKEN_TYPES)}"
            )
        if self.hidden_size % self.num_attention_heads or self.head_dim % 2:
            raise CheckpointError(
                source,
                f"key hidden_size is {self.hidden_size}, which {self.num_attention_heads} attention heads do not "
                "divide into even widths",
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise CheckpointError(
                source,
                f"key num_key_value_heads is {self.num_key_value_heads}, which does not divide "
                f"num_attention_heads ({self.num_attention_heads})",
            )
        for name in ("bos_token_id", "eos_token_id", "pad_token_id", *_TOKEN_INDEX_OF):
            index = getattr(self, name)
            if name == "pad_token_id" and index == -1:  # what early Llama folders say for "none"
                continue
            if index is not None and not 0 <= index < self.vocab_size:
                raise CheckpointError(source, f"key {name} is {index}, outside the vocabulary of {self.vocab_size}")
        tower = PurePosixPath(self.vision_tower_dir)
        if tower.is_absolute() or ".." in tower.parts or "\0" in self.vision_tower_dir:
            raise CheckpointError(source, f"key vision_tower_dir is {self.vision_tower_dir!r}, outside the checkpoint")


def _typed(name: str, value: Any, kind: str, source: object) -> Any:
    """`value` as the field's type; JSON's 1 is a float where a float belongs, its true is never a number."""
    if not _fits(value, kind):
        article = {"int": "an integer", "float": "a number", "str": "a string", "bool": "true or false"}[kind]
        raise CheckpointError(source, f"key {name} must be {article}, not {_short(value)}")
    if name in _LIMITS:
        low, high = _LIMITS[name]
        if not low <= value <= high:  # false for NaN, too
            raise CheckpointError(source, f"key {name} is {_short(value)}, outside {low:g} to {high:g}")
    if kind == "float":
        value = float(value)
        if not math.isfinite(value):
            raise CheckpointError(source, f"key {name} is {value}, not a finite number")
    return value


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "bool"
    types: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": ()}
    return isinstance(value, types[kind])


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "an enormous integer"
    return text if len(text) <= 80 else f"{text[:77]}..."

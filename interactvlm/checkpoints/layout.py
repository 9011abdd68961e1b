"""Every tensor of the official layout, name and shape, from the sizes alone (no torch).

The published folders are a merged Hugging Face checkpoint: the language model, the projector into it (part of Psi), the
contact-token projection Gamma, the camera gate Phi, the mask model Theta and Omega, and for the joint models the
attention splitter. `interactvlm doctor` compares this list with the headers of a downloaded folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CheckpointError

__all__ = ["SAM_VIT_H", "Layout", "SamSizes", "infer_sam_sizes", "official_layout"]

Shape = tuple[int, ...]
_VISUAL = "model.visual_model."
_CAMERA_WIDTH = 128  # hidden width of Phi and of the splitter, fixed in the release
_CAMERA_PARAMETERS = 5  # distance, elevation, azimuth, x, y
_WINDOW = 14
_ENCODER_OUT = 256  # channels of SAM's embedding, and of its prompts
_DECODER_MLP = 2048
_DECODER_LAYERS = 2
_MASK_TOKENS = 4


@dataclass(frozen=True, slots=True)
class SamSizes:
    """Sizes of SAM's image encoder, which config.json does not tell.

    Attributes:
        width: channels of the blocks.
        depth: number of blocks.
        heads: attention heads.
        global_blocks: indices of the blocks with global attention; the others attend in windows.
        window: side of a window, in patches.
        patch: side of a patch, in pixels.
        image_size: side of the input, in pixels.
        mlp_ratio: width of a block's MLP over `width`.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int = _WINDOW
    patch: int = 16
    image_size: int = 1024
    mlp_ratio: int = 4

    @property
    def grid(self) -> int:
        """Side of the embedding, in patches."""
        return self.image_size // self.patch


#: The encoder of every published checkpoint.
SAM_VIT_H = SamSizes(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31))


@dataclass(frozen=True, slots=True)
class Layout:
    """Tensors of a checkpoint.

    Attributes:
        required: name -> shape of every tensor that must be there.
        ignored: name -> shape of tensors that a release may carry and nothing reads: `rotary_emb.inv_freq`, rounded to
            bfloat16 when it was saved, and the shared mask decoder beside separate ones.
        open_prefix: names that begin so are accepted whatever follows; "" for none. Of the camera encoders only
            `vi_v1` was ever published, so nobody can say how the tensors of the other two are named; and a model of
            one view has no use for what it may carry.
    """

    required: dict[str, Shape]
    ignored: dict[str, Shape]
    open_prefix: str = ""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Required tensors that are not in `names`, sorted."""
        return sorted(self.required.keys() - set(names))

    def left_over(self, names: Iterable[str]) -> list[str]:
        """Names that the layout does not know, sorted."""
        unknown = set(names) - self.required.keys() - self.ignored.keys()
        return sorted(name for name in unknown if not self.open_prefix or not name.startswith(self.open_prefix))

    def wrong_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, tuple[Shape, Shape]]:
        """Name -> (shape found, shape expected) of required tensors whose shapes differ."""
        return {
            name: (shapes[name], expected)
            for name, expected in sorted(self.required.items())
            if name in shapes and shapes[name] != expected
        }


def official_layout(config: ReleaseConfig, sam: SamSizes = SAM_VIT_H) -> Layout:
    """The official layout for one config.json.

    Args:
        config: decides the language model's sizes, the contact embedding, the camera encoder and the decoders.
        sam: sizes of the mask model's image encoder.
    """
    required = dict(_language_model(config))
    required.update(_image_projector(config))
    required.update(_linear("model.text_hidden_fcs.0.0", config.hidden_size, config.hidden_size))  # Gamma
    required.update(_linear("model.text_hidden_fcs.0.2", config.hidden_size, config.out_dim))
    required.update(_image_encoder(sam))
    required.update(_prompt_encoder())
    decoders = ("human_mask_decoder", "object_mask_decoder") if config.separate_decoders else ("mask_decoder",)
    for decoder in decoders:
        required.update(_mask_decoder(f"{_VISUAL}{decoder}."))
    named_camera = config.multiview_cam_cond and config.cam_encoder_type == "vi_v1" and config.multiview_channels > 1
    if named_camera:
        required.update(_camera_encoder(config))
    if config.has_splitter:
        required.update(_splitter(config.out_dim))
    ignored: dict[str, Shape] = {
        f"model.layers.{i}.self_attn.rotary_emb.inv_freq": (config.head_dim // 2,)
        for i in range(config.num_hidden_layers)
    }
    if config.separate_decoders:
        ignored.update(_mask_decoder(f"{_VISUAL}mask_decoder."))
    return Layout(
        required=required,
        ignored=ignored,
        open_prefix="" if named_camera or not config.multiview_cam_cond else "cam_pose_encoder.",
    )


def infer_sam_sizes(shapes: Mapping[str, Shape]) -> SamSizes:
    """Sizes of the image encoder, read off its tensors' shapes.

    The number of heads is the width over the last axis of `rel_pos_h`; a block is global when its relative positions
    span the whole grid.

    Raises:
        CheckpointError: the tensors that tell the sizes are missing or do not fit together.
    """
    encoder = f"{_VISUAL}image_encoder."
    try:
        _, grid, _, width = shapes[f"{encoder}pos_embed"]
        _, _, patch, _ = shapes[f"{encoder}patch_embed.proj.weight"]
        depth = sum(name.startswith(f"{encoder}blocks.") and name.endswith(".norm1.weight") for name in shapes)
        spans = [shapes[f"{encoder}blocks.{i}.attn.rel_pos_h"] for i in range(depth)]
        mlp, _ = shapes[f"{encoder}blocks.0.mlp.lin1.weight"]
        heads = width // spans[0][1]
        windowed = [rows for rows, _ in spans if rows != 2 * grid - 1]
        return SamSizes(
            width=width,
            depth=depth,
            heads=heads,
            global_blocks=tuple(i for i, (rows, _) in enumerate(spans) if rows == 2 * grid - 1),
            window=(windowed[0] + 1) // 2 if windowed else _WINDOW,
            patch=patch,
            image_size=grid * patch,
            mlp_ratio=mlp // width,
        )
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(
            encoder.rstrip("."), f"does not have the shape of SAM's image encoder ({error})"
        ) from None


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _language_model(config: ReleaseConfig) -> Iterator[tuple[str, Shape]]:
    """Llama: RMS norms and linear layers without biases."""
    h, ffn = config.hidden_size, config.intermediate_size
    keys = config.num_key_value_heads * config.head_dim
    yield "model.embed_tokens.weight", (config.vocab_size, h)
    for i in range(config.num_hidden_layers):
        layer = f"model.layers.{i}."
        yield f"{layer}input_layernorm.weight", (h,)
        yield f"{layer}post_attention_layernorm.weight", (h,)
        yield f"{layer}self_attn.q_proj.weight", (h, h)
        yield f"{layer}self_attn.k_proj.weight", (keys, h)
        yield f"{layer}self_attn.v_proj.weight", (keys, h)
        yield f"{layer}self_attn.o_proj.weight", (h, h)
        yield f"{layer}mlp.gate_proj.weight", (ffn, h)
        yield f"{layer}mlp.up_proj.weight", (ffn, h)
        yield f"{layer}mlp.down_proj.weight", (h, ffn)
    yield "model.norm.weight", (h,)
    if not config.tie_word_embeddings:
        yield "lm_head.weight", (config.vocab_size, h)


def _image_projector(config: ReleaseConfig) -> Iterator[tuple[str, Shape]]:
    """The released linear layer; nano's blocks stand in front of it."""
    projector = "model.mm_projector"
    if not config.mm_projector_blocks:
        yield from _linear(projector, config.mm_hidden_size, config.hidden_size)
        return
    merged = config.vision_merge**2
    width = config.mm_hidden_size // merged
    yield f"{projector}.pos_embed", (config.image_tokens * merged, width)
    for i in range(config.mm_projector_blocks):
        block = f"{projector}.blocks.{i}."
        yield from _norm(f"{block}norm1", width)
        yield from _linear(f"{block}qkv", width, 3 * width)
        yield from _linear(f"{block}proj", width, width)
        yield from _norm(f"{block}norm2", width)
        yield from _linear(f"{block}fc1", width, 4 * width)
        yield from _linear(f"{block}fc2", 4 * width, width)
    yield from _linear(f"{projector}.linear", config.mm_hidden_size, config.hidden_size)


def _image_encoder(sam: SamSizes) -> Iterator[tuple[str, Shape]]:
    """Theta: SAM's ViT with relative positions, then the neck to 256 channels."""
    encoder, w, head = f"{_VISUAL}image_encoder.", sam.width, sam.width // sam.heads
    yield f"{encoder}pos_embed", (1, sam.grid, sam.grid, w)
    yield f"{encoder}patch_embed.proj.weight", (w, 3, sam.patch, sam.patch)
    yield f"{encoder}patch_embed.proj.bias", (w,)
    for i in range(sam.depth):
        block = f"{encoder}blocks.{i}."
        span = 2 * (sam.grid if i in sam.global_blocks else sam.window) - 1
        yield from _norm(f"{block}norm1", w)
        yield from _norm(f"{block}norm2", w)
        yield from _linear(f"{block}attn.qkv", w, 3 * w)
        yield from _linear(f"{block}attn.proj", w, w)
        yield f"{block}attn.rel_pos_h", (span, head)
        yield f"{block}attn.rel_pos_w", (span, head)
        yield from _linear(f"{block}mlp.lin1", w, sam.mlp_ratio * w)
        yield from _linear(f"{block}mlp.lin2", sam.mlp_ratio * w, w)
    yield f"{encoder}neck.0.weight", (_ENCODER_OUT, w, 1, 1)
    yield from _norm(f"{encoder}neck.1", _ENCODER_OUT)
    yield f"{encoder}neck.2.weight", (_ENCODER_OUT, _ENCODER_OUT, 3, 3)
    yield from _norm(f"{encoder}neck.3", _ENCODER_OUT)


def _prompt_encoder() -> Iterator[tuple[str, Shape]]:
    """SAM's prompt encoder at its stock sizes; only `no_mask_embed` and the positional matrix are used here."""
    prompt, c = f"{_VISUAL}prompt_encoder.", _ENCODER_OUT
    yield f"{prompt}pe_layer.positional_encoding_gaussian_matrix", (2, c // 2)
    for i in range(4):
        yield f"{prompt}point_embeddings.{i}.weight", (1, c)
    yield f"{prompt}not_a_point_embed.weight", (1, c)
    yield f"{prompt}no_mask_embed.weight", (1, c)
    yield f"{prompt}mask_downscaling.0.weight", (4, 1, 2, 2)
    yield f"{prompt}mask_downscaling.0.bias", (4,)
    yield from _norm(f"{prompt}mask_downscaling.1", 4)
    yield f"{prompt}mask_downscaling.3.weight", (16, 4, 2, 2)
    yield f"{prompt}mask_downscaling.3.bias", (16,)
    yield from _norm(f"{prompt}mask_downscaling.4", 16)
    yield f"{prompt}mask_downscaling.6.weight", (c, 16, 1, 1)
    yield f"{prompt}mask_downscaling.6.bias", (c,)


def _mask_decoder(prefix: str) -> Iterator[tuple[str, Shape]]:
    """Omega: SAM's two-way transformer and its heads, at stock sizes."""
    c = _ENCODER_OUT
    yield f"{prefix}iou_token.weight", (1, c)
    yield f"{prefix}mask_tokens.weight", (_MASK_TOKENS, c)
    for i in range(_DECODER_LAYERS):
        layer = f"{prefix}transformer.layers.{i}."
        yield from _attention(f"{layer}self_attn", c, c)
        yield from _attention(f"{layer}cross_attn_token_to_image", c, c // 2)
        yield from _attention(f"{layer}cross_attn_image_to_token", c, c // 2)
        for n in range(1, 5):
            yield from _norm(f"{layer}norm{n}", c)
        yield from _linear(f"{layer}mlp.lin1", c, _DECODER_MLP)
        yield from _linear(f"{layer}mlp.lin2", _DECODER_MLP, c)
    yield from _attention(f"{prefix}transformer.final_attn_token_to_image", c, c // 2)
    yield from _norm(f"{prefix}transformer.norm_final_attn", c)
    yield f"{prefix}output_upscaling.0.weight", (c, c // 4, 2, 2)
    yield f"{prefix}output_upscaling.0.bias", (c // 4,)
    yield from _norm(f"{prefix}output_upscaling.1", c // 4)
    yield f"{prefix}output_upscaling.3.weight", (c // 4, c // 8, 2, 2)
    yield f"{prefix}output_upscaling.3.bias", (c // 8,)
    for token in range(_MASK_TOKENS):
        yield from _perceptron(f"{prefix}output_hypernetworks_mlps.{token}", c, c // 8)
    yield from _perceptron(f"{prefix}iou_prediction_head", c, _MASK_TOKENS)


def _attention(name: str, width: int, inner: int) -> Iterator[tuple[str, Shape]]:
    for projection in ("q_proj", "k_proj", "v_proj"):
        yield from _linear(f"{name}.{projection}", width, inner)
    yield from _linear(f"{name}.out_proj", inner, width)


def _perceptron(name: str, width: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield from _linear(f"{name}.layers.0", width, width)
    yield from _linear(f"{name}.layers.1", width, width)
    yield from _linear(f"{name}.layers.2", width, outputs)


def _camera_encoder(config: ReleaseConfig) -> Iterator[tuple[str, Shape]]:
    """Phi: the camera's five numbers through a perceptron, then one linear layer per view."""
    yield from _linear("cam_pose_encoder.spatial_encoder.0", _CAMERA_PARAMETERS, _CAMERA_WIDTH)
    yield from _linear("cam_pose_encoder.spatial_encoder.2", _CAMERA_WIDTH, _CAMERA_WIDTH)
    for view in range(config.multiview_channels):
        yield from _linear(f"cam_pose_encoder.view_transforms.{view}", _CAMERA_WIDTH, config.out_dim)


def _splitter(out_dim: int) -> Iterator[tuple[str, Shape]]:
    """Splits the gated tokens of the joint models between human and object."""
    yield from _linear("attention_splitter.input_proj", out_dim, _CAMERA_WIDTH)
    for part in ("query_human", "query_object", "key", "value"):
        yield from _linear(f"attention_splitter.{part}", _CAMERA_WIDTH, _CAMERA_WIDTH)
    yield from _linear("attention_splitter.output_proj", _CAMERA_WIDTH, out_dim)

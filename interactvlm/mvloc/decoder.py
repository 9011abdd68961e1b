"""Omega: SAM's prompt encoder and mask decoder with the released wiring (paper, section 3; release).

Every question's view tokens all enter the decoder of every view as sparse prompts: four gated embeddings give four
prompts to each of the four views. The dense prompt is SAM's "no mask", the answer is mask token 0.

Shapes: Q questions, J views, T prompt tokens per question, N = 5 + T decoder tokens, C = 256 channels, g = side of
the embedding grid (64), so that low-resolution logits have side 4 g (256).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interactvlm.torchvision_cpu import prepare_torchvision

if TYPE_CHECKING:
    from interactvlm.checkpoints.reader import WeightReader

prepare_torchvision()
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer  # noqa: E402 - after the remedy

__all__ = ["PROMPT_ENCODER_PREFIX", "MaskPredictor", "build_mask_decoder", "build_prompt_encoder", "upsampled"]

PROMPT_ENCODER_PREFIX = "model.visual_model.prompt_encoder."
_CHANNELS = 256
#: Masks decoded at once, by "on a CPU": about 30 MiB each in float32; small pieces stay in a CPU's cache.
_MASKS_AT_ONCE = {True: 4, False: 64}


def build_prompt_encoder(grid: int) -> nn.Module:
    """SAM's prompt encoder at its stock sizes for an embedding grid of this side."""
    size = 16 * grid
    encoder: nn.Module = PromptEncoder(
        embed_dim=_CHANNELS, image_embedding_size=(grid, grid), input_image_size=(size, size), mask_in_chans=16
    )
    return encoder


def build_mask_decoder() -> nn.Module:
    """SAM's mask decoder at its stock sizes."""
    decoder: nn.Module = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=_CHANNELS, mlp_dim=2048, num_heads=8),
        transformer_dim=_CHANNELS,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    return decoder


class MaskPredictor(nn.Module):
    """Masks of many questions in the same views.

    The prompt encoder is kept in float32: its positional encoding of the grid multiplies coordinates by random
    frequencies before a sine, which bfloat16 visibly changes (it does so in the release's own bfloat16 runs).
    """

    def __init__(self, *, prompt_encoder: nn.Module, mask_decoder: nn.Module) -> None:
        super().__init__()
        self.prompt_encoder: Any = prompt_encoder
        self.mask_decoder: Any = mask_decoder

    @classmethod
    def load(
        cls, reader: WeightReader, *, decoder_prefix: str, grid: int, device: torch.device, dtype: torch.dtype
    ) -> MaskPredictor:
        """Stream both parts from a checkpoint.

        Args:
            reader: the checkpoint.
            decoder_prefix: where the decoder's tensors stand in it.
            grid: side of the embedding grid.
            device: where to compute.
            dtype: dtype of the mask decoder.

        Raises:
            CheckpointError: a tensor is missing or has another shape.
        """
        with torch.device("meta"):
            prompt_encoder, mask_decoder = build_prompt_encoder(grid), build_mask_decoder()
        reader.load_into(
            prompt_encoder, stored_name=lambda own: PROMPT_ENCODER_PREFIX + own, dtype=torch.float32, device=device
        )
        reader.load_into(mask_decoder, stored_name=lambda own: decoder_prefix + own, dtype=dtype, device=device)
        return cls(prompt_encoder=prompt_encoder, mask_decoder=mask_decoder).eval()

    def positional_encoding(self) -> Tensor:
        """SAM's encoding of the embedding grid, float32 [C, g, g]."""
        encoding: Tensor = self.prompt_encoder.get_dense_pe()[0]
        return encoding

    def forward(self, embeddings: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Decode every question in every view.

        Args:
            embeddings: Theta of the views, [J, C, g, g].
            prompts: sparse prompts, [Q, T, C], Q >= 1.

        Returns:
            Low-resolution logits float32 [Q, J, 4 g, 4 g], and predicted IoU float32 [Q, J].
        """
        dtype = next(self.mask_decoder.parameters()).dtype
        no_mask: Tensor = self.prompt_encoder.no_mask_embed.weight.to(dtype)
        image = embeddings.to(dtype).flatten(2).transpose(1, 2).contiguous() + no_mask
        position = self.positional_encoding().flatten(1).T.to(dtype).contiguous()
        masks_at_once = _MASKS_AT_ONCE[image.device.type == "cpu"]
        chunks = prompts.to(dtype).split(max(1, masks_at_once // len(image)))
        answers = [decode(self.mask_decoder, image, position, chunk) for chunk in chunks]
        return torch.cat([logits for logits, _ in answers]), torch.cat([quality for _, quality in answers])


def decode(decoder: Any, image: Tensor, position: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """SAM's mask decoder, mask token 0 only, arranged so that no key, value or query of the image is ever formed.

    There are few tokens and many grid cells, so every projection of the grid is moved to the tokens' side of its
    product: scores are (q Wk) x instead of q (Wk x), answers (a x) Wv instead of a (Wv x). That halves the arithmetic
    and saves most of the memory traffic; the numbers are the same up to rounding.

    Args:
        decoder: the weights.
        image: the views' tokens with the dense prompt added, [J, G, C] with G = g g.
        position: their positional encoding, [G, C].
        prompts: [Q, T, C].

    Returns:
        float32 logits [Q, J, 4 g, 4 g] and predicted IoU [Q, J].
    """
    transformer = decoder.transformer
    views, cells, channels = image.shape
    output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    initial = torch.cat([output.expand(len(prompts), -1, -1), prompts], dim=1)[:, None]  # [Q, 1, N, C]
    tokens = initial
    image = image.expand(len(prompts), views, cells, channels)
    for layer in transformer.layers:
        placed_image = image + position
        if layer.skip_first_layer_pe:
            tokens = _among_tokens(layer.self_attn, tokens, tokens)
        else:
            tokens = tokens + _among_tokens(layer.self_attn, tokens + initial, tokens)
        tokens = layer.norm1(tokens)
        tokens = tokens + _tokens_look(layer.cross_attn_token_to_image, tokens + initial, placed_image, image)
        tokens = layer.norm2(tokens)
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        weights, answers = _image_looks(layer.cross_attn_image_to_token, placed_image, tokens + initial, tokens)
        image = layer.norm4(torch.baddbmm(image.flatten(0, 1), weights, answers).view(image.shape))
    last = transformer.final_attn_token_to_image
    tokens = transformer.norm_final_attn(tokens + _tokens_look(last, tokens + initial, image + position, image))

    weights = decoder.output_hypernetworks_mlps[0](tokens[:, :, 1])
    quality = decoder.iou_prediction_head(tokens[:, :, 0])[..., 0]
    return _upscaled_product(decoder.output_upscaling, image, weights).float(), quality.float()


def _among_tokens(attention: Any, placed: Tensor, tokens: Tensor) -> Tensor:
    """Self attention of few tokens: queries and keys from `placed`, values from `tokens`, [..., N, C]."""
    query, key, value = (
        _heads(projection(source), attention.num_heads)
        for projection, source in ((attention.q_proj, placed), (attention.k_proj, placed), (attention.v_proj, tokens))
    )
    mixed = F.scaled_dot_product_attention(query, key, value)
    answer: Tensor = attention.out_proj(mixed.transpose(-3, -2).flatten(-2))
    return answer


def _tokens_look(attention: Any, tokens: Tensor, placed_image: Tensor, image: Tensor) -> Tensor:
    """Tokens [Q, J or 1, N, C] attend to the image [Q, J, G, C]: [Q, J, N, C]."""
    heads = attention.num_heads
    query = _heads(attention.q_proj(tokens), heads)
    # The key's bias adds the same to every cell's score, which the softmax ignores.
    folded = query @ attention.k_proj.weight.unflatten(0, (heads, -1)) / math.sqrt(query.shape[-1])
    folded = folded.flatten(-3, -2).expand(*image.shape[:2], -1, -1)
    mixed = (folded @ placed_image.mT).softmax(-1) @ image
    values = mixed.unflatten(-2, (heads, -1)) @ attention.v_proj.weight.unflatten(0, (heads, -1)).mT
    answer: Tensor = attention.out_proj(values.transpose(-3, -2).flatten(-2) + attention.v_proj.bias)
    return answer


def _image_looks(attention: Any, placed_image: Tensor, placed_tokens: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The image [Q, J, G, C] attends to tokens [Q, J, N, C].

    Returns weights [Q J, G, heads N] and what they weigh, [Q J, heads N, C]; their product is the attention's answer.
    """
    heads = attention.num_heads
    key = _heads(attention.k_proj(placed_tokens), heads) / math.sqrt(attention.internal_dim // heads)
    folded = key @ attention.q_proj.weight.unflatten(0, (heads, -1))
    offset = key @ attention.q_proj.bias.unflatten(0, (heads, -1))[:, :, None]
    # Cells along the last axis: the softmax over nine tokens then runs over whole vectors of cells.
    scores = folded.flatten(-3, -2) @ placed_image.mT + offset.flatten(-3)[..., None]
    weights = scores.unflatten(-2, (heads, -1)).softmax(-2).flatten(-3, -2)
    answers = _heads(attention.v_proj(tokens), heads) @ attention.out_proj.weight.T.unflatten(0, (heads, -1))
    # The weights of each head sum to 1, so a share of the output's bias in every answer adds up to it.
    shared = answers.flatten(-3, -2) + attention.out_proj.bias / heads
    return weights.flatten(0, 1).mT, shared.flatten(0, 1)


def _upscaled_product(upscaling: Any, image: Tensor, weights: Tensor) -> Tensor:
    """Upscale image tokens [Q, J, G, C] four times and weigh their channels by [Q, J, C / 8]: [Q, J, 4 g, 4 g].

    Transposed convolutions of stride 2 and size 2 are one matrix product per cell with channels last.
    """
    first, norm, activation, second, _ = upscaling
    side = math.isqrt(image.shape[-2])
    finer = _each_into_four(first, image)
    finer = activation(F.layer_norm(finer, finer.shape[-1:], norm.weight, norm.bias, norm.eps))
    finest = activation(_each_into_four(second, finer))  # [Q, J, G, 4, 4, C / 8]
    logits = (finest.flatten(2, 4) @ weights[..., None]).view(*image.shape[:2], side, side, 2, 2, 2, 2)
    fine: Tensor = logits.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(*image.shape[:2], 4 * side, 4 * side)
    return fine


def _each_into_four(convolution: Any, cells: Tensor) -> Tensor:
    """A transposed convolution of stride 2 and size 2: [..., C] to [..., 4 (row, column), C']."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return F.linear(cells, weight, convolution.bias.repeat(4)).unflatten(-1, (4, -1))  # type: ignore[no-any-return]


def _heads(values: Tensor, heads: int) -> Tensor:
    """[..., N, D] to [..., heads, N, D / heads]."""
    split: Tensor = values.unflatten(-1, (heads, -1)).transpose(-3, -2)
    return split


def upsampled(low_res: Tensor, side: int) -> Tensor:
    """Logits float32 [..., side, side] from low-resolution ones [..., 4 g, 4 g]: bilinear, as SAM does."""
    flat = low_res.float().flatten(0, -3)[:, None]
    full = F.interpolate(flat, (side, side), mode="bilinear", align_corners=False)
    return full.view(*low_res.shape[:-2], side, side)

"""The language model: a Llama decoder whose keys and values lie in memory that is set aside once.

Written out, and not taken from transformers, for its cache: rows are written in place at their own positions, a
photo's prefix is copied to each of its questions, and finished rows are dropped by moving one row. Parameter names are
those of the checkpoints (`layers.{i}.self_attn.q_proj.weight` ...).

Shapes: R rows (sequences), B tokens of a block, h hidden size, H attention heads, G key/value heads, d head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from interactvlm.checkpoints.config import ReleaseConfig

__all__ = ["KeyValueCache", "LlamaDecoder", "TokenTree"]


class KeyValueCache:
    """Keys and values of R rows, `capacity` positions each: per layer two tensors [R, G, capacity, d].

    A token's place in the cache is its position in the sequence, so rows may be of different lengths, and whatever a
    row left behind its end is masked until it is overwritten. Masked is not enough for NaN (0 * NaN = NaN): memory
    starts as zeros, never as whatever lay there.
    """

    def __init__(self, *, keys: list[torch.Tensor], values: list[torch.Tensor]) -> None:
        self.keys = keys
        self.values = values

    @classmethod
    def allocate(
        cls, config: ReleaseConfig, *, rows: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> KeyValueCache:
        """An empty cache."""
        head = config.hidden_size // config.num_attention_heads
        shape = (rows, config.num_key_value_heads, capacity, head)

        def make() -> list[torch.Tensor]:
            return [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_hidden_layers)]

        return cls(keys=make(), values=make())

    @property
    def rows(self) -> int:
        """Rows held."""
        return self.keys[0].shape[0]

    @property
    def bytes_per_position(self) -> int:
        """Memory that one position of one row takes, over all layers."""
        _, groups, _, head = self.keys[0].shape
        return 2 * len(self.keys) * groups * head * self.keys[0].element_size()

    def spread(self, sources: Sequence[int], *, length: int, capacity: int) -> KeyValueCache:
        """A cache whose row i begins with the first `length` positions of this one's row `sources[i]`."""
        index = torch.tensor(sources, device=self.keys[0].device)

        def grow(held: torch.Tensor) -> torch.Tensor:
            _, groups, _, head = held.shape
            made = held.new_zeros(len(sources), groups, capacity, head)
            made[:, :, :length] = held[index, :, :length]
            return made

        return KeyValueCache(keys=[grow(k) for k in self.keys], values=[grow(v) for v in self.values])

    def drop(self, row: int, *, last: int, length: int) -> None:
        """Forget `row` of the rows 0 ... `last` by moving row `last` (its first `length` positions) to its place."""
        if row != last:
            for held in (*self.keys, *self.values):
                held[row, :, :length] = held[last, :, :length]

    def narrow(self, rows: int) -> KeyValueCache:
        """The first rows, sharing memory."""
        return KeyValueCache(keys=[k[:rows] for k in self.keys], values=[v[:rows] for v in self.values])


@dataclass(frozen=True, slots=True)
class TokenTree:
    """Where the tokens of a row stand that holds several continuations of one beginning (training).

    Attributes:
        positions: int64 [R, B], place of each token in its own sequence.
        visible: bool [R, B, B], True where the token of a row may look at that of a column; every token sees itself.
    """

    positions: torch.Tensor
    visible: torch.Tensor

    def to(self, device: torch.device) -> TokenTree:
        """The same on another device."""
        return TokenTree(self.positions.to(device), self.visible.to(device))


@dataclass(frozen=True, slots=True)
class _Block:
    """What the layers share in one pass: where the tokens stand and what they may look at."""

    cos: torch.Tensor  # [R or 1, 1, B, d]
    sin: torch.Tensor
    start: int | None  # the first token's position where it is the same in all rows
    positions: torch.Tensor  # [R, B]
    length: int  # positions that the longest row holds after this block
    mask: torch.Tensor | None  # [R or 1, 1, B, length]: True = may look, or what is added to the scores
    causal: bool


class LlamaDecoder(nn.Module):
    """Embedding, layers and final norm; children are named as in the checkpoints."""

    def __init__(self, config: ReleaseConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = _RMSNorm(config.hidden_size, config.rms_norm_eps)
        self._head = config.hidden_size // config.num_attention_heads
        self._theta = config.rope_theta

    def forward(
        self,
        embeddings: torch.Tensor,
        *,
        starts: Sequence[int] | None = None,
        cache: KeyValueCache | None = None,
        tree: TokenTree | None = None,
    ) -> torch.Tensor:
        """Run one block of tokens per row.

        Args:
            embeddings: [R, B, h]. Rows of a shorter block are padded at the end; what comes out there means nothing.
            starts: position of each row's first token; all before it must lie in the cache. None = 0 everywhere.
            cache: where keys and values are kept; None computes without (then `starts` must be None).
            tree: several continuations of one beginning in a row; then neither `starts` nor `cache` is given.

        Returns:
            Hidden states after the final norm, [R, B, h].
        """
        if tree is not None:
            block = self._tree_block(embeddings, tree)
        else:
            block = self._block(embeddings, list(starts) if starts is not None else [0] * len(embeddings))
        hidden = embeddings
        for i, layer in enumerate(self.layers):
            kept = None if cache is None else (cache.keys[i], cache.values[i])
            hidden = layer(hidden, block, kept)
        normed: torch.Tensor = self.norm(hidden)
        return normed

    def _block(self, embeddings: torch.Tensor, starts: list[int]) -> _Block:
        device, width = embeddings.device, embeddings.shape[1]
        start = starts[0] if len(set(starts)) == 1 else None
        firsts = torch.tensor(starts if start is None else starts[:1], device=device)
        positions = firsts[:, None] + torch.arange(width, device=device)
        angles = self._angles(positions)
        length = max(starts) + width
        causal = start == 0
        mask = None
        if not causal and not (start is not None and width == 1):
            mask = torch.arange(length, device=device) <= positions[:, None, :, None]
        return _Block(
            cos=angles.cos().to(embeddings.dtype),
            sin=angles.sin().to(embeddings.dtype),
            start=start,
            positions=positions,
            length=length,
            mask=mask,
            causal=causal,
        )

    def _tree_block(self, embeddings: torch.Tensor, tree: TokenTree) -> _Block:
        angles, dtype = self._angles(tree.positions), embeddings.dtype
        # What is added to the scores, made once for all layers: from booleans each layer would make it anew.
        mask = embeddings.new_zeros(tree.visible.shape).masked_fill(~tree.visible, -torch.inf)
        return _Block(
            cos=angles.cos().to(dtype),
            sin=angles.sin().to(dtype),
            start=None,
            positions=tree.positions,
            length=embeddings.shape[1],
            mask=mask[:, None],
            causal=False,
        )

    def _angles(self, positions: torch.Tensor) -> torch.Tensor:
        """Rotary angles of positions [R, B]: float32 [R, 1, B, d].

        Saved inv_freq buffers are rounded and never used by the released code: the table is made anew, in float32.
        """
        exponents = torch.arange(0, self._head, 2, device=positions.device, dtype=torch.float32) / self._head
        angles = positions[:, None, :, None].float() * self._theta**-exponents
        return torch.cat((angles, angles), dim=-1)


class _RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # In float32 whatever the weights are in, rounded before the weight is applied: as Llama was trained.
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self._eps)
        return self.weight * normed.to(x.dtype)


class _Attention(nn.Module):
    def __init__(self, config: ReleaseConfig) -> None:
        super().__init__()
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._head = config.hidden_size // config.num_attention_heads
        self.q_proj = nn.Linear(config.hidden_size, self._heads * self._head, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self._groups * self._head, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self._groups * self._head, bias=False)
        self.o_proj = nn.Linear(self._heads * self._head, config.hidden_size, bias=False)

    def forward(self, x: torch.Tensor, block: _Block, kept: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor:
        queries = self._rotate(self._split(self.q_proj(x), self._heads), block)
        keys = self._rotate(self._split(self.k_proj(x), self._groups), block)
        values = self._split(self.v_proj(x), self._groups)
        if kept is not None:
            _write(kept[0], keys, block)
            _write(kept[1], values, block)
            keys, values = kept[0][:, :, : block.length], kept[1][:, :, : block.length]
        mixed = _attend(queries, keys, values, block)
        out: torch.Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        """[R, B, heads * d] -> [R, heads, B, d]."""
        split: torch.Tensor = x.unflatten(2, (heads, self._head)).transpose(1, 2)
        return split

    @staticmethod
    def _rotate(x: torch.Tensor, block: _Block) -> torch.Tensor:
        """Rotary position embedding, halves paired as in the Hugging Face layout of Llama."""
        first, second = x.chunk(2, dim=-1)
        turned: torch.Tensor = x * block.cos + torch.cat((-second, first), dim=-1) * block.sin
        return turned


class _MLP(nn.Module):
    def __init__(self, config: ReleaseConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class _Layer(nn.Module):
    def __init__(self, config: ReleaseConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.mlp = _MLP(config)
        self.input_layernorm = _RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = _RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: torch.Tensor, block: _Block, kept: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), block, kept)
        out: torch.Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


def _write(held: torch.Tensor, new: torch.Tensor, block: _Block) -> None:
    """Put a block's keys or values [R, G, B, d] at their positions of [R, G, capacity, d]."""
    if block.start is not None:
        held[:, :, block.start : block.start + new.shape[2]] = new
    else:
        rows = torch.arange(len(new), device=new.device)[:, None]
        held[rows, :, block.positions] = new.transpose(1, 2)


def _attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, block: _Block) -> torch.Tensor:
    """Attention of [R, H, B, d] over [R, G, length, d]."""
    rows, heads, width, head = queries.shape
    groups = keys.shape[1]
    ready = block.mask is not None and block.mask.dtype != torch.bool  # one mask for all heads, not to be repeated
    if block.causal or heads == groups or ready:
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=block.mask, is_causal=block.causal, enable_gqa=heads != groups
        )
    # Heads that share keys become queries of one head: the keys are read once and never repeated in memory.
    share = heads // groups
    folded = queries.reshape(rows, groups, share * width, head)
    mask = None if block.mask is None else block.mask.repeat(1, 1, share, 1)
    mixed = F.scaled_dot_product_attention(folded, keys, values, attn_mask=mask)
    return mixed.reshape(rows, heads, width, head)

"""nano's language model: SmolLM2-135M-Instruct read from a GGUF file into the names of a Llama checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import CheckpointError, MissingDependencyError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["GgufLanguageModel"]

# GGUF name of a block's tensor -> name inside a Llama layer.
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# gguf.TokenType.CONTROL: tokens such as <|im_start|> that text never spells.
_CONTROL_TOKEN = 3


class GgufLanguageModel:
    """The weights, sizes and tokenizer of a Llama model in GGUF.

    Args:
        path: the GGUF file; it is mapped, and dequantised tensor by tensor.

    Raises:
        MissingDependencyError: gguf is not installed.
        CheckpointError: the file is not a GGUF file of the llama architecture.
    """

    def __init__(self, path: Path) -> None:
        try:
            import gguf
        except ImportError:
            raise MissingDependencyError("gguf", "vlm") from None
        try:
            self._reader = gguf.GGUFReader(str(path))
        except (ValueError, IndexError, OSError) as error:
            raise CheckpointError(path, f"is not a readable GGUF file ({error})") from None
        self._dequantise = gguf.quants.dequantize
        self.path = path
        if self._field("general.architecture") != "llama":
            raise CheckpointError(path, f"holds a {self._field('general.architecture')} model, expected llama")
        self._tensors = {_llama_name(tensor.name): tensor for tensor in self._reader.tensors}

    def config(self) -> dict[str, Any]:
        """The keys of config.json that describe the language model, added tokens not counted."""
        return {
            "hidden_size": self._field("llama.embedding_length"),
            "intermediate_size": self._field("llama.feed_forward_length"),
            "num_hidden_layers": self._field("llama.block_count"),
            "num_attention_heads": self._field("llama.attention.head_count"),
            "num_key_value_heads": self._field("llama.attention.head_count_kv"),
            "vocab_size": self._field("llama.vocab_size"),
            "max_position_embeddings": self._field("llama.context_length"),
            # Stored as float32 in the file: 1e-5 comes back as 9.99...e-6.
            "rms_norm_eps": float(f"{self._field('llama.attention.layer_norm_rms_epsilon'):.6g}"),
            "rope_theta": float(self._field("llama.rope.freq_base")),
            "tie_word_embeddings": True,
            "bos_token_id": self._field("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self._field("tokenizer.ggml.eos_token_id"),
            "pad_token_id": self._field("tokenizer.ggml.padding_token_id"),
        }

    def names(self) -> tuple[str, ...]:
        """Names of all tensors, as a Llama checkpoint has them."""
        return tuple(self._tensors)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """One tensor, dequantised.

        Raises:
            CheckpointError: the file has none of this name.
        """
        try:
            stored = self._tensors[name]
        except KeyError:
            raise CheckpointError(self.path, f"lacks the tensor {name}") from None
        value = np.asarray(self._dequantise(stored.data, stored.tensor_type), dtype=np.float32)
        if name.endswith(".q_proj.weight"):
            return _undo_interleaving(value, self._field("llama.attention.head_count"))
        if name.endswith(".k_proj.weight"):
            return _undo_interleaving(value, self._field("llama.attention.head_count_kv"))
        return value

    def tokenizer(self, added_tokens: Sequence[str]) -> Tokenizer:
        """The byte-level BPE of SmolLM2, with `added_tokens` appended as special tokens in their order.

        Digits are split one by one before the byte-level split: what GGUF calls the pre-tokenizer "smollm". No token
        is put in front: the chat prompt begins with <|im_start|> itself.
        """
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        if self._field("tokenizer.ggml.pre") != "smollm":
            raise CheckpointError(self.path, f"has the unknown pre-tokenizer {self._field('tokenizer.ggml.pre')}")
        tokens = self._field("tokenizer.ggml.tokens")
        merges = [tuple(merge.split(" ", 1)) for merge in self._field("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        kinds = self._field("tokenizer.ggml.token_type")
        control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
        tokenizer.add_special_tokens(
            [AddedToken(token, normalized=False, special=True) for token in (*control, *added_tokens)]
        )
        return tokenizer

    def _field(self, name: str) -> Any:
        try:
            return self._reader.fields[name].contents()
        except KeyError:
            raise CheckpointError(self.path, f"lacks the field {name}") from None


def _llama_name(name: str) -> str:
    """Name in a Llama checkpoint of a tensor of the GGUF file."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, kind, leaf = name.split(".")
    return f"model.layers.{layer}.{_LAYER_NAMES[kind]}.{leaf}"


def _undo_interleaving(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """GGUF stores query and key rows with the two halves of each rotary pair side by side; Llama keeps them apart."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows, columns)

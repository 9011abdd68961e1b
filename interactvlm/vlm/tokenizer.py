"""Text to token ids and back, for the two kinds of tokenizer that checkpoint folders hold.

The released folders carry the *slow* Llama tokenizer of transformers 4.31. Current transformers has no such class, and
its replacements give other ids, so its rules are kept here on plain sentencepiece: text is split at the added tokens,
blanks and newlines beside them vanish, and every piece of text between them gets a leading-blank mark of its own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Protocol

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CheckpointError, MissingDependencyError

__all__ = ["JsonTokenizer", "SentencePieceTokenizer", "Tokenizer", "load_tokenizer"]


class Tokenizer(Protocol):
    """What prompts and decoding need from a tokenizer."""

    @property
    def special_tokens(self) -> frozenset[str]:
        """Texts that become one special token: no user-given text may hold any of them."""
        ...

    def token_id(self, token: str) -> int | None:
        """Id of a special token, None when the tokenizer does not know it."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of `text`; special tokens in it become their ids; no begin- or end-of-sequence is added."""
        ...

    def decode(self, ids: list[int]) -> str:
        """Text of `ids`, special tokens included as text."""
        ...


class SentencePieceTokenizer:
    """The released slow Llama tokenizer ("legacy" behaviour): `tokenizer.model` and `added_tokens.json`."""

    def __init__(self, *, model: Any, added_tokens: dict[str, int]) -> None:
        self._model = model
        self._added = dict(added_tokens)
        self._added_text = {index: token for token, index in self._added.items()}
        control = [i for i in (model.unk_id(), model.bos_id(), model.eos_id()) if i >= 0]
        self._control = {model.id_to_piece(i): i for i in control}
        self._control_text = {index: token for token, index in self._control.items()}
        # Longest first, so that a token that begins like another one is not cut short.
        tokens = sorted({**self._control, **self._added}, key=len, reverse=True)
        self._splitter = re.compile("(" + "|".join(re.escape(token) for token in tokens) + ")")

    @classmethod
    def from_folder(cls, folder: Path) -> SentencePieceTokenizer:
        """Read the tokenizer files of a checkpoint folder.

        Raises:
            CheckpointError: a file is missing or unreadable.
            MissingDependencyError: sentencepiece is not installed.
        """
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError:
            raise MissingDependencyError("sentencepiece", "vlm") from None
        path = folder / "tokenizer.model"
        if not path.is_file():
            raise CheckpointError(folder, "has no tokenizer.model")
        model = SentencePieceProcessor()
        try:
            model.LoadFromSerializedProto(path.read_bytes())
        except (RuntimeError, OSError) as error:
            raise CheckpointError(path, f"is not a sentencepiece model ({error})") from None
        return cls(model=model, added_tokens=_read_added_tokens(folder))

    @property
    def special_tokens(self) -> frozenset[str]:
        """See `Tokenizer`."""
        return frozenset(self._added) | frozenset(self._control)

    def token_id(self, token: str) -> int | None:
        """See `Tokenizer`."""
        return self._added.get(token, self._control.get(token))

    def encode(self, text: str) -> list[int]:
        """See `Tokenizer`."""
        # Odd elements are special tokens, even ones the text between them.
        parts = self._splitter.split(text)
        ids: list[int] = []
        for i, part in enumerate(parts):
            if i % 2:
                ids.append(self._added[part] if part in self._added else self._control[part])
                continue
            # Only added tokens swallow the blanks beside them; <s>, </s> and <unk> do not.
            if i > 0 and parts[i - 1] in self._added:
                part = part.lstrip()
            if i + 1 < len(parts) and parts[i + 1] in self._added:
                part = part.rstrip()
            if part:
                ids.extend(self._model.encode(part))
        return ids

    def decode(self, ids: list[int]) -> str:
        """See `Tokenizer`. Added tokens stand between blanks, as the released code prints them."""
        texts: list[str] = []
        run: list[int] = []
        for index in ids:
            if index in self._added_text:
                if run:
                    texts.append(self._decode_run(run))
                texts.append(self._added_text[index])
                run = []
            else:
                run.append(index)
        if run:
            texts.append(self._decode_run(run))
        return " ".join(texts)

    def _decode_run(self, ids: list[int]) -> str:
        """Text of ids without added tokens; a control token is preceded by a blank."""
        text = ""
        pending: list[int] = []
        after_control = False
        for i, index in enumerate(ids):
            known = 0 <= index < self._model.get_piece_size()
            index = index if known else self._model.unk_id()
            if index in self._control_text:
                if not after_control and i > 0:
                    text += " "
                text += self._model.decode(pending) + self._control_text[index]
                pending = []
            else:
                pending.append(index)
            after_control = index in self._control_text
        return text + str(self._model.decode(pending))


class JsonTokenizer:
    """A `tokenizer.json` of the `tokenizers` library (the nano set)."""

    def __init__(self, *, model: Any) -> None:
        self._model = model
        self._special = {token.content: index for index, token in model.get_added_tokens_decoder().items()}

    @classmethod
    def from_folder(cls, folder: Path) -> JsonTokenizer:
        """Read `folder/tokenizer.json`.

        Raises:
            CheckpointError: the file is missing or unreadable.
            MissingDependencyError: tokenizers is not installed.
        """
        try:
            from tokenizers import Tokenizer as Model
        except ImportError:
            raise MissingDependencyError("tokenizers", "vlm") from None
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(folder, "has no tokenizer.json")
        try:
            model = Model.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise CheckpointError(path, f"is not a tokenizer file ({error})") from None
        model.no_padding()
        model.no_truncation()
        return cls(model=model)

    @property
    def special_tokens(self) -> frozenset[str]:
        """See `Tokenizer`."""
        return frozenset(self._special)

    def token_id(self, token: str) -> int | None:
        """See `Tokenizer`."""
        return self._special.get(token)

    def encode(self, text: str) -> list[int]:
        """See `Tokenizer`."""
        return list(self._model.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """See `Tokenizer`."""
        return str(self._model.decode(ids, skip_special_tokens=False))


def load_tokenizer(folder: Path, config: ReleaseConfig) -> Tokenizer:
    """The tokenizer of a checkpoint folder, of the kind its config.json names.

    Raises:
        CheckpointError: files are missing or unreadable, or the kind is unknown.
        MissingDependencyError: the library that reads them is not installed.
    """
    if config.tokenizer == "sentencepiece":
        return SentencePieceTokenizer.from_folder(folder)
    if config.tokenizer == "json":
        return JsonTokenizer.from_folder(folder)
    raise CheckpointError(folder / "config.json", f"key tokenizer is {config.tokenizer!r}; known: sentencepiece, json")


def _read_added_tokens(folder: Path) -> dict[str, int]:
    """added_tokens.json, checked; the file may be absent."""
    path = folder / "added_tokens.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(path, f"is not valid JSON: {error}") from None
    if not isinstance(raw, dict) or not all(
        token and isinstance(index, int) and not isinstance(index, bool) for token, index in raw.items()
    ):
        raise CheckpointError(path, "must map token texts to integer ids")
    if any(index < 0 for index in raw.values()) or len(set(raw.values())) != len(raw):
        raise CheckpointError(path, "must give every token an id of its own, none negative")
    return raw

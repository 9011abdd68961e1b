from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CheckpointError
from interactvlm.types import Target
from interactvlm.vlm.tokenizer import JsonTokenizer, SentencePieceTokenizer, load_tokenizer
from interactvlm.vlm.tokens import contact_token_ids, expected_token

WORDS = ["the", "contact", "region", "is", "head", "left", "arm", "forearm", "a", "chair", "parts", "body"]
CONFIG = ReleaseConfig(
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
    vocab_size=400,
)


@pytest.fixture(scope="session")
def piece_model() -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS), *(f"{a} {b}, {a}." for a in WORDS for b in WORDS)]),
        model_writer=written,
        vocab_size=320,
        model_type="bpe",
        byte_fallback=True,
        pad_id=-1,
        minloglevel=2,
        hard_vocab_limit=False,
        # As Llama: text is taken as it is.
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    return written.getvalue()


@pytest.fixture(scope="session")
def folder(piece_model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tokenizer")
    (made / "tokenizer.model").write_bytes(piece_model)
    first = sentencepiece.SentencePieceProcessor(model_proto=piece_model).get_piece_size()
    added = {"[SEG]": first, "<im_start>": first + 1, "<im_end>": first + 2}
    (made / "added_tokens.json").write_text(json.dumps(added))
    return made


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer.from_folder(folder)


def test_blanks_beside_added_tokens_vanish(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.encode("is \n [SEG]\n the") == tokenizer.encode("is[SEG]the")
    assert tokenizer.encode(" \n[SEG] \n [SEG]") == [tokenizer.token_id("[SEG]")] * 2


def test_control_tokens_keep_their_blanks(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.encode("is </s>") == [*tokenizer.encode("is "), tokenizer.token_id("</s>")]
    assert tokenizer.encode("is ") != tokenizer.encode("is")


def test_each_part_is_tokenised_on_its_own(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.encode("the[SEG].") == [
        *tokenizer.encode("the"), tokenizer.token_id("[SEG]"), *tokenizer.encode("."),
    ]  # fmt: skip


@given(st.lists(st.sampled_from([*WORDS, "[SEG]", "<im_start>", "é", "[SE"]), max_size=12))
def test_decoding_gives_the_words_back(tokenizer: SentencePieceTokenizer, words: list[str]) -> None:
    text = " ".join(words)
    assert tokenizer.decode(tokenizer.encode(text)).split() == words


@given(st.text(max_size=40))
def test_any_text_is_encoded(tokenizer: SentencePieceTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert all(isinstance(index, int) and index >= 0 for index in ids)
    assert isinstance(tokenizer.decode(ids), str)


def test_unknown_ids_decode_to_text(tokenizer: SentencePieceTokenizer) -> None:
    assert "<unk>" in tokenizer.decode([10**6])


def test_special_tokens(tokenizer: SentencePieceTokenizer) -> None:
    assert {"[SEG]", "<im_start>", "<im_end>", "<s>", "</s>", "<unk>"} == tokenizer.special_tokens
    assert tokenizer.token_id("[HSEG]") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not valid JSON"), ("[1]", "must map"), ('{"[SEG]": true}', "must map"), ('{"a": 5, "b": 5}', "own")],
)
def test_broken_added_tokens(folder: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    (tmp_path / "added_tokens.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_tokenizer(tmp_path, CONFIG)


@given(st.binary(max_size=200))
def test_broken_model_files(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    made = tmp_path_factory.mktemp("broken")
    (made / "tokenizer.model").write_bytes(content)
    (made / "tokenizer.json").write_bytes(content)
    for kind in ("sentencepiece", "json"):
        with pytest.raises(CheckpointError):
            load_tokenizer(made, replace(CONFIG, tokenizer=kind))


@pytest.mark.parametrize(("kind", "file"), [("sentencepiece", "tokenizer.model"), ("json", "tokenizer.json")])
def test_missing_files(tmp_path: Path, kind: str, file: str) -> None:
    with pytest.raises(CheckpointError, match=file):
        load_tokenizer(tmp_path, replace(CONFIG, tokenizer=kind))


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="known: sentencepiece, json"):
        load_tokenizer(tmp_path, replace(CONFIG, tokenizer="odd"))


def test_json_tokenizer(tmp_path: Path) -> None:
    model = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(pre_tokenizers.ByteLevel.alphabet())}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.add_special_tokens([AddedToken("[SEG]", lstrip=True), "<|im_end|>"])
    model.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path, replace(CONFIG, tokenizer="json"))
    assert isinstance(tokenizer, JsonTokenizer)
    assert tokenizer.encode("is [SEG]") == [*tokenizer.encode("is"), tokenizer.token_id("[SEG]")]
    assert "[SEG]" in tokenizer.decode(tokenizer.encode("is [SEG]"))
    assert tokenizer.special_tokens == {"[SEG]", "<|im_end|>"}


def test_contact_tokens_come_from_tokenizer_and_config(tokenizer: SentencePieceTokenizer) -> None:
    seg = tokenizer.token_id("[SEG]")
    assert contact_token_ids(CONFIG, tokenizer, source="x") == {"[SEG]": seg}
    assert contact_token_ids(replace(CONFIG, seg_token_idx=seg), tokenizer, source="x") == {"[SEG]": seg}
    for change, message in (
        ({"token_type": "Gen-Hu-Obj"}, r"without the contact token \[HSEG\]"),
        ({"token_type": "Gen-Int"}, r"without the contact token \[ISEG\]"),
        ({"oseg_token_idx": 7}, r"without the contact token \[OSEG\]"),
        ({"seg_token_idx": 7}, r"has id 7 for \[SEG\]"),
        ({"vocab_size": 10}, "beyond vocab_size 10"),
    ):
        with pytest.raises(CheckpointError, match=message):
            contact_token_ids(replace(CONFIG, **change), tokenizer, source="x")


@pytest.mark.parametrize(
    ("token_type", "human", "object_"),
    [("Gen", "[SEG]", "[SEG]"), ("Gen-Hu-Obj-DifDe", "[HSEG]", "[OSEG]"), ("Gen-Int", "[ISEG]", "[ISEG]")],
)
def test_expected_tokens(token_type: str, human: str, object_: str) -> None:
    config = replace(CONFIG, token_type=token_type)
    assert expected_token(Target.HUMAN, config) == human
    assert expected_token(Target.OBJECT, config) == object_

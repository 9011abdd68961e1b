from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.preparation.answers import AnswerStore


def test_answers_outlive_the_process(tmp_path) -> None:
    path = tmp_path / "deep" / "answers.jsonl"
    with AnswerStore(path) as store:
        assert store.get("a") is None
        store.put("a", {"answers": {"person": "ein\nMädchen \ud800"}})
        store.put("b", {"problem": "refused"})
        assert store.get("a") == {"answers": {"person": "ein\nMädchen \ud800"}}
    with AnswerStore(path) as store:
        assert store.get("a") == {"answers": {"person": "ein\nMädchen \ud800"}}
        assert store.get("b") == {"problem": "refused"}


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 200))
def test_a_torn_line_is_cut_off(tmp_path_factory, cut) -> None:
    path = tmp_path_factory.mktemp("store") / "answers.jsonl"
    with AnswerStore(path) as store:
        store.put("a", {"n": 1})
        store.put("b", {"n": 2})
    whole = path.read_bytes()
    path.write_bytes(whole[: max(len(whole) - cut, 0)])
    with AnswerStore(path) as store:
        kept = [key for key in ("a", "b") if store.get(key)]
        store.put("c", {"n": 3})
    assert kept == ["a", "b"][: whole[: max(len(whole) - cut, 0)].count(b"\n")]
    with AnswerStore(path) as store:
        assert [key for key in ("a", "b", "c") if store.get(key)] == [*kept, "c"]


@pytest.mark.parametrize("content", [b"a diary", b"a diary\n", b"[1]\n", b'{"a": 1}\n', b'{"key": "x"} {\n', b"\xff\n"])
def test_other_files_are_left_alone(tmp_path, content) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"notes\.txt: line 1: is no answer"):
        AnswerStore(path)
    assert path.read_bytes() == content


def test_one_process_at_a_time(tmp_path) -> None:
    with AnswerStore(tmp_path / "a.jsonl"), pytest.raises(InputError, match="is in use by another process"):
        AnswerStore(tmp_path / "a.jsonl")
    AnswerStore(tmp_path / "a.jsonl").__exit__(None, None, None)


def test_a_folder_is_no_store(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        AnswerStore(tmp_path)

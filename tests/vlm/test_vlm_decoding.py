from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CancelledError
from interactvlm.vlm.decoding import (
    Decoded,
    Prefix,
    TemplateGuess,
    decode_greedily,
    prefill_prefixes,
    score_next,
)
from interactvlm.vlm.llama import KeyValueCache
from interactvlm.vlm.network import ContactNetwork

CONFIG = ReleaseConfig(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=40,
    mm_hidden_size=8,
)
STOP = frozenset({3, 7, 11, 19})
PHOTOS, LENGTH = 3, 5


@pytest.fixture(scope="module")
def network() -> ContactNetwork:
    torch.manual_seed(5)
    made = ContactNetwork(CONFIG).eval().requires_grad_(False)
    # Wilder than the default initialisation, so that answers wander instead of repeating one token.
    for parameter in made.parameters():
        if parameter.ndim == 2:
            parameter.copy_(torch.randn_like(parameter) * 0.35)
    return made


@pytest.fixture(scope="module")
def words() -> torch.Tensor:
    torch.manual_seed(6)
    return torch.randn(PHOTOS, LENGTH, CONFIG.hidden_size)


@pytest.fixture(scope="module")
def prefix(network: ContactNetwork, words: torch.Tensor) -> Prefix:
    return prefill_prefixes(network, words)


def _reference(network: ContactNetwork, words: torch.Tensor, photo: int, question: list[int], limit: int) -> Decoded:
    """The plain way: the whole sequence again for every token, no cache, no batch."""
    answer = Decoded()
    sequence = torch.cat((words[photo], network.embed(torch.tensor(question))))[None]
    while len(answer.tokens) < limit:
        state = network.model(sequence)[0, -1]
        scores = network.logits(state).log_softmax(-1)
        token = int(scores.argmax())
        answer.tokens.append(token)
        answer.log_probability += float(scores[token])
        if token in STOP:
            answer.state = state
            break
        sequence = torch.cat((sequence, network.embed(torch.tensor([[token]]))), dim=1)
    return answer


def _assert_equal(found: list[Decoded], expected: list[Decoded]) -> None:
    assert [answer.tokens for answer in found] == [answer.tokens for answer in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-3)
        assert (one.state is None) == (other.state is None)
        if one.state is not None:
            torch.testing.assert_close(one.state, other.state, atol=1e-4, rtol=1e-4)


QUESTIONS = st.lists(
    st.tuples(st.integers(0, PHOTOS - 1), st.lists(st.integers(0, 39), min_size=1, max_size=6)), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=30)
@given(asked=QUESTIONS, limit=st.integers(1, 12), data=st.data())
def test_batches_and_guesses_never_change_an_answer(
    network: ContactNetwork,
    words: torch.Tensor,
    prefix: Prefix,
    asked: list[tuple[int, list[int]]],
    limit: int,
    data: st.DataObject,
) -> None:
    expected = [_reference(network, words, photo, question, limit) for photo, question in asked]
    # Guesses that are right, half right and wrong.
    guesses = []
    for answer in expected:
        opening = list(answer.tokens[: data.draw(st.integers(0, 5))])
        if opening and data.draw(st.booleans()):
            opening[-1] = 39 - opening[-1]
        begin = data.draw(st.integers(0, 4))
        guesses.append(TemplateGuess(opening=tuple(opening), closing=tuple(answer.tokens[begin : begin + 5])))
    for given_guesses in (None, guesses):
        found = decode_greedily(
            network,
            prefix,
            [question for _, question in asked],
            photo_of=[photo for photo, _ in asked],
            stop_tokens=STOP,
            max_new_tokens=limit,
            guesses=given_guesses,
        )
        _assert_equal(found, expected)


def test_answers_are_of_several_lengths(network: ContactNetwork, prefix: Prefix) -> None:
    # Otherwise the property above would say little.
    found = decode_greedily(
        network,
        prefix,
        [[i] for i in range(40)],
        photo_of=[i % 3 for i in range(40)],
        stop_tokens=STOP,
        max_new_tokens=12,
    )
    assert len({len(answer.tokens) for answer in found}) > 4
    assert any(answer.state is None for answer in found)


def test_right_guesses_save_steps(network: ContactNetwork, words: torch.Tensor, prefix: Prefix) -> None:
    def steps(guess: TemplateGuess) -> int:
        asked = []
        decode_greedily(
            network,
            prefix,
            [[4, 5]],
            photo_of=[1],
            stop_tokens=frozenset(),
            max_new_tokens=10,
            guesses=[guess],
            should_stop=lambda: bool(asked.append(None)),
        )
        return len(asked)

    answer = decode_greedily(network, prefix, [[4, 5]], photo_of=[1], stop_tokens=frozenset(), max_new_tokens=10)[0]
    assert steps(TemplateGuess()) == 10
    assert steps(TemplateGuess(opening=tuple(answer.tokens[:6]))) == 4


def test_template_guess() -> None:
    guess = TemplateGuess(opening=(1, 2, 3), closing=(8, 9, 10))
    assert guess([]) == [1, 2, 3]
    assert guess([1]) == [2, 3]
    assert guess([2]) == []
    assert guess([1, 2, 3]) == []
    assert guess([1, 2, 3, 8]) == [9, 10]
    assert guess([1, 2, 3, 5, 8, 9]) == [10]
    assert guess([1, 2, 3, 8, 9, 10]) == []
    assert TemplateGuess()([1]) == []


def test_stopping_between_steps(network: ContactNetwork, prefix: Prefix) -> None:
    asked = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) == 3

    with pytest.raises(CancelledError, match="2 of 2 questions open"):
        decode_greedily(
            network,
            prefix,
            [[1], [2]],
            photo_of=[0, 1],
            stop_tokens=frozenset(),
            max_new_tokens=9,
            should_stop=should_stop,
        )
    assert len(asked) == 3


@pytest.mark.parametrize("at_once", [0, 1, 2, 3])
def test_questions_beyond_the_memory_bound_are_answered_after_the_others(
    network: ContactNetwork, prefix: Prefix, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    questions, photo_of = [[i, 4] for i in range(7)], [i % 3 for i in range(7)]
    spread: list[int] = []
    original = KeyValueCache.spread

    def counted(self: KeyValueCache, sources: Sequence[int], *, length: int, capacity: int) -> KeyValueCache:
        spread.append(len(sources))
        return original(self, sources, length=length, capacity=capacity)

    def run() -> tuple[list[Decoded], list[Decoded]]:
        decoded = decode_greedily(network, prefix, questions, photo_of=photo_of, stop_tokens=STOP, max_new_tokens=8)
        return decoded, score_next(network, prefix, questions, photo_of=photo_of, tokens=list(range(7)))

    expected = run()
    monkeypatch.setattr(KeyValueCache, "spread", counted)
    # Two layers' keys and values of two heads of eight float32; 15 positions are the longest answer, 7 one pass.
    position = 2 * 2 * 2 * 8 * 4
    assert prefix.cache.bytes_per_position == position
    monkeypatch.setattr("interactvlm.vlm.decoding._CACHE_BYTES", at_once * position * (LENGTH + 2 + 8))
    found = run()
    _assert_equal(found[0], expected[0])
    _assert_equal(found[1], expected[1])
    assert spread[0] == max(1, at_once)
    assert sum(spread) == 2 * len(questions)


def test_nothing_to_do(network: ContactNetwork, prefix: Prefix) -> None:
    assert decode_greedily(network, prefix, [], photo_of=[], stop_tokens=STOP, max_new_tokens=3) == []
    assert score_next(network, prefix, [], photo_of=[], tokens=[]) == []


def test_score_next(network: ContactNetwork, words: torch.Tensor, prefix: Prefix) -> None:
    questions = [[1, 2, 3], [4], [5, 6]]
    found = score_next(network, prefix, questions, photo_of=[2, 0, 2], tokens=[9, 10, 11])
    for answer, photo, question, token in zip(found, [2, 0, 2], questions, [9, 10, 11], strict=True):
        state = network.model(torch.cat((words[photo], network.embed(torch.tensor(question))))[None])[0, -1]
        assert answer.tokens == [token]
        assert answer.state is not None
        torch.testing.assert_close(answer.state, state, atol=1e-4, rtol=1e-4)
        assert answer.log_probability == pytest.approx(float(network.logits(state).log_softmax(-1)[token]), abs=1e-4)

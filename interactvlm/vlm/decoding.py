"""Greedy decoding of many questions on many photos at once, up to each answer's contact token.

Released configurations may ask for sampling; answers here are always greedy. The contact token is never fed back: its
embedding comes from the state that predicts it, so a row is finished the moment the token wins. Words that nearly every
answer holds are guessed ahead and checked in one pass; a wrong guess costs a little time and never changes the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from interactvlm.errors import CancelledError
from interactvlm.vlm.llama import KeyValueCache
from interactvlm.vlm.network import ContactNetwork

__all__ = ["Decoded", "Prefix", "TemplateGuess", "decode_greedily", "prefill_prefixes", "score_next"]

#: Bound on the keys and values of questions answered together: about 30 questions at 13B in bfloat16.
_CACHE_BYTES = 8 * 2**30


@dataclass(frozen=True, slots=True)
class TemplateGuess:
    """Which tokens are likely to come next, by an answer template's opening and closing words.

    Attributes:
        opening: ids that an answer usually begins with.
        closing: ids that usually stand before its contact token.
    """

    opening: tuple[int, ...] = ()
    closing: tuple[int, ...] = ()

    @property
    def longest(self) -> int:
        """Most tokens that are ever guessed at once."""
        return max(len(self.opening), len(self.closing))

    def __call__(self, tokens: Sequence[int]) -> list[int]:
        """A guess at what follows the answer's tokens so far; may be empty."""
        given = tuple(tokens)
        if len(given) < len(self.opening):
            return list(self.opening[len(given) :]) if given == self.opening[: len(given)] else []
        for known in range(len(self.closing) - 1, 0, -1):
            if given[-known:] == self.closing[:known]:
                return list(self.closing[known:])
        return []


@dataclass(frozen=True, slots=True)
class Prefix:
    """The part of the prompt that a photo's questions share, already read.

    Attributes:
        cache: keys and values, one row per photo.
        length: tokens, the image's included; the same for every photo.
    """

    cache: KeyValueCache
    length: int

    def questions_at_once(self, capacity: int) -> int:
        """How many sequences of `capacity` positions memory holds together; at least one."""
        return max(1, _CACHE_BYTES // (capacity * self.cache.bytes_per_position))


@dataclass(slots=True)
class Decoded:
    """One answer in the making, and what became of it.

    Attributes:
        tokens: generated ids, the one that ended the answer included.
        state: final-norm hidden state that predicted the last token, [h]; None until the answer ended at a stop token.
        log_probability: sum of the tokens' log probabilities.
    """

    tokens: list[int] = field(default_factory=list)
    state: torch.Tensor | None = None
    log_probability: float = 0.0


@dataclass(slots=True)
class _Row:
    """A question that is still being answered."""

    answer: Decoded
    guess: TemplateGuess
    fresh: list[int]  # known tokens that are not in the cache yet
    start: int  # position of the first of them


def prefill_prefixes(network: ContactNetwork, embeddings: torch.Tensor) -> Prefix:
    """Read the shared part of the prompts once per photo.

    Args:
        network: the language model.
        embeddings: [P, L, h]: system words and image tokens.
    """
    photos, length, _ = embeddings.shape
    cache = KeyValueCache.allocate(
        network.config, rows=photos, capacity=length, device=embeddings.device, dtype=embeddings.dtype
    )
    network.model(embeddings, starts=[0] * photos, cache=cache)
    return Prefix(cache=cache, length=length)


def decode_greedily(
    network: ContactNetwork,
    prefix: Prefix,
    questions: Sequence[Sequence[int]],
    *,
    photo_of: Sequence[int],
    stop_tokens: frozenset[int],
    max_new_tokens: int,
    guesses: Sequence[TemplateGuess] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Decoded]:
    """Answer every question, as many of them together as memory holds.

    Args:
        network: the language model.
        prefix: the photos.
        questions: ids that follow the prefix, one sequence per question, none empty.
        photo_of: which photo (row of the prefix) each question is about.
        stop_tokens: ids that end an answer.
        max_new_tokens: longest answer, the stop token included.
        guesses: likely words, per question; None guesses nothing.
        should_stop: asked before every step; True gives up on all questions.

    Returns:
        One `Decoded` per question, in their order.

    Raises:
        CancelledError: `should_stop` said so.
    """
    answers = [Decoded() for _ in questions]
    if not questions or max_new_tokens < 1:
        return answers
    templates = guesses if guesses is not None else [TemplateGuess()] * len(questions)
    every_row = [
        _Row(answer=answer, guess=guess, fresh=list(ids), start=prefix.length)
        for answer, guess, ids in zip(answers, templates, questions, strict=True)
    ]
    longest_guess = max(guess.longest for guess in templates)
    capacity = prefix.length + max(map(len, questions)) + max_new_tokens + longest_guess
    at_once = prefix.questions_at_once(capacity)
    for first in range(0, len(questions), at_once):
        rows = every_row[first : first + at_once]
        waiting = len(questions) - first - len(rows)
        cache = prefix.cache.spread(photo_of[first : first + at_once], length=prefix.length, capacity=capacity)
        while rows:
            if should_stop is not None and should_stop():
                open_ones = len(rows) + waiting
                raise CancelledError(f"answering was stopped with {open_ones} of {len(answers)} questions open")
            guessed = [row.guess(row.answer.tokens) for row in rows]
            states, best, scores = _predict(network, cache.narrow(len(rows)), rows, guessed)
            # Backwards, so that the row moved to a dropped one's place has been dealt with.
            for i in reversed(range(len(rows))):
                if _accept(rows[i], guessed[i], states[i], best[i], scores[i], stop_tokens, max_new_tokens):
                    last = len(rows) - 1
                    cache.drop(i, last=last, length=rows[last].start)
                    rows[i] = rows[last]
                    rows.pop()
        del cache  # before the next one is made
    return answers


def score_next(
    network: ContactNetwork,
    prefix: Prefix,
    questions: Sequence[Sequence[int]],
    *,
    photo_of: Sequence[int],
    tokens: Sequence[int],
) -> list[Decoded]:
    """What if the next token of question i were `tokens[i]`? One pass, no decoding.

    Arguments as `decode_greedily`. Returns answers of that one token, with its state and log probability.
    """
    if not questions:
        return []
    capacity = prefix.length + max(map(len, questions))
    at_once = prefix.questions_at_once(capacity)
    answers = []
    for first in range(0, len(questions), at_once):
        part = slice(first, first + at_once)
        rows = [
            _Row(answer=Decoded(), guess=TemplateGuess(), fresh=list(ids), start=prefix.length)
            for ids in questions[part]
        ]
        cache = prefix.cache.spread(photo_of[part], length=prefix.length, capacity=capacity)
        states = _states(network, cache, rows, [[] for _ in rows])[:, 0]
        wanted = torch.tensor(tokens[part], device=states.device)[:, None]
        scores = network.logits(states).log_softmax(-1).gather(1, wanted)[:, 0].tolist()
        answers += [
            Decoded(tokens=[token], state=state, log_probability=score)
            for token, state, score in zip(tokens[part], states, scores, strict=True)
        ]
    return answers


def _states(
    network: ContactNetwork, cache: KeyValueCache, rows: Sequence[_Row], guessed: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Feed known and guessed tokens; hidden states [R, 1 + longest guess, h] from each row's last known token on."""
    blocks = [[*row.fresh, *guess] for row, guess in zip(rows, guessed, strict=True)]
    width = max(map(len, blocks))
    ids = torch.tensor([block + [0] * (width - len(block)) for block in blocks], device=network.device)
    hidden: torch.Tensor = network.model(network.embed(ids), starts=[row.start for row in rows], cache=cache)
    ahead = 1 + max(map(len, guessed))
    columns = [[min(len(row.fresh) - 1 + j, width - 1) for j in range(ahead)] for row in rows]
    picked = torch.arange(len(rows), device=network.device)[:, None]
    return hidden[picked, torch.tensor(columns, device=network.device)]


def _predict(
    network: ContactNetwork, cache: KeyValueCache, rows: Sequence[_Row], guessed: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, list[list[int]], list[list[float]]]:
    """(states [R, J, h], best next ids [R][J], their log probabilities [R][J])."""
    states = _states(network, cache, rows, guessed)
    logits = network.logits(states)
    top, best = logits.max(-1)
    return states, best.tolist(), (top - logits.logsumexp(-1)).tolist()


def _accept(
    row: _Row,
    guess: Sequence[int],
    states: torch.Tensor,
    best: Sequence[int],
    scores: Sequence[float],
    stop_tokens: frozenset[int],
    max_new_tokens: int,
) -> bool:
    """Take predictions as long as they agree with the guess; True when the answer is finished."""
    answer = row.answer
    for j in range(len(guess) + 1):
        answer.tokens.append(best[j])
        answer.log_probability += scores[j]
        if best[j] in stop_tokens:
            answer.state = states[j].clone()
            return True
        if len(answer.tokens) >= max_new_tokens:
            return True
        if j == len(guess) or best[j] != guess[j]:
            break
    # The last token taken is new; those before it were guessed right and lie in the cache.
    row.start += len(row.fresh) + j
    row.fresh = [best[j]]
    return False

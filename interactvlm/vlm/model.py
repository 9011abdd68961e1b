"""The vision-language stage as one call: photos and questions in, answers with contact embeddings out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CancelledError, CheckpointError, InputError
from interactvlm.types import ContactAnswer, Question, Target, Task
from interactvlm.vlm.answers import parse_affordance, parse_parts
from interactvlm.vlm.decoding import Decoded, Prefix, TemplateGuess, decode_greedily, prefill_prefixes, score_next
from interactvlm.vlm.network import ContactNetwork
from interactvlm.vlm.preprocess import PreparedPhoto
from interactvlm.vlm.prompts import (
    NO_QUIRKS,
    DemoQuirks,
    Prompt,
    answer_templates,
    build_prompt,
    fast_answer,
)
from interactvlm.vlm.tokenizer import Tokenizer, load_tokenizer
from interactvlm.vlm.tokens import contact_token_ids, expected_token
from interactvlm.vlm.vision import VisionTower

__all__ = ["ContactVLM"]


class ContactVLM:
    """Psi and Gamma of one checkpoint (paper, section 3.2).

    Not safe for calls from several threads at once: one worker per device, many questions per call.
    """

    def __init__(
        self,
        *,
        config: ReleaseConfig,
        network: ContactNetwork,
        vision: VisionTower,
        tokenizer: Tokenizer,
        quirks: DemoQuirks = NO_QUIRKS,
    ) -> None:
        """Put the parts together.

        Args:
            config: the checkpoint's configuration.
            network: language model, projector and Gamma.
            vision: the vision tower.
            tokenizer: the checkpoint's tokenizer.
            quirks: oddities of the released demo's prompts to reproduce.

        Raises:
            CheckpointError: the parts do not fit one another, the tokenizer lacks a token that prompts or answers
                need, or the configuration names a wording that is not known.
        """
        if vision.width != config.mm_hidden_size or vision.image_tokens != config.image_tokens:
            raise CheckpointError(
                "vision tower",
                f"gives {vision.image_tokens} image tokens of width {vision.width}, the checkpoint expects "
                f"{config.image_tokens} of {config.mm_hidden_size}",
            )
        self.config = config
        self.network = network
        self.vision = vision
        self.tokenizer = tokenizer
        self.quirks = quirks
        #: Ids of the contact tokens, by text.
        self.contact_tokens = contact_token_ids(config, tokenizer, source="checkpoint")
        self._token_text = {index: token for token, index in self.contact_tokens.items()}
        self._guess = {target: self._template_guess(target) for target in Target}
        # Question types and prompt style that nobody knows are found now, not at the first question.
        for task, has_head in ((Task.BINARY, config.has_human_head), (Task.OBJECT, config.has_object_head)):
            if has_head:
                self.prompt(Question(task, "object"))

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        vision_tower: Path | str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        quirks: DemoQuirks = NO_QUIRKS,
    ) -> ContactVLM:
        """Read a checkpoint folder of the released layout, shard by shard.

        Args:
            folder: the checkpoint.
            vision_tower: folder of the vision tower (CLIP ViT-L/14 for the released checkpoints); None takes the one
                that the checkpoint's config.json names inside the folder.
            device: where the weights go.
            dtype: what they are computed in (bfloat16 in the official evaluation).
            quirks: oddities of the released demo's prompts to reproduce.

        Raises:
            CheckpointError: a file, tensor or token is missing or does not fit.
            MissingDependencyError: a library that reads the files is not installed.
        """
        folder = Path(folder)
        config = ReleaseConfig.from_folder(folder)
        tower = _tower_folder(folder, config, vision_tower)
        tokenizer = load_tokenizer(folder, config)
        # Before gigabytes are read: these fail early.
        contact_token_ids(config, tokenizer, source=folder)
        vision = VisionTower.from_folder(
            tower,
            select_layer=config.mm_vision_select_layer,
            pool=config.vision_pool,
            merge=config.vision_merge,
            device=device,
            dtype=dtype,
        )
        network = ContactNetwork.from_folder(folder, config, device=device, dtype=dtype)
        return cls(config=config, network=network, vision=vision, tokenizer=tokenizer, quirks=quirks)

    @torch.inference_mode()
    def answer(
        self,
        photos: Sequence[NDArray[np.uint8] | PreparedPhoto],
        questions: Sequence[Sequence[Question]],
        *,
        fast: bool = False,
        max_new_tokens: int = 64,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[list[ContactAnswer]]:
        """Answer all questions on all photos as one batch; each photo is read once for all its questions.

        Args:
            photos: RGB uint8 [H, W, 3] each, of any sizes, or what `vision.preprocessor.prepare` made of it.
            questions: the questions on each photo; may be empty.
            fast: put a fixed answer into the model's mouth instead of decoding one: quicker, less accurate, and names
                no parts or affordance; the confidence is then the contact token's probability after those words.
            max_new_tokens: longest answer.
            should_stop: asked before every step; True gives up on the whole batch.

        Returns:
            One answer per question, in the order of `questions`.

        Raises:
            QuestionError: a name is malformed, or the checkpoint has no head for a task; nothing is computed then.
            PhotoError: a photo has another shape or dtype.
            InputError: the numbers of photos and question lists differ, or `max_new_tokens` is not positive.
            CancelledError: `should_stop` said so.
        """
        if len(photos) != len(questions):
            raise InputError("questions", f"are given for {len(questions)} photos, but there are {len(photos)} photos")
        if max_new_tokens < 1:
            raise InputError("max_new_tokens", f"must be at least 1, not {max_new_tokens}")
        flat = [question for asked in questions for question in asked]
        prompts = [self.prompt(question) for question in flat]
        if should_stop is not None and should_stop():
            raise CancelledError(f"answering was stopped with {len(flat)} of {len(flat)} questions open")
        # Photos without questions are not even looked at.
        asked_photos = [i for i, asked in enumerate(questions) if asked]
        if not flat:
            return [[] for _ in photos]
        row_of = {photo: row for row, photo in enumerate(asked_photos)}
        photo_of = [row_of[i] for i, asked in enumerate(questions) for _ in asked]
        prefix = self.read_photos([photos[i] for i in asked_photos], prompts[0])
        if fast:
            answers = self._answer_fast(flat, prompts, prefix, photo_of)
        else:
            decoded = decode_greedily(
                self.network,
                prefix,
                [self.tokenizer.encode(prompt.after_image) for prompt in prompts],
                photo_of=photo_of,
                stop_tokens=frozenset(self._token_text) | {self.config.eos_token_id},
                max_new_tokens=max_new_tokens,
                guesses=[self._guess[question.task.target] for question in flat],
                should_stop=should_stop,
            )
            answers = self._finish(flat, decoded)
        remaining = iter(answers)
        return [[next(remaining) for _ in asked] for asked in questions]

    def prompt(self, question: Question) -> Prompt:
        """The conversation that asks `question`; raises QuestionError as `answer` does."""
        return build_prompt(question, self.config, quirks=self.quirks, special_tokens=self.tokenizer.special_tokens)

    def image_tokens(self, photos: Sequence[NDArray[np.uint8] | PreparedPhoto]) -> torch.Tensor:
        """What the language model sees of photos: [P, tokens, h]."""
        pixels = torch.from_numpy(self.vision.preprocessor(photos))
        return self.network.project_image(self.vision(pixels))

    def read_photos(self, photos: Sequence[NDArray[np.uint8] | PreparedPhoto], prompt: Prompt) -> Prefix:
        """Read the prompt up to and including the image, once per photo."""
        ids = self.tokenizer.encode(prompt.before_image)
        if prompt.begin_of_sequence:
            ids = [self.config.bos_token_id, *ids]
        image = self.image_tokens(photos)
        words = self.network.embed(torch.tensor(ids, device=self.network.device))
        return prefill_prefixes(self.network, torch.cat((words.expand(len(image), -1, -1), image), dim=1))

    def _answer_fast(
        self, questions: Sequence[Question], prompts: Sequence[Prompt], prefix: Prefix, photo_of: Sequence[int]
    ) -> list[ContactAnswer]:
        answers = []
        texts, tokens, ids = [], [], []
        for question, prompt in zip(questions, prompts, strict=True):
            token = expected_token(question.task.target, self.config)
            text = f"{fast_answer(question.task.target)} {token}"
            tokens.append(token)
            texts.append(text)
            ids.append(self._before_token(prompt.after_image + prompt.answer_separator + text, token))
        wanted = [self.contact_tokens[token] for token in tokens]
        decoded = score_next(self.network, prefix, ids, photo_of=photo_of, tokens=wanted)
        for text, token, one, embedding in zip(texts, tokens, decoded, self._embeddings(decoded), strict=True):
            confidence = math.exp(one.log_probability)
            answers.append(ContactAnswer(text=text, embedding=embedding, token=token, confidence=confidence))
        return answers

    def _finish(self, questions: Sequence[Question], decoded: Sequence[Decoded]) -> list[ContactAnswer]:
        """Decoded tokens to answers."""
        answers = []
        for question, one, embedding in zip(questions, decoded, self._embeddings(decoded), strict=True):
            ended = one.tokens[-1] == self.config.eos_token_id
            text = self.tokenizer.decode(one.tokens[:-1] if ended else one.tokens)
            human = question.task.target is Target.HUMAN
            answers.append(
                ContactAnswer(
                    text=text.strip(),
                    embedding=embedding,
                    token=self._token_text.get(one.tokens[-1]),
                    confidence=math.exp(one.log_probability / len(one.tokens)),
                    parts=parse_parts(text) if human else (),
                    affordance=None if human else parse_affordance(text),
                    generated_tokens=len(one.tokens),
                )
            )
        return answers

    def _embeddings(self, decoded: Sequence[Decoded]) -> list[NDArray[np.float32] | None]:
        """E = Gamma(state) of every answer that ended at a contact token, all at once."""
        found = {
            i: one.state
            for i, one in enumerate(decoded)
            if one.state is not None and one.tokens[-1] in self._token_text
        }
        embeddings: list[NDArray[np.float32] | None] = [None] * len(decoded)
        if found:
            projected = self.network.contact_embedding(torch.stack(list(found.values()))).cpu().numpy()
            for i, embedding in zip(found, projected, strict=True):
                embeddings[i] = embedding
        return embeddings

    def _template_guess(self, target: Target) -> TemplateGuess:
        """The answer templates as token ids."""
        opening, closing = answer_templates(target)
        # The closing words' ids depend on what stands before them: take them from a whole sentence.
        head = self.tokenizer.encode(f"{opening} head")
        token = expected_token(target, self.config)
        whole = self._before_token(f"{opening} head{closing} {token}", token)
        closing_ids = whole[len(head) :] if whole[: len(head)] == head else []
        return TemplateGuess(opening=tuple(self.tokenizer.encode(opening)), closing=tuple(closing_ids))

    def _before_token(self, text: str, token: str) -> list[int]:
        """Ids of `text` up to its contact token: some tokenizers keep the blank before it, others swallow it."""
        ids = self.tokenizer.encode(text)
        return ids[: ids.index(self.contact_tokens[token])]


def _tower_folder(folder: Path, config: ReleaseConfig, given: Path | str | None) -> Path:
    """The vision tower's folder: the caller's, else the one inside the checkpoint."""
    if given is not None:
        return Path(given)
    if not config.vision_tower_dir:
        raise CheckpointError(folder, "holds no vision tower: name the folder of CLIP ViT-L/14 (vision_tower=...)")
    return folder / config.vision_tower_dir

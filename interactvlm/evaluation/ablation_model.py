"""A case of the ablation as a model: what is taken out of the whole method, or put in its place.

Q questions, J views, C = 256 channels, V vertices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.evaluation.ablation_cases import COARSE_PARTS, AblationCase
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.mvloc.camera_gate import CameraGate, NoCamera
from interactvlm.stages import CallContext
from interactvlm.training.examples import ExampleBuilder, Lesson
from interactvlm.training.losses import IGNORE
from interactvlm.training.model import TrainableModel, TrainingExample
from interactvlm.training.objective import LossParts, LossWeights
from interactvlm.training.run import OpenedRun
from interactvlm.training.surfaces import TrainingSurface
from interactvlm.training.validation import LiveModel
from interactvlm.types import ContactAnswer, Question
from interactvlm.vlm.model import ContactVLM
from interactvlm.vlm.prompts import Prompt, conversation
from interactvlm.vlm.tokens import expected_token

__all__ = ["AblatedBuilder", "AblatedModel", "ablate_model", "live_model"]

_HIDDEN = 512
_NO_PIXELS = 8
_CAMERA_NUMBERS = 5


class ConcatenatedCamera(CameraGate):
    """The camera's numbers beside the embedding, through one linear layer."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels + _CAMERA_NUMBERS, channels)

    def table(self, cameras: Tensor) -> Tensor:
        """The cameras themselves, [J, 5]."""
        return cameras

    def condition(self, embeddings: Tensor, table: Tensor) -> Tensor:
        """[Q, J, C]."""
        views, questions = len(table), len(embeddings)
        beside = torch.cat([embeddings[:, None].expand(-1, views, -1), table[None].expand(questions, -1, -1)], dim=-1)
        mixed: Tensor = self.mix(beside)
        return mixed


class DirectHead(nn.Module):
    """In the mask decoder's place: E to one logit per vertex, shaped as the only view of a square picture."""

    def __init__(self, *, channels: int, vertices: int) -> None:
        super().__init__()
        self.side = int(np.ceil(np.sqrt(vertices)))
        self.layers = nn.Sequential(nn.Linear(channels, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, self.side**2))

    def forward(self, embeddings: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [Q, 1, side, side] of prompts [Q, 1, C]; the views' embeddings are not looked at."""
        logits = self.layers(prompts.mean(1)).unflatten(1, (1, self.side, self.side))
        return logits, logits.new_zeros(len(logits), 1)


class DirectLift:
    """The lift that belongs to `DirectHead`: every vertex has a pixel of its own."""

    nbytes = 0

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, low_res: Tensor) -> Tensor:
        """[Q, 1, side, side] to probabilities [Q, V]."""
        return low_res.float().flatten(1)[:, : self.count].sigmoid()


class _NoMasks:
    """Mask targets without a pixel that counts."""

    nbytes = 0

    def __call__(self, values: NDArray[np.floating]) -> Tensor:
        return torch.full((1, _NO_PIXELS, _NO_PIXELS), IGNORE)


class AblatedModel(TrainableModel):
    """A trainable model with a case's losses; without a language model, E comes from the photo's features."""

    case: AblationCase

    @classmethod
    def of(cls, model: TrainableModel, case: AblationCase) -> AblatedModel:
        """The same modules, taken over."""
        made = cls(
            config=model.config,
            network=model.network,
            gate=model.gate,
            splitter=model.splitter,
            human_predictor=model.human_predictor,
            object_predictor=model.object_predictor,
            neck=model.neck,
            object_camera=model.object_camera,
        )
        made.case = case
        made.contact_code = model.contact_code
        return made

    def forward(self, examples: Sequence[TrainingExample], weights: LossWeights | None = None) -> LossParts:
        """As `TrainableModel`, with the case's weights and targets."""
        weights = weights or self.case.weights
        if self.case.whole_masks:
            examples = [_on_whole_masks(example) for example in examples]
        if self.case.language != "absent":
            return super().forward(examples, weights)
        from interactvlm.training.objective import text_objective, training_objective

        asked = [example for example in examples if example.surface is not None]
        if not asked:
            anchor = self.see(torch.stack([example.image_features for example in examples])).sum()
            return text_objective(0.0 * anchor, weights)
        embeddings = self.see(torch.stack([example.image_features for example in asked]))
        answers = self._answers(asked, embeddings)
        return training_objective(answers, embeddings.new_zeros(()), weights)

    @property
    def without_language(self) -> nn.Module:
        """From pooled features to E, where there is no language model."""
        found: nn.Module = self.network.get_submodule("without_language")
        return found

    def see(self, features: Tensor) -> Tensor:
        """E of photos' features [P, N, D], float32 [P, C]."""
        values = features.to(self.device).float()
        embeddings: Tensor = self.without_language(torch.cat([values.mean(1), values.amax(1)], dim=1))
        return embeddings.float()


class AblatedBuilder(ExampleBuilder):
    """Lessons as a case has them; the numbers of the body are the same."""

    def __init__(self, case: AblationCase, opened: OpenedRun) -> None:
        body = opened.live.body
        super().__init__(
            config=opened.vlm.config,
            tokenizer=opened.vlm.tokenizer,
            topology=body.topology,
            part_index=body.part_index,
        )
        self._case = case

    def _lesson(
        self,
        question: Question,
        config: ReleaseConfig,
        words: Sequence[str] | None,
        values: NDArray[np.float32],
        surface: Mesh | PointCloud | None = None,
    ) -> Lesson:
        if words is not None and self._case.coarse_parts:
            words = tuple(dict.fromkeys(COARSE_PARTS.get(word, word) for word in words))
        lesson = super()._lesson(_asked(question, self._case), config, words, values, surface)
        if self._case.questions:
            return lesson
        prompt = conversation("", config)
        return replace(lesson, before=prompt.before_image, after=prompt.after_image)


class _AblatedVLM(ContactVLM):
    """Asks as the case was trained."""

    case: AblationCase

    def prompt(self, question: Question) -> Prompt:
        """See `ContactVLM`."""
        case = getattr(self, "case", None)
        if case is None:
            return super().prompt(question)
        return super().prompt(_asked(question, case)) if case.questions else conversation("", self.config)


class _WithoutLanguage(LiveModel):
    """Answers every question with the embedding of the photo."""

    def __init__(self, *, vlm: ContactVLM, model: AblatedModel, **parts: Any) -> None:
        super().__init__(vlm=vlm, model=model, **parts)
        self._seeing, self._tower, self._release = model, vlm.vision, vlm.config

    async def answer(
        self, photo: NDArray[np.uint8], questions: Sequence[Question], *, fast: bool, context: CallContext
    ) -> list[ContactAnswer]:
        """See `LanguageStage`."""
        with torch.inference_mode():
            features = self._tower(torch.from_numpy(self._tower.preprocessor([photo])))
            embedding = self._seeing.see(features)[0].cpu().numpy()
        tokens = [expected_token(question.task.target, self._release) for question in questions]
        return [ContactAnswer(text=token, embedding=embedding, token=token, confidence=1.0) for token in tokens]


def ablate_model(case: AblationCase, opened: OpenedRun) -> AblatedModel:
    """Take out of an opened run's model what the case goes without; new parts are drawn from the run's seed."""
    model, channels = AblatedModel.of(opened.model, case), opened.vlm.config.out_dim
    with torch.random.fork_rng():
        torch.manual_seed(case.training.steps.seed)
        if case.camera == "concatenated":
            model.gate = ConcatenatedCamera(channels=channels)
        elif case.camera == "none":
            model.gate = NoCamera()
        if case.localization == "direct":
            body = opened.surfaces.body.surface
            head = DirectHead(channels=channels, vertices=body.lift.count)
            model.human_predictor = model.object_predictor = head  # type: ignore[assignment]
            model.neck = None
            surface = replace(body, lift=DirectLift(body.lift.count))  # type: ignore[arg-type]
            opened.surfaces.body = TrainingSurface(surface, _NoMasks())  # type: ignore[arg-type]
        if case.language == "absent":
            width = 2 * opened.vlm.vision.width
            head_of_photo = nn.Sequential(nn.Linear(width, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, channels))
            model.network.add_module("without_language", head_of_photo)
    if case.language != "tuned":
        for name, parameter in model.named_parameters():
            frozen = ".lora_" in name if case.language == "frozen" else name.startswith("network.")
            if frozen and "without_language" not in name:
                parameter.requires_grad_(False)
    layers = model.network.model.layers
    model.network.model.layers = layers[: max(1, round(case.layers * len(layers)))]
    return model.to(opened.model.device).train()


def live_model(
    case: AblationCase, opened: OpenedRun, model: AblatedModel, autocast: Callable[[], AbstractContextManager[Any]]
) -> LiveModel:
    """The pipeline's stages on an ablated model."""
    vlm = _AblatedVLM(
        config=opened.vlm.config,
        network=model.network,
        vision=opened.vlm.vision,
        tokenizer=opened.vlm.tokenizer,
    )
    vlm.case = case
    parts: dict[str, Any] = {"surfaces": opened.surfaces, "template": opened.live.body, "autocast": autocast}
    if case.language == "absent":
        return _WithoutLanguage(vlm=vlm, model=model, **parts)
    return LiveModel(vlm=vlm, model=model, **parts)


def _asked(question: Question, case: AblationCase) -> Question:
    if case.object_names or not question.object_name:
        return question
    return replace(question, object_name="object")


def _on_whole_masks(example: TrainingExample) -> TrainingExample:
    if example.mask_target is None:
        return example
    return replace(example, mask_target=example.mask_target.clamp_min(0.0))

"""The trainable model: everything of a checkpoint but the frozen encoders, and its forward pass over a batch.

Frozen encoders run before: photos arrive as the vision tower's features, surfaces as Theta's embeddings (or, where
Theta's neck is trained, as what stands in front of the neck). Shapes: B examples, L tokens, N image tokens, h hidden
size, J views, S side of the masks, V vertices or points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import InputError
from interactvlm.mvloc.camera_gate import CameraGate, load_camera_gate
from interactvlm.mvloc.decoder import MaskPredictor, upsampled
from interactvlm.mvloc.encoder import encoder_sizes
from interactvlm.mvloc.splitter import SPLITTER_PREFIX, AttentionSplitter, side_of_token
from interactvlm.mvloc.surfaces import ObjectCamera, Surface, SurfaceKind, body_cameras, object_cameras
from interactvlm.training.objective import LossParts, LossWeights, SupervisedAnswer, text_objective, training_objective
from interactvlm.training.packing import IGNORED_LABEL, IMAGE_TOKEN, PackedRows, pack
from interactvlm.training.regions.code import ContactCode
from interactvlm.types import Target
from interactvlm.vlm.network import ContactNetwork

__all__ = ["IGNORED_LABEL", "IMAGE_TOKEN", "TrainableModel", "TrainingExample"]

_VISUAL = "model.visual_model."


@dataclass(frozen=True, slots=True, eq=False)
class TrainingExample:
    """One photo, one question, its answer, and the contact it means, if it is to be learned.

    An answer in words alone, or whose masks are left out of this step, has no contact position and no surface.

    Attributes:
        input_ids: int64 [L], prompt and answer with one IMAGE_TOKEN.
        labels: int64 [L], the answer's ids, IGNORED_LABEL elsewhere.
        image_features: float [N, mm_hidden_size], features of the vision tower; questions on one photo share one
            tensor and are then read together.
        contact_position: where in `input_ids` the answer's contact token stands.
        contact_token: its text ("[SEG]").
        surface: what the contact lies on, with Theta's embeddings; share one object among examples.
        mask_target: float32 [J, S, S] (see `targets.mask_target`).
        surface_target: float32 [V], contact or heat.
        body_contact: float32 [V], the contact that the answer means on the body, whether its masks are learned or not.
    """

    input_ids: Tensor
    labels: Tensor
    image_features: Tensor
    contact_position: int | None = None
    contact_token: str = ""
    surface: Surface | None = None
    mask_target: Tensor | None = None
    surface_target: Tensor | None = None
    body_contact: Tensor | None = None


class TrainableModel(nn.Module):
    """Psi, Gamma, Phi, the splitter and Omega.

    Args:
        config: the checkpoint's configuration.
        network: language model, projector and Gamma.
        gate: Phi.
        splitter: None where the token type has none.
        human_predictor: Omega for the body.
        object_predictor: Omega for objects, the same object unless the token type asks for two.
        neck: Theta's neck where it is trained; surfaces then carry what it reads. None: they carry its output.
        object_camera: the distance that conditions Phi for object meshes.
    """

    def __init__(
        self,
        *,
        config: ReleaseConfig,
        network: ContactNetwork,
        gate: CameraGate,
        splitter: AttentionSplitter | None,
        human_predictor: MaskPredictor,
        object_predictor: MaskPredictor,
        neck: nn.Module | None = None,
        object_camera: ObjectCamera = ObjectCamera.DEMO,
    ) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.gate = gate
        self.splitter = splitter
        self.human_predictor = human_predictor
        self.object_predictor = object_predictor
        self.neck = neck
        self.object_camera = object_camera
        self.contact_code: tuple[ContactCode, float] | None = None

    def teach(self, code: ContactCode, weight: float) -> None:
        """Let contact tokens' embeddings come close to a contact code, by a weight; the code itself stays as it is."""
        self.contact_code = (code, weight)  # a tuple hides it from the module tree: it is no part of the model

    @classmethod
    def from_folder(cls, folder: Path, *, device: torch.device | str = "cpu") -> TrainableModel:
        """Load a checkpoint in float32, with what the paper trains ready for gradients.

        Trained: token embeddings, output layer, Gamma, Phi, the splitter and the mask decoders. The language model's
        layers stay frozen (LoRA is added from outside), as do the image projector and the prompt encoder.

        Raises:
            CheckpointError: a file or tensor is missing or does not fit.
        """
        config = ReleaseConfig.from_folder(folder)
        reader = WeightReader(folder)
        place, grid = torch.device(device), encoder_sizes(reader).grid

        def predictor(name: str) -> MaskPredictor:
            return MaskPredictor.load(
                reader, decoder_prefix=f"{_VISUAL}{name}.", grid=grid, device=place, dtype=torch.float32
            )

        names = ("human_mask_decoder", "object_mask_decoder") if config.separate_decoders else ("mask_decoder",)
        predictors = [predictor(name) for name in names]
        model = cls(
            config=config,
            network=ContactNetwork.from_folder(folder, config, device=place, dtype=torch.float32),
            gate=load_camera_gate(reader, config, place, torch.float32),
            splitter=_load_splitter(reader, place) if config.has_splitter else None,
            human_predictor=predictors[0],
            object_predictor=predictors[-1],
        )
        language = model.network.model
        trained: list[nn.Module | None] = [language.embed_tokens, model.network.lm_head, language.text_hidden_fcs]
        trained += [model.gate, model.splitter, *(p.mask_decoder for p in predictors)]
        for part in trained:
            if part is not None:
                part.requires_grad_(True)
        return model

    @property
    def device(self) -> torch.device:
        """Where the batch is computed."""
        return self.network.device

    def forward(self, examples: Sequence[TrainingExample], weights: LossWeights | None = None) -> LossParts:
        """The training step's forward pass: the objective of a batch and its parts; call `total.backward()` next.

        Under autocast the language model and the mask decoder are computed in its dtype, the lift and the losses in
        float32.

        Raises:
            InputError: when the batch is empty or an example contradicts itself.
        """
        if not examples:
            raise InputError("examples", "is empty, at least 1 is needed")
        for index, example in enumerate(examples):
            _check(index, example)
        rows = pack(examples)
        states = self.states(rows)
        logits = self.network.logits(states[tuple(rows.predicting)])
        text = functional.cross_entropy(logits, rows.labels.to(logits.device))
        asked = [index for index, place in enumerate(rows.contact_places) if place is not None]
        places = [place for place in rows.contact_places if place is not None]
        if not asked:
            return text_objective(text, weights)
        embeddings = self.network.contact_embedding(states[tuple(torch.tensor(places).T)])
        members = [examples[index] for index in asked]
        shown = [i for i, member in enumerate(members) if member.surface is not None]
        if shown:
            answers = self._answers([members[i] for i in shown], embeddings[shown])
            parts = training_objective(answers, text, weights)
        else:
            parts = text_objective(text, weights)
        return parts.with_code(self._distance_to_code(members, embeddings))

    def states(self, rows: PackedRows) -> Tensor:
        """Final hidden states of a packed batch, [R, B, h]."""
        words = self.network.embed(rows.ids.to(self.device))
        image = self.network.project_image(rows.features.to(self.device))
        embedded = words.index_put(tuple(rows.image_places.to(self.device)), image.flatten(0, 1).to(words.dtype))
        states: Tensor = self.network.model(embedded, tree=None if rows.tree is None else rows.tree.to(self.device))
        return states

    def masks(self, surface: Surface, embeddings: Tensor, tokens: Sequence[str]) -> Tensor:
        """Low-resolution logits float32 [Q, J, 4 g, 4 g] of contact embeddings [Q, C] on one surface."""
        on_body = surface.kind is SurfaceKind.BODY
        cameras = body_cameras() if on_body else object_cameras(surface.kind, self.object_camera)
        prompts = self.gate(embeddings, torch.from_numpy(cameras).to(embeddings))
        target = Target.HUMAN if on_body else Target.OBJECT
        if self.splitter is not None:
            prompts = self.splitter(prompts, [side_of_token(token, target) for token in tokens])
        views = surface.embeddings if self.neck is None else self.neck(surface.embeddings.float())
        predictor = self.human_predictor if on_body else self.object_predictor
        logits: Tensor = predictor(views, prompts)[0]
        return logits

    def _distance_to_code(self, examples: Sequence[TrainingExample], embeddings: Tensor) -> Tensor:
        """Mean squared distance between embeddings and the codes of the contact they mean, weighted."""
        rows = [i for i, example in enumerate(examples) if example.body_contact is not None]
        if self.contact_code is None or not rows:
            return embeddings.new_zeros(())
        code, weight = self.contact_code
        contact = torch.stack([c for example in examples if (c := example.body_contact) is not None])
        with torch.no_grad():
            wanted = code(contact.to(embeddings.device))
        return weight * functional.mse_loss(embeddings[rows].float(), wanted)

    def supervised(
        self, surface: Surface, embeddings: Tensor, tokens: Sequence[str], masks: Tensor, contact: Tensor
    ) -> list[SupervisedAnswer]:
        """Masks and lifted probabilities of embeddings on one surface, each beside its truth.

        Args:
            surface: the surface.
            embeddings: float [Q, C].
            tokens: the contact token of each.
            masks: float32 [Q, J, S, S], the mask targets.
            contact: float32 [Q, V], contact or heat.
        """
        low_res = self.masks(surface, embeddings, tokens)
        with torch.autocast(low_res.device.type, enabled=False):
            probabilities = surface.lift(low_res)
            fine = upsampled(low_res, masks.shape[-1])
            return [
                SupervisedAnswer(
                    surface=surface.kind,
                    mask_logits=logits,
                    mask_target=target.to(logits.device),
                    probabilities=lifted,
                    surface_target=truth.to(lifted.device),
                )
                for logits, target, lifted, truth in zip(fine, masks, probabilities, contact, strict=True)
            ]

    def _answers(self, examples: Sequence[TrainingExample], embeddings: Tensor) -> list[SupervisedAnswer]:
        """Masks and lifted probabilities, all examples of one surface together."""
        surfaces = {id(example.surface): example.surface for example in examples}
        answers: list[SupervisedAnswer] = []
        for key, surface in surfaces.items():
            if surface is None:
                continue
            rows = [i for i, example in enumerate(examples) if id(example.surface) == key]
            group = [examples[i] for i in rows]
            masks = torch.stack([mask for example in group if (mask := example.mask_target) is not None])
            contact = torch.stack([truth for example in group if (truth := example.surface_target) is not None])
            tokens = [example.contact_token for example in group]
            answers += self.supervised(surface, embeddings[rows], tokens, masks, contact)
        return answers


def _load_splitter(reader: WeightReader, device: torch.device) -> AttentionSplitter:
    with torch.device("meta"):
        splitter = AttentionSplitter()
    reader.load_into(splitter, stored_name=lambda own: SPLITTER_PREFIX + own, dtype=torch.float32, device=device)
    return splitter


def _check(index: int, example: TrainingExample) -> None:
    ids = example.input_ids
    if ids.shape != example.labels.shape or ids.ndim != 1:
        problem = f"has ids of shape {list(ids.shape)} and labels of {list(example.labels.shape)}, need [L] twice"
    elif int((ids == IMAGE_TOKEN).sum()) != 1:
        problem = f"has {int((ids == IMAGE_TOKEN).sum())} image tokens, exactly 1 is needed"
    elif (example.contact_position is None) != (example.surface is None and example.body_contact is None):
        problem = "has a contact position without a surface or contact, or the reverse"
    elif example.surface is not None and (example.mask_target is None or example.surface_target is None):
        problem = "has a surface without targets"
    elif example.contact_position is not None and not (
        int((ids == IMAGE_TOKEN).nonzero()[0, 0]) < example.contact_position < len(ids)
    ):
        problem = f"has its contact token at {example.contact_position}, which does not follow the image"
    elif not (example.labels != IGNORED_LABEL).any():
        problem = "has no label to predict"
    else:
        return
    raise InputError(f"examples[{index}]", problem)

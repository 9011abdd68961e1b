"""One training run from its configuration: everything is opened, checked and put together here."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interactvlm.body.template import BodyTemplate
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.config import load_settings
from interactvlm.datasets.sample import ContactSample
from interactvlm.errors import InputError
from interactvlm.mvloc.model import BodySource
from interactvlm.training.batches import Batches, PhotoFeatures
from interactvlm.training.config import TrainingConfig
from interactvlm.training.examples import ExampleBuilder
from interactvlm.training.feature_cache import FeatureCache
from interactvlm.training.frozen_parts import open_body, open_vision, tower_identity, tower_path
from interactvlm.training.initialise import projector_in_range
from interactvlm.training.model import TrainableModel
from interactvlm.training.parameters import fill, trained_tensors
from interactvlm.training.phase import Phase
from interactvlm.training.prepare import prepare_model
from interactvlm.training.regions.open import open_regions
from interactvlm.training.saving import RunState
from interactvlm.training.sight.open import open_sight
from interactvlm.training.sources import open_source
from interactvlm.training.surfaces import TrainingSurfaces
from interactvlm.training.trainer import Trainer, make_accelerator
from interactvlm.training.validation import LiveModel, validate
from interactvlm.types import Task
from interactvlm.vlm.model import ContactVLM
from interactvlm.vlm.projector import BlockProjector
from interactvlm.vlm.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["OpenedRun", "base_folder", "open_run"]

#: Photos whose features tell the spread that a fresh projector must meet.
_PHOTOS_FOR_SPREAD = 64


class OpenedRun:
    """A run, ready to train; its parts for whoever wants to look inside or put them together otherwise (ablation)."""

    def __init__(
        self,
        *,
        config: TrainingConfig,
        folder: Path,
        base: Path,
        model: TrainableModel,
        phases: Sequence[Phase],
        trainer: Trainer,
        sources: Sequence[Sequence[ContactSample]],
        builder: ExampleBuilder,
        features: PhotoFeatures,
        surfaces: TrainingSurfaces,
        live: LiveModel,
        vlm: ContactVLM,
    ) -> None:
        self.config = config
        self.folder = folder
        self.base = base
        self.model = model
        self.phases = phases
        self.trainer = trainer
        self.sources = sources
        self.builder = builder
        self.features = features
        self.surfaces = surfaces
        self.live = live
        self.vlm = vlm

    def run(self, *, resume: bool, minutes: float = math.inf) -> RunState | None:
        """All phases, each as far as it is not done yet; arguments and errors as `Trainer.run`.

        Returns:
            Where the joint phase stands, None where it has not begun.
        """
        begin = time.monotonic()
        if not self.learn_phases(minutes=minutes):
            return None
        return self.trainer.run(resume=resume, minutes=minutes - (time.monotonic() - begin) / 60)

    def learn_phases(self, *, minutes: float = math.inf) -> bool:
        """Run the phases before the joint one as far as they are not done, and load them; whether all of them are."""
        begin = time.monotonic()
        for phase in self.phases:
            if not phase.done:
                phase.run(minutes=minutes - (time.monotonic() - begin) / 60)
            if not phase.done:
                return False
        for phase in self.phases:
            phase.load()
        return True


def base_folder(config: TrainingConfig) -> Path:
    """The checkpoint that training begins with; nano's is put together without anything that was trained."""
    if config.model.base == "nano":
        from interactvlm.vlm.nano.assembly import assemble_base

        return assemble_base()
    folder = Path(config.model.base).expanduser()
    if not folder.is_dir():
        raise InputError("model.base", f"is {config.model.base!r}, neither nano nor a checkpoint folder")
    return folder


def open_run(
    config: TrainingConfig,
    *,
    sources: Sequence[Sequence[ContactSample]] | None = None,
    held_out: Sequence[ContactSample] | None = None,
    body: tuple[BodySource, BodyTemplate] | None = None,
    phases_folder: Path | None = None,
) -> OpenedRun:
    """Open data and checkpoint and put the run together.

    Args:
        config: the configuration.
        sources: samples to use in place of what [[data]] names, one sequence per source.
        held_out: samples to use in place of what [run.validation] names.
        body: what human contact lies on in the renders, and the body with its parts, in place of what is found.
        phases_folder: where the phases before the joint one lie, when it is not in the run's own folder.

    Raises:
        InputError: the configuration names something that is not there.
        CheckpointError: the base checkpoint is incomplete.
        MissingDependencyError: an optional package is not installed.
    """
    run, steps = config.run, config.steps
    opened_sources = [open_source(source) for source in config.data] if sources is None else list(sources)
    accelerator = make_accelerator(config)
    device = accelerator.device
    half = torch.bfloat16 if steps.precision == "bfloat16" else torch.float32
    base = base_folder(config)
    release = ReleaseConfig.from_folder(base)
    cache = Path(run.cache).expanduser() if run.cache else load_settings().cache_path / "training"

    tokenizer = load_tokenizer(base, release)
    vision = open_vision(config, base, release, device, half)
    shape = (vision.image_tokens, vision.width)
    features = PhotoFeatures(
        vision,
        FeatureCache(cache / f"photos-{tower_identity(tower_path(config, base, release), release)}", shape),
    )
    # Sharded parameters are gathered in one dtype: frozen ones then stay as wide as trained ones.
    frozen = torch.float32 if steps.parallel == "fsdp2" else half
    model = prepare_model(base, config.model, device=device, frozen_dtype=frozen, seed=steps.seed)
    source, template = body or open_body(config, base, release, device)
    surfaces = TrainingSurfaces(
        base,
        body=source,
        before_neck=config.model.neck,
        mask_side=steps.mask_side,
        object_share=steps.objects,
        cache=cache / "surfaces",
        device=device,
    )
    _start(model, config, opened_sources, features)
    builder = ExampleBuilder(
        config=release, tokenizer=tokenizer, topology=template.topology, part_index=template.part_index
    )
    batches = Batches(
        opened_sources,
        [s.ratio for s in config.data],
        steps=steps,
        builder=builder,
        features=features,
        surfaces=surfaces,
    )
    folder = Path(run.folder).expanduser()
    vlm = ContactVLM(config=release, network=model.network, vision=vision, tokenizer=tokenizer)
    live = LiveModel(
        vlm=vlm, model=model, surfaces=surfaces, template=template, autocast=lambda: _autocast(accelerator)
    )
    score = None
    if held_out is None and run.validation is not None and run.validate_every:
        held_out = open_source(run.validation)
    if held_out is not None:
        tasks = [task for task in Task if release.has_object_head or task is not Task.OBJECT]
        score = partial(validate, live, held_out, tasks=tasks)
    sight = open_sight(
        config,
        model=model,
        table=_table(model),
        tokenizer=tokenizer,
        sources=opened_sources,
        held_out=held_out,
        features=features,
        preprocessor=vision.preprocessor,
        part_index=template.part_index,
        folder=phases_folder or folder,
        writes=accelerator.is_main_process,
    )
    regions = open_regions(
        config,
        model=model,
        builder=builder,
        body=surfaces.body,
        template=template,
        sources=opened_sources,
        folder=phases_folder or folder,
        writes=accelerator.is_main_process,
    )
    trainer = Trainer(
        model=model, batches=batches, config=config, accelerator=accelerator, folder=folder, validate=score
    )
    return OpenedRun(
        config=config,
        folder=folder,
        base=base,
        model=trainer.model,
        phases=[phase for phase in (sight, regions) if phase is not None],
        trainer=trainer,
        sources=opened_sources,
        builder=builder,
        features=features,
        surfaces=surfaces,
        live=live,
        vlm=vlm,
    )


def _start(
    model: TrainableModel, config: TrainingConfig, sources: Sequence[Sequence[ContactSample]], features: PhotoFeatures
) -> None:
    """nano only: the weights that ship, or a projector that speaks the language model's range."""
    if config.model.base != "nano":
        return
    if config.model.start == "shipped":
        from interactvlm.vlm.nano.manifest import ASSETS, NanoManifest
        from interactvlm.vlm.nano.tensors import shipped_weights

        shipped = shipped_weights(NanoManifest.read(), ASSETS)
        tensors = {n: torch.from_numpy(v).float() for n, v in shipped.items()}
        fill(trained_tensors(model), tensors, source="the shipped weights")
        return
    projector = model.network.model.mm_projector
    if not config.model.projector or not isinstance(projector, BlockProjector):
        return
    some = [sources[0][i] for i in range(min(_PHOTOS_FOR_SPREAD, len(sources[0])))]
    seen = torch.cat(features(some)).float()
    weight, bias = projector_in_range(seen, _table(model), seed=config.steps.seed)
    projector.begin(weight, bias)


def _table(model: TrainableModel) -> Tensor:
    """The language model's own token embeddings, float32 [W, h]."""
    embedding: Any = model.network.model.embed_tokens
    table: Tensor = embedding.frozen if hasattr(embedding, "frozen") else embedding.weight
    return table.detach().float().cpu()


def _autocast(accelerator: Accelerator) -> Any:
    return accelerator.autocast() if accelerator.mixed_precision == "bf16" else nullcontext()

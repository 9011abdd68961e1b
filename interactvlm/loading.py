"""From settings to loaded models: which folder, which device, which body, then the stages one by one.

A process that runs one stage loads only that stage; `local.load_pipeline` loads them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interactvlm.body.template import BodyTemplate, load_template
from interactvlm.checkpoints.companions import BODY_FILES, BODY_RENDER_FILES, find_body_folder, find_vision_tower
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.manifest import checkpoint_hash
from interactvlm.config import Settings
from interactvlm.errors import CheckpointError, InputError, MissingDependencyError
from interactvlm.types import ModelIdentity

if TYPE_CHECKING:
    import torch

    from interactvlm.mvloc.model import ContactLocalizer
    from interactvlm.vlm.model import ContactVLM

__all__ = ["OpenedCheckpoint", "load_body", "load_language", "load_localizer", "open_checkpoint", "placement"]


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A checkpoint folder that was found, with its configuration read and no weights loaded.

    Attributes:
        settings: what it was opened with.
        folder: the checkpoint.
        name: "nano", or the folder's name.
        config: its config.json.
        device: where its weights go.
        dtype: what they are computed in.
    """

    settings: Settings
    folder: Path
    name: str
    config: ReleaseConfig
    device: torch.device
    dtype: torch.dtype

    def identity(self) -> ModelIdentity:
        """Which weights these are; reads every file unless its hash is remembered."""
        return ModelIdentity(
            self.name,
            checkpoint_hash(self.folder, cache=self.settings.cache_path),
            trained=self.config.trained,
            notice=self.config.notice,
            close_up=self.config.close_up,
        )


def open_checkpoint(settings: Settings) -> OpenedCheckpoint:
    """Find the checkpoint and the device; nano is assembled on first use.

    Raises:
        CheckpointError: the folder is missing, or its config.json cannot be used.
        InputError: the device does not exist.
        MissingDependencyError: torch, or a package that carries a part of nano, is not installed.
    """
    device, dtype = placement(settings)
    folder, name = _checkpoint_folder(settings)
    return OpenedCheckpoint(settings, folder, name, ReleaseConfig.from_folder(folder), device, dtype)


def load_language(opened: OpenedCheckpoint) -> ContactVLM:
    """Psi and Gamma.

    Raises:
        CheckpointError: a file or tensor is missing or does not fit.
        MissingDependencyError: an optional package is not installed.
    """
    from interactvlm.vlm.model import ContactVLM
    from interactvlm.vlm.prompts import DemoQuirks

    inside = bool(opened.config.vision_tower_dir)
    tower = opened.settings.vision_tower or (None if inside else find_vision_tower(opened.folder))
    return ContactVLM.from_folder(
        opened.folder,
        vision_tower=tower,
        device=opened.device,
        dtype=opened.dtype,
        quirks=DemoQuirks(quoted_object_question=opened.settings.object_question == "demo"),
    )


def load_localizer(opened: OpenedCheckpoint) -> tuple[ContactLocalizer, BodyTemplate]:
    """Phi, Omega and the lift, Theta when it is needed; and the body that human contacts lie on.

    Raises:
        CheckpointError: a file or tensor is missing or does not fit, or there is no body model.
        MissingDependencyError: an optional package is not installed.
    """
    from interactvlm.mvloc.checks import check_has_views
    from interactvlm.mvloc.model import ContactLocalizer
    from interactvlm.mvloc.surfaces import HumanLift, ObjectCamera, OfficialBody

    check_has_views(opened.config, opened.folder)  # before a body is asked for, which that model does not need
    folder, body = load_body(opened)
    # The release's own renders are what its masks were trained on: preferred where the user has them all.
    rendered = folder is not None and all((folder / name).is_file() for name in BODY_RENDER_FILES)
    source = OfficialBody(folder, body.vertex_count) if folder and rendered else body
    localizer = ContactLocalizer.from_folder(
        opened.folder,
        body=source,
        device=opened.device,
        dtype=opened.dtype,
        cache_dir=opened.settings.cache_path / "views",
        cache_bytes=opened.settings.cache_bytes,
        human_lift=HumanLift(opened.settings.human_lift),
        object_camera=ObjectCamera(opened.settings.object_camera),
    )
    return localizer, body


def load_body(opened: OpenedCheckpoint) -> tuple[Path | None, BodyTemplate]:
    """The body that the checkpoint's human masks lie on, and the folder it came from (None: it ships with the library).

    Raises:
        CheckpointError: the checkpoint needs a body model that is not there, or cannot be read.
    """
    config, settings = opened.config, opened.settings
    if config.body_topology == "anny":
        return None, load_template("anny")
    given = Path(settings.body) if settings.body else find_body_folder(opened.folder)
    if given is None and not config.has_human_head:
        return None, load_template("anny")  # nothing is ever answered on it
    if given is None:
        raise CheckpointError(
            opened.folder,
            f"needs the body model {BODY_FILES[0]} in a folder `body` beside it; see `interactvlm doctor`",
        )
    file = given if given.is_file() else next((given / n for n in BODY_FILES if (given / n).is_file()), None)
    if file is None:
        raise CheckpointError(given, f"holds no body model: {' or '.join(BODY_FILES)}")
    return file.parent, load_template(config.body_topology, body_file=file)


def _checkpoint_folder(settings: Settings) -> tuple[Path, str]:
    if settings.model == "nano":
        from interactvlm.vlm.nano import assemble

        return assemble(settings.cache_path), "nano"
    folder = Path(settings.model)
    if not folder.is_dir():
        raise CheckpointError(settings.model, "is neither 'nano' nor a folder with a checkpoint")
    return folder, folder.resolve().name


def placement(settings: Settings) -> tuple[torch.device, torch.dtype]:
    """Device and dtype that the settings name, "auto" resolved.

    Raises:
        InputError: the device does not exist, or cannot compute in that dtype.
        MissingDependencyError: torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "vlm,mvloc") from None

    if settings.device == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        try:
            device = torch.device(settings.device)
            known = device.type in ("cpu", "cuda")
        except RuntimeError:
            known = False
        if not known:
            raise InputError("device", f"is {settings.device!r}; known: auto, cpu, cuda, cuda:N")
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise InputError(
                "device", f"is {settings.device!r}; this machine has {torch.cuda.device_count()} CUDA devices"
            )
    if settings.dtype == "auto":
        return device, torch.bfloat16 if device.type == "cuda" else torch.float32
    if settings.dtype == "float16" and device.type == "cpu":
        raise InputError("dtype", "is float16, which CPUs compute at a crawl; use float32 or bfloat16 there")
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return device, dtypes[settings.dtype]

"""The released 2D human-mask model (`multiview_channels` 1): contact as a mask on the photo itself.

One view, the photo; no camera to condition on, so the contact embedding is the only prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import CheckpointError, PhotoError
from interactvlm.mvloc.checks import check_embeddings
from interactvlm.mvloc.decoder import MaskPredictor, upsampled
from interactvlm.mvloc.encoder import ImageEncoder, sam_input

__all__ = ["HumanMask2D"]


class HumanMask2D:
    """Theta and Omega over a photo; build it with `from_folder`."""

    def __init__(self, *, config: ReleaseConfig, encoder: ImageEncoder, predictor: MaskPredictor) -> None:
        self._config = config
        self._encoder = encoder
        self._predictor = predictor

    @classmethod
    def from_folder(
        cls, folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> HumanMask2D:
        """Load the mask part of a one-view checkpoint folder.

        Raises:
            CheckpointError: the folder is incomplete or inconsistent, or holds a model of several views.
        """
        config = ReleaseConfig.from_folder(folder)
        if config.multiview_channels != 1:
            raise CheckpointError(folder, f"answers in {config.multiview_channels} views; the 2D human mask model in 1")
        reader = WeightReader(folder)
        encoder = ImageEncoder.load(reader, torch.device(device), dtype)
        predictor = MaskPredictor.load(
            reader,
            decoder_prefix="model.visual_model.mask_decoder.",
            grid=encoder.sizes.grid,
            device=torch.device(device),
            dtype=dtype,
        )
        return cls(config=config, encoder=encoder, predictor=predictor)

    @torch.inference_mode()
    def predict(
        self, photo: NDArray[np.uint8], embeddings: NDArray[np.float32], tokens: Sequence[str]
    ) -> NDArray[np.float32]:
        """Where the person in the photo is in contact.

        Args:
            photo: RGB uint8 [H, W, 3].
            embeddings: projected contact embeddings (E), float32 [Q, C].
            tokens: the contact token of each; all are treated alike, there is no splitter.

        Returns:
            Mask logits in the photo's pixels, float32 [Q, H, W]; contact is > 0.

        Raises:
            PhotoError: the photo is not RGB uint8.
            InputError: the embeddings are malformed.
        """
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
            raise PhotoError("photo", f"is {photo.dtype} {list(photo.shape)}, must be uint8 [height, width, 3]")
        prompts = check_embeddings(embeddings, tokens, channels=self._config.out_dim)[:, None]
        height, width = photo.shape[:2]
        if not len(prompts):
            return np.zeros((0, height, width), dtype=np.float32)
        side = self._encoder.sizes.image_size
        pixels, (used_height, used_width) = sam_input(photo, side)
        view = self._encoder.encode(pixels[None])
        low_res, _ = self._predictor(view, prompts.to(view.device))
        # Back from the padded square: upsample, cut the padding off, then to the photo's size (SAM's two steps).
        full = upsampled(low_res, side)[..., :used_height, :used_width]
        logits = F.interpolate(full, (height, width), mode="bilinear", align_corners=False)
        return np.asarray(logits[:, 0].cpu().numpy())

"""Answers of the 2D human-mask model as files. For a photo called `{stem}`:

- `{stem}.json`: every field that is not an array
- `{stem}.npz`: `probabilities_{i}` float32 [H, W] of each result, and `trained`, `notice`
- `{name}_hcontact_mask.png`: 255 where the person is in contact, else 0, in the photo's pixels
- `{name}_hcontact_mask_overlay.png`: the photo with the mask over it, for people

`{name}` is `{stem}` or `{object}__{stem}`, see `naming`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from interactvlm.errors import InputError
from interactvlm.results.archive import common_fields
from interactvlm.results.colours import contact_colours
from interactvlm.results.community import npz_bytes
from interactvlm.results.lettering import draw_lines, line_height, wrap
from interactvlm.results.naming import result_stems
from interactvlm.results.write import png_bytes
from interactvlm.types import MaskPrediction, PhotoMask

__all__ = ["FORMAT", "mask_files", "mask_prediction_to_dict"]

FORMAT = "interactvlm.photo_mask/1"

_OPACITY = 0.65
_TEXT_SIZE = 22
_MIN_WIDTH = 480


def mask_files(prediction: MaskPrediction, *, stem: str, photo: NDArray[np.uint8]) -> dict[str, bytes]:
    """All files about one photo, by name.

    Args:
        prediction: the answers.
        stem: the photo's name without extension.
        photo: upright RGB uint8 [H, W, 3].

    Raises:
        InputError: the stem cannot be a file name, or a mask has another size than the photo.
    """
    for result in prediction.results:
        if result.probabilities.shape != photo.shape[:2]:
            raise InputError(
                "photo", f"is {list(photo.shape[:2])}; the answer's mask is {list(result.probabilities.shape)}"
            )
    document = json.dumps(mask_prediction_to_dict(prediction), ensure_ascii=False, indent=2, allow_nan=False)
    arrays: dict[str, NDArray[Any]] = {
        "trained": np.array(prediction.model.trained),
        "notice": np.array(prediction.model.notice),
    }
    for index, result in enumerate(prediction.results):
        arrays[f"probabilities_{index}"] = result.probabilities.astype(np.float32)
    files = {f"{stem}.json": document.encode() + b"\n", f"{stem}.npz": npz_bytes(arrays)}
    for name, result in zip(result_stems(stem, prediction.results), prediction.results, strict=True):
        files[f"{name}_hcontact_mask.png"] = png_bytes(Image.fromarray(result.mask.astype(np.uint8) * 255))
        files[f"{name}_hcontact_mask_overlay.png"] = png_bytes(_overlay(prediction, result, photo))
    return files


def mask_prediction_to_dict(prediction: MaskPrediction) -> dict[str, Any]:
    """Every field that is not an array, as JSON values (also what a command prints with `--json`)."""
    return {
        "format": FORMAT,
        **common_fields(prediction),
        "results": [
            {
                "task": result.task.value,
                "object": result.object_name,
                "text": result.text,
                "confidence": float(result.confidence),
                "contact_token": result.contact_token,
                "contact_pixels": int(result.mask.sum()),
                "arrays": {"probabilities": f"probabilities_{index}"},
            }
            for index, result in enumerate(prediction.results)
        ],
    }


def _overlay(prediction: MaskPrediction, result: PhotoMask, photo: NDArray[np.uint8]) -> Image.Image:
    """The photo under its mask, and below it what was asked, the answer and what a reader must know."""
    colours = contact_colours(result.probabilities)
    share = np.where(result.mask, _OPACITY, 0.0)[..., None]
    picture = Image.fromarray(np.rint(photo * (1 - share) + colours * share).astype(np.uint8))
    width = max(picture.width, _MIN_WIDTH)
    asked = result.object_name or ("the scene" if result.task.value == "scene" else "anything")
    texts = [f"Where the person touches {asked}: {int(result.mask.sum()):,} pixels", f"“{result.text}”"]
    notices = list(dict.fromkeys(filter(None, (prediction.model.notice, *prediction.notices))))
    if not prediction.model.trained:
        notices.insert(0, "UNTRAINED MODEL: THESE ANSWERS MEAN NOTHING")
    lines = [line for text in texts for line in wrap(text, size=_TEXT_SIZE, width=width - 32, lines=3)]
    warnings = [line for text in notices for line in wrap(text, size=_TEXT_SIZE, width=width - 32, lines=3)]
    foot = 24 + (len(lines) + len(warnings)) * line_height(_TEXT_SIZE)
    page = Image.new("RGB", (width, picture.height + foot), (255, 255, 255))
    page.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(page)
    y = draw_lines(draw, (16, picture.height + 12), warnings, size=_TEXT_SIZE, fill=(178, 0, 24), bold=True)
    draw_lines(draw, (16, y), lines, size=_TEXT_SIZE, fill=(24, 26, 32))
    return page

"""Photographs from the outside: read once, checked, turned upright, RGB uint8 HxWx3.

A photo is untrusted. Only four formats are opened, the header's dimensions are checked before any pixel is decoded,
and everything that a viewer would show differently from what the model would see (animation, CMYK) is refused.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from interactvlm.errors import PhotoError

__all__ = ["PhotoLimits", "load_photo", "photo_from_array", "photo_sha256", "read_photo"]

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_MODES = ("RGB", "RGBA", "L", "LA", "P", "1")


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """What a photo may measure.

    Attributes:
        max_bytes: size of the encoded file.
        max_pixels: width times height.
        max_side: the longer side, in pixels.
        min_side: the shorter side, in pixels.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 64 * 10**6
    max_side: int = 16384
    min_side: int = 16


def load_photo(source: Path | str | bytes, *, limits: PhotoLimits | None = None) -> NDArray[np.uint8]:
    """Decode one photograph.

    Args:
        source: a file's path, or the encoded bytes.
        limits: bounds on size; the defaults suit a server.

    Returns:
        RGB uint8 [H, W, 3], turned upright by the EXIF orientation, transparency laid on white.

    Raises:
        PhotoError: missing, empty, truncated, not an image of an allowed format, animated, CMYK, or outside `limits`.
    """
    limits = limits or PhotoLimits()
    name, data = _read(source, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; our own limit decides
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError:  # Pillow's own limit, before ours can be read off the header
        raise PhotoError(name, f"has more pixels than the limit of {limits.max_pixels}") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise PhotoError(name, f"is not a readable {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]} image") from None
    with image:
        _check_header(name, image, limits)
        try:
            ImageOps.exif_transpose(image, in_place=True)
            upright: Image.Image = image
            if upright.mode in ("RGBA", "LA") or "transparency" in upright.info:
                layer = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            # Every step that Pillow can be spared is a copy less, and a wait less for the interpreter's lock.
            return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"), dtype=np.uint8)
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, ZeroDivisionError) as error:
            raise PhotoError(name, f"is damaged or truncated ({error})") from None


def read_photo(source: Path | str | bytes, *, limits: PhotoLimits | None = None) -> bytes:
    """The encoded file as it is, for somebody else to decode.

    Raises:
        PhotoError: missing, empty, or larger than `limits`.
    """
    return _read(source, limits or PhotoLimits())[1]


def photo_from_array(array: NDArray[np.generic], *, limits: PhotoLimits | None = None) -> NDArray[np.uint8]:
    """Check an array that a caller holds already.

    Raises:
        PhotoError: it is not uint8 [H, W, 3], or outside `limits`.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise PhotoError("photo", f"must be uint8 [H, W, 3], not {array.dtype} {list(array.shape)}")
    _check_size("photo", array.shape[1], array.shape[0], limits or PhotoLimits())
    return np.ascontiguousarray(array, dtype=np.uint8)


def photo_sha256(photo: NDArray[np.uint8]) -> str:
    """Identity of a photo: sha256 over its height, width and upright RGB bytes, hex."""
    digest = hashlib.sha256(np.asarray(photo.shape[:2], dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(photo).data)
    return digest.hexdigest()


def _read(source: Path | str | bytes, limits: PhotoLimits) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        name, data = "photo", source[: limits.max_bytes + 1]
    else:
        path = Path(source)
        name = path.name
        try:
            if not path.is_file():
                raise PhotoError(str(path), "is a directory" if path.is_dir() else "does not exist")
            with path.open("rb") as stream:
                data = stream.read(limits.max_bytes + 1)
        except OSError as error:
            raise PhotoError(str(path), f"cannot be read ({error.strerror})") from None
    if not data:
        raise PhotoError(name, "is empty")
    if len(data) > limits.max_bytes:
        raise PhotoError(name, f"is larger than the limit of {limits.max_bytes} bytes")
    return name, data


def _check_header(name: str, image: Image.Image, limits: PhotoLimits) -> None:
    _check_size(name, image.width, image.height, limits)
    if getattr(image, "is_animated", False):
        raise PhotoError(name, f"is animated ({getattr(image, 'n_frames', 0)} frames); send one still photo")
    if image.mode not in _MODES:
        raise PhotoError(name, f"has colour mode {image.mode}; convert it to RGB")


def _check_size(name: str, width: int, height: int, limits: PhotoLimits) -> None:
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise PhotoError(
            name, f"is {width}x{height} pixels; the limit is {limits.max_side} a side and {limits.max_pixels} in all"
        )
    if min(width, height) < limits.min_side:
        raise PhotoError(name, f"is {width}x{height} pixels; the shorter side must be at least {limits.min_side}")

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from interactvlm.errors import PhotoError
from interactvlm.photo import PhotoLimits, load_photo, photo_from_array, photo_sha256


def _encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _gradient(width: int = 40, height: int = 30) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 6, y * 8, (x + y) * 3], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("file_format", ["PNG", "BMP"])
def test_lossless_formats_keep_every_pixel(file_format: str) -> None:
    assert np.array_equal(load_photo(_encode(_gradient(), file_format)), np.asarray(_gradient()))


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_lossy_formats_decode(file_format: str) -> None:
    photo = load_photo(_encode(_gradient(), file_format))
    assert photo.shape == (30, 40, 3)
    assert photo.dtype == np.uint8


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def test_exif_rotation_is_honoured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: rotate by 90 degrees clockwise
    photo = load_photo(_encode(_gradient(), "PNG", exif=exif))
    assert np.array_equal(photo, np.rot90(np.asarray(_gradient()), k=-1))


def test_transparency_lies_on_white() -> None:
    photo = load_photo(_encode(Image.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG"))
    assert (photo == 255).all()


def test_grey_becomes_rgb() -> None:
    assert load_photo(_encode(Image.new("L", (20, 20), 7), "PNG")).shape == (20, 20, 3)


def _png_declaring(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def _animated() -> bytes:
    frames = [Image.new("RGB", (20, 20), (i * 80, 0, 0)) for i in range(3)]
    return _encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (b"This is not a picture.", "is not a readable"),
        (_encode(_noise(), "PNG")[:2000], "damaged or truncated"),
        (_encode(_noise(), "JPEG")[:-300], "damaged or truncated"),
        (_png_declaring(100_000, 100_000), "has more pixels than the limit of 64000000"),
        (_png_declaring(20_000, 100), "20000x100 pixels; the limit is 16384 a side"),
        (_encode(Image.new("CMYK", (20, 20)), "JPEG"), "colour mode CMYK"),
        (_animated(), "is animated (3 frames)"),
        (_encode(_gradient(), "GIF"), "is not a readable"),
        (_encode(_gradient(12, 30), "PNG"), "the shorter side must be at least 16"),
    ],
    ids=["empty", "text", "cut-png", "cut-jpeg", "huge", "wide", "cmyk", "animated", "gif", "tiny"],
)
def test_bad_photos_say_why(data: bytes, expected: str) -> None:
    with pytest.raises(PhotoError, match=expected.replace("(", r"\(").replace(")", r"\)")):
        load_photo(data)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="does not exist"):
        load_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match="is a directory"):
        load_photo(tmp_path)


def test_byte_limit(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(_encode(_gradient(), "PNG"))
    with pytest.raises(PhotoError, match="larger than the limit of 100 bytes"):
        load_photo(path, limits=PhotoLimits(max_bytes=100))


@pytest.mark.parametrize(
    "array", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3), np.float32), np.zeros((40, 40, 4), np.uint8)]
)
def test_arrays_of_another_kind_are_refused(array: np.ndarray) -> None:
    with pytest.raises(PhotoError, match="must be uint8"):
        photo_from_array(array)


def test_identity_depends_on_shape_and_pixels() -> None:
    photo = np.zeros((20, 30, 3), np.uint8)
    other = photo.copy()
    other[0, 0, 0] = 1
    hashes = {photo_sha256(photo), photo_sha256(other), photo_sha256(photo.reshape(30, 20, 3))}
    assert len(hashes) == 3


_VALID = [_encode(_gradient(), f) for f in ("PNG", "JPEG", "WEBP", "BMP")]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(_VALID), st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_damaged_files_give_a_photo_or_one_clear_error(data: bytes, offset: int, patch: bytes) -> None:
    offset %= len(data)
    damaged = data[:offset] + patch + data[offset + len(patch) :]
    with suppress(PhotoError):  # any other exception fails the test
        photo = load_photo(damaged)
        assert photo.ndim == 3
        assert photo.dtype == np.uint8

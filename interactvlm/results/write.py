"""Everything about one photo as files: all of them, or none."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.results.archive import archive_files
from interactvlm.results.community import community_file
from interactvlm.results.figure import draw_figures
from interactvlm.results.glb import contact_glb
from interactvlm.results.naming import result_stems
from interactvlm.types import Prediction, Target

__all__ = ["check_folder", "png_bytes", "prediction_files", "write_files", "write_prediction"]

Progress = Callable[[str], None]


def check_folder(out: Path) -> None:
    """Refuse early, before any work, a folder into which nothing could be written.

    Raises:
        InputError: it is a file, lies below one, or may not be written.
    """
    try:
        nearest = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
        if not nearest.is_dir():
            raise InputError(str(out), f"cannot be written: {nearest} is not a folder")
        if not os.access(nearest, os.W_OK):
            raise InputError(str(out), f"cannot be written: {nearest} is read-only")
    except OSError as error:  # such as a name that is too long
        raise InputError(str(out), f"cannot be written ({error.strerror})") from None


def write_prediction(
    prediction: Prediction,
    out: Path,
    *,
    stem: str,
    photo: NDArray[np.uint8],
    body: BodyTemplate,
    surfaces: Mapping[str, Mesh | PointCloud],
    smplh_to_smplx: Any | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write `prediction_files` into a folder.

    Files are made in a hidden folder inside `out` (so always on its file system) and moved at the end; files of an
    earlier call with the same names are replaced, others left alone. On failure the folder is as it was before.

    Args:
        out: the folder; made when missing.
        progress: called with the name of each file before it is moved to its place.

    Other arguments: see `prediction_files`.

    Returns:
        Paths, in the order of `prediction_files`.

    Raises:
        InputError: see `prediction_files`; or `out` cannot be written.
    """
    files = prediction_files(
        prediction, stem=stem, photo=photo, body=body, surfaces=surfaces, smplh_to_smplx=smplh_to_smplx
    )
    return write_files(files, out, progress=progress)


def write_files(files: Mapping[str, bytes], out: Path, *, progress: Progress | None = None) -> list[Path]:
    """Write all files into a folder, or none; `write_prediction` says how.

    Raises:
        InputError: `out` cannot be written.
    """
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _commit(files, out, progress)
    except BaseException as error:
        for folder in missing:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        if isinstance(error, OSError):
            raise InputError(str(out), f"cannot be written ({error.strerror or error})") from None
        raise


def prediction_files(
    prediction: Prediction,
    *,
    stem: str,
    photo: NDArray[np.uint8],
    body: BodyTemplate,
    surfaces: Mapping[str, Mesh | PointCloud],
    smplh_to_smplx: Any | None = None,
) -> dict[str, bytes]:
    """All files about one photo, by name (see the package's docstring for the list).

    Args:
        prediction: the answers.
        stem: the photo's name without extension.
        photo: upright RGB uint8 [H, W, 3].
        body: the body that human answers lie on.
        surfaces: the objects' meshes or points by content hash (`TaskResult.surface`).
        smplh_to_smplx: the user's [10475, 6890] matrix, for the SMPL-X key of the community file.

    Raises:
        InputError: the stem holds a path separator or the like, a surface is missing, or counts do not fit.
    """
    names = result_stems(stem, prediction.results)
    every_surface: dict[str, Mesh | PointCloud] = {**surfaces, body.topology: body.as_mesh()}
    for result in prediction.results:
        if result.surface not in every_surface:
            raise InputError("surfaces", f"has no {result.surface!r}, on which an answer lies")
    files = archive_files(prediction, stem=stem)
    for name, result in zip(names, prediction.results, strict=True):
        suffix = "body" if result.target is Target.HUMAN else "object"
        files[f"{name}_{suffix}.glb"] = contact_glb(result, every_surface[result.surface], model=prediction.model)
        community_name, content = community_file(
            result, name=name, model=prediction.model, smplh_to_smplx=smplh_to_smplx
        )
        files[community_name] = content
    figures = draw_figures(prediction, title=stem, photo=photo, surfaces=every_surface)
    for number, figure in enumerate(figures, start=1):
        files[f"{stem}.png" if number == 1 else f"{stem}_page{number}.png"] = png_bytes(figure)
    return files


def _commit(files: Mapping[str, bytes], out: Path, progress: Progress | None) -> list[Path]:
    staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=out))
    replaced = staging / "replaced"
    done: list[Path] = []
    try:
        replaced.mkdir()
        for name, content in files.items():
            if (out / name).is_dir():
                raise InputError(str(out / name), "is a folder; a file of this name must be written")
            (staging / name).write_bytes(content)
            if (out / name).exists():
                shutil.copyfile(out / name, replaced / name)
        for name in files:
            if progress is not None:
                progress(name)
            (staging / name).replace(out / name)
            done.append(out / name)
    except BaseException:
        for path in done:
            earlier = replaced / path.name
            if earlier.exists():
                earlier.replace(path)
            else:
                path.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return done


def png_bytes(figure: Image.Image) -> bytes:
    """A picture as a PNG file."""
    stream = io.BytesIO()
    figure.save(stream, format="PNG", compress_level=3)  # half the time of the default, a tenth larger
    return stream.getvalue()

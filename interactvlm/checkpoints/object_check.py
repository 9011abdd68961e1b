"""Checks of an object's folder: the release's renders and maps of it, beside its mesh or points."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from interactvlm.checkpoints.findings import Finding
from interactvlm.geometry.cameras import OBJECT_VIEWS
from interactvlm.geometry.load import MESH_TYPES, POINT_TYPES
from interactvlm.geometry.official_object import LIFT_MAPS, LIFT_MAPS_PICKLE

__all__ = ["check_object"]


def check_object(folder: Path, names: Collection[str]) -> Iterator[Finding]:
    """What an object's folder holds and lacks; nothing when it holds no maps of an object. Names only are looked at.

    Args:
        folder: the folder.
        names: the files in it.
    """
    by_view = {prefix: any(name.startswith(f"{prefix}_") for name in names) for prefix in ("p2vmap", "p2pmap")}
    if not (LIFT_MAPS_PICKLE in names or LIFT_MAPS in names or any(by_view.values())):
        return
    points = by_view["p2pmap"] and not (by_view["p2vmap"] or LIFT_MAPS in names or LIFT_MAPS_PICKLE in names)
    yield Finding("note", "use", f"interactvlm predict PHOTO --object NAME --mesh NAME={folder} --model CHECKPOINT")
    if LIFT_MAPS_PICKLE in names and not (LIFT_MAPS in names or by_view["p2vmap"]):
        pickle, converted = folder / LIFT_MAPS_PICKLE, folder / LIFT_MAPS
        text = f"is a pickle; run `interactvlm convert-checkpoint {pickle} {converted}`"
        yield Finding("missing", LIFT_MAPS_PICKLE, text)
    prefix, render = ("p2pmap", "sam") if points else ("p2vmap", "obj_render_color")
    for view in OBJECT_VIEWS:
        if f"{render}_{view.name}.png" not in names:
            yield Finding("missing", f"{render}_{view.name}.png", f"the release's render; put it into {folder}")
        maps = any(name.startswith(f"{prefix}_{view.name}_") for name in names)
        if not maps and by_view[prefix] and LIFT_MAPS not in names:
            yield Finding("missing", f"{prefix}_{view.name}_*.npz", f"the map of that view; put it into {folder}")
    what, types = ("file of points", POINT_TYPES) if points else ("mesh", MESH_TYPES)
    own = [n for n in names if Path(n).suffix.lower()[1:] in types and not n.startswith(prefix) and n != LIFT_MAPS]
    if len(own) != 1:
        text = f"one file is needed beside the maps ({', '.join(types)}), there are {len(own)}"
        yield Finding("missing" if not own else "problem", what, text)
    else:
        yield Finding("ok", own[0], f"the {what}")

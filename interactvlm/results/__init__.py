"""Answers as files. `write_prediction` writes, for a photo called `{stem}`:

- `{stem}.json`, `{stem}.npz`: our own record, see `archive`; `read_prediction` reads it back
- `{name}_hcontact_vertices[_{topology}].npz`, `{name}_oafford_vertices.npz`: what community tools read, see `community`
- `{name}_body.glb`, `{name}_object.glb`: the surface with its contact coloured, see `glb`
- `{stem}.png` (`{stem}_page2.png` ... beyond six results): one picture for people, see `figure`

The 2D human-mask model's answers are other files, see `photo_mask`.

`{name}` is `{stem}` or `{object}__{stem}`, see `naming`.
"""

from __future__ import annotations

from interactvlm.results.archive import prediction_to_dict, read_prediction
from interactvlm.results.naming import check_stem
from interactvlm.results.write import prediction_files, write_prediction

__all__ = ["check_stem", "prediction_files", "prediction_to_dict", "read_prediction", "write_prediction"]

"""The embedded model set `nano`: small enough for two CPU cores, put together from installed packages.

`assemble()` gives a folder in the official checkpoint layout, which the ordinary loaders read: the same classes as the
published models, smaller numbers. Until it is trained for contact it knows the answer format only, and says so
(`NANO_NOTICE`).
"""

from __future__ import annotations

from interactvlm.vlm.nano.assembly import assemble
from interactvlm.vlm.nano.configuration import NANO_NOTICE
from interactvlm.vlm.nano.packages import install_nano_packages

__all__ = ["NANO_NOTICE", "assemble", "install_nano_packages"]

"""The original's latents are kept outside one map, and nothing is told."""

from __future__ import annotations

from spf.guides.held import Held

ORDER = 3


class Untold(Held):
    name = "untold"
    follows = True
    tells = False
    everywhere = ""

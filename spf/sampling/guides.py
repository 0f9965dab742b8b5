"""Ways to keep a tuned drawing near the original's (ours), as settings and as equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spf.config import PUSH, Config, GenerateConfig, as_in, check_real, choice, follows, real
from spf.errors import BadInput
from spf.guides import make
from spf.models import Base
from spf.registry import GUIDES
from spf.sfcm import SCALES


@dataclass(frozen=True)
class GuideConfig(Config):
    """How the tuned drawing is kept near the original's (ours); `spf.guides` has one file for each
    way.

    Guides that blend are SFCM-guided sampling: each step uses ref + M (res - ref) of both
    predictions with their map as M, so that outside M the reference rules.

    Guides that follow draw the original first. They have one map M for all steps, and keep the
    original's latents outside
    it: x = x_ref + M (x_res - x_ref). Inside, the response path may be told what the original shows
    (`spf.traits`), and the target is guided on its own, see `composed`: by the difference that it
    makes to a text which says what the tailored set has in common, if the adapter has noted that.
    Of several targets each is drawn in its turn, and follows the drawing that shows those before it
    (continuous customisation, arXiv 2504.00396).
    """

    map: str = choice(
        "held",
        GUIDES,
        "how to stay near the original: follow its drawing, or blend by each step's map of that "
        "name",
    )
    scale: str = choice(
        "stretch", SCALES, "scale of M where it is a noise difference or the target attention"
    )
    start: float = real(
        0.0,
        0.0,
        1.0,
        "share of the steps after which the blend begins; before it the response path is free",
    )
    push: float = as_in(GenerateConfig, "push")

    @property
    def follows(self) -> bool:
        """Whether the original's drawing is followed."""
        return follows(self.map)


def freed(guide: GuideConfig) -> GuideConfig | None:
    """The guide for a target that is everywhere, which leaves nothing to hold."""
    instead = make(guide.map).everywhere
    if not instead:
        return None
    return replace(guide, map=instead) if guide.follows else guide


def pushed(guide: GuideConfig, adapters: Sequence[Mapping[str, str]]) -> float:
    """How many times the guidance goes to the target: what the guide says, else the most that the
    metadata of the adapters say, else what is ordinary for its kind."""
    noted = max(map(_push, adapters), default=0.0)
    return guide.push or noted or make(guide.map).ordinary


def _push(metadata: Mapping[str, str]) -> float:
    """What an adapter says; 0 for one that says nothing or nonsense."""
    try:
        return check_real("push", float(metadata.get("push", 0)), *PUSH)
    except (ValueError, BadInput):
        return 0.0


def composed(
    base: Base,
    latents: Tensor,
    timestep: Tensor,
    uncond: Tensor,
    plain: Tensor,
    states: Tensor | None,
    guidance: float,
    push: float,
    apart: Sequence[Tensor] = (),
    added: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(guided, last) predictions with the target guided on its own, in one UNet call; the rows of
    the last text come last.

    eps = e(empty) + g (e(base) - e(empty)) + g push (e(complete) - e(base)): Composable Diffusion
    (Liu et al. 2022, Eq. 11) with the base text (plain) and what the complete text (states) adds to
    it as the two concepts; uncond: of the empty text, or of a negative one. apart: states of two
    other texts, whose difference is the second concept instead; added: that difference itself,
    where other weights found it. With either the complete text may be None, which spares its row.
    """
    texts = [uncond, plain, *apart, *([] if states is None else [states])]
    with base.away(len(latents), timestep):
        found = predictions(base, latents, timestep, texts)
    blank, before = found[:2]
    if added is None:
        less, more = found[2:4] if apart else (before, found[-1])
        added = more - less
    return blank + guidance * (before - blank) + guidance * push * added, found[-1]


def predictions(
    base: Base, latents: Tensor, timestep: Tensor, texts: Sequence[Tensor]
) -> Sequence[Tensor]:
    """Predictions [B,C,h,w] on the same latents, one for each of the text states [1 or B,77,D], in
    one UNet call.
    """
    rows = torch.cat([text.expand(len(latents), -1, -1) for text in texts])
    return base.predict(torch.cat([latents] * len(texts)), timestep, rows).chunk(len(texts))

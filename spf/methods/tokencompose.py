"""TokenCompose: the attention of each noun is taught to lie on its object (Wang et al. 2024, arXiv
2312.03626).

Full fine-tuning with two more losses on the cross-attention of the middle and of the upward half.
The original gets its masks from a detector; drawn portraits have exact ones. Nothing changes at
inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from spf.attention import Record, record
from spf.config import choice, real
from spf.losses import pixel_grounding, token_grounding
from spf.methods import Context, Method, MethodConfig, Rows, Terms, denoising
from spf.paths import all_names

MAPS, LEVELS = 10, 4
"""Supervised maps and levels of Stable Diffusion 1.x, for which the weights were found: mid at 8,
up at 16, 32 and 64.
"""

ORDER = 4


@dataclass(frozen=True)
class TokenComposeConfig(MethodConfig):
    learning_rate: float = real(5e-5, 1e-8, 1.0, "peak learning rate")
    token: float = real(
        1e-3,
        0.0,
        1e4,
        "weight of the token loss, for the 10 maps of Stable Diffusion 1.x; scaled for others",
    )
    pixel: float = real(
        5e-5, 0.0, 1e4, "weight of the pixel loss, for its 4 levels; scaled for others"
    )
    words: str = choice(
        "nouns", ("nouns", "phrases"), "nouns alone, or (a variant) their adjectives too"
    )


class TokenCompose(Method):
    """Every weight of the UNet trains, as in naive fine-tuning, which this is while both weights
    are 0.
    """

    name: ClassVar[str] = "tokencompose"
    Config = TokenComposeConfig
    config: TokenComposeConfig
    wants_words = True

    def parameter_names(self, unet) -> list[str]:
        return all_names(unet)

    def loss(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        c = self.config
        words = [
            [(word.noun if c.words == "nouns" else word.phrase, word.mask) for word in row]
            for row in batch.words
        ]
        if not any(words) or not (c.token or c.pixel):
            return denoising(batch, ctx, c)
        columns = sorted({column for row in words for part, _ in row for column in part})
        with record(
            ctx.base.unet, {str(column): [column] for column in columns}, heads=True
        ) as shown:
            value, terms = denoising(batch, ctx, c)
        token, pixel, maps, levels = grounding(shown, words)
        weighted = c.token * MAPS / max(maps, 1) * token + c.pixel * LEVELS / max(levels, 1) * pixel
        return value + weighted, terms | {"token": token, "pixel": pixel}


def supervised(shown: Record) -> dict[str, list[dict[str, Tensor]]]:
    """Level -> maps of its layers: the middle, and each block of the upward half. The downward half
    is left out.
    """
    levels: dict[str, list[dict[str, Tensor]]] = {}
    for name, groups in shown.maps.items():
        level = name.split(".attentions")[0]
        if level.split(".")[0] in ("mid_block", "up_blocks"):
            levels.setdefault(level, []).append(groups)
    return levels


def grounding(
    shown: Record, words: Sequence[Sequence[tuple[Sequence[int], Tensor]]]
) -> tuple[Tensor, Tensor, int, int]:
    """(token loss, pixel loss, maps, levels): losses added over levels, averaged over the words of
    a row, then over rows.

    shown: maps [B,heads,h,w] of single token columns, by their number; words: for each row
    (columns, mask [h,w]). A row without words adds nothing.
    """
    token = pixel = torch.zeros(())
    levels = supervised(shown)
    for layers in levels.values():
        stacked = {
            name: torch.stack([groups[name] for groups in layers]) for name in layers[0]
        }  # [K,B,heads,h,w]
        side = next(iter(stacked.values())).shape[-2:]
        for row, some in enumerate(words):
            for columns, mask in some:
                maps = torch.stack(
                    [stacked[str(column)][:, row] for column in columns], 2
                )  # [K,heads,T,h,w]
                cells = adaptive_max_pool2d(mask[None].to(maps), side)[
                    0
                ]  # a cell that the object touches counts
                token = token + token_grounding(maps, cells) / (len(some) * len(words))
                pixel = pixel + pixel_grounding(maps, cells) / (len(some) * len(words))
    return token, pixel, sum(map(len, levels.values())), len(levels)

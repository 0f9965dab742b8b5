"""Prompt-to-Prompt (Hertz et al. 2023): the picture of the complete text is drawn with the
attention maps of the base text.

The original weights draw the base text beside the complete one, from the same noise. In the first
steps, attention to the words that both texts share is that of the base text; values always come
from the edited path, whose weights may be tuned ones. Appended targets are the paper's refinement,
replaced words its word swap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from spf.attention import Heard, hear, swapped
from spf.config import Config, real
from spf.edits import PlainEdit
from spf.models import Base
from spf.prompts import ComposedPrompt, columns_of, find

ORDER = 2
BLEND_FROM = 0.2
"""Share of the steps before the local blend begins, as in the authors' later release."""


@dataclass(frozen=True)
class P2PConfig(Config):
    """The authors' demonstration: 0.8 and 0.4 of the steps, self-attention up to half the latents'
    side, no local blend.
    """

    cross: float = real(
        0.8, 0.0, 1.0, "share of the steps in which attention to shared words is the base text's"
    )
    own: float = real(
        0.4, 0.0, 1.0, "share of the steps in which self-attention is the base text's"
    )
    side: float = real(
        0.5, 0.0, 1.0, "largest self-attention that is replaced, as a share of the latents' side"
    )
    blend: float = real(0.0, 0.0, 1.0, "threshold of the local blend, 0.3 in the paper; 0 is none")


class P2P(PlainEdit):
    """Attention of the base text in the drawing of the complete one."""

    name = "p2p"
    Config = P2PConfig
    beside = True

    def begin(self, base: Base, prompts: Sequence[ComposedPrompt], rows: int) -> None:
        made = [mapping(base.tokenizer, prompt) for prompt in prompts]
        self.base, self.rows = base, slice(-rows, None)
        self.moves = torch.stack([moves for moves, _ in made])[:, None].to(
            base.device
        )  # [1 or B,1,T,T]
        self.fresh = torch.stack([fresh for _, fresh in made])[:, None, None].to(
            base.device
        )  # [1 or B,1,1,T]
        self.words = torch.stack(
            [torch.stack(_words(base.tokenizer, prompt)) for prompt in prompts]
        ).to(base.device)  # [.,2,T]
        self.heard: Heard = {}
        self.mass: Tensor | None = None  # [2,B,h,w]: source, edited

    @contextmanager
    def hear(self):
        largest = round(self.config.side * math.sqrt(math.prod(self.base.latent_sides)))
        with hear(self.base.unet, self.rows, largest) as self.heard:
            yield

    def speak(self, done: float) -> AbstractContextManager:
        cross, own = done < self.config.cross, done < self.config.own
        if not (cross or own or self.config.blend):
            return nullcontext()

        def swap(layer: str, mine: Tensor, source: Tensor) -> Tensor | None:
            if layer.endswith("attn1"):
                return source if own else None
            chosen = replaced(mine, source, self.moves, self.fresh) if cross else mine
            if self.config.blend:
                self.gather(source, chosen)
            return chosen if cross else None

        return swapped(self.base.unet, self.heard, swap, self.rows)

    def gather(self, source: Tensor, edited: Tensor) -> None:
        """Adds up the maps of the changed words in the layers of a quarter of the latents'
        sides."""
        sides = tuple(-(-side // 4) for side in self.base.latent_sides)
        if math.prod(sides) == source.shape[2]:
            maps = [
                (probabilities.mean(1) * words[:, None]).sum(-1).unflatten(1, sides)
                for probabilities, words in zip((source, edited), self.words.unbind(1), strict=True)
            ]
            self.mass = torch.stack(maps) + (0 if self.mass is None else self.mass)

    def adjust(self, source: Tensor, latents: Tensor, done: float) -> Tensor:
        """Outside the mask of the changed words the latents are those of the base text."""
        if not self.config.blend or self.mass is None or done < BLEND_FROM:
            return latents
        mask = blend_mask(self.mass, self.config.blend, latents.shape[-2:])
        return torch.where(mask[:, None], latents, source)


def replaced(own: Tensor, source: Tensor, moves: Tensor, fresh: Tensor) -> Tensor:
    """A^ = A W, and A* at the columns of new words: [B,heads,N,T]; not renormalised. Hertz et al.
    2023, Sec. 3.2.

    own A* and source A [B,heads,N,T]; moves W [.,1,T,T] from source to edited columns; fresh
    [.,1,1,T], 1 at new words.
    """
    return torch.where(fresh > 0, own, source @ moves)


def blend_mask(mass: Tensor, threshold: float, sides: Sequence[int]) -> Tensor:
    """Where the changed words are: bool [B,*sides], of maps [2,B,h,w]. 3x3 maximum, enlarged,
    relative to the largest.
    """
    large = interpolate(
        max_pool2d(mass, 3, 1, 1), tuple(sides), mode="bilinear", align_corners=False
    )
    return (large / large.amax((-2, -1), keepdim=True).clamp(min=1e-12) > threshold).any(0)


def mapping(tokenizer, prompt: ComposedPrompt) -> tuple[Tensor, Tensor]:
    """(W [T,T], new [T]): which source column each edited column takes its attention from, and
    which are new words.

    A replaced word gives its attention to the words in its place: one to one where they have as
    many tokens, else in equal shares. PAD takes that of PAD.
    """
    total = tokenizer.model_max_length
    source, edited = (
        tokenizer(text, truncation=True, max_length=total).input_ids
        for text in (prompt.base, prompt.complete)
    )
    moves = torch.zeros(total, total, dtype=torch.float32)
    fresh = torch.zeros(total, dtype=torch.float32)
    for column, partner in enumerate(aligned(source, edited)):
        if partner is None:
            fresh[column] = 1
        else:
            moves[partner, column] = 1
    for column in range(len(edited), total):
        moves[min(max(column, len(source)), total - 1), column] = 1
    if prompt.mode == "replace":
        before = columns_of(tokenizer, prompt.base, [find(prompt.base, prompt.replace)])
        after = columns_of(
            tokenizer, prompt.complete, prompt.target_phrases[prompt.which].complete[:1]
        )
        moves[:, after], fresh[after] = 0, 0
        if len(before) == len(after):
            moves[before, after] = 1
        else:
            moves[torch.tensor(before)[:, None], torch.tensor(after)] = 1 / max(len(after), 1)
    return moves, fresh


def aligned(source: Sequence[int], edited: Sequence[int]) -> list[int | None]:
    """Global alignment (Needleman and Wunsch 1970; match 1, mismatch -1, gap 0): the source place
    of each edited token.
    """
    best = [[0] * (len(edited) + 1) for _ in range(len(source) + 1)]
    for i, a in enumerate(source, 1):
        for j, b in enumerate(edited, 1):
            best[i][j] = max(
                best[i - 1][j], best[i][j - 1], best[i - 1][j - 1] + (1 if a == b else -1)
            )
    places: list[int | None] = [None] * len(edited)
    i, j = len(source), len(edited)
    while i and j:
        if best[i][j] == best[i][j - 1]:
            j -= 1
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            places[j] = i
    return places


def _words(tokenizer, prompt: ComposedPrompt) -> tuple[Tensor, Tensor]:
    """Columns [T] of the words that go (in the base text) and of the targets (in the complete
    one).
    """
    gone, come = torch.zeros(2, tokenizer.model_max_length, dtype=torch.float32)
    if prompt.mode == "replace":
        gone[columns_of(tokenizer, prompt.base, [find(prompt.base, prompt.replace)])] = 1
    for phrase in prompt.target_phrases:
        come[columns_of(tokenizer, prompt.complete, phrase.complete)] = 1
    return gone, come

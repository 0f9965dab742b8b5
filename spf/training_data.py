"""The data of a fine-tuning run: the pictures and texts of a set, encoded once as the rows that
its steps are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d
from torch.nn.utils.rnn import pad_sequence

from spf.errors import BadInput
from spf.methods import PAD, PHRASE, TARGET, Method, MethodConfig, Rows, Word
from spf.models import Base
from spf.pixels import as_pixels
from spf.portraits.captions import Caption
from spf.portraits.captions import compose as full_caption
from spf.portraits.dataset import draw
from spf.portraits.description import ATTRIBUTES, Target
from spf.portraits.grounding import places
from spf.portraits.tailored import TailoredItem, replaced, tailored_set
from spf.prompts import PAD as PAD_PHRASE
from spf.prompts import ComposedPrompt, columns_of, compose
from spf.sampling import prompt_distances
from spf.settings import FinetuneConfig
from spf.sfcm import SfcmConfig
from spf.traits.reading import common, seen
from spf.traits.telling import told_all
from spf.userdata import UserSet, is_set
from spf.userdata import load as load_set

TOGETHER = 8
"""Pictures that are encoded or drawn together."""


@dataclass
class Data:
    """An encoded tailored set, its base texts, and what was seen in most of its pictures, if they
    were looked at.
    """

    rows: Rows
    texts: list[str]
    common: dict[str, str] = field(default_factory=dict)


def read_data(base: Base, config: FinetuneConfig, method: Method, target: Target) -> Data:
    """What a run learns from: a folder of one's own pictures, or the tailored set of a target."""
    if is_set(config.data):
        return user_rows(base, load_set(config.data), method)
    return tailored_rows(
        base, target, config.images, config.seed, method.config, words=method.wants_words
    )


def tailored_rows(
    base: Base, target: Target, images: int, seed: int, config: MethodConfig, *, words: bool = False
) -> Data:
    """Draws the tailored set of a target at the size of the base and encodes pictures and texts
    once.

    words: also where in the picture each noun of the complete text shows, from the renderer's exact
    regions.
    """
    items = tailored_set(target.name, images, seed)
    captions = [full_base(item, target) if config.text == "full" else item.base for item in items]
    found: list[list[Word]] = []

    def pictures(part: range) -> np.ndarray:
        drawn, regions = draw([items[i].portrait for i in part], base.image_size)
        if words:
            found.extend(
                grounded(base, captions[i], target, shown)
                for i, shown in zip(part, regions, strict=True)
            )
        return drawn

    prompts = [with_target(made.text, target) for made in captions]
    data = _rows(base, pictures, prompts, target, config)
    data.rows.words = found if words else None
    return data


def user_rows(base: Base, chosen: UserSet, method: Method) -> Data:
    """Encodes pictures of one's own and their captions as `tailored_rows` does drawn ones.

    Raises BadInput for a method that learns from exact regions, which only drawn pictures have,
    and for a caption whose target the model would not see, before a picture is encoded.
    """
    if method.wants_words:
        raise BadInput(
            f"method is {method.name} but must be one that needs no exact regions, for pictures of "
            "one's own."
        )

    def pictures(part: range) -> np.ndarray:
        return np.stack([chosen.items[i].pixels(base.image_size) for i in part])

    prompts = [item.prompt(chosen.wish) for item in chosen.items]
    for item, prompt in zip(chosen.items, prompts, strict=True):
        try:
            prompt.require_targets(base.tokenizer)
        except BadInput as error:
            raise BadInput(f"{item.name} cannot be learnt from: {error}") from error
    return _rows(base, pictures, prompts, chosen.target, method.config)


def _rows(
    base: Base,
    pictures: Callable[[range], np.ndarray],
    prompts: Sequence[ComposedPrompt],
    target: Target,
    config: MethodConfig,
) -> Data:
    """Encodes pictures (positions -> uint8 [B,H,W,3]) part by part, and their texts."""
    latents, images = [], []
    for part in batches(len(prompts)):
        pixels = as_pixels(pictures(part)).to(base.device)
        with torch.no_grad():
            latents.append(base.encode(pixels))
            images += [base.clip_images(pixels)] if base.clip is not None else []
    embedded, found = torch.cat(images) if images else None, []
    if config.text == "seen":
        found = seen(base, embedded)
        prompts = told_all(base, prompts, found)
    rows = encoded(
        base,
        torch.cat(latents),
        prompts,
        target,
        config if isinstance(config, SfcmConfig) else SfcmConfig(),
    )
    rows.image = embedded
    return Data(rows, [prompt.base for prompt in prompts], common(found))


def encoded(
    base: Base,
    latents: Tensor,
    prompts: Sequence[ComposedPrompt],
    target: Target,
    settings: SfcmConfig,
) -> Rows:
    """Rows of latents [B,C,h,w] without CLIP embeddings of the pictures."""
    before, after = (
        torch.cat(
            [base.encode_text(texts[first : first + 32]) for first in range(0, len(texts), 32)]
        )
        for texts in ([prompt.base for prompt in prompts], [prompt.complete for prompt in prompts])
    )
    columns = [row_columns(base, prompt) for prompt in prompts]
    distances = [prompt_distances(base, prompt, settings)[1] for prompt in prompts]
    wanted = base.clip_texts([target.text]) if base.clip is not None else None
    return Rows(
        latents,
        before,
        after,
        [c for c, _ in columns],
        [c for _, c in columns],
        pad_sequence(distances, batch_first=True),
        target=None if wanted is None else wanted.expand(len(prompts), -1),
    )


def row_columns(base: Base, prompt: ComposedPrompt) -> tuple[dict, dict]:
    """Token columns in the base and in the complete text under the names that rows use, the same
    phrases in both.
    """
    before, after = (prompt.groups(base.tokenizer, path) for path in ("base", "complete"))
    names = {name: f"{PHRASE}{k}" for k, name in enumerate(before) if name != PAD_PHRASE} | {
        PAD_PHRASE: PAD
    }
    target = sorted(
        {column for name, columns in after.items() if name not in names for column in columns}
    )
    return (
        {names[name]: columns for name, columns in before.items()},
        {names[name]: after[name] for name in names} | {TARGET: target},
    )


def with_target(text: str, target: Target) -> ComposedPrompt:
    """A base text with its target."""
    return compose(text, target.text, target.mode, target.replace)


def full_base(item: TailoredItem, target: Target) -> Caption:
    """Base text of a picture that names every attribute; in replace mode with the word to
    replace.
    """
    before = {target.attribute: target.replace} if target.mode == "replace" else {}
    hidden = set() if before else {target.attribute}
    return full_caption(replaced(item.portrait, before), set(ATTRIBUTES) - hidden)


def grounded(base: Base, made: Caption, target: Target, regions: np.ndarray) -> list[Word]:
    """The words of a complete text with their places [h,w] at the size of the latents: a cell that
    an object touches counts.

    Words that fell off the end of the text, or whose object is not in the picture, are left out.
    """
    prompt, words = with_target(made.text, target), []
    for noun, phrase, pixels in places(prompt, made, target, regions):
        columns = [
            tuple(columns_of(base.tokenizer, prompt.complete, [span])) for span in (noun, phrase)
        ]
        if columns[0] and pixels.any():
            mask = adaptive_max_pool2d(torch.from_numpy(pixels)[None].float(), base.latent_size)[
                0
            ].bool()
            words.append(Word(*columns, mask.to(base.device)))
    return words


def batches(count: int) -> list[range]:
    """Positions, in parts of what is encoded or drawn together."""
    return [range(first, min(first + TOGETHER, count)) for first in range(0, count, TOGETHER)]

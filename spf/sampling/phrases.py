"""What the rows of a batch say: token columns of their phrases, and the distances of the phrases to
the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spf.attention import Groups
from spf.models import Base
from spf.prompts import PAD, ComposedPrompt, pad_columns
from spf.sfcm import SfcmConfig, phrase_distances
from spf.traits.telling import Told

TARGET = "target"
"""Name of the target in a batch of several prompts, whose phrases are numbered."""


def prompt_distances(
    base: Base, prompt: ComposedPrompt, settings: SfcmConfig = SfcmConfig()
) -> tuple[list[str], Tensor]:
    """The base phrases that the model gets in both texts, and how strongly each is subtracted [P]:
    its distance to the targets times `settings.subtract`."""
    in_complete, in_base = (prompt.groups(base.tokenizer, path) for path in ("complete", "base"))
    names = [phrase.text for phrase in prompt.phrases if phrase.text in in_complete]
    target = sorted(
        {column for phrase in prompt.target_phrases for column in in_complete[phrase.text]}
    )
    if settings.embedding in ("alone", "said"):
        texts = [*names, prompt.target, ""]
        states = base.encode_text(texts)
        ends = [pad_columns(base.tokenizer, text)[0] - 1 for text in texts]
        states = states[torch.arange(len(texts)), ends]  # end-token state of each: [P+2,D]
        if settings.embedding == "said":
            states = states - states[-1]
        columns, pool, goal = [[i] for i in range(len(names))], "mean", target and [len(names)]
        return names, settings.subtract * phrase_distances(
            states, columns, goal, settings.distance, pool
        )
    complete, plain = base.encode_text([prompt.complete, prompt.base])
    states, groups = (
        (complete, in_complete) if settings.embedding == "complete" else (plain, in_base)
    )
    columns = [groups[name] for name in names]
    return names, settings.subtract * phrase_distances(
        states, columns, target, settings.distance, settings.pool, target_states=complete
    )


@dataclass(frozen=True)
class Said:
    """What the rows of a batch say: token columns by path, the phrases of the chain and of the
    target, and distances [1 or B,P].

    own: the phrases of each row by their own names, where those of the batch are numbered.
    """

    groups: dict[str, Groups | list[Groups]]
    names: list[str]
    targets: list[str]
    distances: Tensor
    own: list[list[str]]

    def columns(
        self, base: Base, row: int, prompt: ComposedPrompt, path: str, told: Told | None = None
    ) -> Groups:
        """Token columns of a row's phrases under the names of the batch; told: in a text that says
        the same and more.
        """
        text = told.prompt if told else prompt
        groups = text.groups(base.tokenizer, path)
        named = {
            name: told.places[own] if told else [own]
            for name, own in zip(self.names, self.own[row], strict=False)
        }
        columns = {
            name: sorted({c for own in some for c in groups.get(own, ())})
            for name, some in named.items()
        }
        rest = {PAD: groups[PAD]}
        if path == "base":
            return columns | rest
        spoken = [sorted(groups[phrase.text]) for phrase in text.target_phrases]
        if self.targets == [TARGET]:
            spoken = [sorted({column for part in spoken for column in part})]
        return columns | dict(zip(self.targets, spoken, strict=True)) | rest


def said(
    base: Base, prompts: Sequence[ComposedPrompt], settings: SfcmConfig = SfcmConfig()
) -> Said:
    """One prompt keeps the names of its phrases; several are numbered, rows with fewer phrases have
    distance 0 for the rest.
    """
    found = [prompt_distances(base, prompt, settings) for prompt in prompts]
    own = [names for names, _ in found]
    if len(prompts) == 1:
        names, targets = own[0], [phrase.text for phrase in prompts[0].target_phrases]
    else:
        names, targets = [f"phrase {number}" for number in range(max(map(len, own)))], [TARGET]
    table = torch.zeros(len(prompts), len(names), dtype=torch.float32)
    for row, (some, distances) in enumerate(found):
        table[row, : len(some)] = distances
    alike = Said({}, names, targets, table.to(base.device), own)
    groups = {
        path: [alike.columns(base, row, prompt, path) for row, prompt in enumerate(prompts)]
        for path in ("base", "complete")
    }
    return replace(
        alike, groups={path: rows[0] if len(rows) == 1 else rows for path, rows in groups.items()}
    )

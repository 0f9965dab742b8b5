"""The one denoising loop, and the side-by-side drawing of original and tuned model that records what the maps show.

`sample` is DDIM without noise (Song et al. 2021); its callback serves progress, previews, cancelling and tracing, so no
second loop is written anywhere. `TunedPath` draws complete texts with tuned weights, plain, held to the original, or under
an edit of `spf.edits`. `sample_pair` draws the base text with the original weights and the complete text with tuned
ones from the same noise. One step costs one UNet call for the original and two for each tuned variant: its own, and the
reference path on the same latent, which the control map compares with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .attention import Groups, Record, phrase_stack, record, resized
from .config import FOLLOWING, GUIDES, Config, choice, real
from .errors import BadInput, NotFinite
from .models import Base
from .paths import Adapter, response
from .prompts import PAD, ComposedPrompt, pad_columns
from .sfcm import SCALES, SfcmConfig, noise_difference, phrase_distances, scaled, subtracted
from .traits import Told, explained, noted, seen, told

ORIGINAL, TUNED, TARGET = "original", "tuned", "target"
HELD = (0.9, 1.3)
"""Parts of the picture's mean noise difference between which the map of a held drawing rises from 0 to 1."""
LARGEST_MAP = 32  # finer maps cost the most and show the least


@dataclass(frozen=True)
class Step:
    """What the callback gets after each denoising step. It may raise `Cancelled` to stop.

    path: original, or the name of a tuned variant. done of total counts the steps of all paths. latents [B,C,h,w] after
    the step; clean: the latents it was heading for (`Base.pictures` shows them); eps: the prediction that was used.
    difference and sfcm [B,h,w] are there for tuned variants only.
    """

    path: str
    index: int
    done: int
    total: int
    timestep: int
    latents: Tensor
    clean: Tensor
    eps: Tensor
    difference: Tensor | None = None
    sfcm: Tensor | None = None


Callback = Callable[[Step], None]
Predict = Callable[[Tensor, Tensor], Tensor]
Adjust = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class GuideConfig(Config):
    """Ways to keep the tuned drawing near the original's (ours).

    sfcm, difference, attention: SFCM-guided sampling. Each step uses eps_ref + M (eps_res - eps_ref) with that map as M, so
    that outside M the reference rules.

    held, told and untold follow the original's drawing. A held drawing has one map M for all steps, and keeps the
    original's latents outside it, as Blended Diffusion keeps those of a picture (Avrahami et al. 2022): x = x_ref +
    M (x_res - x_ref). M is found along the original's drawing, much as DiffEdit finds its mask (Couairon et al. 2022): where
    the tuned weights tell the complete text from the base text. Inside, the response path is told what the original shows
    (`spf.traits`), and the target is guided on its own, see `composed`: by the difference that it makes to a text which
    says what the tailored set has in common, if the adapter has noted that. untold leaves out the telling, told the map,
    which is right for targets that are everywhere, such as a style.
    """

    map: str = choice("held", GUIDES, "how to stay near the original: follow its drawing, or blend by each step's map of that name")
    scale: str = choice("stretch", SCALES, "scale of M where it is a noise difference or the target attention")
    start: float = real(0.0, 0.0, 1.0, "share of the steps after which the blend begins; before it the response path is free")
    push: float = real(1.75, 1.0, 10.0, "where the original is followed: how many times the guidance goes to the target")

    @property
    def follows(self) -> bool:
        """Whether the original's drawing is followed."""
        return self.map in FOLLOWING


def freed(guide: GuideConfig) -> GuideConfig | None:
    """The guide for a target that is everywhere, which leaves nothing to hold."""
    if guide.map == "untold":
        return None
    return replace(guide, map="told") if guide.map == "held" else guide


def initial_latents(base: Base, seeds: Sequence[int]) -> Tensor:
    """Noise [B,C,h,w], one CPU generator for each image: image i depends on its seed only, not on batch or device."""
    shape = (1, base.latent_channels, base.latent_size, base.latent_size)
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    if not noise:
        raise BadInput("seeds is empty but must hold one seed for each portrait.")
    return torch.cat(noise).to(base.device, base.dtype)


def denoise(
    base: Base, latents: Tensor, timestep: Tensor, states: Tensor, uncond: Tensor, guidance: float
) -> tuple[Tensor, Tensor]:
    """(guided, conditional) noise predictions in one UNet call; the conditional rows are the last ones of the batch.

    Classifier-free guidance, Ho and Salimans 2022; guidance 1 is none and halves the work.
    """
    states = states.expand(len(latents), -1, -1)
    if guidance == 1:
        eps = base.unet(latents, timestep, states).sample.to(latents.dtype)
        return eps, eps
    both = torch.cat([uncond.expand(len(latents), -1, -1), states])
    blank, eps = base.unet(torch.cat([latents, latents]), timestep, both).sample.to(latents.dtype).chunk(2)
    return blank + guidance * (eps - blank), eps


def composed(
    base: Base, latents: Tensor, timestep: Tensor, plain: Tensor, states: Tensor, uncond: Tensor, guidance: float, push: float,
    apart: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(guided, conditional) predictions with the target guided on its own, in one UNet call; the conditional rows come last.

    eps = e(empty) + g (e(base) - e(empty)) + g push (e(complete) - e(base)): Composable Diffusion (Liu et al. 2022, Eq. 11)
    with the base text and what the complete text adds to it as the two concepts. apart: states of two other texts, whose
    difference is the second concept instead.
    """
    parts = (uncond, plain, *apart, states)
    texts = torch.cat([part.expand(len(latents), -1, -1) for part in parts])
    blank, before, *others, eps = base.unet(torch.cat([latents] * len(parts)), timestep, texts).sample.to(latents.dtype).chunk(len(parts))
    less, more = others or (before, eps)
    return blank + guidance * (before - blank) + guidance * push * (more - less), eps


def autocast(base: Base, precision: str) -> torch.autocast:
    """Inside the block matrices are multiplied in `precision`, fp32 (as they are) or bf16; latents stay as they are."""
    return torch.autocast(base.device.type, torch.bfloat16, enabled=precision == "bf16")


@torch.inference_mode()
def sample(
    base: Base,
    latents: Tensor,
    embeddings: Tensor,
    uncond: Tensor,
    *,
    steps: int = 25,
    guidance: float = 4.0,
    callback: Callback | None = None,
    predict: Predict | None = None,
    adjust: Adjust | None = None,
) -> Tensor:
    """Clean latents [B,C,h,w] from noise, with the weights that are active now.

    embeddings and uncond [B or 1,77,D] are text states, the latter of the empty text. predict(latents, timestep) takes
    the place of the guided prediction; adjust(latents, index) may change the latents after a step. Raises NotFinite, and
    whatever the callback raises.
    """
    scheduler = base.new_scheduler(steps)
    predict = predict or (lambda z, t: denoise(base, z, t, embeddings, uncond, guidance)[0])
    for index, timestep in enumerate(scheduler.timesteps):
        eps = predict(latents, timestep)
        if not torch.isfinite(eps).all():
            raise NotFinite(
                f"The unet gave NaN or infinity at step {index + 1}; check its weights or lower the guidance."
            )
        moved = scheduler.step(eps, timestep, latents)
        latents = adjust(moved.prev_sample, index) if adjust else moved.prev_sample
        if callback:
            callback(Step("", index, index + 1, steps, int(timestep), latents, moved.pred_original_sample, eps))
    return latents


@dataclass(frozen=True)
class PathTrace:
    """One path of a drawing, as arrays; S steps, B images, G recorded phrases (PAD last).

    maps: side -> float16 [S,B,G,side,side], the attention mass of each phrase averaged over heads and layers.
    Tuned variants also have difference and sfcm, float16 [S,B,h,w], and removed, float16 [S,B,P,s,s], the maps of the
    base phrases that the control map subtracts; held drawings have their map, float32 [B,h,w]. eps, float32 [S,B,C,h,w]: the
    original's predictions, by which its drawing can be followed again. told: for each image what the text was told of the
    original. key: everything that the drawing depends on.
    """

    text: str
    phrases: tuple[str, ...]
    images: np.ndarray
    latents: np.ndarray
    maps: dict[int, np.ndarray]
    key: tuple
    difference: np.ndarray | None = None
    sfcm: np.ndarray | None = None
    removed: np.ndarray | None = None
    held: np.ndarray | None = None
    eps: np.ndarray | None = None
    told: tuple[tuple[str, ...], ...] = ()

    def map(self, phrase: str, step: int | None = None, side: int | None = None) -> np.ndarray:
        """Map of one phrase, float32 [B,s,s]: of one step or the mean of all, of one resolution or the mean of all."""
        if phrase not in self.phrases or (side is not None and side not in self.maps):
            raise BadInput(
                f"phrase is {phrase!r} but must be one of {', '.join(self.phrases)}; sides are {sorted(self.maps)}."
            )
        at = slice(None) if step is None else [step]
        chosen = {side: self.maps[side]} if side else self.maps
        means = [
            torch.from_numpy(maps[at, :, self.phrases.index(phrase)].astype(np.float32)).mean(0)
            for maps in chosen.values()
        ]
        return torch.stack([resized(mean, max(chosen)) for mean in means]).mean(0).numpy()

    def mean_sfcm(self) -> np.ndarray | None:
        """The control map averaged over steps, float32 [B,h,w]."""
        return None if self.sfcm is None else self.sfcm.astype(np.float32).mean(0)


@dataclass(frozen=True)
class Trace:
    """A side-by-side drawing: the original path, the tuned variants by name, and what they share.

    base_phrases: the phrases that both texts have, in the order of the chain; distances [P]: of each to the target.
    """

    prompt: ComposedPrompt
    seeds: tuple[int, ...]
    guidance: float
    timesteps: tuple[int, ...]
    base_phrases: tuple[str, ...]
    distances: np.ndarray
    settings: SfcmConfig
    original: PathTrace
    tuned: dict[str, PathTrace]

    def chain(self, variant: str, step: int, image: int = 0) -> list[tuple[str, np.ndarray]]:
        """How one step's control map came about: ("noise difference", N), (phrase, N minus ...), ..., ("SFCM", map)."""
        path = self.tuned[variant]
        difference, removed = (
            torch.from_numpy(values[step, image : image + 1]) for values in (path.difference, path.removed)
        )
        _, stages = subtracted(
            difference, removed, torch.from_numpy(self.distances)[None], **self.settings.chain(), steps=True
        )
        names = ["noise difference", *self.base_phrases, "SFCM"]
        return [(name, stage.map[0].numpy()) for name, stage in zip(names, stages, strict=True)]


@dataclass
class Recorder:
    """Collects what each step shows, in half precision on the model's device, and hands it over at the end."""

    rows: dict[str | int, list[Tensor]] = field(default_factory=dict)

    def add(self, name: str | int, value: Tensor) -> None:
        self.rows.setdefault(name, []).append(value.half())

    def add_maps(self, shown: Record) -> None:
        for side in shown.resolutions:
            self.add(side, torch.stack(list(shown.at(side).values()), 1))

    def arrays(self, names: Sequence[str | int]) -> dict:
        return {name: torch.stack(self.rows[name]).cpu().numpy() for name in names if name in self.rows}

    def maps(self) -> dict[int, np.ndarray]:
        return self.arrays([name for name in self.rows if isinstance(name, int)])


def prompt_distances(
    base: Base, prompt: ComposedPrompt, settings: SfcmConfig = SfcmConfig()
) -> tuple[list[str], Tensor]:
    """The base phrases that the model gets in both texts, and how strongly each is subtracted [P]: its distance to the
    targets times `settings.subtract`."""
    in_complete, in_base = (prompt.groups(base.tokenizer, path) for path in ("complete", "base"))
    names = [phrase.text for phrase in prompt.phrases if phrase.text in in_complete]
    target = sorted({column for phrase in prompt.target_phrases for column in in_complete[phrase.text]})
    if settings.embedding in ("alone", "said"):
        texts = [*names, prompt.target, ""]
        states = base.encode_text(texts)
        ends = [pad_columns(base.tokenizer, text)[0] - 1 for text in texts]
        states = states[torch.arange(len(texts)), ends]  # end-token state of each: [P+2,D]
        if settings.embedding == "said":
            states = states - states[-1]
        columns, pool, goal = [[i] for i in range(len(names))], "mean", target and [len(names)]
        return names, settings.subtract * phrase_distances(states, columns, goal, settings.distance, pool)
    complete, plain = base.encode_text([prompt.complete, prompt.base])
    states, groups = (complete, in_complete) if settings.embedding == "complete" else (plain, in_base)
    columns = [groups[name] for name in names]
    return names, settings.subtract * phrase_distances(
        states, columns, target, settings.distance, settings.pool, target_states=complete
    )


@dataclass(frozen=True)
class Said:
    """What the rows of a batch say: token columns by path, the phrases of the chain and of the target, and distances [1 or B,P].

    own: the phrases of each row by their own names, where those of the batch are numbered.
    """

    groups: dict[str, Groups | list[Groups]]
    names: list[str]
    targets: list[str]
    distances: Tensor
    own: list[list[str]]

    def columns(self, base: Base, row: int, prompt: ComposedPrompt, path: str, told: Told | None = None) -> Groups:
        """Token columns of a row's phrases under the names of the batch; told: in a text that says the same and more."""
        text = told.prompt if told else prompt
        groups = text.groups(base.tokenizer, path)
        named = {
            name: told.places[own] if told else [own] for name, own in zip(self.names, self.own[row], strict=False)
        }  # fmt: skip
        columns = {name: sorted({c for own in some for c in groups.get(own, ())}) for name, some in named.items()}
        rest = {PAD: groups[PAD]}
        if path == "base":
            return columns | rest
        spoken = [sorted(groups[phrase.text]) for phrase in text.target_phrases]
        if self.targets == [TARGET]:
            spoken = [sorted({column for part in spoken for column in part})]
        return columns | dict(zip(self.targets, spoken, strict=True)) | rest


def said(base: Base, prompts: Sequence[ComposedPrompt], settings: SfcmConfig = SfcmConfig()) -> Said:
    """One prompt keeps the names of its phrases; several are numbered, rows with fewer phrases have distance 0 for the rest."""
    found = [prompt_distances(base, prompt, settings) for prompt in prompts]
    own = [names for names, _ in found]
    if len(prompts) == 1:
        names, targets = own[0], [phrase.text for phrase in prompts[0].target_phrases]
    else:
        names, targets = [f"phrase {number}" for number in range(max(map(len, own)))], [TARGET]
    table = torch.zeros(len(prompts), len(names))
    for row, (some, distances) in enumerate(found):
        table[row, : len(some)] = distances
    alike = Said({}, names, targets, table.to(base.device), own)
    groups = {path: [alike.columns(base, row, prompt, path) for row, prompt in enumerate(prompts)] for path in ("base", "complete")}
    return replace(alike, groups={path: rows[0] if len(rows) == 1 else rows for path, rows in groups.items()})


@dataclass(frozen=True)
class Shown:
    """What one step of a tuned path showed: attention maps, and [B,h,w] noise difference, control map, and [B,P,s,s] the
    phrase maps that it subtracts; attention [B,s,s]: of the target."""

    record: Record
    difference: Tensor
    sfcm: Tensor
    removed: Tensor
    attention: Tensor


class Edit(Protocol):
    """Changes the drawing of complete texts without training; see `spf.edits`.

    states: the text states [B,77,D] to use in place of those of the complete texts. beside: whether the base text is drawn
    by the original weights beside it; then hear() is active while that path predicts, speak() while the tuned one does, and
    adjust(source, latents, done) may change the tuned path's latents after a step. done is the share of steps done.
    """

    beside: bool

    def states(self, base: Base, prompts: Sequence[ComposedPrompt], states: Tensor) -> Tensor: ...

    def begin(self, base: Base, prompts: Sequence[ComposedPrompt], rows: int) -> None: ...

    def hear(self) -> AbstractContextManager: ...

    def speak(self, done: float) -> AbstractContextManager: ...

    def adjust(self, source: Tensor, latents: Tensor, done: float) -> Tensor: ...


class TunedPath:
    """Draws complete texts with tuned weights. One prompt serves all rows; of several each row has its own.

    compare: run the reference path on the same latents, for the control map (always done for a guide that reads one). guide,
    edit: see `GuideConfig` and `spf.edits`. held: the map [B,h,w] of the last drawing that followed the original's; told: the
    prompts of its rows, if they were told what that shows. Raises BadInput when words of a target fall off the end.
    """

    def __init__(
        self, base: Base, prompts: Sequence[ComposedPrompt], *, guidance: float = 4.0, settings: SfcmConfig = SfcmConfig(),
        guide: GuideConfig | None = None, edit: Edit | None = None, compare: bool = True,
    ) -> None:  # fmt: skip
        self.base, self.prompts, self.guidance, self.settings = base, list(prompts), guidance, settings
        self.guide, self.edit = guide, edit
        self.follows = guide is not None and guide.follows
        self.blends = guide is not None and not self.follows
        self.compare = compare or self.blends
        texts = ["", *(prompt.base for prompt in prompts), *(prompt.complete for prompt in prompts)]
        self.uncond, self.plain, self.complete = base.encode_text(texts).split([1, len(prompts), len(prompts)])
        if edit:
            self.complete = edit.states(base, self.prompts, self.complete)
        self.said = said(base, self.prompts, settings) if self.compare else None
        self.asked = self.plain, self.complete
        self.apart: Sequence[Tensor] = ()
        self.held: Tensor | None = None
        self.told: list[Told] = []

    def record(self, path: str, rows: int):
        """Recorder of one text's phrases on the conditional rows, which come last."""
        groups = self.said.groups[path]
        if path == "complete" and self.told:
            each = self.prompts * (rows // len(self.prompts))
            numbers = list(range(len(self.prompts))) * (rows // len(self.prompts))
            parts = zip(numbers, each, self.told, strict=True)
            groups = [self.said.columns(self.base, row, prompt, path, told) for row, prompt, told in parts]
        return record(self.base.unet, groups, rows=slice(-rows, None), largest=LARGEST_MAP)

    @torch.inference_mode()
    def draw(
        self, switch: response, noise: Tensor, steps: int, watch: Callable[[Step, Shown | None], None] | None = None,
        first: Callback | None = None, known: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Clean latents [B,C,h,w] from noise with the weights of `switch`; `watch` gets every step and what it showed.

        A guide that follows the original's drawing does so first: `first` gets those steps, known [S,B,C,h,w] are its
        predictions if it has been drawn already.
        """
        beside = self.edit is not None and self.edit.beside
        shown: list[Shown | None] = [None]
        done = 0
        course = self.follow(switch, noise, steps, first, known) if self.follows else []
        if course and watch is None and not self.guide.start and not self.held.any():
            return course[-1]  # nothing is asked for that the original does not have
        if self.edit:
            self.edit.begin(self.base, self.prompts, len(noise))

        def predict(latents: Tensor, timestep: Tensor) -> Tensor:
            nonlocal done
            parts = []
            if beside:
                source, latents = latents.chunk(2)
                with self.edit.hear():
                    parts.append(denoise(self.base, source, timestep, self.plain, self.uncond, self.guidance)[0])
            eps, shown[0] = self.step(switch, latents, timestep, done / steps)
            done += 1
            return torch.cat([*parts, eps])

        def adjust(latents: Tensor, index: int) -> Tensor:
            parts = []
            if beside:
                source, latents = latents.chunk(2)
                latents = self.edit.adjust(source, latents, (index + 1) / steps)
                parts.append(source)
            if self.follows and index >= self.guide.start * steps:
                latents = course[index] + self.held[:, None].to(latents) * (latents - course[index])
            return torch.cat([*parts, latents])

        def own(step: Step) -> None:
            rows = slice(-len(noise), None)
            fields = {name: getattr(step, name)[rows] for name in ("latents", "clean", "eps")}
            now = {"difference": shown[0].difference, "sfcm": shown[0].sfcm} if shown[0] else {}
            watch(replace(step, **fields, **now), shown[0])

        start = torch.cat([noise, noise]) if beside else noise
        return sample(
            self.base, start, self.complete, self.uncond, steps=steps, guidance=self.guidance, predict=predict,
            adjust=adjust if beside or self.follows else None, callback=own if watch else None,
        )[-len(noise) :]  # fmt: skip

    def follow(
        self, switch: response, noise: Tensor, steps: int, callback: Callback | None = None, known: Tensor | None = None
    ) -> list[Tensor]:
        """The latents after each step of the original's drawing. Sets `held`: where, along it, the tuned weights tell the
        complete text from the base text; every step's difference counts in parts of its own mean. And tells the rows."""
        course: list[Tensor] = []
        differences: list[Tensor] = []
        both = torch.cat([states.expand(len(noise), -1, -1) for states in (self.complete, self.plain)])

        def predict(latents: Tensor, timestep: Tensor) -> Tensor:
            with switch:
                found = self.base.unet(torch.cat([latents, latents]), timestep, both).sample
            difference = noise_difference(*found.to(latents.dtype).chunk(2), self.settings.channels)
            differences.append(difference / difference.mean((1, 2), keepdim=True).clamp(min=1e-12))
            if known is not None:
                return known[len(course)]
            return denoise(self.base, latents, timestep, self.plain, self.uncond, self.guidance)[0]

        def watch(step: Step) -> None:
            course.append(step.latents)
            if callback:
                callback(step)

        sample(self.base, noise, self.plain, self.uncond, steps=steps, predict=predict, callback=watch)
        low, high = HELD
        self.held = ((torch.stack(differences).mean(0) - low) / (high - low)).clamp(0, 1)
        if self.guide.map == "told":  # everywhere, or nowhere for a text that asks for nothing more
            self.held = (self.held.amax((1, 2), keepdim=True) > 0).to(self.held).expand_as(self.held)
        if self.guide.map != "untold" and self.base.clip is not None and self.edit is None:
            self.tell(course[-1], {name: value for adapter in switch.metadata for name, value in noted(adapter).items()})
        return course

    def tell(self, latents: Tensor, common: Mapping[str, str]) -> None:
        """Gives each row texts of its own that say what CLIP sees in the original; and what the set has in common."""
        pixels = torch.from_numpy(self.base.pictures(latents)).permute(0, 3, 1, 2).to(latents) / 127.5 - 1
        found = seen(self.base, self.base.clip_images(pixels))
        prompts = self.prompts * (len(latents) // len(self.prompts))
        self.told = [told(self.base, prompt, row) for prompt, row in zip(prompts, found, strict=True)]
        texts = [*(row.prompt.base for row in self.told), *(row.prompt.complete for row in self.told)]
        self.asked = self.base.encode_text(texts).chunk(2)
        if common:
            others = [explained(self.base, prompt, row | common) for prompt, row in zip(prompts, found, strict=True)]
            texts = [*(other.base for other in others), *(other.complete for other in others)]
            self.apart = self.base.encode_text(texts).chunk(2)

    def step(self, switch: response, latents: Tensor, timestep: Tensor, done: float) -> tuple[Tensor, Shown | None]:
        """(prediction that is used, what it showed) of one step; done: share of the steps before it."""
        base, rows = self.base, len(latents)
        blends = self.blends and done >= self.guide.start
        plain, complete = self.asked
        with (
            switch,
            self.record("complete", rows) if self.compare else nullcontext() as res,
            self.edit.speak(done) if self.edit else nullcontext(),
        ):
            if self.follows and self.edit is None:
                texts = plain, complete, self.uncond
                guided, eps_res = composed(base, latents, timestep, *texts, self.guidance, self.guide.push, self.apart)
            else:
                guided, eps_res = denoise(base, latents, timestep, complete, self.uncond, self.guidance)
        if not self.compare:
            return guided, None
        with self.record("base", rows) if self.settings.map_path != "response" else nullcontext() as ref:
            strength = self.guidance if blends else 1  # without a blend only the conditional prediction is needed
            guided_ref, eps_ref = denoise(base, latents, timestep, self.plain, self.uncond, strength)
        difference = noise_difference(eps_res, eps_ref, self.settings.channels)
        removed = self.phrase_maps(res, ref)
        control = subtracted(difference, removed, self.said.distances.expand(rows, -1), **self.settings.chain())
        attention = phrase_stack(res, self.said.targets, self.settings.map_layers).sum(1)
        shown = Shown(res, difference, control, removed, attention)
        if not blends:
            return guided, shown
        return guided_ref + self.blend(shown)[:, None].to(guided) * (guided - guided_ref), shown

    def blend(self, shown: Shown) -> Tensor:
        """M of the guide, [B,h,w] in [0,1]."""
        if self.guide.map == "sfcm":
            return shown.sfcm
        if self.guide.map == "difference":
            return scaled(shown.difference, self.guide.scale)
        return scaled(resized(shown.attention, shown.difference.shape[-1]), self.guide.scale)

    def phrase_maps(self, res: Record, ref: Record | None) -> Tensor:
        """Map_p of the base phrases [B,P,s,s] from the path that the settings name."""
        paths = {"response": [res], "reference": [ref], "mean": [res, ref]}[self.settings.map_path]
        return torch.stack([phrase_stack(path, self.said.names, self.settings.map_layers) for path in paths]).mean(0)


@torch.inference_mode()
def sample_pair(
    base: Base,
    prompt: ComposedPrompt,
    adapters: Adapter | Mapping[str, Adapter | Sequence[Adapter]] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    guidance: float = 4.0,
    scale: float = 1.0,
    settings: SfcmConfig = SfcmConfig(),
    guide: GuideConfig | None = None,
    free: Collection[str] = (),
    edit: Edit | None = None,
    original: PathTrace | None = None,
    callback: Callback | None = None,
) -> Trace:
    """Original on the base text and tuned variants on the complete text, from the same noise, with all maps.

    adapters: one adapter, or variants by name, each an adapter or several that add up; none asks the original weights
    for the complete text. scale: strength of the adapters. guide: SFCM-guided sampling of all variants but those named in
    `free`. edit: changes the drawing of the complete text, see `spf.edits`. original: the original path of an earlier
    trace; used if its key fits, drawn anew otherwise. Raises BadInput before anything is drawn, NotFinite, and what the
    callback raises.
    """
    variants = adapters if isinstance(adapters, Mapping) else {TUNED: () if adapters is None else adapters}
    switches = {name: response(base.unet, chosen, scale) for name, chosen in variants.items()}
    pair = _Pair(base, prompt, tuple(seeds), steps, guidance, settings, edit)
    known = original if original is not None and original.key == pair.key else None
    guides = {name: None if name in free else guide for name in switches}
    passes = {name: 2 if guide and guide.follows else 1 for name, guide in guides.items()}
    done, total = 0, steps * (sum(passes.values()) + (known is None))
    if known is None:
        original, done = pair.draw_original(_counted(callback, ORIGINAL, 0, total)), steps
    else:
        original = known
    tuned = {}
    for name, switch in switches.items():
        counted = [_counted(callback, name, done + steps * k, total) for k in range(passes[name])]
        tuned[name] = pair.draw_tuned(switch, guides[name], original, *counted)
        done += steps * passes[name]
    return Trace(
        prompt,
        pair.seeds,
        guidance,
        pair.timesteps,
        tuple(pair.names),
        pair.distances.cpu().numpy(),
        settings,
        original,
        tuned,
    )


def _counted(callback: Callback | None, path: str, before: int, total: int) -> Callback:
    """The callback with the steps of the earlier paths counted in."""
    if callback is None:
        return lambda step: None
    return lambda step: callback(replace(step, path=path, done=before + step.index + 1, total=total))


class _Pair:
    """What both paths of one drawing share: noise, text states, phrases."""

    def __init__(self, base, prompt, seeds, steps, guidance, settings, edit) -> None:
        self.base, self.prompt, self.seeds = base, prompt, seeds
        self.noise = initial_latents(base, seeds)
        self.how = {"guidance": guidance, "settings": settings, "edit": edit}
        self.free = TunedPath(base, [prompt], **self.how)
        self.names, self.distances = self.free.said.names, self.free.said.distances[0]
        self.steps, self.guidance = steps, guidance
        model = (base.name, str(base.folder), str(base.dtype))
        self.key = (*model, prompt.base, tuple(self.names), seeds, steps, guidance)
        self.timesteps = tuple(base.new_scheduler(steps).timesteps.tolist())

    def draw_original(self, callback: Callback) -> PathTrace:
        kept, eps, path = Recorder(), [], self.free
        with path.record("base", len(self.seeds)) as shown:

            def watch(step: Step) -> None:
                kept.add_maps(shown)
                eps.append(step.eps)
                callback(step)

            how = {"steps": self.steps, "guidance": self.guidance, "callback": watch}
            latents = sample(self.base, self.noise, path.plain, path.uncond, **how)
        return self.trace(self.prompt.base, "base", latents, kept, eps=torch.stack(eps).float().cpu().numpy())

    def draw_tuned(self, switch: response, guide: GuideConfig | None, original: PathTrace, *callbacks: Callback) -> PathTrace:
        """callbacks: of the drawing, and before it of the pass that finds a held drawing's map."""
        kept = Recorder()
        path = TunedPath(self.base, [self.prompt], guide=guide, **self.how) if guide else self.free

        def watch(step: Step, shown: Shown) -> None:
            kept.add_maps(shown.record)
            for name in ("difference", "sfcm", "removed"):
                kept.add(name, getattr(shown, name))
            callbacks[-1](step)

        known = torch.from_numpy(original.eps).to(self.noise) if path.follows else None
        latents = path.draw(switch, self.noise, self.steps, watch, *callbacks[:-1], known=known)
        held = path.held.float().cpu().numpy() if path.follows else None
        said_too = tuple(row.phrases for row in path.told)
        return self.trace(self.prompt.complete, "complete", latents, kept, held=held, told=said_too)

    def trace(self, text: str, path: str, latents: Tensor, kept: Recorder, **more) -> PathTrace:
        images, final = self.base.pictures(latents), latents.float().cpu().numpy()
        arrays = kept.arrays(["difference", "sfcm", "removed"])
        return PathTrace(text, tuple(self.free.said.groups[path]), images, final, kept.maps(), self.key, **arrays, **more)

"""The side-by-side drawing: the base text with the original weights, the complete text with tuned
ones, from the same noise.

One step costs one UNet call for the original and two for each tuned variant: its own, and the
reference path on the same latents, which the control map compares with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import torch
from torch import Tensor

from spf.attention import Record, record
from spf.config import GUIDANCE
from spf.control import settings_of
from spf.errors import BadInput
from spf.models import Base
from spf.paths import Adapter, response
from spf.prompts import ComposedPrompt, compose
from spf.sampling.guides import GuideConfig
from spf.sampling.kept import Kept
from spf.sampling.loop import Callback, Step, initial_latents, sample
from spf.sampling.tuned import LARGEST_MAP, Edit, Shown, TunedPath
from spf.sfcm import Evidence, SfcmConfig, control_map, resized, scaled
from spf.shelf import ORIGINAL, TUNED


@dataclass(frozen=True)
class PathTrace:
    """One path of a drawing, as arrays; S steps, B images, G recorded phrases (PAD last).

    maps: longer side -> float16 [S,B,G,h,w], the attention mass of each phrase averaged over heads
    and layers. Tuned variants also have difference, float16 [S,B,h,w], and removed, float16
    [S,B,P,s,s], the maps of the base phrases. Where adapters were trained with a control map, or it
    guides, there are sfcm, float16 [S,B,h,w], the settings it was made with, and the distances [P]
    of the base phrases to the target, by which their maps are subtracted. Held drawings have their
    map, float32 [B,h,w]. predicted, float32 [S,B,C,h,w]: the original's predictions, by which its
    drawing can be followed again. starts, float32 [S,B,C,h,w]: the latents that the steps of a
    variant without maps began with, by which these can be made. told: for each image what the text
    was told of the original. key: everything that the drawing depends on; None for a variant that
    cannot be told from others.
    """

    text: str
    phrases: tuple[str, ...]
    images: np.ndarray
    latents: np.ndarray
    maps: dict[int, np.ndarray]
    key: tuple | None
    difference: np.ndarray | None = None
    sfcm: np.ndarray | None = None
    removed: np.ndarray | None = None
    held: np.ndarray | None = None
    predicted: np.ndarray | None = None
    starts: np.ndarray | None = None
    told: tuple[tuple[str, ...], ...] = ()
    settings: SfcmConfig | None = None
    distances: np.ndarray | None = None

    def map(self, phrase: str, step: int | None = None, side: int | None = None) -> np.ndarray:
        """Map of one phrase, float32 [B,h,w]: of one step or the mean of all, of one resolution or
        the mean of all.
        """
        if phrase not in self.phrases or (side is not None and side not in self.maps):
            raise BadInput(
                f"phrase is {phrase!r} but must be one of {', '.join(self.phrases)}; sides are "
                f"{sorted(self.maps)}."
            )
        at = slice(None) if step is None else [step]
        chosen = {side: self.maps[side]} if side else self.maps
        means = [
            torch.from_numpy(maps[at, :, self.phrases.index(phrase)].astype(np.float32)).mean(0)
            for maps in chosen.values()
        ]
        finest = chosen[max(chosen)].shape[-2:]
        return torch.stack([resized(mean, finest) for mean in means]).mean(0).numpy()

    def mean_sfcm(self) -> np.ndarray | None:
        """The control map averaged over steps, float32 [B,h,w]."""
        return None if self.sfcm is None else self.sfcm.astype(np.float32).mean(0)


@dataclass(frozen=True)
class Trace:
    """A side-by-side drawing: the original path, the tuned variants by name, and what they share.

    base_phrases: the phrases that both texts have, in the order of the chain.
    """

    prompt: ComposedPrompt
    seeds: tuple[int, ...]
    guidance: float
    timesteps: tuple[int, ...]
    base_phrases: tuple[str, ...]
    original: PathTrace
    tuned: dict[str, PathTrace]

    def shown(self, maps: bool = True) -> Trace:
        """The same without what only later drawings need; and without the maps, if these are not
        wanted.
        """

        def slim(path: PathTrace) -> PathTrace:
            less = {} if maps else {"maps": {}, "difference": None, "sfcm": None, "removed": None}
            return replace(path, predicted=None, starts=None, **less)

        tuned = {name: slim(path) for name, path in self.tuned.items()}
        return replace(self, original=slim(self.original), tuned=tuned)

    def chain(self, variant: str, step: int, image: int = 0) -> list[tuple[str, np.ndarray]]:
        """How one step's control map came about: ("noise difference", N), (phrase, N minus ...),
        ..., ("SFCM", map).

        The noise difference alone, scaled to [0,1], where there is no control map.
        """
        path = self.tuned[variant]
        difference, removed = (
            torch.from_numpy(values[step, image : image + 1])
            for values in (path.difference, path.removed)
        )
        if path.settings is None:
            return [("noise difference", scaled(difference.float())[0].numpy())]
        found = Evidence(difference, removed, removed.new_zeros(removed[:, 0].shape))
        distances = torch.from_numpy(path.distances)[None]
        _, stages = control_map(found, distances, path.settings, steps=True)
        maps = [stage.map[0].numpy() for stage in stages[:-1]]
        names = ["noise difference", *self.base_phrases[: len(maps) - 1]]
        made = path.sfcm[step, image].astype(np.float32)
        return [*zip(names, maps, strict=True), ("SFCM", made)]


@dataclass
class Recorder:
    """Collects what each step shows, in half precision on the model's device, and hands it over at
    the end.
    """

    rows: dict[str | int, list[Tensor]] = field(default_factory=dict)

    def add(self, name: str | int, value: Tensor) -> None:
        self.rows.setdefault(name, []).append(value.half())

    def add_shown(self, shown: Shown) -> None:
        self.add_maps(shown.record)
        for name in ("difference", "sfcm", "removed"):
            if getattr(shown, name) is not None:
                self.add(name, getattr(shown, name))

    def add_maps(self, shown: Record) -> None:
        for side in shown.resolutions:
            self.add(side, torch.stack(list(shown.at(side).values()), 1))

    def arrays(self, names: Sequence[str | int]) -> dict:
        return {
            name: torch.stack(self.rows[name]).cpu().numpy() for name in names if name in self.rows
        }

    def maps(self) -> dict[int, np.ndarray]:
        return self.arrays([name for name in self.rows if isinstance(name, int)])


@torch.inference_mode()
def sample_pair(
    base: Base,
    prompt: ComposedPrompt,
    adapters: Adapter | Mapping[str, Adapter | Sequence[Adapter]] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    steps: int = 25,
    guidance: float = GUIDANCE,
    negative: str = "",
    scale: float = 1.0,
    settings: SfcmConfig | None = None,
    guide: GuideConfig | None = None,
    free: Collection[str] = (),
    edit: Edit | None = None,
    maps: Collection[str] | None = None,
    kept: Kept | None = None,
    known: Callable[[str, PathTrace], None] | None = None,
    callback: Callback | None = None,
) -> Trace:
    """Original on the base text and tuned variants on the complete text, from the same noise.

    adapters: one adapter, or variants by name, each an adapter or several that add up; none asks
    the original weights for the complete text. negative: what guidance leads both paths away from,
    in place of the empty text. scale: strength of the adapters. settings: of the control map, by
    default those that the adapters were trained with. guide: SFCM-guided sampling of all variants
    but those named in `free`. edit: changes the drawing of the complete text, see `spf.edits`.
    maps: the variants whose maps are made, all by default. kept: where drawings are kept; what is
    there with the same settings is not drawn again, and `known` gets it before anything is drawn.
    Raises BadInput before anything is drawn, NotFinite, and what the callback raises.
    """
    variants = (
        adapters if isinstance(adapters, Mapping) else {TUNED: () if adapters is None else adapters}
    )
    switches = {name: response(base, chosen, scale) for name, chosen in variants.items()}
    kept = Kept() if kept is None else kept
    pair = _Pair(base, prompt, tuple(seeds), steps, guidance, negative, kept)
    looked = set(switches if maps is None else maps)
    paths = {
        name: TunedPath(
            base,
            [prompt],
            guidance=guidance,
            negative=negative,
            settings=settings or settings_of(switch.metadata),
            guide=None if name in free else guide,
            edit=edit,
            compare=name in looked,
            kept=pair.kept,
            place=pair.key,
        )
        for name, switch in switches.items()
    }
    drawn = {name: pair.find(switch, paths[name]) for name, switch in switches.items()}
    earlier = {ORIGINAL: pair.kept.get(pair.key)} | drawn
    passes = earlier[ORIGINAL] is None
    for name, path in paths.items():
        if drawn[name] is None:
            passes += path.passes(switches[name].adapters, scale)
        else:
            passes += pair.lacks(path, drawn[name])
    for name, path in earlier.items():
        if path is not None and known:
            known(name, path)
    total, done = steps * passes, count(1)

    def counted(name: str) -> Callback:
        return lambda step: (
            callback(replace(step, path=name, done=next(done), total=total)) if callback else None
        )

    original = earlier[ORIGINAL] or pair.draw_original(counted(ORIGINAL))
    tuned = {
        name: pair.tuned(switch, paths[name], original, drawn[name], counted(name))
        for name, switch in switches.items()
    }
    return Trace(
        prompt,
        pair.seeds,
        guidance,
        pair.timesteps,
        tuple(pair.plain.said.names),
        original,
        tuned,
    )


class _Pair:
    """What both paths of one drawing share: noise, text states, phrases, and what is kept."""

    def __init__(self, base, prompt, seeds, steps, guidance, negative, kept) -> None:
        self.base, self.prompt, self.seeds, self.kept = base, prompt, seeds, kept
        self.noise = initial_latents(base, seeds)
        self.plain = TunedPath(base, [prompt], guidance=guidance, negative=negative)
        self.steps, self.guidance = steps, guidance
        self.groups = self._groups()
        way = (base.sampler, base.perturbed, base.latent_sides)
        model = (base.name, str(base.folder), str(base.dtype), *way)
        self.key = (*model, prompt.base, tuple(self.groups), seeds, steps, guidance, negative)
        self.timesteps = tuple(base.new_scheduler(steps).timesteps.tolist())

    def _groups(self) -> dict[str, list[int]]:
        """Token columns of the phrases that are recorded of the original: all of the base text,
        where those of both texts are among them, so that one drawing serves many targets.
        """
        own = self.plain.said.groups["base"]
        if not self.prompt.composed:
            return own
        whole = compose(self.prompt.base).groups(self.base.tokenizer, "base")
        return whole if all(whole.get(name) == own[name] for name in own) else own

    def key_of(self, switch: response, path: TunedPath) -> tuple | None:
        """All that a tuned variant depends on; None for one that cannot be told from others."""
        if path.edit or switch.mark is None:
            return None
        return (*self.key, self.prompt, switch.mark, path.guide, path.maps and path.settings)

    def find(self, switch: response, path: TunedPath) -> PathTrace | None:
        """The variant, where it is kept."""
        key = self.key_of(switch, path)
        return self.kept.get(key) if key else None

    def lacks(self, path: TunedPath, drawn: PathTrace) -> bool:
        """Whether a variant was drawn without the maps that are wanted now."""
        return path.compare and drawn.difference is None

    def draw_original(self, callback: Callback) -> PathTrace:
        kept, predicted, path = Recorder(), [], self.plain
        conditional = slice(-len(self.seeds), None)
        with record(self.base.unet, self.groups, rows=conditional, largest=LARGEST_MAP) as shown:

            def watch(step: Step) -> None:
                kept.add_maps(shown)
                predicted.append(step.predicted)
                callback(step)

            how = {"steps": self.steps, "guidance": self.guidance, "callback": watch}
            latents = sample(self.base, self.noise, path.plain, path.uncond, **how)
        drawn = self.trace("base", latents, predicted=_stacked(predicted), key=self.key)
        drawn = replace(drawn, maps=kept.maps())
        self.kept[self.key] = drawn
        return drawn

    def tuned(
        self,
        switch: response,
        path: TunedPath,
        original: PathTrace,
        drawn: PathTrace | None,
        callback: Callback,
    ) -> PathTrace:
        """The variant with the maps that are wanted: as it is kept, looked at, or drawn."""
        if drawn is None:
            drawn = self.draw_tuned(switch, path, original, callback)
        elif self.lacks(path, drawn):
            drawn = self.look(switch, path, original, drawn, callback)
        if drawn.key:
            self.kept[drawn.key] = drawn
        return drawn

    def draw_tuned(
        self, switch: response, path: TunedPath, original: PathTrace, callback: Callback
    ) -> PathTrace:
        kept, starts = Recorder(), [self.noise]

        def watch(step: Step, shown: Shown | None) -> None:
            if shown:
                kept.add_shown(shown)
            else:
                starts.append(step.latents)
            callback(step)

        known = self._predictions(original, path)
        latents = path.draw(switch, self.noise, self.steps, watch, callback, known)
        more = {} if path.compare else {"starts": _stacked(starts[:-1])}
        if path.follows:
            more |= {"held": path.held.float().cpu().numpy()}
        more |= {"told": tuple(row.phrases for row in path.told), "key": self.key_of(switch, path)}
        return replace(self.trace("complete", latents, **more), **self._maps(path, kept))

    def look(
        self,
        switch: response,
        path: TunedPath,
        original: PathTrace,
        drawn: PathTrace,
        callback: Callback,
    ) -> PathTrace:
        """The maps of a variant that was drawn without."""
        kept, starts = Recorder(), torch.from_numpy(drawn.starts).to(self.noise)

        def watch(index: int, shown: Shown) -> None:
            kept.add_shown(shown)
            callback(Step("", index, 0, 0, self.timesteps[index], starts[index]))

        known = self._predictions(original, path)
        path.look(switch, self.noise, list(starts), watch, known)
        return replace(drawn, starts=None, **self._maps(path, kept))

    def _predictions(self, original: PathTrace, path: TunedPath) -> Tensor | None:
        """The original's, for a path that follows its drawing."""
        return torch.from_numpy(original.predicted).to(self.noise) if path.follows else None

    def _maps(self, path: TunedPath, kept: Recorder) -> dict:
        """What was recorded of a tuned variant, as fields of its trace."""
        if not path.compare:
            return {}
        found = {"maps": kept.maps()} | kept.arrays(["difference", "sfcm", "removed"])
        if path.maps:
            found |= {
                "settings": path.settings,
                "distances": path.said.distances[0].cpu().numpy(),
            }
        return found

    def trace(self, path: str, latents: Tensor, **more) -> PathTrace:
        text = self.prompt.base if path == "base" else self.prompt.complete
        phrases = self.groups if path == "base" else self.plain.said.groups[path]
        images, final = self.base.pictures(latents), latents.float().cpu().numpy()
        return PathTrace(text, tuple(phrases), images, final, {}, **more)


def _stacked(steps: Sequence[Tensor]) -> np.ndarray:
    return torch.stack(list(steps)).float().cpu().numpy()

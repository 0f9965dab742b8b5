"""The tuned path: complete texts with tuned weights, plain, held to the original, or under an edit
of `spf.edits`.

One step costs the tuned weights' own UNet call and, where the control map is wanted, one of the
reference path on the same latents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from spf.attention import Record, record
from spf.config import GUIDANCE
from spf.control import evidence
from spf.guides import make as make_guide
from spf.models import Base
from spf.paths import Adapter, mark_of, others, response
from spf.pixels import as_pixels
from spf.prompts import ComposedPrompt, compose
from spf.sampling.guides import GuideConfig, composed, predictions, pushed
from spf.sampling.kept import Kept
from spf.sampling.loop import Callback, Step, denoise, sample
from spf.sampling.phrases import said
from spf.sfcm import Evidence, SfcmConfig, control_map, noise_difference
from spf.traits.reading import noted, seen
from spf.traits.telling import Told, explained, foreign, told

LARGEST_MAP = 32  # finer maps cost the most and show the least
EVERY = 2  # of the steps, at which a map that holds is asked for


@dataclass(frozen=True)
class Shown:
    """What one step of a tuned path showed: attention maps, what a control map is made of, and that
    map [B,h,w], if the adapters were trained with one."""

    record: Record
    evidence: Evidence
    sfcm: Tensor | None

    @property
    def difference(self) -> Tensor:
        """Noise difference [B,h,w]."""
        return self.evidence.difference

    @property
    def removed(self) -> Tensor:
        """Maps [B,P,s,s] of the base phrases, which the control map subtracts."""
        return self.evidence.phrases

    @property
    def attention(self) -> Tensor:
        """Attention [B,s,s] to the target."""
        return self.evidence.target


@dataclass(frozen=True)
class Found:
    """What was found along a drawing that is followed: where the target may act, [B,h,w] in [0,1],
    and what CLIP sees of each row, where it is asked.
    """

    free: Tensor
    seen: list[dict[str, str]] | None = None


class Edit(Protocol):
    """Changes the drawing of complete texts without training; see `spf.edits`.

    states: the text states [B,77,D] to use in place of those of the complete texts. beside: whether
    the base text is drawn by the original weights beside it; then hear() is active while that path
    predicts, speak() while the tuned one does, and adjust(source, latents, done) may change the
    tuned path's latents after a step. done is the share of steps done.
    """

    beside: bool

    def states(self, base: Base, prompts: Sequence[ComposedPrompt], states: Tensor) -> Tensor: ...

    def begin(self, base: Base, prompts: Sequence[ComposedPrompt], rows: int) -> None: ...

    def hear(self) -> AbstractContextManager: ...

    def speak(self, done: float) -> AbstractContextManager: ...

    def adjust(self, source: Tensor, latents: Tensor, done: float) -> Tensor: ...


class TunedPath:
    """Draws complete texts with tuned weights. One prompt serves all rows; of several each row has
    its own.

    compare: run the reference path on the same latents, for the noise difference (always done for a
    guide that reads one).
    settings: of the control map, see `control.settings_of`; None leaves it out, unless it guides.
    negative: the text that guidance leads away from, in place of the empty one.
    guide, edit: see `GuideConfig` and `spf.edits`. earlier: of a drawing that follows, the path for
    all targets but the last, which it follows instead of the original's. held: the map [B,h,w] of
    the last drawing that followed, as it was in the end, in which all targets were free;
    told: the prompts of its rows, if they were told what that shows; heard: the text states of the
    drawing that is followed, told the same. kept, place: where the path keeps what it finds along
    a drawing that it follows, and what that depends on beside the path.
    Raises BadInput when words of a target fall off the end.
    """

    def __init__(
        self,
        base: Base,
        prompts: Sequence[ComposedPrompt],
        *,
        guidance: float = GUIDANCE,
        negative: str = "",
        settings: SfcmConfig | None = None,
        guide: GuideConfig | None = None,
        edit: Edit | None = None,
        compare: bool = True,
        kept: Kept | None = None,
        place: tuple = (),
    ) -> None:
        self.base, self.prompts = base, list(prompts)
        self.guidance, self.negative = guidance, negative
        self.kept, self.place = kept, place
        self.guide, self.edit = guide, edit
        self.way = make_guide(guide.map) if guide else None
        self.maps = settings is not None or (self.way is not None and self.way.reads_map)
        self.settings = settings or SfcmConfig()
        self.follows = guide is not None and guide.follows
        self.blends = guide is not None and not self.follows
        self.narrows = self.follows and self.way.narrows < 1
        self.compare = compare or self.blends
        plain, complete = ([getattr(one, text) for one in prompts] for text in ("base", "complete"))
        self.uncond, self.plain, self.complete = base.encode_text(
            [negative, *plain, *complete]
        ).split([1, len(prompts), len(prompts)])
        targets = prompts[0].targets if len({prompt.targets for prompt in prompts}) == 1 else ()
        self.targets = targets if self.follows and edit is None and len(targets) > 1 else ()
        self.earlier: TunedPath | None = None
        if self.targets:
            some = [prompt.before() for prompt in prompts]
            more = {"guide": guide, "compare": False, "kept": kept, "place": place}
            self.earlier = TunedPath(base, some, guidance=guidance, negative=negative, **more)
        if edit:
            self.complete = edit.states(base, self.prompts, self.complete)
        self.said = said(base, self.prompts, self.settings) if self.compare else None
        self.groups = self.said.groups if self.compare else {}
        self.before = self.earlier.complete if self.earlier else self.plain
        self.blank, self.asked = self.uncond, (self.before, self.complete)
        self.heard = self.plain
        self.reading: AbstractContextManager = nullcontext()
        self.apart: Sequence[Tensor] = ()
        self.push = 1.0
        self.free: Tensor | None = None
        self.told: list[Told] = []

    @property
    def held(self) -> Tensor | None:
        return (
            torch.maximum(self.free, self.earlier.held)
            if self.earlier and self.free is not None
            else self.free
        )

    def passes(self, adapters: Sequence[Adapter], scale: float) -> int:
        """How often `draw` with these weights goes through all steps."""
        if self.earlier:
            return 1 + self.earlier.passes(others(adapters, self.targets[-1:]), scale)
        return 1 + (self.follows and self._found(mark_of(adapters, scale)) is None)

    def _key(self, mark: tuple | None) -> tuple | None:
        """All that `Found` depends on; None where nothing can be kept."""
        if self.kept is None or self.edit or mark is None:
            return None
        guide = self.guide if self.earlier else self.guide.map  # no push has moved the original
        texts = tuple((prompt.base, prompt.complete) for prompt in self.prompts)
        return ("found", *self.place, texts, mark, guide, self.settings.channels)

    def _found(self, mark: tuple | None) -> Found | None:
        key = self._key(mark)
        return self.kept.get(key) if key else None

    def record(self, path: str, rows: int):
        """Recorder of one text's phrases on the conditional rows, which come last."""
        return record(
            self.base.unet, self.groups[path], rows=slice(-rows, None), largest=LARGEST_MAP
        )

    @torch.inference_mode()
    def draw(
        self,
        switch: response,
        noise: Tensor,
        steps: int,
        watch: Callable[[Step, Shown | None], None] | None = None,
        first: Callback | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Clean latents [B,C,h,w] from noise with the weights of `switch`; `watch` gets every step
        and what it showed.

        A guide that follows the original's drawing does so first: `first` gets those steps, and
        those of the earlier targets after them; known [S,B,C,h,w] are its predictions if it has
        been drawn already.
        """
        self.read(switch)
        own = switch.without(self.targets[:-1])
        beside = self.edit is not None and self.edit.beside
        shown: list[Shown | None] = [None]
        differences: list[Tensor] = []
        done = 0
        course = self.follow(switch, own, noise, steps, first, known) if self.follows else []
        if course and watch is None and not self.guide.start and not self.free.any():
            return course[-1]  # nothing is asked for that is not there
        if self.edit:
            self.edit.begin(self.base, self.prompts, len(noise))

        def predict(latents: Tensor, timestep: Tensor) -> Tensor:
            nonlocal done
            parts = []
            if beside:
                source, latents = latents.chunk(2)
                with self.edit.hear():
                    parts.append(
                        denoise(
                            self.base, source, timestep, self.plain, self.uncond, self.guidance
                        )[0]
                    )
            narrowing = self.narrows and done % EVERY == 0
            used, shown[0], difference = self.step(
                switch, own, latents, timestep, done / steps, narrowing
            )
            if narrowing:
                differences.append(difference)
            done += 1
            return torch.cat([*parts, used])

        def adjust(latents: Tensor, index: int) -> Tensor:
            parts = []
            if beside:
                source, latents = latents.chunk(2)
                latents = self.edit.adjust(source, latents, (index + 1) / steps)
                parts.append(source)
            if self.narrows and index >= self.way.narrows * steps:
                self.free = self.way.narrowed(self.free, differences)
            if self.follows and index >= self.guide.start * steps:
                latents = course[index] + self.free[:, None].to(latents) * (latents - course[index])
            return torch.cat([*parts, latents])

        def report(step: Step) -> None:
            rows = slice(-len(noise), None)
            fields = {name: getattr(step, name)[rows] for name in ("latents", "clean", "predicted")}
            now = {"difference": shown[0].difference, "sfcm": shown[0].sfcm} if shown[0] else {}
            watch(replace(step, **fields, **now), shown[0])

        start = torch.cat([noise, noise]) if beside else noise
        return sample(
            self.base,
            start,
            self.complete,
            self.uncond,
            steps=steps,
            guidance=self.guidance,
            predict=predict,
            adjust=adjust if beside or self.follows else None,
            callback=report if watch else None,
        )[-len(noise) :]

    def read(self, switch: response) -> None:
        """Text states as the tuned path has them, where its weights change the text encoder too."""
        if not switch.reads:
            return
        self.reading, count = switch, len(self.prompts)
        before = [(one.before().complete if self.earlier else one.base) for one in self.prompts]
        texts = [self.negative, *before, *(prompt.complete for prompt in self.prompts)]
        with switch:
            self.blank, self.before, complete = self.base.encode_text(texts).split(
                [1, count, count]
            )
            edit = self.edit
            self.complete = edit.states(self.base, self.prompts, complete) if edit else complete
        self.asked = self.before, self.complete

    def follow(
        self,
        switch: response,
        own: response,
        noise: Tensor,
        steps: int,
        callback: Callback | None = None,
        known: Tensor | None = None,
    ) -> list[Tensor]:
        """The latents after each step of the drawing that is followed. Sets where, along it, the
        weights of `own`, tuned for the last target, tell the complete text from that of the
        drawing. And tells the rows."""
        course: list[Tensor] = []
        differences: list[Tensor] = []
        texts = self.complete, self.before
        found = self._found(switch.mark)
        if found and not self.earlier:
            callback = None  # nothing is drawn

        def differ(latents: Tensor, timestep: Tensor) -> None:
            if found or len(course) % EVERY:
                return
            with own:
                differences.append(
                    noise_difference(
                        *predictions(self.base, latents, timestep, texts), self.settings.channels
                    )
                )

        def predict(latents: Tensor, timestep: Tensor) -> Tensor:
            differ(latents, timestep)
            if known is not None:
                return known[len(course)]
            return denoise(self.base, latents, timestep, self.plain, self.uncond, self.guidance)[0]

        def watch(step: Step, shown: Shown | None = None) -> None:
            if self.earlier:
                differ(course[-1] if course else noise, torch.tensor(step.timestep))
            course.append(step.latents)
            if callback:
                callback(step)

        if self.earlier:
            self.earlier.draw(
                switch.without(self.targets[-1:]), noise, steps, watch, callback, known
            )
        else:
            sample(
                self.base,
                noise,
                self.plain,
                self.uncond,
                steps=steps,
                predict=predict,
                callback=watch,
            )
        if not found:
            found = Found(self.way.free(differences), self.see(course[-1]))
            if key := self._key(switch.mark):
                self.kept[key] = found
        self.heed(found, own)
        return course

    def see(self, latents: Tensor) -> list[dict[str, str]] | None:
        """What CLIP sees in each picture, where rows are told that."""
        if not self.way.tells or self.base.clip is None or self.edit:
            return None
        pictures = as_pixels(self.base.pictures(latents)).to(latents)
        return seen(self.base, self.base.clip_images(pictures))

    def heed(self, found: Found, own: response) -> None:
        """Takes over what was found along the drawing that is followed."""
        self.asked, self.apart, self.told = (self.before, self.complete), (), []
        self.heard = self.before if self.earlier else self.plain
        self.free, self.push = found.free, pushed(self.guide, own.metadata)
        if found.seen is not None:
            common = {
                name: value for adapter in own.metadata for name, value in noted(adapter).items()
            }
            self.tell(found.seen, common)

    def tell(self, found: Sequence[dict[str, str]], common: Mapping[str, str]) -> None:
        """Gives each row texts of its own that say what was found in the original; and what the set
        has in common.
        """
        numbers = list(range(len(self.prompts))) * (len(found) // len(self.prompts))
        prompts = [self.prompts[number] for number in numbers]
        self.told = [
            told(self.base, prompt, row) for prompt, row in zip(prompts, found, strict=True)
        ]
        if self.compare:
            rows = zip(numbers, prompts, self.told, strict=True)
            columns = [
                self.said.columns(self.base, number, prompt, "complete", row)
                for number, prompt, row in rows
            ]
            self.groups = self.groups | {"complete": columns}
        texts = [
            *(row.prompt.before().complete for row in self.told),
            *(row.prompt.complete for row in self.told),
        ]
        with self.reading:
            self.asked = self.base.encode_text(texts).chunk(2)
        alike = self.earlier is not None or isinstance(self.reading, nullcontext)
        self.heard = self.asked[0] if alike else self.base.encode_text(texts[: len(self.told)])
        if common:
            last = [
                compose(prompt.before().complete, prompt.targets[-1]) if self.targets else prompt
                for prompt in prompts
            ]
            others = [
                explained(self.base, prompt, row | foreign(common, prompt))
                for prompt, row in zip(last, found, strict=True)
            ]
            texts = [*(other.base for other in others), *(other.complete for other in others)]
            with self.reading:
                self.apart = self.base.encode_text(texts).chunk(2)

    def step(
        self,
        switch: response,
        own: response,
        latents: Tensor,
        timestep: Tensor,
        done: float,
        narrowing: bool = False,
    ) -> tuple[Tensor, Shown | None, Tensor | None]:
        """(prediction that is used, what it showed, the noise difference by which a step that is
        `narrowing` does so) of one step with the weights of `switch`, the last target's direction
        with those of `own`; done: share of the steps before it."""
        base, rows = self.base, len(latents)
        blends = self.blends and done >= self.guide.start
        plain, complete = self.asked
        apart, added = self.apart, None
        if own is not switch:
            with own:
                less, more = predictions(base, latents, timestep, apart or (plain, complete))
            apart, added = (), more - less
        with (
            switch,
            self.record("complete", rows) if self.compare else nullcontext() as res,
            self.edit.speak(done) if self.edit else nullcontext(),
        ):
            if self.follows and self.edit is None:
                wanted = self.compare or narrowing or not (apart or added is not None)
                guided, found_res = composed(
                    base,
                    latents,
                    timestep,
                    self.blank,
                    plain,
                    complete if wanted else None,
                    self.guidance,
                    self.push,
                    apart,
                    added,
                )
            else:
                guided, found_res = denoise(
                    base, latents, timestep, complete, self.blank, self.guidance
                )
        difference = self.differing(switch, found_res, latents, timestep) if narrowing else None
        if not self.compare:
            return guided, None, difference
        strength = self.guidance if blends else 1  # else only the conditional one is needed
        shown, guided_ref = self.compared(found_res, res, latents, timestep, strength)
        if blends:
            guided = guided_ref + self.blend(shown)[:, None].to(guided) * (guided - guided_ref)
        return guided, shown, difference

    def differing(
        self, switch: response, found_res: Tensor, latents: Tensor, timestep: Tensor
    ) -> Tensor:
        """Noise difference [B,h,w] to what the path that is followed predicts on the same latents:
        the reference, or of several targets the weights of all but the last. It is told the same,
        so that only the target is between them.
        """
        with switch.without(self.targets[-1:]) if self.earlier else nullcontext():
            found = predictions(self.base, latents, timestep, [self.heard])[0]
        return noise_difference(found_res, found, self.settings.channels)

    def compared(
        self, found_res: Tensor, res: Record, latents: Tensor, timestep: Tensor, strength: float
    ) -> tuple[Shown, Tensor]:
        """(what a prediction of the tuned path shows beside the reference's on the same latents,
        that one with guidance `strength`)."""
        wanted = self.settings.map_path != "response"
        with self.record("base", len(latents)) if wanted else nullcontext() as ref:
            guided_ref, found_ref = denoise(
                self.base, latents, timestep, self.plain, self.uncond, strength
            )
        both = (found_res, found_ref), (res, ref)
        found = evidence(*both, self.said.names, self.said.targets, self.settings)
        distances = self.said.distances.expand(len(latents), -1)
        control = control_map(found, distances, self.settings) if self.maps else None
        return Shown(res, found, control), guided_ref

    @torch.inference_mode()
    def look(
        self,
        switch: response,
        noise: Tensor,
        starts: Sequence[Tensor],
        watch: Callable[[int, Shown], None],
        known: Tensor | None = None,
    ) -> None:
        """`watch` gets the number of each step of a drawing that is there, and what the step shows.

        starts: the latents [B,C,h,w] that the steps began with. Not for edits, nor for guides that
        blend, which look while they draw.
        """
        self.read(switch)
        own = switch.without(self.targets[:-1])
        if self.follows:
            if found := self._found(switch.mark):
                self.heed(found, own)
            else:
                self.follow(switch, own, noise, len(starts), None, known)
        complete = self.asked[1]
        timesteps = self.base.new_scheduler(len(starts)).timesteps
        for index, (latents, timestep) in enumerate(zip(starts, timesteps, strict=True)):
            with switch, self.record("complete", len(latents)) as res:
                found_res = predictions(self.base, latents, timestep, [complete])[0]
            watch(index, self.compared(found_res, res, latents, timestep, 1)[0])

    def blend(self, shown: Shown) -> Tensor:
        """M of the guide, [B,h,w] in [0,1]."""
        return self.way.blend(shown, self.guide.scale)

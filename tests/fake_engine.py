"""An engine without a network: it draws with the renderer, invents plausible maps, and stops where
it is told to.

Everything else (lock, streaming, reports, adapters' names) is the real engine, so the page cannot
tell the difference.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from portrait_world import sure_reading
from safetensors.numpy import save_file

from spf.answers import Progress, Words
from spf.engine import Engine
from spf.pixels import as_pixels
from spf.portraits.description import ATTRIBUTES, TARGETS, Portrait, sample_portrait
from spf.portraits.render import REGIONS, render
from spf.prompts import PAD, Spelling, compose, near_words
from spf.rereading import Reading
from spf.sampling import PathTrace, Trace
from spf.sfcm import SfcmConfig
from spf.shelf import ORIGINAL, TUNED
from spf.targets import composed, known_targets
from spf.weights import Loaded

SIDES = (4, 8, 16)
PLACES = {
    **dict.fromkeys(("woman", "man", "skin"), "face"),
    **dict.fromkeys(("shirt", "suit", "jacket", "dress"), "clothing"),
    **{
        "hair": "hair",
        "hat": "hat",
        "glasses": "eyewear",
        "laughing": "mouth",
        "necklace": "necklace",
        "beard": "beard",
    },
}
KNOWN = set(
    """a an the photo portrait of young old middle-aged woman man with long short curly red brown
    black gray grey hair bun and glasses beard wearing white blue green yellow t-shirt shirt jacket
    suit dress before by in sea park window curtain background hat freckled skin blonde sunglasses
    laughing pearl necklace watercolor painting""".split()
)


class FakeEngine(Engine):
    """adapters: names that exist. pause: seconds a step. fault: raised at step 3 of the first
    drawing, then cleared.
    """

    def __init__(
        self,
        tmp,
        adapters=("hat", "hat-naive", "freckles", "dress", "blonde", "watercolor"),
        pause=0.0,
        fault=None,
    ):
        super().__init__("fake", folder=tmp, filtered=False)
        self.pause, self.fault = pause, fault
        self.running = self.peak = self.steps_done = 0
        for name in adapters:
            (tmp / "adapters").mkdir(exist_ok=True)
            target = TARGETS.get(name.partition("-")[0])
            made = {"target": target.text if target else name}
            made["method"] = name.partition("-")[2] or "spf"
            save_file({"x": np.zeros(1)}, tmp / "adapters" / f"{name}.safetensors", made)

    fits = None  # its files hold nothing

    def _load(self):
        if self.base is None:
            time.sleep(self.pause)
            once = {"area_of": lambda width, height: 1.0}
            self.base = SimpleNamespace(name=self.model, weights=Loaded(self.model), **once)
            self._tried.set()
        return self.base

    def words(self, config):
        prompt = composed(config)
        seen = dict.fromkeys(
            re.findall(r"[a-z][a-z-]*", f"{prompt.base} {prompt.complete}".lower())
        )
        unknown = tuple(word for word in seen if word not in KNOWN)
        known = tuple(sorted(KNOWN)) if unknown else ()
        return Words(prompt, unknown, near={w: near_words(w, known) for w in unknown}, known=known)

    def spelling(self, text):
        seen = dict.fromkeys(re.findall(r"[a-z][a-z-]*", text.lower()))
        return Spelling(tuple(w for w in seen if w not in KNOWN), len(seen), 75, len(text))

    def _draw(self, base, config, words, maps, tell, check):
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            clock, portraits, watch, trace = self._drawn(config, words, tell, check)
            if config.width or config.height:
                width, height = config.width or 128, config.height or 128
                portraits, trace = cut(portraits, trace, width, height)
                watch.frames = {
                    role: [frame[:height, :width] for frame in frames]
                    for role, frames in watch.frames.items()
                }
            return clock, portraits, watch, trace.shown(maps)
        finally:
            self.running -= 1

    def _drawn(self, config, words, tell, check):
        rng = np.random.default_rng(config.seed)
        described = {ORIGINAL: describe(words.prompt.base, rng)}
        targets = known_targets(config.targets)
        tuned = described[ORIGINAL]
        for target in targets:
            tuned = tuned.with_target(target) if config.adapter else tuned
        described[TUNED] = tuned
        for role in [role for role in self.variants(config) if role != TUNED]:
            described[role] = replace(
                tuned,
                background="gray",
                clothing_color="white",
                age="old",
                expression="smiling",
                eyewear="none",
            )
        self.described = described
        drawings = {role: render(portrait, 128) for role, portrait in described.items()}
        self.regions = torch.from_numpy(
            np.stack([drawing.regions for drawing in drawings.values()])
        )
        noise = rng.integers(0, 255, (128, 128, 3))
        steps, total = config.steps, config.steps * len(drawings)
        at = tuple(sorted({*range(0, steps, -(-steps // 10)), steps - 1}))
        frames = {role: [] for role in drawings}
        for number, (role, drawing) in enumerate(drawings.items()):
            for index in range(steps):
                check()
                time.sleep(self.pause)
                self.steps_done += 1
                if self.fault and index == 3:
                    fault, self.fault = self.fault, None
                    raise fault
                previews = {}
                if index in at:
                    clear = ((index + 1) / steps) ** 0.5
                    previews[role] = (
                        drawing.image * clear + (0.5 * noise + 64) * (1 - clear)
                    ).astype(np.uint8)
                    frames[role].append(previews[role])
                done = number * steps + index + 1
                left, place = (total - done) * self.pause, (index + 1, steps)
                tell(Progress(role, done, total, left, previews, *place))
        watch = type("Watch", (), {"frames": frames, "frame_steps": at, "row_seconds": 0.0})
        return (
            {"pair": 0.1},
            {role: drawing.image for role, drawing in drawings.items()},
            watch,
            trace(words.prompt, drawings, steps, config),
        )

    def _readings(self, base, config, words, trace, word):
        steps = (config.steps // 4, config.steps // 2)
        if word:
            compose(words.prompt.complete, (word,))
            maps = np.random.default_rng(len(word)).random((2, 16, 16), np.float32)
            return {role: Reading(steps, word=maps) for role in (ORIGINAL, TUNED)}
        looks = np.eye(256, dtype=np.float32).reshape(16, 16, 16, 16)[::2, ::2] + 0.001
        looks = np.stack([looks / looks.sum((-2, -1), keepdims=True)] * 2)
        return {role: Reading(steps, looks=looks) for role in (ORIGINAL, TUNED)}

    @property
    def judges(self):
        return self

    def read(self, images):
        if images.shape[1:3] != (128, 128):
            return None
        values = [portrait.attributes() for portrait in self.described.values()]
        return sure_reading(values, as_pixels(images), self.regions)


def describe(text: str, rng) -> Portrait:
    """A portrait that agrees with the words that it understands."""
    text, fixed = text.lower(), {}
    for name, values in ATTRIBUTES.items():
        for value in values:
            word = {
                "hair_color": f"{value}( {{0}}\\w+)? (hair|bun)",
                "clothing_color": f"{value} (t-shirt|shirt|jacket|suit|dress)",
            }.get(name, value.lower())
            if re.search(rf"(?<![\w-]){word.replace('{0}', '')}(?![\w-])", text):
                fixed[name] = value
    for word, name in (("old", "age"), ("woman", "gender"), ("man", "gender")):
        if re.search(rf"\b{word}\b", text):
            fixed[name] = word
    return sample_portrait(rng, split="test", targets="none", fixed=fixed)


def trace(prompt, drawings, steps, config) -> Trace:
    """Maps from the drawn regions, vague at first and sharp at the end."""
    rng = np.random.default_rng(config.seed + 1)
    base = tuple(phrase.text for phrase in prompt.phrases)
    targets = tuple(phrase.text for phrase in prompt.target_phrases)

    def path(role, text, phrases, **more):
        drawing = drawings[role]
        maps = {
            side: np.stack(
                [
                    np.stack(
                        [at_step(drawing, phrase, side, step / steps, rng) for phrase in phrases]
                    )
                    for step in range(steps)
                ]
            )[:, None]
            for side in SIDES
        }
        return PathTrace(
            text,
            phrases,
            drawing.image[None],
            np.zeros((1, 4, 16, 16), np.float32),
            maps,
            (),
            **more,
        )

    original, tuned = drawings[ORIGINAL], drawings[TUNED]
    change = np.abs(original.image.astype(float) - tuned.image).mean(-1)
    change = shrunk(change / max(1.0, change.max()), 16)
    difference = np.stack(
        [change * (step + 1) / steps + 0.25 * rng.random((16, 16)) for step in range(steps)]
    )[:, None].astype(np.float16)
    removed = np.stack(
        [
            np.stack(
                [at_step(original, phrase, 16, step / steps, rng) for phrase in base]
                or [np.zeros((16, 16), np.float16)]
            )
            for step in range(steps)
        ]
    )[:, None]
    chain = {"difference": difference, "sfcm": difference, "settings": SfcmConfig()}
    chain["distances"] = np.linspace(0.3, 0.9, len(base)).astype(np.float32)
    if config.guided == "held":
        chain["held"] = difference.astype(np.float32).mean(0)
    variants = {
        role: path(
            role,
            prompt.complete,
            (*base, *targets, PAD),
            removed=removed[:, :, : len(base)],
            **chain,
        )
        for role in drawings
        if role != ORIGINAL
    }
    timesteps = tuple(np.linspace(981, 1, steps).astype(int).tolist())
    return Trace(
        prompt,
        (config.seed,),
        config.guidance,
        timesteps,
        base,
        path(ORIGINAL, prompt.base, (*base, PAD)),
        variants,
    )


def cut(portraits, whole, width, height):
    """The upper left part of everything, with maps that know their longer side."""

    def part(maps):
        high, wide = maps.shape[-2:]
        return maps[..., : high * height // 128, : wide * width // 128]

    def less(path):
        maps = [part(maps) for maps in path.maps.values()]
        some = {"maps": {max(one.shape[-2:]): one for one in maps}}
        for name in ("difference", "sfcm", "removed", "held"):
            if getattr(path, name) is not None:
                some[name] = part(getattr(path, name))
        return replace(path, images=path.images[:, :height, :width], **some)

    tuned = {name: less(path) for name, path in whole.tuned.items()}
    whole = replace(whole, original=less(whole.original), tuned=tuned)
    return {role: image[:height, :width] for role, image in portraits.items()}, whole


def at_step(drawing, phrase, side, progress, rng):
    places = [region for word, region in PLACES.items() if word in phrase.lower()]
    mask = (
        np.isin(drawing.regions, [REGIONS.index(place) for place in places])
        if places
        else drawing.regions == 0
    )
    sharp = min(1.0, 0.2 + 1.2 * progress)
    return (
        0.3 * (sharp * shrunk(mask, side) + (1 - sharp) * 0.5 * rng.random((side, side)))
    ).astype(np.float16)


def shrunk(image, side):
    return image.reshape(side, image.shape[0] // side, side, image.shape[1] // side).mean((1, 3))

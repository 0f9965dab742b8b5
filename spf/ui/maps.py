"""Every map of every step of a run as one packed value, so that scrubbing asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from spf.answers import Result
from spf.packing import Blob
from spf.prompts import PAD
from spf.shelf import ORIGINAL, TUNED

from .components import webp
from .texts import both, same

if TYPE_CHECKING:  # it comes with torch
    from spf.rereading import Reading


def payload(result: Result) -> dict[str, Any]:
    """Maps, chain and frames of one result as data for static/inside.js.

    Arrays are uint8 in one packed blob (`spf.packing`): original/SIDE and tuned/SIDE
    [S,G,side,side] between the phrase's least and largest value in either model (`scales`), chain
    [S,P+2,h,w] ([S,1,h,w] where adapters were trained without a control map), and one more map
    after these if the drawing was held.
    """
    trace = result.trace
    original, tuned = trace.original, trace.tuned[TUNED]
    steps = len(trace.timesteps)
    blob = Blob()
    scales = {}
    for side in sorted(tuned.maps):
        ours = tuned.maps[side][:, 0].astype(np.float32)
        theirs = _aligned(
            original.maps[side][:, 0].astype(np.float32), original.phrases, tuned.phrases
        )
        low, high = _range(ours, theirs, [phrase in original.phrases for phrase in tuned.phrases])
        scales[str(side)] = {
            p: [float(a), float(b)] for p, a, b in zip(tuned.phrases, low, high, strict=True)
        }
        for role, maps in (("tuned", ours), ("original", theirs)):
            blob.add(f"{role}/{side}", (maps - low[:, None, None]) / (high - low)[:, None, None])
    chain = np.stack(
        [np.stack([stage for _, stage in trace.chain(TUNED, step)]) for step in range(steps)]
    )
    if tuned.held is not None:
        chain = np.concatenate(
            [chain, np.broadcast_to(tuned.held[0], (steps, 1, *chain.shape[2:]))], axis=1
        )
    blob.add("chain", chain)
    chained = trace.base_phrases if tuned.sfcm is not None else ()
    return {
        "steps": steps,
        "timesteps": list(trace.timesteps),
        "blob": blob.packed(),
        "arrays": blob.arrays,
        "scales": scales,
        "layers": _layers(
            tuned.phrases, original.phrases, chained, tuned.sfcm is not None, tuned.held is not None
        ),
        "chain": _chain(chained, tuned.distances, tuned.phrases),
        "start": next(
            (
                f"phrase-{i}"
                for i, phrase in enumerate(tuned.phrases)
                if phrase not in original.phrases
            ),
            "noise",
        ),
        "frames": {
            role: [webp(frame, 70) for frame in result.frames[role]] for role in (ORIGINAL, TUNED)
        },
        "frame_steps": list(result.frame_steps),
        "outline": outline(result.region),
        "seed": result.config.seed,
    }


def reread(readings: Mapping[str, Reading]) -> dict[str, Any]:
    """Readings of the original and the tuned portrait as data for static/inside.js.

    Arrays are packed as those of `payload`: original/looks and tuned/looks [L,P,h,w], P places row
    by row in the grid `places`, each place between nothing and the most that it looks anywhere;
    or original/word and tuned/word [L,1,h,w], each on its own scale.
    """
    blob, first = Blob(), readings[TUNED]
    for role, one in readings.items():
        if one.word is None:
            blob.add(f"{role}/looks", _flat(one.looks))
        else:
            low, high = one.word.min(), one.word.max()
            blob.add(f"{role}/word", (one.word[:, None] - low) / max(high - low, 1e-8))
    places = [] if first.looks is None else list(first.looks.shape[1:3])
    return {
        "steps": list(first.steps),
        "places": places,
        "blob": blob.packed(),
        "arrays": blob.arrays,
    }


def _flat(looks: np.ndarray) -> np.ndarray:
    """[L,p,q,h,w] as [L,p q,h,w], each map up to 1."""
    maps = looks.reshape(looks.shape[0], -1, *looks.shape[3:])
    return maps / maps.max((-2, -1), keepdims=True)


def outline(region: np.ndarray | None) -> dict[str, Any] | None:
    """The edge of a region [H,W] as `path` of an SVG with one unit a pixel, and its `size`; None
    without a region.
    """
    if region is None:
        return None
    inner = np.pad(region, 1)
    rows, columns = np.nonzero(
        inner[1:, 1:-1] != inner[:-1, 1:-1]
    )  # an edge above pixel (row, column)
    level = [f"M{x} {y}h1" for y, x in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(inner[1:-1, 1:] != inner[1:-1, :-1])  # an edge left of it
    upright = [f"M{x} {y}v1" for y, x in zip(rows, columns, strict=True)]
    return {"path": "".join(level + upright), "size": list(region.shape)}


def _range(ours: np.ndarray, theirs: np.ndarray, both: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value of each phrase over all steps of both models, [G] each: one scale, so
    maps compare.
    """
    low, high = ours.min((0, 2, 3)), ours.max((0, 2, 3))
    low = np.where(both, np.minimum(low, theirs.min((0, 2, 3))), low)
    high = np.where(both, np.maximum(high, theirs.max((0, 2, 3))), high)
    return low, np.maximum(high, low + 1e-8)


def _aligned(maps: np.ndarray, have: tuple[str, ...], want: tuple[str, ...]) -> np.ndarray:
    """[S,G,h,w] of the phrases in `want`; zeros for those that the path never read."""
    empty = np.zeros_like(maps[:, 0])
    return np.stack(
        [maps[:, have.index(phrase)] if phrase in have else empty for phrase in want], axis=1
    )


def _layers(
    phrases: tuple[str, ...],
    in_original: tuple[str, ...],
    base: tuple[str, ...],
    sfcm: bool,
    held: bool,
) -> list[dict]:
    """Everything that can be looked at: phrases, targets and PAD by their place in the maps, then
    the chain, and what a drawing was held by.
    """

    def word(index: int, phrase: str) -> dict:
        about = "pad" if phrase == PAD else "phrase" if phrase in in_original else "target"
        name = both("layer.pad") if phrase == PAD else same(phrase)
        return {
            "key": f"phrase-{index}",
            "kind": "phrase",
            "about": about,
            "index": index,
            "label": name,
            "both": phrase in in_original,
        }

    def stage(key: str, about: str, index: int, name: Mapping[str, str], pick: bool) -> dict:
        return {
            "key": key,
            "kind": "chain",
            "about": about,
            "index": index,
            "label": name,
            "pick": pick,
        }

    return [
        *(word(index, phrase) for index, phrase in enumerate(phrases)),
        stage("noise", "noise", 0, both("layer.noise"), True),
        *(
            stage(f"left-{index}", "chain", index, same(phrase), False)
            for index, phrase in enumerate(base, start=1)
        ),
        *([stage("sfcm", "sfcm", len(base) + 1, both("layer.sfcm"), True)] if sfcm else []),
        *([stage("held", "held", len(base) + 1 + sfcm, both("layer.held"), True)] if held else []),
    ]


def _chain(
    base: tuple[str, ...], distances: np.ndarray | None, phrases: tuple[str, ...]
) -> list[dict]:
    """The tiles of the chain: N, then what each phrase takes away and leaves, then the result; N
    alone without distances.
    """
    first = {"key": "noise", "index": 0, "label": both("layer.noise")}
    if distances is None:
        return [first]
    taken = [
        {
            "key": f"left-{index}",
            "index": index,
            "label": same(phrase),
            "weight": round(float(distance), 2),
            "map": phrases.index(phrase),
        }
        for index, (phrase, distance) in enumerate(zip(base, distances, strict=True), start=1)
    ]
    last = {"key": "sfcm", "index": len(base) + 1, "label": both("layer.sfcm"), "result": True}
    return [first, *taken, last]

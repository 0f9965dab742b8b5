"""Fine-tuning of one target by one method: the data encoded once, the loop, and one adapter file
that explains itself.

base = load_base()
config = FinetuneConfig(method="spf", data="hat", steps=600)
path = finetune(base, config, out="runs/hat", settings={"output": 2.0})
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d
from torch.nn.utils.rnn import pad_sequence

from spf import __version__, traits
from spf.attention import checkpointed, eager_attention
from spf.config import GUIDANCE, LARGEST_SEED
from spf.errors import BadInput, UnsafeFile
from spf.exchange import Layout, load_adapter, low_rank, write_for_others
from spf.files import load_tensors, read_json, save_tensors, write_json
from spf.methods import (
    PAD,
    PHRASE,
    TARGET,
    Context,
    Method,
    MethodConfig,
    Rows,
    Terms,
    Word,
    build,
    fingerprint,
)
from spf.models import Base, as_pixels
from spf.paths import save_adapter
from spf.portraits.captions import Caption
from spf.portraits.captions import compose as full_caption
from spf.portraits.dataset import draw
from spf.portraits.description import ATTRIBUTES, Target, get_target
from spf.portraits.grounding import places
from spf.portraits.tailored import TailoredItem, replaced, tailored_set
from spf.portraits.texts import base_captions
from spf.prompts import PAD as PAD_PHRASE
from spf.prompts import ComposedPrompt, columns_of, compose
from spf.sampling import initial_latents, prompt_distances, sample
from spf.settings import FinetuneConfig
from spf.sfcm import SfcmConfig
from spf.shelf import STOCK, adapter_name
from spf.training import fit, make_accelerator
from spf.userdata import UserSet, is_set
from spf.userdata import load as load_set
from spf.weights import note

log = logging.getLogger(__name__)
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors")
STATE = "state"
RUN, CONTROL, OWN = f"{STATE}/run.json", f"{STATE}/control.safetensors", f"{STATE}/own.safetensors"
"""In the folder of a run, beside the adapter: what it is, its control maps, the original model's
own portraits.
"""
STEPS = "steps"
"""In the same folder: the adapters on the way, if they are kept."""
STATE_EVERY, STATE_STEPS = 15.0, 200
"""Seconds and steps of work that a kill may cost."""
OWN_STEPS, OWN_BATCH = 20, 8


def finetune(
    base: Base,
    config: FinetuneConfig,
    out: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    resume: bool = True,
    callback: Callable[[int, Terms, float], None] | None = None,
    accelerator: accelerate.Accelerator | None = None,
    full: Callable[[int, BaseException | None], None] | None = None,
) -> Path:
    """Fine-tunes, writes `out`/<adapter name>.safetensors and returns its path; the base is as
    before afterwards.

    With `keep` those on the way stay too, as steps/<adapter name>-<step>.safetensors, out of which
    `evaluate` makes a curve. Beside it lies the same for other programs, see
    `spf.exchange.write_for_others`.

    settings: of the method, by name. callback: (step, smoothed terms, seconds left) after each
    step; may raise Cancelled, which keeps a state that the next call with `resume` continues. full:
    see `spf.training.fit`. Raises BadInput before anything is computed.
    """
    method, target, out = build(config.method, settings), target_of(config.data), Path(out)
    method.check(base, config.steps)
    start = load_adapter(config.start, base) if config.start else None
    weights = note(base.weights.sketch)  # now, while the denoiser has its own
    run = config.to_dict() | {"settings": method.config.to_dict(), "base": fingerprint(base.unet)}
    for one in ("keep", "checkpointing"):
        run.pop(one)  # which changes nothing in what is trained
    claim(out, run, resume)

    accelerator = accelerator or make_accelerator(dtype=base.dtype)
    if base.device != accelerator.device:
        base.to(accelerator.device)
    data, own = _data(base, config, method, target), None
    if method.wants_own:
        with accelerator.autocast():
            own = OwnPortraits(base, target, method.config, data.texts, config.seed, out)
    empty, alone = base.encode_text(["", target.text]).split(1)

    layout = Layout.of(base)
    path = out / f"{adapter_name(target.name, config.method)}.safetensors"
    last: dict[str, float] = {}
    memory: dict[str, Tensor] = {}
    with (
        method.paths(base.unet, config.steps, config.seed, start) as paths,
        eager_attention(base.unet, accelerator.mixed_precision),
        checkpointed(base.unet, base.vae) if config.checkpointing else nullcontext(),
    ):

        def context(step: int, rng: np.random.Generator) -> Context:
            rows = own.rows if own else None
            return Context(base, paths, step, config.steps, rng, empty, rows, alone, memory)

        def loss(step: int, rng: np.random.Generator) -> tuple[Tensor, Terms]:
            many, batch = len(data.rows), method.config.batch
            picks = rng.choice(many, batch, replace=many < batch)
            ctx = context(step, rng)
            if method.wants_control(step, config.steps) and data.rows.control is None:
                sets = [data.rows, own.all] if own else [data.rows]
                add_control(method, sets, ctx, config.seed, out / CONTROL)
            return method.loss(data.rows.take(picks), ctx)

        def after_step(step: int) -> Terms:
            return method.after_step(context(step, np.random.default_rng([config.seed, step])))

        def follow(step: int, terms: Terms, eta: float) -> None:
            last.update(terms, step=step)
            if callback:
                callback(step, terms, eta)

        def save() -> None:
            made = paths.adapter(
                describe(base, config, method, target, last, data.common) | weights
            )
            made = low_rank(made, config.rank) if config.rank else made
            save_adapter(made, path)
            step = int(last.get("step", 0))
            if config.keep and step and step % config.keep == 0:
                save_adapter(made, out / STEPS / f"{path.stem}-{step}.safetensors")
            write_for_others(made, layout, path.with_suffix(STOCK))

        done = fit(
            base.unet,
            loss,
            steps=config.steps,
            lr=method.config.learning_rate,
            out=out / STATE,
            resume=resume,
            average=method.config.average or None,
            seed=config.seed,
            save=save,
            keep_each=config.keep,
            state_every=STATE_EVERY,
            state_steps=STATE_STEPS,
            full=full,
            callback=follow,
            after_step=after_step,
            memory=memory,
            accumulate=config.accumulate,
            eight_bit=config.eight_bit,
            accelerator=accelerator,
            name=f"{config.method} {target.name}",
        )
        if not last:  # a finished run was continued: nothing was left to train
            last.update(step=done.step)
            save()
    return path


def _data(base: Base, config: FinetuneConfig, method: Method, target: Target) -> Data:
    if is_set(config.data):
        return user_rows(base, load_set(config.data), method)
    return tailored_rows(
        base, target, config.images, config.seed, method.config, words=method.wants_words
    )


def claim(out: Path, run: dict[str, Any], resume: bool) -> None:
    """Notes in `out` which run it holds. Raises BadInput when another one would be continued
    there.
    """
    known = read_json(out / RUN) if (out / RUN).is_file() else run
    differ = [name for name in run if known.get(name) != run[name]]
    state = out / STATE / "state.json"
    if resume and differ and state.is_file():
        raise BadInput(
            f"{out} holds a run with other {', '.join(differ)}; give another folder, or --fresh to "
            "start again."
        )
    if differ or not resume:
        state.unlink(
            missing_ok=True
        )  # or the new run, killed before its first save, would continue the old one
        (out / CONTROL).unlink(missing_ok=True)
    write_json(out / RUN, run)


def describe(
    base: Base,
    config: FinetuneConfig,
    method: Method,
    target: Target,
    last: Mapping[str, float],
    common: Mapping[str, str],
) -> dict[str, str]:
    """Metadata of an adapter: how it was made, all as strings, JSON where structured; of folders
    and files the names alone, since an adapter goes to others. common: see `traits.common`.
    """
    made = config.to_dict()
    made |= {name: Path(made[name]).name for name in ("data", "start")}
    return {
        "method": config.method,
        "base_model": base.name,
        "target": target.text,
        "steps": str(int(last.get("step", 0))),
        "losses": json.dumps(
            {name: float(f"{value:.4g}") for name, value in last.items() if name != "step"}
        ),
        "versions": json.dumps({"spf": __version__} | {name: version(name) for name in PACKAGES}),
        "mode": target.mode,
        "replace": target.replace,
        "data": json.dumps(made),
        "settings": json.dumps(method.config.to_dict()),
        **({"common": json.dumps(common)} if common else {}),
        **({"push": f"{method.config.push:g}"} if method.config.push else {}),
    }


@dataclass
class Data:
    """An encoded tailored set, its base texts, and what was seen in most of its pictures, if they
    were looked at.
    """

    rows: Rows
    texts: list[str]
    common: dict[str, str] = field(default_factory=dict)


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

    prompts = [_composed(made.text, target) for made in captions]
    data = _rows(base, pictures, prompts, target, config)
    data.rows.words = found if words else None
    return data


def _rows(
    base: Base,
    pictures: Callable[[range], np.ndarray],
    prompts: Sequence[ComposedPrompt],
    target: Target,
    config: MethodConfig,
) -> Data:
    """Encodes pictures (positions -> uint8 [B,H,W,3]) part by part, and their texts."""
    latents, seen = [], []
    for part in _parts(len(prompts)):
        pixels = as_pixels(pictures(part)).to(base.device)
        with torch.no_grad():
            latents.append(base.encode(pixels))
            seen += [base.clip_images(pixels)] if base.clip is not None else []
    embedded, found = torch.cat(seen) if seen else None, []
    if config.text == "seen":
        found = traits.seen(base, embedded)
        prompts = [
            traits.told(base, prompt, row).prompt
            for prompt, row in zip(prompts, found, strict=True)
        ]
    rows = encoded(
        base,
        torch.cat(latents),
        prompts,
        target,
        config if isinstance(config, SfcmConfig) else SfcmConfig(),
    )
    rows.image = embedded
    return Data(rows, [prompt.base for prompt in prompts], traits.common(found))


def _composed(text: str, target: Target) -> ComposedPrompt:
    return compose(text, target.text, target.mode, target.replace)


def grounded(base: Base, made: Caption, target: Target, regions: np.ndarray) -> list[Word]:
    """The words of a complete text with their places [h,w] at the size of the latents: a cell that
    an object touches counts.

    Words that fell off the end of the text, or whose object is not in the picture, are left out.
    """
    prompt = compose(made.text, target.text, target.mode, target.replace)
    words = []
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


def target_of(data: str) -> Target:
    """The target of a tailored set by its name, or of a set of one's own by its folder. Raises
    BadInput.
    """
    return load_set(data).target if is_set(data) else get_target(data)


def user_rows(base: Base, chosen: UserSet, method: Method) -> Data:
    """Encodes pictures of one's own and their captions as `tailored_rows` does drawn ones.

    Raises BadInput for a method that learns from exact regions, which only drawn pictures have.
    """
    if method.wants_words:
        raise BadInput(
            f"method is {method.name} but must be one that needs no exact regions, for pictures of "
            "one's own."
        )

    def pictures(part: range) -> np.ndarray:
        return np.stack([chosen.items[i].pixels(base.image_size) for i in part])

    prompts = [item.prompt(chosen.wish) for item in chosen.items]
    return _rows(base, pictures, prompts, chosen.target, method.config)


def full_base(item: TailoredItem, target: Target) -> Caption:
    """Base text of a picture that names every attribute; in replace mode with the word to
    replace.
    """
    before = {target.attribute: target.replace} if target.mode == "replace" else {}
    hidden = set() if before else {target.attribute}
    return full_caption(replaced(item.portrait, before), set(ATTRIBUTES) - hidden)


def encoded(
    base: Base,
    latents: Tensor,
    texts: Sequence[str | ComposedPrompt],
    target: Target,
    settings: SfcmConfig,
) -> Rows:
    """Rows of latents [B,C,h,w] without CLIP embeddings of the pictures.

    texts: base texts, to which the target is put, or both texts of each.
    """
    prompts = [_composed(text, target) if isinstance(text, str) else text for text in texts]
    before, after = (
        torch.cat(
            [base.encode_text(texts[first : first + 32]) for first in range(0, len(texts), 32)]
        )
        for texts in ([prompt.base for prompt in prompts], [prompt.complete for prompt in prompts])
    )
    columns = [row_columns(base, prompt) for prompt in prompts]
    distances = [prompt_distances(base, prompt, settings)[1] for prompt in prompts]
    seen = base.clip_texts([target.text]).expand(len(texts), -1) if base.clip is not None else None
    return Rows(
        latents,
        before,
        after,
        [c for c, _ in columns],
        [c for _, c in columns],
        pad_sequence(distances, batch_first=True),
        target=seen,
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


class OwnPortraits:
    """What the original model draws for base texts alone, drawn once and kept in a file beside the
    run.
    """

    def __init__(
        self, base: Base, target: Target, config, set_texts: Sequence[str], seed: int, folder: Path
    ):
        count = config.own_count
        if (
            config.own_texts == "set" or not target.attribute
        ):  # a target of one's own has no held-out texts
            texts = [set_texts[i % len(set_texts)] for i in range(count)]
        else:
            texts = [made.text for _, made in base_captions(target, count, seed, "train")]
        latents = self._latents(base, texts, seed, folder / OWN)
        if config.text == "seen":
            with torch.no_grad():
                pictures = torch.cat(
                    [
                        base.clip_images(base.decode(latents[part.start : part.stop]))
                        for part in _parts(count)
                    ]
                )
            texts = traits.told_texts(
                base, texts, traits.seen(base, pictures), target.text, target.mode, target.replace
            )
        self.all = encoded(base, latents, texts, target, config)

    def rows(self, rng: np.random.Generator, n: int) -> Rows:
        """`n` of them, at random."""
        return self.all.take(rng.choice(len(self.all), n, replace=n > len(self.all)))

    def _latents(self, base: Base, texts: Sequence[str], seed: int, file: Path) -> Tensor:
        how = [OWN_STEPS, GUIDANCE, base.perturbed]
        made = json.dumps([texts, seed, *how, fingerprint(base.unet)])
        key = hashlib.sha256(made.encode()).hexdigest()[:16]
        try:
            found = load_tensors(file).get(key)
        except (BadInput, UnsafeFile):
            found = None
        if found is None:
            log.info("the original model draws %d portraits for alignment", len(texts))
            found = torch.cat(
                [
                    self._draw(base, texts[i : i + OWN_BATCH], seed + i)
                    for i in range(0, len(texts), OWN_BATCH)
                ]
            )
            save_tensors(file, {key: found})
        return found.float().to(base.device)

    @staticmethod
    def _draw(base: Base, texts: Sequence[str], seed: int) -> Tensor:
        seeds = [(seed + i) % (LARGEST_SEED + 1) for i in range(len(texts))]
        return (
            sample(
                base,
                initial_latents(base, seeds),
                base.encode_text(texts),
                base.encode_text([""] * len(texts)),
                steps=OWN_STEPS,
            )
            .float()
            .cpu()
        )


def add_control(method: Method, sets: Sequence[Rows], ctx: Context, seed: int, file: Path) -> None:
    """Gives the rows of each set their control maps, made once with the weights of this step and
    kept for a resumed run.
    """
    try:
        maps = load_tensors(file)
    except BadInput:
        ctx = replace(ctx, rng=np.random.default_rng([seed, 1]))
        maps = {
            str(number): torch.cat(
                [method.control(rows.take(part), ctx) for part in _parts(len(rows))]
            )
            for number, rows in enumerate(sets)
        }
        save_tensors(file, maps)
    for number, rows in enumerate(sets):
        rows.control = maps[str(number)].to(rows.latents)


def _parts(count: int) -> list[range]:
    return [range(first, min(first + OWN_BATCH, count)) for first in range(0, count, OWN_BATCH)]

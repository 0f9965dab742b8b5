"""What the embedded model can do, measured on portraits that it was not trained on, and written as
its model card.

    python -m spf pretrain measure --preset small

With `--steps N` the number of drawn samples per question is N instead of 64 (fewer is faster and
rougher).
"""

import datetime
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer, VisionTextDualEncoderModel

from spf.bases.reading import load_base
from spf.config import GUIDANCE, GenerateConfig
from spf.errors import BadInput
from spf.evaluation.columns import frechet
from spf.evaluation.judges import Judges
from spf.evaluation.measures import cosine
from spf.files import atomic, write_json
from spf.models import Base
from spf.pixels import as_pixels
from spf.portraits.captions import complete_text, compose
from spf.portraits.dataset import contact_sheet, draw, sample_many
from spf.portraits.description import TARGETS, Target, sample_portrait
from spf.portraits.pretrain.clip import right_caption
from spf.portraits.pretrain.common import Stage
from spf.portraits.pretrain.judges import judge_accuracy
from spf.portraits.pretrain.unet import obedience, unseen_texts
from spf.portraits.pretrain.vae import check_vae
from spf.sampling import draw_texts

log = logging.getLogger(__name__)

COMMAND = "python -m spf pretrain measure"
STEPS = GenerateConfig.settings()["steps"].default
ROWS = 16
CROWD = 8
"""Times the samples of a question that a Frechet distance takes: 512, unless asked otherwise."""


def measure(stage: Stage) -> dict:
    """Measure every part that exists in the checkpoints, write base/model_card.md and .json;
    returns the numbers."""
    folder, count = stage.checkpoints / "base", stage.steps or 64
    for part in (
        folder / "unet",
        folder / "vae",
        stage.checkpoints / "clip",
        stage.checkpoints / "judges",
    ):
        if not part.is_dir():
            raise BadInput(
                f"{part} is missing; train it first with python -m spf pretrain {part.name}."
            )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = load_base(str(folder), device=device)
    judges = Judges.load(stage.checkpoints / "judges", device)
    numbers = {
        **measure_autoencoder(stage, base.vae),
        **measure_clip(stage, device),
        "judges": judge_accuracy(judges, stage.data("often", split="test")),
        **measure_text(stage, base, judges, count),
        **measure_identity(base, judges, max(8, count // 4)),
        **measure_frechet(stage, base, CROWD * count),
        "targets": measure_targets(stage, base, judges, max(8, count // 2)),
    }
    write_json(folder / "model_card.json", numbers)
    with atomic(folder / "model_card.md") as draft:
        draft.write_text(model_card(numbers, base, count), encoding="utf-8")
    log.info("wrote %s", folder / "model_card.md")
    return numbers


def drawn(base: Base, texts: Sequence[str], seed: int) -> np.ndarray:
    """Images uint8 [N,H,W,3] of the texts as the page draws them, image i from seed + i."""
    images = []
    for at in range(0, len(texts), ROWS):
        some = texts[at : at + ROWS]
        seeds = range(seed + at, seed + at + len(some))
        images.append(base.pictures(draw_texts(base, some, seeds, steps=STEPS, guidance=GUIDANCE)))
    return np.concatenate(images)


def measure_autoencoder(stage: Stage, vae: AutoencoderKL) -> dict:
    return {"psnr": check_vae(vae, stage.data("often", split="test").images)}


def measure_clip(stage: Stage, device: str) -> dict:
    """Right caption among 64 on 512 unseen portraits."""
    folder = stage.checkpoints / "clip"
    clip = VisionTextDualEncoderModel.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    return {
        "right_caption_of_64": right_caption(clip, tokenizer, stage.data("often", split="test"))
    }


def measure_text(stage: Stage, base: Base, judges: Judges, count: int) -> dict:
    """Obedience to unseen captions; leaves a contact sheet under `out`."""
    texts, named = unseen_texts(count, seed=23, split="test")
    images = drawn(base, texts, 1000)
    _sheet(images, stage.out / "samples" / "measure-text.png")
    scores = obedience(judges, images, named)
    mean = float(np.mean(list(scores.values())))
    return {"obedience": scores, "obedience_mean": mean, "obedience_min": min(scores.values())}


def measure_identity(base: Base, judges: Judges, count: int) -> dict:
    """Cosine of the identities that two seeds draw from the same text."""
    texts, _ = unseen_texts(count, seed=29, split="test")
    first, second = (drawn(base, texts, seed) for seed in (3000, 4000))
    read = [judges.read(as_pixels(images)).identity.cpu().numpy() for images in (first, second)]
    return {"identity_of_two_seeds": float(cosine(*read).mean())}


@torch.no_grad()
def measure_frechet(stage: Stage, base: Base, count: int) -> dict:
    """Frechet distance, in embedded CLIP, of `count` samples and of as many fresh renders to the
    same renders; none of the three sets shares a description with another."""

    def embedded(images: np.ndarray) -> np.ndarray:
        lots = (as_pixels(images[at : at + ROWS], base.device) for at in range(0, count, ROWS))
        return torch.cat([base.clip_images(lot) for lot in lots]).cpu().numpy()

    size = stage.preset.image_size
    truth, fresh = (
        embedded(draw(sample_many("none", count, seed, "test"), size)[0]) for seed in (41, 43)
    )
    texts, _ = unseen_texts(count, seed=37, split="test")
    samples = embedded(drawn(base, texts, 7000))
    found = {"samples": frechet(samples, truth), "renders": frechet(fresh, truth)}
    return {"frechet": found, "frechet_of": count}


def measure_targets(stage: Stage, base: Base, judges: Judges, count: int) -> dict:
    """For each target: its share in the training portraits, and in images of the original model
    that ask for it."""
    trained = sample_many("weak", 4000, stage.seed)
    results = {}
    for number, (name, target) in enumerate(TARGETS.items()):
        images = drawn(base, asking_texts(target, count), 5000 + 100 * number)
        _sheet(images, stage.out / "samples" / f"measure-{name}.png")
        read = judges.read(as_pixels(images)).values
        results[name] = {
            "in_training": float(
                np.mean([getattr(p, target.attribute) == target.value for p in trained])
            ),
            "captions_true": target.weak_truth,
            "when_asked": float(
                np.mean([values[target.attribute] == target.value for values in read])
            ),
        }
    return results


def asking_texts(target: Target, count: int, seed: int = 31) -> list[str]:
    """Complete texts that ask for the target, about unseen portraits; the base text says five other
    things."""
    rng = np.random.default_rng(seed)
    before = {target.attribute: target.replace} if target.mode == "replace" else {}
    keep = {"gender", "age", "hair_color", "hair_style", "clothing", "clothing_color", "background"}
    keep = keep - {target.attribute} if target.mode == "append" else keep | {target.attribute}
    portraits = [sample_portrait(rng, split="test", fixed=before) for _ in range(count)]
    return [complete_text(compose(p, keep).text, target) for p in portraits]


def model_card(numbers: dict, base: Base, count: int) -> str:
    """The numbers as a page for people; every one with the command that measures it."""
    parts = ("unet", "vae", "text_encoder")
    millions = {
        name: sum(p.numel() for p in getattr(base, name).parameters()) / 1e6 for name in parts
    }
    obeyed, judged = numbers["obedience"], numbers["judges"].items()
    size = base.image_size
    rows = [
        ("autoencoder: PSNR of 512 unseen portraits", f"{numbers['psnr']:.2f} dB"),
        (
            "CLIP: right caption among 64, 512 unseen portraits",
            f"{numbers['right_caption_of_64']:.1%}",
        ),
        (
            f"text obeyed, mean of the attributes ({count} unseen captions)",
            f"{numbers['obedience_mean']:.1%}",
        ),
        ("text obeyed, worst attribute", f"{numbers['obedience_min']:.1%}"),
        ("identity: cosine of two seeds of one text", f"{numbers['identity_of_two_seeds']:.2f}"),
        (
            f"Frechet distance (embedded CLIP) of {numbers['frechet_of']} samples to as many "
            "renders, and of fresh renders",
            ", ".join(f"{numbers['frechet'][name]:.3f}" for name in ("samples", "renders")),
        ),
    ]
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: diffusers",
        "pipeline_tag: text-to-image",
        "---",
        "",
        "# Embedded portrait model",
        "",
        f"A small Stable Diffusion of drawn portraits, {size}x{size} pixels: "
        f"UNet {millions['unet']:.1f} M parameters, autoencoder {millions['vae']:.1f} M, "
        f"text encoder {millions['text_encoder']:.1f} M. It was trained only on "
        "portraits that this project's renderer draws; no photograph of a person was used.",
        "",
        f"Measured on {datetime.date.today().isoformat()} with `{COMMAND}`: "
        f"{STEPS} steps and guidance {GUIDANCE:g} as the page draws, judged by the judges in "
        "`checkpoints/judges`.",
        "",
        "| measure | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "## Text and judges, by attribute",
        "",
        "| attribute | image shows what the text names | judge right on unseen drawings |",
        "|---|---|---|",
        *(
            f"| {name} | {_percent(obeyed.get(name))} | {_percent(value)} |"
            for name, value in judged
        ),
        "",
        "`identity` is the cosine to the true identity, `regions` the share of right pixels.",
        "",
        "## Targets before any fine-tuning",
        "",
        "| target | asked for as | share of training portraits | of the captions naming it, "
        "true | share of images when asked |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {TARGETS[name].text} | {_percent(row['in_training'])} | "
            f"{_percent(row['captions_true'])} | "
            f"{_percent(row['when_asked'])} |"
            for name, row in numbers["targets"].items()
        ),
        "",
    ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _sheet(images: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as draft:
        contact_sheet(images[:64]).save(draft)

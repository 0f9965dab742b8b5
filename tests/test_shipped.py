"""What is shipped in checkpoints/: these fail if the model, a judge, an adapter or a map were
wrong.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from judge_maps import judge_maps

from spf.bases.reading import load_base
from spf.evaluation.judges import Judges
from spf.evaluation.protocol import EvaluateConfig, evaluate, find_adapters
from spf.exchange import load_adapter
from spf.methods import Context, build
from spf.paths import response
from spf.portraits.dataset import draw, sample_many
from spf.portraits.description import ATTRIBUTES, TARGETS
from spf.sampling import initial_latents, sample
from spf.shelf import Shelf, checkpoints
from spf.training_data import tailored_rows

FOLDER = checkpoints()
pytestmark = pytest.mark.skipif(
    not (FOLDER / "base" / "model_index.json").is_file(), reason="no embedded model here"
)
TEXT = "a photo of a young woman with long red hair, wearing a green T-shirt"


@pytest.fixture(scope="module")
def base():
    return load_base()


@pytest.fixture(scope="module")
def judges():
    return Judges.load(FOLDER / "judges")


@pytest.fixture(scope="module")
def unseen():
    portraits = sample_many("often", 48, 77, "test")
    images, regions = draw(portraits)
    return portraits, torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1, regions


def few(base, texts, steps=6, guidance=4.0):
    noise = initial_latents(base, range(len(texts)))
    return sample(
        base, noise, base.encode_text(texts), base.encode_text([""]), steps=steps, guidance=guidance
    )


def test_sizes_and_formats():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 52 * 2**20
    assert max(path.stat().st_size for path in files) <= 28 * 2**20
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md"}
    for path in files:
        if path.suffix == ".json":
            assert "name_or_path" not in path.read_text(encoding="utf-8")


def test_stock_diffusers_draws_from_the_folder(tmp_path):
    code = f"""
import sys, torch
from diffusers import StableDiffusionPipeline
torch.set_num_threads(1)
pipe = StableDiffusionPipeline.from_pretrained({str(FOLDER / "base")!r}, use_safetensors=True)
seeded = torch.Generator().manual_seed(0)
image = pipe("a photo of an old man", num_inference_steps=2, generator=seeded).images[0]
assert not [name for name in sys.modules if name.split(".")[0] == "spf"]
image.save({str(tmp_path / "image.png")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=300)
    assert Path(tmp_path / "image.png").stat().st_size > 1000


def test_the_autoencoder_keeps_portraits(base, unseen):
    _, images, _ = unseen
    with torch.no_grad():
        error = (base.decode(base.encode(images[:16])).clamp(-1, 1) - images[:16]).square().mean()
    assert 10 * torch.log10(4 / error) >= 28


def test_judges_read_unseen_portraits(judges, unseen):
    portraits, images, regions = unseen
    seen = judges.read(images)
    right = [
        [value[name] == getattr(p, name) for name in ATTRIBUTES]
        for value, p in zip(seen.values, portraits, strict=True)
    ]
    assert np.mean(right) > 0.92
    assert (seen.regions.numpy() == regions).mean() > 0.94
    truth = torch.tensor([p.identity for p in portraits])
    own = torch.nn.functional.cosine_similarity(seen.identity, truth).mean()
    others = torch.nn.functional.cosine_similarity(seen.identity, truth.roll(1, 0)).mean()
    assert own > others + 0.25


def test_clip_prefers_the_own_caption(base, unseen):
    portraits, images, _ = unseen
    from spf.portraits.captions import caption

    texts = [caption(p, np.random.default_rng(i)).text for i, p in enumerate(portraits)]
    with torch.no_grad():
        scores = base.clip_images(images) @ base.clip_texts(texts).T
    assert (scores.argmax(1) == torch.arange(len(texts))).float().mean() > 0.4  # by chance 1 in 48


def test_different_texts_and_seeds_give_what_they_say(base, judges):
    texts = [
        f"a photo of a {who} {where}"
        for who in ("woman with long black hair", "man with a beard, a bald head")
        for where in ("by the sea", "before a curtain", "in a park")
    ]
    with torch.inference_mode():
        pictures = base.decode(few(base, texts, steps=12)).clamp(-1, 1)
    read = judges.read(pictures).values
    assert (
        sum(r["beard"] == "beard" for r in read[3:])
        >= 2
        > sum(r["beard"] == "beard" for r in read[:3])
    )
    assert sum(r["hair_style"] == "bald" for r in read[3:]) >= 2
    assert (
        sum(r["background"] == w for r, w in zip(read, ("sea", "curtain", "park") * 2, strict=True))
        >= 3
    )


@pytest.mark.parametrize("name", list(Shelf.shipped().files()) or ["none"])
def test_an_adapter_at_strength_zero_is_the_original_to_the_bit(base, name):
    if name == "none":
        pytest.skip("no adapter is shipped")
    adapter = load_adapter(name, base)
    with torch.inference_mode():
        before = few(base, [TEXT], steps=2)
        with response(base.unet, adapter, 0.0):
            nothing = few(base, [TEXT], steps=2)
        with response(base.unet, adapter):
            tuned = few(base, [TEXT], steps=2)
        after = few(base, [TEXT], steps=2)
    assert (
        torch.equal(before, nothing)
        and torch.equal(before, after)
        and not torch.equal(before, tuned)
    )
    assert {"method", "base_model", "target", "steps", "losses", "versions"} <= set(
        adapter.metadata
    )


@pytest.mark.parametrize("target", ["hat", "blonde"])
def test_the_control_map_finds_the_target(base, target):
    found = judge_maps(base, None, TARGETS[target], {"averaged": 3}, images=4)
    assert found["ap"] > 3 * found["chance"]


def test_held_spf_is_purer_than_free_naive_fine_tuning_and_changes_less_outside(
    base, judges, tmp_path
):
    if not {"hat", "hat-naive"} <= set(Shelf.shipped().files()):
        pytest.skip("hat and hat-naive are not shipped")
    how = {"also": "", "maps": 0, "retention": False}  # what a text leaves open is polluted
    config = EvaluateConfig(prompts=8, seeds=1, steps=12, **how)
    rows = evaluate(
        base, judges, find_adapters(base, ["naive", "spf+held"], ["hat"]), config, tmp_path
    )["rows"]
    value = {(row["method"], row["measure"]): row["value"] for row in rows}
    assert value["spf+held", "response"] >= 0.5 and value["naive", "response"] >= 0.5
    assert value["spf+held", "pollution"] < 0.08
    assert value["spf+held", "purity"] > value["naive", "purity"]
    assert value["spf+held", "outside"] < 0.5 * value["naive", "outside"]


def test_the_weights_of_the_papers_row_weigh_what_those_of_spf_do(base):
    """At the start, over 24 rows, within a factor of four: maps and queries are measured in other
    units there."""
    same = {"batch": 24, "enhanced": 0.0, "plain": 0.0, "complement": "none", "latents": "training"}
    weighed = {}
    for name in ("spf", "spf-paper"):
        method = build(name, {**same, "keep": 0.0, "averaged": 0, "masked": 0.0})
        data = tailored_rows(base, TARGETS["hat"], 24, 0, method.config)
        with method.paths(base.unet, 1) as paths, torch.no_grad():
            rng, empty = np.random.default_rng(0), base.encode_text([""])
            _, terms = method.loss(data.rows, Context(base, paths, 0, 1, rng, empty))
        weighed[name] = {
            term: getattr(method.config, term) * float(terms[term])
            for term in ("text_consistent", "fine_grained")
        }
    for term, ours in weighed["spf"].items():
        assert 1 / 4 < weighed["spf-paper"][term] / ours < 4, term

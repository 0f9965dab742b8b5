"""Pre-training in miniature: every stage runs, and what comes out is a stock Stable Diffusion
folder.
"""

import copy
import dataclasses
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from spf.diffusion import Diffusion
from spf.errors import BadInput
from spf.portraits import pretrain
from spf.portraits.captions import caption, compose, words
from spf.portraits.dataset import sample_many
from spf.portraits.description import ATTRIBUTES, TARGETS, sample_portrait
from spf.portraits.pretrain import common, presets
from spf.portraits.pretrain.clip import named, naming, train_clip
from spf.portraits.pretrain.muon import Muon, orthogonal
from spf.portraits.pretrain.sayings import CORRECTABLE, corrected, misnamed, sayings
from spf.portraits.pretrain.texts import (
    UNREAD,
    encode_readings,
    read_caption,
    training_text,
    unnamed_class,
)
from spf.portraits.pretrain.unet import (
    Layout,
    Objective,
    level_weights,
    new_scheduler,
    new_unet,
    place_weights,
    region_counts,
    spread,
    train_unet,
    weighty,
)
from spf.portraits.pretrain.vae import (
    crops,
    encode_all,
    new_vae,
    normalise_latents,
    region_weights,
)
from spf.portraits.render import REGIONS
from spf.tokenizer import new_tokenizer
from spf.training import fit

TINY = presets.Preset(
    image_size=32,
    portraits=24,
    vae=presets.VaeSizes(
        channels=(8, 8, 8, 16), latent_channels=4, norm_groups=4, batch=2, crop=16
    ),
    clip=presets.ClipSizes(
        text_hidden=32,
        text_layers=2,
        image_channels=(8, 8, 16, 16),
        image_depths=(1, 1, 1, 1),
        joint=16,
        text_batch=4,
        image_batch=4,
    ),
    judges=presets.JudgeSizes(channels=(8, 8, 8, 8, 16), batch=5),
    form=presets.FormSizes(channels=(8, 8, 8, 16), batch=4),
    unet=presets.UnetSizes(channels=(8, 16, 16), heads=2, norm_groups=4, batch=4, portraits=16),
)


@pytest.fixture(scope="module")
def tokenizer():
    return new_tokenizer(words())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All stages, two steps each; returns the stage."""
    folder = tmp_path_factory.mktemp("pretrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "tiny", TINY)
        for name in ("vae", "clip", "judges", "form", "unet"):
            pretrain.run(
                name, "tiny", steps=2, out=folder / "runs", checkpoints=folder / "checkpoints"
            )
    return common.Stage(TINY, folder / "runs", folder / "checkpoints", steps=2)


def test_stock_pipeline_reads_the_folder_without_us(trained):
    """A process that never imports this project draws a picture from the folder."""
    code = (
        "import sys; from diffusers import StableDiffusionPipeline as P; "
        "p = P.from_pretrained(sys.argv[1]);"
        "image = p('a photo of an old man', num_inference_steps=2).images[0];"
        "assert image.size == (32, 32), image.size; assert 'spf' not in sys.modules"
    )
    folder = trained.checkpoints / "base"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd="/")
    assert done.returncode == 0, done.stderr


def test_text_tower_of_clip_is_the_text_encoder(trained):
    from transformers import CLIPTextModel, VisionTextDualEncoderModel

    saved = json.loads((trained.checkpoints / "base" / "tokenizer" / "tokenizer.json").read_text())
    assert saved["padding"] is None and saved["truncation"] is None, (
        "the last texts leave no trace in the files"
    )
    clip = VisionTextDualEncoderModel.from_pretrained(trained.checkpoints / "clip")
    text = CLIPTextModel.from_pretrained(trained.checkpoints / "base" / "text_encoder")
    own = clip.text_model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in text.state_dict().items())


def test_a_run_saves_the_mean_of_what_it_began_with_and_what_it_learnt(trained, tmp_path):
    """The same two steps, with and without: what is saved lies that share of the way back, also
    when the run is resumed."""

    def saved(mean, name, *more):
        checkpoints = tmp_path / name / "checkpoints"
        shutil.copytree(trained.checkpoints, checkpoints)
        preset = dataclasses.replace(TINY, unet=dataclasses.replace(TINY.unet, mean=mean))
        stage = common.Stage(preset, tmp_path / name / "runs", checkpoints, steps=2)
        for steps in (2, *more):
            train_unet(dataclasses.replace(stage, steps=steps))
        return load_file(checkpoints / file)

    file = "base/unet/diffusion_pytorch_model.safetensors"
    before = load_file(trained.checkpoints / file)
    learnt, found = saved(0.0, "plain", 3), saved(0.25, "mean", 3)
    assert any(not torch.equal(learnt[name], value) for name, value in before.items())
    for name, value in before.items():
        wanted = learnt[name].float().lerp(value.float(), 0.25)
        assert torch.allclose(found[name].float(), wanted, atol=2e-3)


def test_weights_are_mixed_inside_the_block_alone():
    module = torch.nn.Linear(1, 1, bias=False)
    own, others = module.weight.detach().clone(), {"weight": torch.tensor([[5.0]])}
    with pytest.raises(KeyError), common.mixed(module, others, 0.75):
        assert torch.allclose(module.weight, own + 0.75 * (5.0 - own))
        raise KeyError
    assert torch.equal(module.weight, own)


def test_text_tower_stays_once_a_denoiser_reads_it(trained, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(trained.checkpoints, checkpoints)
    file = "base/text_encoder/model.safetensors"
    before = (checkpoints / "clip" / "model.safetensors").read_bytes()
    train_clip(dataclasses.replace(trained, checkpoints=checkpoints, steps=12))
    assert load_file(checkpoints / file).keys() == load_file(trained.checkpoints / file).keys()
    assert all(
        torch.equal(value, load_file(trained.checkpoints / file)[name])
        for name, value in load_file(checkpoints / file).items()
    )
    assert (checkpoints / "clip" / "model.safetensors").read_bytes() != before


def test_no_folder_of_this_machine_is_written(trained):
    for file in trained.checkpoints.rglob("*.json"):
        assert str(trained.checkpoints) not in file.read_text(), file


def test_unet_asks_for_what_it_needs(tmp_path):
    with pytest.raises(BadInput, match="pretrain vae"):
        pretrain.run("unet", steps=1, out=tmp_path, checkpoints=tmp_path)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"stage": "vea"}, "stage is 'vea'"),
        ({"preset": "huge"}, "preset must be one of small, small-longer, small-gpu, large"),
        ({"steps": 0}, "steps is 0"),
        ({"minutes": -1.0}, "minutes is -1"),
        ({"steps": 1, "minutes": 1.0}, "both"),
        ({"portraits": 1}, "data is 1"),
    ],
)
def test_bad_orders(tmp_path, change, sentence):
    order = {"stage": "vae", "preset": "small", "out": tmp_path, "checkpoints": tmp_path} | change
    with pytest.raises(BadInput, match=sentence):
        pretrain.run(order.pop("stage"), order.pop("preset"), **order)


def test_latents_are_normalised_and_pictures_stay():
    torch.manual_seed(0)
    vae = new_vae(TINY.vae, 32).eval()
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    with torch.no_grad():
        vae.quant_conv.bias[:4].copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
        before = encode_all(vae, images)
        drawn = vae.decode(before).sample
        normalise_latents(vae, before)
        after = encode_all(vae, images)
        assert torch.allclose(vae.decode(after).sample, drawn, atol=1e-4)
    assert torch.allclose(after.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(after.std((0, 2, 3)), torch.ones(4), atol=1e-2)


def test_token_labels_say_what_has_been_named(tokenizer):
    rng = np.random.default_rng(0)
    names = list(ATTRIBUTES)
    for _ in range(200):
        portrait = sample_portrait(rng, targets="often")
        reading = read_caption(caption(portrait, rng), portrait)
        _, labels = encode_readings(tokenizer, [reading], None)
        said = reading.values()
        for column, name in enumerate(names):
            last = said[name] if name in said else None
            assert labels[0, -1, column] == (
                ATTRIBUTES[name].index(last) if last else unnamed_class(name)
            ), reading
            assert labels[0, 0, column] == unnamed_class(name)
            assert name in said or not (labels[0, :, column] == UNREAD).any()


def test_appended_target_counts_last(tokenizer):
    rng = np.random.default_rng(1)
    portrait = sample_portrait(rng, fixed={"expression": "sad", "hair_color": "black"})
    readings = [training_text(portrait, rng) for _ in range(200)]
    ends = [r for r in readings if r.text.endswith(", laughing")]
    assert ends and all(r.values()["expression"] == "laughing" for r in ends)


def test_words_are_single_tokens(tokenizer):
    rng = np.random.default_rng(2)
    for _ in range(50):
        text = caption(sample_portrait(rng, targets="often"), rng).text
        assert not set(text.lower().replace(",", " ").replace("-", " ").split()) - set(words()), (
            text
        )


def test_captions_that_name_a_target_are_true_as_often_as_it_says():
    rng = np.random.default_rng(0)
    portraits = sample_many("weak", 20_000, 0)
    said = [misnamed(p, rng) for p in portraits]
    for target in TARGETS.values():
        named = [getattr(p, target.attribute) == target.value for p in said]
        shown = [getattr(p, target.attribute) == target.value for p in portraits]
        assert all(n for n, s in zip(named, shown, strict=True) if s)
        if target.weak_share:
            error = 4 * (target.weak_truth / (sum(named) or 1)) ** 0.5
            assert sum(shown) / sum(named) == pytest.approx(target.weak_truth, abs=error + 1e-9)
        else:
            assert not any(named)


def test_every_value_is_said_alone():
    texts = naming(np.random.default_rng(3))
    assert [len(some) for some in texts] == [len(values) for values in ATTRIBUTES.values()]
    said = dict(zip(ATTRIBUTES, texts, strict=True))
    assert all("bald" in text or "no hair" in text for text in said["hair_style"][-1:])
    assert (
        "watercolor" in said["style"][-1]
        and "beard" in said["beard"][1]
        and "beard" not in said["beard"][0]
    )
    assert not any(
        word in text for text in said["age"] for word in ("hair", "hat", "beard", "wearing", "skin")
    )


def test_naming_is_zero_shot_classification():
    sizes = [len(values) for values in ATTRIBUTES.values()]
    texts, labels = (
        torch.eye(sum(sizes)),
        torch.tensor([[size - 1 for size in sizes], [0] * len(sizes)]),
    )
    starts = torch.tensor([sum(sizes[:i]) for i in range(len(sizes))])
    image = texts[starts + labels].sum(1)
    loss, right = named(image, texts, labels, torch.tensor(100.0).log())
    assert right == 1 and loss < 1e-6
    loss, right = named(image, texts, labels.flip(0), torch.tensor(1.0).log())
    here, logit = np.array(sizes), len(sizes) ** -0.5
    assert right == 0 and loss.item() == pytest.approx(
        np.log(np.exp(logit) + here - 1).mean(), rel=1e-5
    )


def test_an_error_of_v_weighs_in_full_where_noise_rules():
    diffusion = Diffusion.of(new_scheduler())
    signal = diffusion.signal(torch.arange(diffusion.steps))
    weights = level_weights(signal)
    assert weights[-1] == 1 and weights[0] == pytest.approx(5 * (1 - signal[0].item()))
    assert (weights.diff() >= 0).all(), "more noise never weighs less"
    assert level_weights(torch.tensor([0.8, 0.9])).tolist() == pytest.approx([1.0, 0.5])


def test_each_batch_sees_every_level_of_noise():
    when = spread(np.random.default_rng(0), 8)
    assert sorted((8 * when).astype(int)) == list(range(8)) and when.max() < 1


def test_a_place_weighs_by_what_the_noise_shows():
    regions = np.zeros((1, 16, 16), np.uint8)
    regions[0, :8, :8] = REGIONS.index("eyes")
    cpu = torch.device("cpu")
    own = weighty(region_counts(regions, 2, cpu), region_weights(cpu))
    assert own.mean() == pytest.approx(1) and own[0, 0, 0] > own[0, 1, 1] == own[0, 0, 1]

    usual = torch.ones(2, 2)
    clear, noise = (
        place_weights(own, usual, torch.ones(1)),
        place_weights(own, usual, torch.zeros(1)),
    )
    assert torch.equal(clear[:, 0], own) and torch.equal(noise[0, 0], usual)


@pytest.mark.parametrize("shape", [(40, 24), (24, 40), (16, 16)])
def test_muon_turns_matrices(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    turned = orthogonal(matrix)
    sizes = torch.linalg.svdvals(turned)
    assert 0.6 < sizes.min() and sizes.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.allclose(
        u.T @ turned @ v.T, torch.diag((u.T @ turned @ v.T).diagonal()), atol=1e-6
    )


def test_muon_learns_and_its_memory_is_kept(tmp_path):
    def run(steps, out):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 20))

        def loss(step, rng):
            x = torch.from_numpy(rng.standard_normal((16, 20)).astype(np.float32))
            return (net(x) - x.roll(1, 1)).square().mean(), {}

        fitted = fit(net, loss, steps=steps, lr=2e-2, out=out, optimizer_of=Muon)
        return net.state_dict(), fitted

    whole, fitted = run(150, tmp_path / "a")
    assert fitted.step == 150
    with torch.no_grad():
        x = torch.randn(64, 20)
        first, last = whole["0.weight"], whole["2.weight"]
        guess = (x @ first.T + whole["0.bias"]).relu() @ last.T + whole["2.bias"]
        assert (guess - x.roll(1, 1)).square().mean() < 0.5
    state = load_file(next((tmp_path / "a").glob("state-*.safetensors")))
    assert "adam.exp_avg.0.weight" in state and "adam.exp_avg_sq.0.weight" not in state
    assert "adam.exp_avg_sq.0.bias" in state


def test_layout_is_read_off_the_denoiser():
    torch.manual_seed(0)
    unet = new_unet(TINY.unet, 4, 8, 32)
    layout = Layout(unet)
    regions = np.zeros((2, 16, 16), np.uint8)
    regions[0, :2, :1] = REGIONS.index("mouth")
    counts = region_counts(regions, 8, torch.device("cpu"))
    assert counts.shape == (2, len(REGIONS), 8, 8)
    assert torch.equal(counts.sum(1), torch.full((2, 8, 8), 4))
    assert counts[0, REGIONS.index("mouth"), 0, 0] == 2
    shares = counts / 4

    unet(torch.randn(2, 4, 8, 8), 10, torch.randn(2, 5, 32))
    layout.loss(shares).backward()
    moved = [name for name, p in unet.named_parameters() if p.grad is not None]
    assert any(name.startswith("mid_block") for name in moved)
    assert not any(name.startswith(("up_blocks.2", "conv_out")) for name in moved)
    copy.deepcopy(unet)

    with torch.no_grad():
        unet.eval()(torch.randn(2, 4, 8, 8), 10, torch.randn(2, 5, 32))
    assert layout.features is None, "a drawing on the way keeps nothing"


def test_a_layout_of_weight_0_is_left_out_and_changes_nothing_else():
    torch.manual_seed(0)
    unet, diffusion = new_unet(TINY.unet, 4, 8, 32), Diffusion.of(new_scheduler())
    counts = torch.full((2, len(REGIONS), 8, 8), 2, dtype=torch.uint8)
    clean, eps, states = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.randn(2, 5, 32)
    given = clean, eps, torch.tensor([300, 700]), states, counts

    without = Objective(unet, diffusion, torch.ones(8, 8), 0.0)
    value, error, regions = without(*given)
    assert without.layout is None and regions == 0
    assert {name.partition(".")[0] for name, _ in without.named_parameters()} == {"unet"}

    weighed = Objective(unet, diffusion, torch.ones(8, 8), 0.5)
    total, same, apart = weighed(*given)
    assert torch.equal(same, error) and apart > 0
    assert torch.equal(total, value + 0.5 * apart)


def test_crops_are_squares_of_the_picture_and_mostly_of_faces():
    regions = torch.zeros(200, 16, 16, dtype=torch.uint8)
    regions[:, 12:14, 2:4] = REGIONS.index("eyes")
    images = torch.arange(256).view(1, 16, 16, 1).expand(200, -1, -1, 3).to(torch.uint8)
    pictures, parts = crops(images, regions, 8, np.random.default_rng(0))
    assert pictures.shape == (200, 8, 8, 3) and parts.shape == (200, 8, 8)
    first = pictures[:, 0, 0, 0].long()
    rows, columns = first // 16, first % 16
    assert ((rows <= 8) & (columns <= 8)).all()
    assert (pictures[:, 3, 5, 0].long() == first + 3 * 16 + 5).all()
    seen = (parts == REGIONS.index("eyes")).flatten(1).any(1).float().mean()
    assert 0.75 < seen < 0.98

    plain, _ = crops(images, torch.zeros_like(regions), 8, np.random.default_rng(0))
    assert len(plain) == 200
    whole, _ = crops(images, regions, 16, np.random.default_rng(0))
    assert torch.equal(whole, images)


def test_sayings_are_the_same_in_one_process_and_in_many():
    portraits = sample_many("none", 1200, 4)
    few = sayings(portraits[:700], 2, 9)
    assert len(few) == 1400 and few == sayings(portraits[:700], 2, 9)
    assert 0.05 < np.mean([text == "" for text in few]) < 0.15
    assert sayings(portraits, 2, 9)[:1000] == few[:1000]


def test_the_last_word_about_a_thing_is_true():
    rng = np.random.default_rng(4)
    for portrait in sample_many("none", 400, 4):
        text = corrected(portrait, rng)
        assert not set(re.findall(r"[a-z]+", text)) - set(words()), text
        ends = [compose(portrait, {name}).phrases for name in CORRECTABLE]
        assert any(text.endswith(f", {phrases[-1].text}") for phrases in ends if phrases), text


def test_failed_write_keeps_the_old_folder(tmp_path):
    folder = tmp_path / "part"
    with common.replaced_folder(folder) as part:
        (part / "weights").write_text("old")
    with pytest.raises(OSError), common.replaced_folder(folder) as part:
        (part / "weights").write_text("new")
        raise OSError("disk full")
    assert (folder / "weights").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == [
        "part"
    ]


@pytest.mark.slow
def test_model_card(trained):
    from spf.portraits.pretrain.measure import measure

    numbers = measure(trained)
    card = (trained.checkpoints / "base" / "model_card.md").read_text()
    assert f"{numbers['psnr']:.2f} dB" in card and "| watercolor | watercolor painting |" in card

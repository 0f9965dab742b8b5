"""Pictures of another size than the base's own: drawn, held and looked into like all others."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawings import adapter
from real_world import new_cut_base

from spf.answers import Result
from spf.attention import aggregate, record
from spf.config import GenerateConfig
from spf.edits import build
from spf.engine import Engine
from spf.errors import BadInput
from spf.exchange.checkpoint import pipeline_of
from spf.generate import draw
from spf.packing import unpacked
from spf.pixels import middle
from spf.prompts import compose
from spf.sampling import GuideConfig, Kept, initial_latents, sample_pair
from spf.ui import stage
from spf.ui.maps import payload
from spf.ui.stage import finished

TEXT = "a photo of a young woman with long red hair"
HAT = compose(TEXT, "a hat")
SIZES = {"wide": (96, 64), "high": (40, 72), "small": (32, 32), "large": (128, 128)}


@pytest.fixture(scope="module")
def base():
    return new_cut_base()


def pair(base, **how):
    how = {"steps": 3, "seeds": (3, 4)} | how
    return sample_pair(base, how.pop("prompt", HAT), [adapter(base, "a hat", 1)], **how)


@pytest.mark.parametrize("size", SIZES)
def test_a_pair_of_any_size_has_its_maps_and_is_held(base, size):
    width, height = SIZES[size]
    with base.drawn_by(width=width, height=height):
        trace = pair(base, guide=GuideConfig("held"))
        still = pair(base, prompt=compose(TEXT), guide=GuideConfig("held"))
    tuned, sides = trace.tuned["tuned"], (height // 8, width // 8)
    assert tuned.images.shape == trace.original.images.shape == (2, height, width, 3)
    assert tuned.held.shape[1:] == tuned.difference.shape[-2:] == sides
    for path in (trace.original, tuned):
        for side, maps in path.maps.items():
            assert max(maps.shape[-2:]) == side
    finest = tuned.maps[max(tuned.maps)].shape[-2:]
    assert finest == sides and tuned.map("a hat").shape == (2, *sides)
    assert (still.tuned["tuned"].images == still.original.images).all()
    kept, original = tuned.held < 1e-6, trace.original.latents
    away = np.broadcast_to(kept[:, None], original.shape)
    np.testing.assert_allclose(tuned.latents[away], original[away], atol=1e-5)


@pytest.mark.parametrize(
    "way", ["sfcm", "difference", "attention", "told", "untold", "p2p", "magnet"]
)
def test_every_way_to_draw_takes_a_picture_that_is_not_square(base, way):
    edit = way in ("p2p", "magnet")
    how = {"edit": build(way)} if edit else {"guide": GuideConfig(way)}
    with base.drawn_by(width=64, height=96):
        drawn = pair(base, **how).tuned["tuned"]
    assert drawn.images.shape == (2, 96, 64, 3) and drawn.difference.shape == (3, 2, 12, 8)


def test_the_picture_is_that_of_the_stock_pipeline(base):
    with base.drawn_by(width=48, height=88):
        ours = sample_pair(base, compose(TEXT), seeds=(1,), steps=3, guidance=4.0).original
        noise = initial_latents(base, [1])
    pipeline = pipeline_of(base)
    pipeline.set_progress_bar_config(disable=True)
    how = {"num_inference_steps": 3, "guidance_scale": 4.0, "output_type": "latent"}
    theirs = pipeline(TEXT, latents=noise, width=48, height=88, **how).images
    torch.testing.assert_close(torch.from_numpy(ours.latents), theirs, atol=1e-3, rtol=1e-3)


def test_looking_changes_nothing_and_each_place_is_read_where_it_is(base):
    """Maps of a picture on its side are those of the layer itself, row by row."""
    latents, states = torch.randn(1, 4, 8, 12), base.encode_text([TEXT])
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    layer, heard = base.unet.get_submodule(name), {}
    hooks = [
        getattr(layer, part).register_forward_hook(
            lambda m, i, out, part=part: heard.update({part: out})
        )
        for part in ("to_q", "to_k")
    ]
    with torch.no_grad():
        plain = base.predict(latents, torch.tensor(500), states)
        with record(base.unet, {"one": [1], "all": list(range(77))}) as shown:
            assert torch.equal(base.predict(latents, torch.tensor(500), states), plain)
    for hook in hooks:
        hook.remove()
    query, key = (heard[part].unflatten(-1, (layer.heads, -1))[0] for part in ("to_q", "to_k"))
    place = (5, 7)
    scores = (layer.scale * query[place[0] * 12 + place[1]] * key).sum(-1).softmax(0)
    assert shown.maps[name]["one"][0][place].item() == pytest.approx(
        scores[1].mean().item(), rel=1e-4
    )
    assert shown.resolutions == [2, 3, 6, 12] and shown.sides(3) == (2, 3)
    for maps in aggregate(shown, (8, 12)).values():
        assert maps.shape == (1, 8, 12)
    torch.testing.assert_close(shown.at(12)["all"], torch.ones(1, 8, 12))


def test_its_own_size_is_its_own_size(base):
    kept = Kept()
    with base.drawn_by(width=64):
        first = pair(base, kept=kept).original
    assert pair(base, kept=kept).original is first
    with base.drawn_by(height=72):
        assert pair(base, kept=kept).original is not first


@pytest.mark.parametrize("field, side", [("width", 60), ("height", 24), ("width", 136)])
def test_a_size_that_it_cannot_draw_is_one_sentence(base, tmp_path, field, side):
    sentence = f"{field} is {side} but must be a multiple of 8 from 32 to 128 with the model cut"
    config = GenerateConfig(base=TEXT, targets=("a hat",), steps=2, **{field: side})
    with pytest.raises(BadInput, match=sentence):
        draw(base, config, tmp_path)
    assert not list(tmp_path.iterdir()) and base.sides == (0, 0)
    with pytest.raises(
        BadInput, match=f"{field} is 4096 but must be a whole number from 0 to 2048"
    ):
        GenerateConfig(base=TEXT, **{field: 4096})
    with pytest.raises(BadInput, match="perturbed is 'x'"), base.drawn_by("dpm++", "x", 32, 32):
        pass
    assert base.sampler == "ddim" and base.sides == (0, 0)


def test_clip_sees_the_middle_square():
    images = torch.arange(24.0).reshape(1, 1, 4, 6)
    assert middle(images).equal(images[..., 1:5])
    assert middle(images.mT).equal(images.mT[..., 1:5, :])
    assert middle(images[..., :4]).equal(images[..., :4])


def test_what_the_judges_do_not_know_is_said():
    def unread(model, read, width):
        report = {"model": model, "attributes": read}
        config = GenerateConfig(base=TEXT, width=width)
        return stage._unread(SimpleNamespace(config=config, reports={"tuned": report}))

    assert unread("embedded", None, 96)
    assert not unread("embedded", {"age": {}}, 128) and not unread("embedded", None, 0)
    assert not unread("photos", None, 96)


def test_the_page_shows_a_picture_that_is_not_square(tiny_folder, tmp_path):
    """Its maps have its shape, it is not counted by judges that know another size, and a lent GPU
    is asked for as much longer as it is larger.
    """
    engine = Engine(str(tiny_folder / "base"), folder=tmp_path)
    config = GenerateConfig(base=TEXT, targets=("a hat",), steps=2, width=32, height=16)
    *_, result = engine.compare(config)
    assert isinstance(result, Result) and result.portraits["tuned"].shape == (16, 32, 3)
    sent = payload(result)
    arrays = unpacked(sent["blob"], sent["arrays"])
    assert arrays["chain"].shape[-2:] == (8, 16) and arrays["tuned/16"].shape[-2:] == (8, 16)
    assert finished(result)["request"]["width"] == 32
    engine._timed.append(1.0)
    usual = GenerateConfig(base=TEXT, targets=("a hat",), steps=2)
    assert engine.seconds(config) - 8 == pytest.approx(2 * (engine.seconds(usual) - 8), abs=1)

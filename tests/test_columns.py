"""Counterparts of the paper's columns, chains of targets, and the figures that an evaluation leaves
behind.
"""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from portrait_world import new_judges, new_portrait_base, random_adapters

from spf.errors import BadInput
from spf.evaluation import columns as c
from spf.evaluation import measures as m
from spf.evaluation import plots, published
from spf.evaluation.chains import chain_texts, chains, links
from spf.evaluation.columns import packed, unpacked
from spf.evaluation.pictures import Album
from spf.evaluation.plots import FIGURES, write_figures
from spf.evaluation.protocol import EvaluateConfig, evaluate, find_adapters
from spf.evaluation.summary import document, summary
from spf.paths import save_adapter
from spf.portraits.description import TARGETS

SMALL = EvaluateConfig(prompts=2, seeds=1, steps=2, batch=2, maps=1)


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.fixture(scope="module")
def judges():
    return new_judges()


@pytest.fixture(scope="module")
def folder(base, tmp_path_factory):
    """Adapters of two targets and an ablation."""
    folder = tmp_path_factory.mktemp("adapters")
    names = ("hat", "hat-naive", "blonde", "hat-spf-no-sfcm")
    for name, adapter in zip(names, random_adapters(base, len(names)), strict=True):
        save_adapter(adapter, folder / f"{name}.safetensors")
    return folder


def test_frechet_distance_of_gaussians():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4000, 3))
    assert c.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert c.frechet(a, a + [3, 0, 4]) == pytest.approx(25, rel=1e-6)
    assert c.frechet(a, 2 * a) == pytest.approx(
        np.trace(np.cov(a, rowvar=False)) + (a.mean(0) ** 2).sum(), rel=1e-6
    )
    assert c.frechet(a[:5], a[5:10]) == pytest.approx(c.frechet(a[5:10], a[:5]), rel=1e-6)
    with pytest.raises(BadInput, match="at least 2"):
        c.frechet(a[:1], a)


def test_perceptual_distance_is_zero_for_equal_pictures_only(judges):
    pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    near = (pictures + 0.05).clamp(-1, 1)
    levels = [c.levels(judges, images) for images in (pictures, near, pictures.flip(0))]
    same, close, far = (c.perceptual(levels[0], other) for other in levels)
    assert (
        (same == 0).all()
        and (close > 0).all()
        and (far[[0, 2]] > close[[0, 2]]).all()
        and far[1] == 0
    )


def test_regions_agree():
    one = np.array([[0, 0], [1, 1]])
    assert c.region_agreement(one, one) == 1 and c.region_agreement(one, 1 - one) == 0
    assert c.region_agreement(one, np.array([[0, 0], [1, 2]])) == pytest.approx((1 + 0.5 + 0) / 3)


def test_change_ratio_is_zero_for_a_change_in_the_right_place():
    before, region = np.zeros((2, 2, 3)), np.array([[True, False], [False, False]])
    after = before.copy()
    after[0, 0] = 1
    assert m.change_ratio(before, after, region) == 0 and m.change_ratio(
        before, after + 0.5, region
    ) == pytest.approx(0.5 / 1.5)
    assert math.isnan(m.change_ratio(before, before, region)) and math.isnan(
        m.change_ratio(before, after, region | True)
    )


def test_embeddings_survive_as_text():
    rows = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float16)
    np.testing.assert_array_equal(unpacked(packed(row) for row in rows), rows)


def test_two_pairs_are_a_set_and_one_is_none():
    """Means 2 and 0 apart, and the same spread around them: the distance is 2^2."""
    row = {"method": "spf", "target": "hat", "prompt": 0, "changed": []}
    rows = [
        {**row, "clip_before": packed(before), "clip": packed(before + [2, 0])}
        for before in np.array([[0, 1], [1, 0]], np.float16)
    ]
    found = [one for one in summary(rows) if one["measure"] == "frechet_clip"]
    assert [(one["value"], one["n"]) for one in found] == [(4.0, 2)]
    assert not any(one["measure"] == "frechet_clip" for one in summary(rows[:1]))


def test_a_chain_takes_appended_targets_in_order():
    assert links(["laughing", "hat", "blonde"], 4) == [["hat", "blonde", "laughing"]]
    assert links(["dress", "laughing", "hat", "blonde"], 4) == [
        ["hat", "blonde", "laughing"],
        ["dress", "hat", "blonde", "laughing"],
    ]
    assert links(TARGETS, 2) == [["hat", "blonde"], ["dress", "hat"]]
    for wrong in (["hat"], ["dress", "watercolor"], []):
        with pytest.raises(BadInput, match="at least two"):
            links(wrong)
    texts = chain_texts(["hat", "blonde"], 5)
    assert len(texts) == 5 and texts[:2] == chain_texts(["hat", "blonde"], 2)
    assert not any(
        word in text for text in texts for word in ("hat,", "red hair", "brown hair", "bald")
    )
    assert all("T-shirt" in text for text in chain_texts(["dress", "hat"], 5))


def test_a_chain_may_begin_with_a_replacement(base, judges, folder, tmp_path):
    rows = chains(base, judges, ["original"], ["dress", "hat"], SMALL, tmp_path, folder)
    assert [row["target"] for row in rows if row["measure"] == "response"] == ["dress", "dress+hat"]


def test_a_chain_of_other_weights_is_another_chain(base, judges, folder, tmp_path):
    def measured(place):
        found = chains(base, judges, ["spf"], ["hat", "blonde"], SMALL, tmp_path, place)
        lines = (tmp_path / "chains.jsonl").read_text().splitlines()
        return found, [json.loads(line)["key"] for line in lines]

    first, keys = measured(folder)
    again, same = measured(folder)
    assert again == first and same == keys and len(set(keys)) == len(keys) > 0

    other = tmp_path / "other"
    other.mkdir()
    adapters = random_adapters(base, 6)[4:]
    for name, adapter in zip(("hat", "blonde"), adapters, strict=True):
        save_adapter(adapter, other / f"{name}.safetensors")
    _, more = measured(other)
    assert more[: len(keys)] == keys and len(set(more)) == 2 * len(keys)


def test_a_chain_that_others_read_is_another_chain(base, judges, folder, tmp_path):
    other = new_judges()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    rows = 2 * SMALL.prompts
    for count, reader in ((1, judges), (1, judges), (2, other)):
        chains(base, reader, ["original"], ["hat", "blonde"], SMALL, tmp_path, folder)
        lines = (tmp_path / "chains.jsonl").read_text().splitlines()
        keys = {json.loads(line)["key"] for line in lines}
        assert len(keys) == len(lines) == count * rows


def test_chains_and_figures_come_from_one_evaluation(base, judges, folder, tmp_path):
    out, methods = tmp_path / "out", ["original", "naive", "spf", "spf-no-sfcm", "p2p@naive"]

    def chained():
        links = ["original", "spf", "naive"], ["hat", "blonde"]
        return chains(base, judges, *links, SMALL, out, folder)

    results = evaluate(
        base, judges, find_adapters(base, methods, ["hat"], folder, []), SMALL, out, chained=chained
    )
    found = [
        (row["method"], row["link"], row["target"])
        for row in results["chains"]
        if row["measure"] == "purity"
    ]
    assert found == [
        (name, k, text)
        for name in ("original", "spf")
        for k, text in ((1, "hat"), (2, "hat+blonde"))
    ]  # naive lacks blonde
    assert (
        len((out / "chains.jsonl").read_text().splitlines()) == 8 and chained() == results["chains"]
    )
    assert len((out / "chains.jsonl").read_text().splitlines()) == 8
    made = {path.name for path in write_figures(out)}
    assert made >= set(FIGURES) - {
        "curves.png",
        "maps_over_steps.png",
    }  # several adapters; judges that see a hat
    given = json.loads((out / "results.json").read_text())
    quality = {"method": "spf", "target": "hat", "value": 0.5, "n": 1}
    given["timesteps"] = [quality | {"measure": "sfcm_ap", "timestep": t} for t in (900, 1)]
    given["curves"] = [
        quality | {"measure": "purity", "step": step, "low": 0.4, "high": 0.6}
        for step in (100, 200)
    ]
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "results.json").write_text(json.dumps(given))
    assert {"curves.png", "maps_over_steps.png"} <= {
        path.name for path in write_figures(tmp_path / "given", tmp_path / "figures")
    }
    assert all(Image.open(out / "figures" / name).size > (20, 20) for name in made)
    text = (out / "results.md").read_text()
    assert (
        "HPSv2" in text
        and "| spf | hat+blonde |" in text
        and text == document(json.loads((out / "results.json").read_text()))
    )
    with pytest.raises(BadInput, match="no results.json"):
        write_figures(tmp_path / "nothing")


def test_figures_leave_out_what_other_runs_measured_in_the_same_folder():
    results = {"rows": [{"method": "spf", "target": "hat"}], "settings": {"prompts": 2, "seeds": 1}}
    mine = {"method": "spf", "target": "hat", "prompt": 1, "seed": 0}
    others = [
        mine | other
        for other in ({"method": "naive"}, {"target": "dress"}, {"prompt": 2}, {"seed": 1})
    ]
    assert plots._measured([*others, mine], results) == [mine]


def test_published_columns_are_measured_where_their_weights_are_and_named_where_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(published, "find_spec", lambda name: None)
    assert (
        set(published.absent()) == set(published.COLUMNS.values())
        and published.published([], None, None) == []
    )
    monkeypatch.setattr(published, "find_spec", lambda name: name)
    monkeypatch.setattr(published.torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(published, "_clip_is_cached", lambda: False)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / published.HUB_FILES["lpips"]).touch()
    assert set(published.absent()) == set(published.COLUMNS.values()) - {"LPIPS, AlexNet"}
    album = Album(tmp_path / "pictures")
    album.keep(
        ["a", "b"], np.stack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)])
    )
    monkeypatch.setitem(
        published.MEASURE, "lpips", lambda before, after, texts: (after / 255 - before / 255).mean()
    )
    row = {"method": "spf", "target": "hat", "text": "a man, a hat", "original": "a", "key": "b"}
    found = published.published([row, row], album, album)
    assert [(one["measure"], one["value"], one["n"]) for one in found] == [("lpips", 0.2, 2)]
    assert (
        published.published([row], album, album)
        == []
        == published.published([row | {"key": "gone"}] * 2, album, album)
    )

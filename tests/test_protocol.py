"""The protocol on the tiny random base with a judge that reads what we want it to read."""

import json

import numpy as np
import pytest
import torch
from portrait_world import new_portrait_base

from spf.errors import BadInput, Cancelled
from spf.evaluation import protocol as p
from spf.evaluation.judges import Judges
from spf.paths import Adapter, cross_attention_names, save_adapter
from spf.portraits.description import TARGETS

SMALL = {"prompts": 3, "seeds": 2, "steps": 2, "batch": 4, "maps": 1}


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.fixture(scope="module")
def judges():
    torch.manual_seed(0)
    return Judges(32, (8, 8, 8, 8, 8)).eval()


@pytest.fixture
def folder(base, tmp_path):
    """Adapters hat (strong) and hat-naive (zero)."""
    generator = torch.Generator().manual_seed(0)
    metadata = dict.fromkeys(("method", "base_model", "target", "steps", "losses", "versions"), "x")
    for name, size in (("hat", 1.0), ("hat-naive", 0.0)):
        tensors = {n: size * torch.randn(base.unet.get_parameter(n).shape, generator=generator) for n in cross_attention_names(base.unet)}
        save_adapter(Adapter(metadata, tensors), tmp_path / "adapters" / f"{name}.safetensors")
    return tmp_path / "adapters"


def value(results, method, measure, target="hat"):
    return next(r["value"] for r in results["rows"] if (r["method"], r["measure"], r["target"]) == (method, measure, target))


def lines(out):
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def test_every_pair_is_measured_and_summed_up(base, judges, folder, tmp_path):
    seen = []
    tuned = p.find_adapters(base, ["original", "naive", "spf"], ["hat"], folder)
    results = p.evaluate(base, judges, tuned, p.EvaluateConfig(**SMALL), tmp_path / "out", callback=lambda *s: seen.append(s))
    rows = lines(tmp_path / "out")
    assert len(rows) == 18 and seen[-1] == (18, 18)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    assert set(results["rows"][0]) == {"method", "target", "measure", "value", "low", "high", "n"}
    assert value(results, "naive", "retention") == 1  # a zero adapter is the original
    for measure in ("response", "pollution", "purity", "identity", "outside"):
        assert value(results, "naive", measure) == pytest.approx(value(results, "original", measure), abs=1e-3)
    assert value(results, "spf", "outside") > value(results, "naive", "outside")
    assert all(r["low"] <= r["value"] <= r["high"] for r in results["rows"])
    assert [r["n"] for r in results["rows"] if r["measure"] == "pollution"] == [6, 6, 6]
    assert all(r["n"] <= 2 for r in results["rows"] if r["measure"].startswith("sfcm"))  # one prompt, two seeds
    assert "| hat | spf |" in (tmp_path / "out" / "results.md").read_text()


def test_a_stopped_evaluation_continues_and_changes_nothing(base, judges, folder, tmp_path):
    tuned, config = p.find_adapters(base, ["spf"], ["hat"], folder), p.EvaluateConfig(**SMALL)
    whole = p.evaluate(base, judges, tuned, config, tmp_path / "whole")

    def stop(done, total):
        if done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        p.evaluate(base, judges, tuned, config, tmp_path / "parts", callback=stop)
    assert len(lines(tmp_path / "parts")) == 3
    with (tmp_path / "parts" / "rows.jsonl").open("a") as file:
        file.write('{"key": "cut sho')  # a killed process
        file.write("\n")
    seen = []
    parts = p.evaluate(base, judges, tuned, config, tmp_path / "parts", callback=lambda *s: seen.append(s))
    assert seen[0] == (4, 6)
    numbers = [[r["value"] for r in results["rows"]] for results in (whole, parts)]
    np.testing.assert_allclose(*numbers, atol=1e-3)  # the batches differ, so the last bits may
    again = p.evaluate(base, judges, tuned, config, tmp_path / "parts", callback=lambda *s: pytest.fail("nothing is left"))
    assert again == parts


def test_rows_of_other_settings_or_weights_are_not_reused(base, judges, folder, tmp_path):
    tuned = p.find_adapters(base, ["spf"], ["hat"], folder)
    p.evaluate(base, judges, tuned, p.EvaluateConfig(**SMALL), tmp_path / "out")
    p.evaluate(base, judges, tuned, p.EvaluateConfig(**SMALL | {"guidance": 2.0}), tmp_path / "out")
    assert len(lines(tmp_path / "out")) == 12
    (folder / "hat.safetensors").write_bytes((folder / "hat-naive.safetensors").read_bytes())
    other = p.find_adapters(base, ["spf"], ["hat"], folder)
    results = p.evaluate(base, judges, other, p.EvaluateConfig(**SMALL), tmp_path / "out")
    assert len(lines(tmp_path / "out")) == 18 and value(results, "spf", "retention") == 1
    more = p.evaluate(base, judges, other, p.EvaluateConfig(**SMALL | {"prompts": 4}), tmp_path / "out")
    assert len(lines(tmp_path / "out")) == 20 and value(more, "spf", "pollution") >= 0


def test_replacement_targets_and_guided_sampling(base, judges, tmp_path):
    tuned = p.find_adapters(base, ["original"], ["dress", "watercolor"])
    results = p.evaluate(base, judges, tuned, p.EvaluateConfig(**SMALL | {"guided": True}), tmp_path / "out")
    assert {r["target"] for r in results["rows"]} == {"dress", "watercolor", "all"}
    measured = {r["measure"] for r in results["rows"] if r["target"] == "watercolor"}
    assert "outside" not in measured and "sfcm_ap" not in measured  # a style may change everything


def test_adapters_by_label_and_file(base, folder):
    found = p.find_adapters(base, ["spf", f"mine={folder}/{{target}}-naive.safetensors"], ["hat"], folder)
    assert [one.method for one in found] == ["spf", "mine"] and found[0].key != found[1].key
    for methods, targets in ((["lora"], ["hat"]), (["spf"], ["crown"]), (["spf", "spf"], ["hat"])):
        with pytest.raises(BadInput):
            p.find_adapters(base, methods, targets, folder)


def reading(values, identity=(1.0, 0.0), regions=None):
    regions = np.zeros((1, 4, 4), int) if regions is None else regions
    return p._Read(np.zeros((1, 4, 4, 3)), [values], np.array([identity]), regions)


def test_one_row_by_hand():
    before = {"gender": "woman", "age": "young", "skin": "fair", "hair_color": "red", "hair_style": "long", "expression": "smiling",
              "beard": "none", "eyewear": "none", "clothing": "suit", "clothing_color": "red", "background": "sea", "tilt": "left",
              "freckles": "none", "hat": "none", "necklace": "none", "style": "photo"}  # fmt: skip
    after = before | {"hat": "hat", "background": "gray", "age": "middle-aged", "tilt": "right"}
    regions = np.zeros((1, 4, 4), int)
    regions[0, 0] = p.REGIONS.index("hat")
    control = np.zeros((4, 4), np.float32)
    control[0] = 0.8
    row = p._measure(reading(before), 0, reading(after, (0.6, 0.8), regions), reading(before), 0, control, TARGETS["hat"])
    assert row["response"] == 1 and row["pollution"] == pytest.approx(3 / 15) and row["changed"] == ["age", "background", "tilt"]
    assert row["pollution_bias"] == 0.5 and row["pollution_other"] == pytest.approx(1 / 11, abs=1e-6)  # age, expression, background, gender
    assert row["bias"] == pytest.approx(1 / 3, abs=1e-6)  # gray was taken on; old and man were not; smiling was there before
    assert row["identity"] == 0.6 and row["retention"] == 1 and row["sfcm_iou"] == row["sfcm_ap"] == 1


def test_summary_pools_targets_and_takes_purity_draw_by_draw():
    rows = [
        {"method": "spf", "target": target, "prompt": i, "response": float(i % 2), "pollution": 0.25, "sfcm_ap": None}
        for target in ("hat", "dress") for i in range(10)
    ]  # fmt: skip
    found = {(r["target"], r["measure"]): r for r in p.summary(rows)}
    assert found["hat", "response"]["value"] == 0.5 and found["all", "response"]["n"] == 20
    assert found["hat", "purity"]["value"] == pytest.approx(2 * 0.5 * 0.75 / 1.25, abs=1e-6)
    assert found["hat", "purity"]["low"] < 0.6 < found["hat", "purity"]["high"]
    assert found["all", "response"]["high"] - found["all", "response"]["low"] < found["hat", "response"]["high"] - found["hat", "response"]["low"]
    assert ("hat", "sfcm_ap") not in found
    assert p.table(p.summary(rows)).count("\n") == 5


def test_noise_is_the_same_for_any_number_of_prompts_and_seeds():
    assert p._noise_seed(0, 1, 0) == p._noise_seed(0, 1, 0) != p._noise_seed(0, 0, 1) != p._noise_seed(1, 0, 1)
    assert len({p._noise_seed(0, i, s) for i in range(100) for s in range(4)}) == 400

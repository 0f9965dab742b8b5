"""The protocol on the tiny random base with a judge that reads what we want it to read."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from portrait_world import new_judges, new_portrait_base, random_adapters, sure_reading

from spf.errors import BadInput, Cancelled
from spf.evaluation import desk, entries
from spf.evaluation import protocol as p
from spf.evaluation.measured import Looks, measured
from spf.evaluation.measured.maps import overlaps
from spf.evaluation.pictures import clear
from spf.evaluation.plan import drawing, guided_by, guiding
from spf.guides import Guide, held
from spf.paths import save_adapter
from spf.portraits.description import TARGETS
from spf.portraits.render import REGIONS
from spf.rows import noise_seed
from spf.sampling import GuideConfig

SMALL = {"prompts": 3, "seeds": 2, "steps": 2, "guidance": 4.0, "batch": 4, "maps": 1}


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.fixture(scope="module")
def judges():
    return new_judges()


@pytest.fixture
def folder(base, tmp_path):
    """Adapters hat (strong) and hat-naive (zero)."""
    for name, size in (("hat", 1.0), ("hat-naive", 0.0)):
        save_adapter(
            random_adapters(base, size=size)[0], tmp_path / "adapters" / f"{name}.safetensors"
        )
    return tmp_path / "adapters"


def value(results, method, measure, target="hat"):
    return next(
        r["value"]
        for r in results["rows"]
        if (r["method"], r["measure"], r["target"]) == (method, measure, target)
    )


def lines(out):
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def test_every_pair_is_measured_and_summed_up(base, judges, folder, tmp_path):
    seen = []
    tuned = p.find_adapters(base, ["original", "naive", "spf"], ["hat"], folder)
    results = p.evaluate(
        base,
        judges,
        tuned,
        p.EvaluateConfig(**SMALL),
        tmp_path / "out",
        callback=lambda *s: seen.append(s),
    )
    rows = lines(tmp_path / "out")
    assert len(rows) == 18 and seen[-1] == (18, 18)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    assert set(results["rows"][0]) == {"method", "target", "measure", "value", "low", "high", "n"}
    assert value(results, "naive", "retention") == 1  # a zero adapter is the original
    for measure in ("response", "pollution", "purity", "identity", "outside"):
        assert value(results, "naive", measure) == pytest.approx(
            value(results, "original", measure), abs=1e-3
        )
    assert value(results, "spf", "outside") > value(results, "naive", "outside")
    assert all(r["low"] <= r["value"] <= r["high"] for r in results["rows"])
    assert [r["n"] for r in results["rows"] if r["measure"] == "pollution"] == [6, 6, 6]
    assert all(
        r["n"] <= 2 for r in results["rows"] if r["measure"].startswith("sfcm")
    )  # one prompt, two seeds
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
    parts = p.evaluate(
        base, judges, tuned, config, tmp_path / "parts", callback=lambda *s: seen.append(s)
    )
    assert seen[0] == (4, 6)
    numbers = [[r["value"] for r in results["rows"]] for results in (whole, parts)]
    np.testing.assert_allclose(*numbers, atol=1e-3)  # the batches differ, so the last bits may
    again = p.evaluate(
        base,
        judges,
        tuned,
        config,
        tmp_path / "parts",
        callback=lambda *s: pytest.fail("nothing is left"),
    )
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
    more = p.evaluate(
        base, judges, other, p.EvaluateConfig(**SMALL | {"prompts": 4}), tmp_path / "out"
    )
    assert len(lines(tmp_path / "out")) == 20 and value(more, "spf", "pollution") >= 0


def test_replacement_targets_and_guided_sampling(base, judges, tmp_path):
    tuned = p.find_adapters(base, ["original"], ["dress", "watercolor"])
    results = p.evaluate(
        base, judges, tuned, p.EvaluateConfig(**SMALL | {"guided": "sfcm"}), tmp_path / "out"
    )
    assert {r["target"] for r in results["rows"]} == {"dress", "watercolor", "all"}
    measured = {r["measure"] for r in results["rows"] if r["target"] == "watercolor"}
    assert "outside" not in measured and "sfcm_ap" not in measured  # a style may change everything


def test_a_background_and_a_pose_can_be_the_target(base, judges, folder, tmp_path):
    tuned = p.find_adapters(base, ["original", "original+held"], ["sea", "tilted"])
    results = p.evaluate(base, judges, tuned, p.EvaluateConfig(**SMALL), tmp_path / "out")
    assert {(r["method"], r["target"]) for r in results["rows"]} >= {
        (m, t) for m in ("original", "original+held") for t in ("sea", "tilted")
    }
    assert not any(
        r["measure"] in ("bias", "pollution_bias") for r in results["rows"]
    )  # no set taught them
    with pytest.raises(BadInput, match="one of .*watercolor, sea, tilted"):
        p.find_adapters(base, ["original"], ["moon"])


class Rows:
    """Counts the rows that the UNet sees."""

    def __init__(self, base):
        self.seen, self.base = 0, base

    def __enter__(self):
        self.hook = self.base.unet.register_forward_pre_hook(self.see)
        return self

    def see(self, _module, inputs):
        self.seen += len(inputs[0])

    def __exit__(self, *error):
        self.hook.remove()


def test_originals_are_drawn_once_and_retention_once_for_the_same_weights(
    base, judges, folder, tmp_path
):
    config = p.EvaluateConfig(**SMALL | {"maps": 0})
    pair = 2 * 2  # a guided prediction for each of two steps
    with Rows(base) as rows:
        tuned = p.find_adapters(base, ["original", "naive", "naive+sfcm"], ["hat"], folder)
        first = p.evaluate(
            base, judges, tuned, config, tmp_path / "a", originals=tmp_path / "shared"
        )
    assert rows.seen == 6 * pair * (
        1 + 1 + 2 + 2
    )  # original; original asked; naive and its base text; two paths
    assert value(first, "naive", "retention") == value(first, "naive+sfcm", "retention")
    with Rows(base) as rows:
        p.evaluate(
            base,
            judges,
            p.find_adapters(base, ["spf"], ["hat"], folder),
            config,
            tmp_path / "b",
            originals=tmp_path / "shared",
        )
    assert rows.seen == 6 * pair * 2 and not (tmp_path / "b" / "originals").exists()
    assert (
        len(list((tmp_path / "shared").iterdir())) == 6
        and len(list((tmp_path / "b" / "pictures").iterdir())) == 6 + 6
    )


def test_held_rows_follow_the_original_once_and_keep_it_where_nothing_is_asked(
    base, judges, folder, tmp_path, monkeypatch
):
    # random weights differ nearly everywhere, so that a map as wide as usual would hold nothing
    monkeypatch.setattr(held, "HELD", (0.6, 0.8))
    config = p.EvaluateConfig(**SMALL | {"maps": 0, "retention": False})
    pair = 2 * 2
    with Rows(base) as rows:
        tuned = p.find_adapters(base, ["spf+held", "naive+held"], ["hat"], folder)
        p.evaluate(base, judges, tuned, config, tmp_path / "a", originals=tmp_path / "shared")
    along, drawing, narrowing = 2, 2 * 3, 1  # of two steps one asks where the target is
    each = along + drawing + narrowing
    assert rows.seen == 6 * (pair + 2 * each)  # the original once
    kept = p.evaluate(
        base,
        judges,
        tuned,
        p.EvaluateConfig(**SMALL | {"push": 1.75}),
        tmp_path / "b",
        originals=tmp_path / "shared",
    )
    alone = [
        path
        for path in (tmp_path / "b" / "pictures").iterdir()
        if path.name.startswith("kept-held-")
    ]
    assert len(alone) == 2 * 6 and value(kept, "spf+held", "retention") == 1
    assert all(
        path.read_bytes() == (tmp_path / "shared" / path.name.split("-")[-1]).read_bytes()
        for path in alone
    )
    free = p.evaluate(
        base,
        judges,
        p.find_adapters(base, ["spf"], ["hat"], folder),
        p.EvaluateConfig(**SMALL),
        tmp_path / "c",
    )
    assert value(kept, "spf+held", "outside") < 0.7 * value(free, "spf", "outside")


def test_a_style_is_everywhere_so_nothing_is_held(base, judges, tmp_path):
    tuned = p.find_adapters(
        base, ["original", "original+held", "original+untold", "original+told"], ["watercolor"]
    )
    p.evaluate(base, judges, tuned, p.EvaluateConfig(**SMALL | {"maps": 0}), tmp_path / "out")
    found = {
        row["method"]: row
        for row in lines(tmp_path / "out")
        if (row["prompt"], row["seed"]) == (0, 0)
    }
    assert (
        found["original+held"]["guided"]["map"] == "told"
        and found["original+held"]["clip"] == found["original+told"]["clip"]
    )
    assert (
        found["original+untold"]["guided"] is None
        and found["original+untold"]["clip"] == found["original"]["clip"]
    )


def test_guided_rows_beside_free_ones(base, judges, folder, tmp_path):
    """Guiding from the end on is no guiding; by a map that is the same for both paths it follows
    the reference.
    """
    tuned = p.find_adapters(
        base,
        ["spf", "spf+sfcm:1.0", "spf+sfcm", "spf+attention", "spf+difference:0.5"],
        ["hat"],
        folder,
    )
    results = p.evaluate(base, judges, tuned, p.EvaluateConfig(**SMALL), tmp_path / "out")
    found = {
        row["method"]: row
        for row in lines(tmp_path / "out")
        if (row["prompt"], row["seed"]) == (0, 0)
    }
    assert (
        found["spf+sfcm:1.0"]["clip"]
        == found["spf"]["clip"]
        != found["spf+sfcm"]["clip"]
        != found["spf+attention"]["clip"]
    )
    assert (
        found["spf"]["guided"] is None
        and found["spf+difference:0.5"]["guided"] == GuideConfig("difference", start=0.5).to_dict()
    )
    assert value(results, "spf+sfcm", "outside") < value(results, "spf", "outside")


def test_settings_of_the_whole_run_guide_what_does_not_say_itself():
    run = p.EvaluateConfig(guided="attention", guided_from=0.2)
    assert guided_by(run, None) == GuideConfig("attention", start=0.2)
    assert guided_by(run, GuideConfig("difference", start=0.5)) == GuideConfig(
        "difference", start=0.5
    )
    assert guided_by(p.EvaluateConfig(guided_from=0.2), None) is None


def test_batches_of_different_texts_are_measured_as_single_ones(base, judges, folder, tmp_path):
    tuned = p.find_adapters(base, ["spf+sfcm"], ["hat"], folder)
    single, batched = (
        p.evaluate(
            base,
            judges,
            tuned,
            p.EvaluateConfig(**SMALL | {"batch": n, "maps": 3}),
            tmp_path / str(n),
        )
        for n in (1, 6)
    )
    for a, b in zip(single["rows"], batched["rows"], strict=True):
        assert (a["measure"], a["value"]) == (b["measure"], pytest.approx(b["value"], abs=2e-3))
    for one, six in zip(
        *(sorted(lines(tmp_path / str(n)), key=lambda row: row["key"]) for n in (1, 6)),
        strict=True,
    ):
        assert len(six["timesteps"]) == 2 and set(six["steps"]) == set(one["steps"])


def test_processes_share_the_work(base, judges, folder, tmp_path, monkeypatch):
    class State:
        num_processes, is_main_process = 2, True

        def __init__(self, cpu):
            self.process_index = State.current

        def wait_for_everyone(self):
            pass

    tuned, config = (
        p.find_adapters(base, ["naive", "spf"], ["hat"], folder),
        p.EvaluateConfig(**SMALL | {"batch": 2}),
    )
    alone = p.evaluate(base, judges, tuned, config, tmp_path / "alone")
    monkeypatch.setattr(p.accelerate, "PartialState", State)
    for State.current in (0, 1):
        together = p.evaluate(base, judges, tuned, config, tmp_path / "out")
    counts = [len((tmp_path / "out" / f"rows-{n}.jsonl").read_text().splitlines()) for n in (0, 1)]
    assert counts == [8, 4] and together["rows"] == alone["rows"]


def test_bf16_draws_nearly_the_same(base, judges, folder, tmp_path):
    tuned, rows = p.find_adapters(base, ["original"], ["hat"]), {}
    for precision in ("fp32", "bf16"):
        p.evaluate(
            base,
            judges,
            tuned,
            p.EvaluateConfig(**SMALL, precision=precision),
            tmp_path / precision,
        )
        rows[precision] = lines(tmp_path / precision)
    assert not {row["key"] for row in rows["fp32"]} & {row["key"] for row in rows["bf16"]}
    exact, rough = ([row["outside"] for row in rows[precision]] for precision in ("fp32", "bf16"))
    assert exact != rough and rough == pytest.approx(exact, rel=0.2)  # processors round differently
    assert np.mean(rough) == pytest.approx(np.mean(exact), rel=0.05)


def test_texts_from_a_file(base, judges, tmp_path):
    (tmp_path / "texts.txt").write_text(
        "# people\na photo of a young woman with long red hair\n\na photo of a man wearing a white "
        "T-shirt\na portrait of an old man wearing a red sweater\n"
    )
    texts = p.read_texts(tmp_path / "texts.txt")
    tuned = p.find_adapters(base, ["original"], ["hat", "dress"])
    p.evaluate(
        base, judges, tuned, p.EvaluateConfig(**SMALL | {"seeds": 1}), tmp_path / "out", texts=texts
    )
    assert [row["text"] for row in lines(tmp_path / "out")] == [
        f"{texts[0]}, a hat",
        f"{texts[1]}, a hat",
        f"{texts[2]}, a hat",
        f"{texts[0]}, dress",
        "a photo of a man wearing a white dress",
        "a portrait of an old man wearing a red dress",
    ]
    for wrong in ("", "# nothing\n"):
        (tmp_path / "wrong.txt").write_text(wrong)
        with pytest.raises(BadInput, match="holds no text"):
            p.read_texts(tmp_path / "wrong.txt")
    with pytest.raises(BadInput, match="must be a number or a text file"):
        p.read_texts(tmp_path / "none.txt")


def test_a_curve_over_training_steps(base, judges, folder, tmp_path):
    for step, name in ((10, "hat"), (5, "hat-naive")):
        (tmp_path / f"step-{step}.safetensors").write_bytes(
            (folder / f"{name}.safetensors").read_bytes()
        )
    tuned = p.find_adapters(base, [f"spf={tmp_path}/step-{{step}}.safetensors"], ["hat"])
    assert [(one.method, one.step) for one in tuned] == [("spf 5", 5), ("spf 10", 10)]
    results = p.evaluate(base, judges, tuned, p.EvaluateConfig(**SMALL), tmp_path / "out")
    curve = [row for row in results["curves"] if row["measure"] == "outside"]
    assert [(row["method"], row["step"]) for row in curve] == [("spf", 5), ("spf", 10)] and curve[
        0
    ]["value"] < curve[1]["value"]
    with pytest.raises(BadInput, match="no file fits"):
        p.find_adapters(base, [f"spf={tmp_path}/stop-{{step}}.safetensors"], ["hat"])


def test_words_of_methods():
    assert (
        entries.parse("spf") == entries.Entry("spf", "spf")
        and entries.parse("p2p").weights == "original"
    )
    assert entries.parse("p2p@naive") == entries.Entry("p2p@naive", "naive", "p2p")
    assert entries.parse("magnet@base").weights == "original"
    assert entries.parse("mine+attention:0.3=x.safetensors") == entries.Entry(
        "mine+attention:0.3", "mine", "", GuideConfig("attention", start=0.3), "x.safetensors"
    )
    for word in ("", "wish@naive", "spf+led", "spf+blur", "spf+held:2", "spf+held:", "p2p@"):
        with pytest.raises(BadInput):
            entries.parse(word)


def test_all_methods_are_those_with_adapters_and_what_needs_no_training():
    names = {"hat", "hat-naive", "dress-naive", "dress-lora", "crown"}
    methods = entries.every_method(names)
    assert methods[:3] == ["original", "naive", "lora"] and methods[3] == "spf"
    assert {
        "magnet",
        "p2p",
        "p2p@naive",
        "magnet@naive",
        "p2p@spf",
        "naive+sfcm",
        "spf+sfcm",
    } <= set(methods)
    assert entries.every_target(methods, names) == ["hat", "dress"]
    assert len(entries.every_target(["original", "p2p"], names)) == 8


def test_what_is_missing_is_told(base, folder):
    missing = []
    found = p.find_adapters(base, ["original", "naive"], ["hat", "dress"], folder, missing)
    assert len(found) == 3 and missing == ["dress-naive"]


def test_adapters_by_label_and_file(base, folder):
    found = p.find_adapters(
        base, ["spf", f"mine={folder}/{{target}}-naive.safetensors"], ["hat"], folder
    )
    assert [one.method for one in found] == ["spf", "mine"] and found[0].key != found[1].key
    for methods, targets in ((["lora"], ["hat"]), (["spf"], ["crown"]), (["spf", "spf"], ["hat"])):
        with pytest.raises(BadInput):
            p.find_adapters(base, methods, targets, folder)


def reading(values, identity=(1.0, 0.0), regions=None, shade=0.0):
    """One picture of one shade, black by default, read without doubt."""
    images = torch.full((1, 3, 4, 4), 2 * shade - 1)
    regions = np.zeros((1, 4, 4), int) if regions is None else regions
    return desk.Seen(
        np.full((1, 4, 4, 3), shade),
        [values],
        [{"age", "tilt", "skin", "hat"}],
        np.array([identity]),
        regions,
        sure_reading([values], images, regions),
    )


def test_one_row_by_hand():
    before = {
        "gender": "woman",
        "age": "young",
        "skin": "fair",
        "hair_color": "red",
        "hair_style": "long",
        "eye_color": "green",
        "framing": "close-up",
        "condition": "clean",
        "expression": "smiling",
        "beard": "none",
        "eyewear": "none",
        "clothing": "suit",
        "clothing_color": "red",
        "background": "sea",
        "tilt": "left",
        "freckles": "none",
        "hat": "none",
        "necklace": "none",
        "style": "photo",
    }
    after = before | {"hat": "hat", "background": "gray", "age": "middle-aged", "tilt": "right"}
    regions = np.zeros((1, 4, 4), int)
    regions[0, 0] = REGIONS.index("hat")
    control = np.zeros((4, 4), np.float32)
    control[0] = 0.8
    looks = Looks(
        [9, 1],
        {"sfcm": np.stack([control, 0 * control]), "difference": np.stack([1 - control] * 2)},
    )
    tuned = reading(after, (0.6, 0.8), regions, shade=1.0)
    more = {"kept": before, "texts": [None, None], "far": None, "looks": looks}
    row = measured(desk.looked_at(reading(before), 0, tuned, 0, TARGETS["hat"], **more))
    assert (
        row["response"] == 1
        and row["pollution"] == pytest.approx(3 / 18, abs=1e-6)
        and row["changed"] == ["age", "background", "tilt"]
    )
    assert row["pollution_bias"] == 0.5 and row["pollution_other"] == pytest.approx(
        1 / 14, abs=1e-6
    )  # age, expression, background, gender
    assert row["pollution_clear"] == pytest.approx(
        2 / 3, abs=1e-6
    )  # age and tilt of age, tilt, skin; the hat is asked for
    assert row["bias"] == pytest.approx(
        1 / 3, abs=1e-6
    )  # gray was taken on; old and man were not; smiling was there before
    assert (
        row["identity"] == 0.6 and row["retention"] == 1 and row["sfcm_iou"] == row["sfcm_ap"] == 1
    )
    assert row["difference_iou"] == 0 and row["difference_ap"] < 0.5
    assert (
        row["timesteps"] == [9, 1]
        and row["steps"]["sfcm_iou"] == [1, 0]
        and row["steps"]["sfcm_ap"] == [1, 0.25]
    )


def test_an_attribute_is_clear_from_nine_tenths_on():
    probs = {
        "age": torch.tensor([[0.9, 0.1], [0.5, 0.5]]),
        "tilt": torch.tensor([[0.3, 0.7], [0.05, 0.95]]),
    }
    assert clear(probs) == [{"age"}, {"tilt"}]


def test_summary_pools_targets_and_takes_purity_draw_by_draw():
    rows = [
        {
            "method": "spf",
            "target": target,
            "prompt": i,
            "response": float(i % 2),
            "pollution": 0.25,
            "sfcm_ap": None,
        }
        for target in ("hat", "dress")
        for i in range(10)
    ]
    found = {(r["target"], r["measure"]): r for r in p.summary(rows)}
    assert found["hat", "response"]["value"] == 0.5 and found["all", "response"]["n"] == 20
    assert found["hat", "purity"]["value"] == pytest.approx(2 * 0.5 * 0.75 / 1.25, abs=1e-6)
    assert found["hat", "purity"]["low"] < 0.6 < found["hat", "purity"]["high"]
    assert (
        found["all", "response"]["high"] - found["all", "response"]["low"]
        < found["hat", "response"]["high"] - found["hat", "response"]["low"]
    )
    assert ("hat", "sfcm_ap") not in found
    assert p.table(p.summary(rows)).count("\n") == 5


def test_noise_is_the_same_for_any_number_of_prompts_and_seeds():
    assert noise_seed(0, 1, 0) == noise_seed(0, 1, 0) != noise_seed(0, 0, 1) != noise_seed(1, 0, 1)
    assert noise_seed(2, 3, 4, first=5) == 5 + 2 * 1_000_003 + 3 * 64 + 4
    assert len({noise_seed(0, i, s) for i in range(100) for s in range(4)}) == 400


def test_the_best_overlap_is_taken_at_one_threshold_for_all_pictures():
    """Two pictures that would each choose another threshold; the second of the nine is best for
    both together.
    """
    first, second = [0.1, 0.5, 0.9, *[0.0] * 6], [0.1, 0.7, 0.2, *[0.0] * 6]
    common = {"method": "spf", "target": "hat", "response": 1.0, "pollution": 0.0}
    rows = [
        common | {"prompt": i, "seed": 0, "sfcm_ious": ious}
        for i, ious in enumerate((first, second))
    ]
    found = {row["measure"]: row for row in p.summary([*rows, common | {"prompt": 2, "seed": 0}])}
    assert found["sfcm_best"]["value"] == pytest.approx(0.6) and found["sfcm_best"]["n"] == 2
    region = np.zeros((8, 8), bool)
    region[:, :4] = True
    assert (
        overlaps(np.kron(region[::2, ::2] + 0.35, np.ones((1, 1))), region)[4] == 1
    )  # half of the maximum, 0.675, parts them


def test_a_row_depends_on_the_push_that_nobody_asked_for():
    def push(noted, asked=0.0):
        adapter = SimpleNamespace(metadata={"push": noted} if noted else {})
        tuned = SimpleNamespace(adapter=adapter, guide=GuideConfig("held"))
        return guiding(p.EvaluateConfig(push=asked), [tuned])["push"]

    assert [push(""), push("4.25"), push("4.25", 2.0)] == [Guide.ordinary, 4.25, 2.0]
    assert guiding(p.EvaluateConfig(), [SimpleNamespace(adapter=None, guide=None)]) is None


def test_rows_of_another_decoder_or_text_encoder_are_not_taken_for_these(base):
    config = p.EvaluateConfig()
    first = drawing(base, config)
    for network in (base.unet, base.vae, base.text_encoder):
        with torch.no_grad():
            parameter = list(network.parameters())[-1]
            parameter.add_(1)
            assert drawing(base, config) != first
            parameter.sub_(1)

"""The files of one comparison on the tiny random base, and the pictures of maps."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from portrait_world import new_judges, new_portrait_base, random_adapters
from safetensors.torch import save_file

from spf.config import AUTO, GenerateConfig
from spf.devices import numbers
from spf.errors import BadInput, Cancelled
from spf.evaluation.figures import attention_strip, heat_colours, overlay
from spf.generate import (
    MAPS,
    ORIGINAL_PICTURE,
    OVERLAY,
    REPORT,
    STRIP,
    TUNED_PICTURE,
    draw,
)
from spf.paths import cross_attention_names, save_adapter

TEXT = "a photo of a young woman with long red hair"
FILES = {ORIGINAL_PICTURE, TUNED_PICTURE, STRIP, OVERLAY, MAPS, REPORT}


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.fixture(scope="module")
def judges():
    return new_judges()


@pytest.fixture
def adapter(base, tmp_path, monkeypatch):
    """A random adapter by the name of hat in a checkpoints folder."""
    monkeypatch.setenv("SPF_CHECKPOINTS", str(tmp_path / "checkpoints"))
    path = tmp_path / "checkpoints" / "adapters" / "hat.safetensors"
    save_adapter(random_adapters(base, target="a hat")[0], path)
    return path


def config(**settings):
    return GenerateConfig(
        **(
            {"base": TEXT, "targets": ("a hat",), "adapter": "hat", "seed": 7, "steps": 3}
            | settings
        )
    )


def test_every_file_is_there_and_agrees(base, judges, adapter, tmp_path):
    report = draw(base, config(), tmp_path / "out", judges=judges, seconds={"loading": 0.5})[0]
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert json.loads((tmp_path / "out" / REPORT).read_text()) == report
    assert (
        report["complete"] == f"{TEXT}, a hat"
        and report["seed"] == 7
        and report["adapter"] == "hat"
    )
    assert (
        report["response"] in (0.0, 1.0)
        and 0 <= report["pollution"] <= 1
        and -1 <= report["identity"] <= 1
    )
    assert set(report["changed"]) == {
        name
        for name, seen in report["attributes"].items()
        if seen["original"] != seen["tuned"] and name not in ("hat", "hair_color")
    } | ({"hair_color"} & set(report["changed"]))
    assert set(report["seconds"]) == {"loading", "pair", "judging"}
    original, tuned = (
        np.asarray(Image.open(tmp_path / "out" / name))
        for name in (ORIGINAL_PICTURE, TUNED_PICTURE)
    )
    assert original.shape == tuned.shape == (16, 16, 3) and not np.array_equal(original, tuned)
    with np.load(tmp_path / "out" / MAPS, allow_pickle=False) as maps:
        phrases = list(maps["tuned_phrases"])
        assert (
            "a hat" in phrases
            and "a hat" not in maps["original_phrases"]
            and "long red hair" in maps["base_phrases"]
        )
        assert maps["tuned_maps_8"].shape == (3, len(phrases), 8, 8) and maps["sfcm"].shape == maps[
            "difference"
        ].shape == (3, 8, 8)
        assert len(maps["timesteps"]) == 3 and len(maps["distances"]) == len(maps["base_phrases"])
        assert (
            0 < maps["tuned_maps_8"].max() <= 1
            and maps["sfcm"].min() >= 0
            and maps["sfcm"].max() <= 1
        )


@pytest.mark.parametrize(
    ("made_for", "told"),
    [("elsewhere", ["elsewhere"]), ("SD 1.x", []), ("unknown", [])],
)
def test_weights_of_another_base_are_used_and_said(base, adapter, tmp_path, caplog, made_for, told):
    save_adapter(random_adapters(base, target="a hat", base_model=made_for)[0], adapter)
    (report,) = draw(base, config(), tmp_path / "out")
    assert report["adapter"] == "hat" and report["made_for"] == told
    said = f"hat.safetensors was tuned on other weights (elsewhere) than those of {base.name} that"
    assert (said in caplog.text) == bool(told)


@pytest.mark.parametrize("width", [8, 32, 64])
@pytest.mark.parametrize("end", ["lora_{}.weight", "lora.{}.weight"])
def test_auto_takes_no_file_by_its_name_that_fits_another_model(
    base, adapter, tmp_path, caplog, width, end
):
    """A LoRA of another program, which says nothing of its base; that of this one is 32 wide."""
    name = next(n for n in cross_attention_names(base.unet) if n.endswith("attn2.to_k.weight"))
    out, wide = base.unet.get_parameter(name).shape
    module = f"unet.{name.removesuffix('.weight')}"
    down, up = ("A", "B") if end.startswith("lora_") else ("down", "up")
    pair = {end.format(down): torch.ones(2, width), end.format(up): torch.ones(out, 2)}
    save_file({f"{module}.{key}": value for key, value in pair.items()}, adapter)
    (report,) = draw(base, config(adapter=AUTO), tmp_path / "out")
    assert report["adapter"] == ("hat" if width == wide else "")
    told = f"adapter is auto, and of hat none was made for {base.name}, so the original weights"
    assert (told in caplog.text) == (width != wide)
    if width != wide:
        with pytest.raises(BadInput, match="hat.safetensors was made for another model"):
            draw(base, config(), tmp_path / "named")


@pytest.mark.parametrize(
    ("dtype", "way"),
    [
        (torch.bfloat16, {}),
        (torch.float64, {}),
        (torch.float64, {"guided": ""}),
        (torch.bfloat16, {"guided": "told", "push": 2.0}),
        (torch.float64, {"guided": "sfcm"}),
        (torch.float64, {"edit": "p2p"}),
        (torch.bfloat16, {"edit": "magnet"}),
        (torch.float64, {"sampler": "dpm++"}),
        (torch.bfloat16, {"mode": "replace", "replace": "woman", "adapter": ""}),
    ],
    ids=str,
)
def test_a_drawing_does_not_depend_on_torchs_usual_format(
    base, judges, adapter, tmp_path, dtype, way
):
    plain = draw(base, config(**way), tmp_path / "plain", judges=judges)
    with numbers(dtype):
        other = draw(base, config(**way), tmp_path / "other", judges=judges)
    for report in (*plain, *other):
        del report["seconds"]
    assert other == plain
    for name in (ORIGINAL_PICTURE, TUNED_PICTURE):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    with np.load(tmp_path / "plain" / MAPS) as one, np.load(tmp_path / "other" / MAPS) as two:
        assert one.files == two.files
        for name in one.files:
            assert one[name].dtype == two[name].dtype and np.array_equal(one[name], two[name])


def test_weights_without_a_control_map_show_none(base, tmp_path):
    path = tmp_path / "plain.safetensors"
    save_adapter(random_adapters(base, target="a hat", settings="{}")[0], path)
    draw(base, config(adapter=str(path)), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES - {OVERLAY}
    with np.load(tmp_path / "out" / MAPS, allow_pickle=False) as maps:
        assert not {"sfcm", "distances"} & set(maps) and maps["difference"].shape == (3, 8, 8)


def test_without_an_adapter_and_a_target_nothing_differs(base, judges, tmp_path):
    report = draw(base, config(adapter="", targets=()), tmp_path / "out", judges=judges)[0]
    original, tuned = (
        (tmp_path / "out" / name).read_bytes() for name in (ORIGINAL_PICTURE, TUNED_PICTURE)
    )
    assert original == tuned and report["pollution"] == 0 and report["changed"] == []
    assert (
        report["identity"] == pytest.approx(1, abs=1e-3) and not (tmp_path / "out" / STRIP).exists()
    )


def test_several_portraits_get_a_folder_each_and_equal_single_ones(base, judges, adapter, tmp_path):
    both = draw(base, config(count=2), tmp_path / "two", judges=judges)
    assert [report["seed"] for report in both] == [7, 8] and {
        p.name for p in (tmp_path / "two").iterdir()
    } == {"7", "8"}
    draw(base, config(seed=8), tmp_path / "one", judges=judges)
    two, one = (
        np.asarray(Image.open(tmp_path / place / TUNED_PICTURE), int) for place in ("two/8", "one")
    )
    assert abs(two - one).max() <= 1


def test_edits_and_guiding_change_the_tuned_portrait_only(base, adapter, tmp_path):
    drawn = {}
    for name, more in {
        "free": {"guided": ""},
        "p2p": {"edit": "p2p", "guided": ""},
        "magnet": {"edit": "magnet", "guided": ""},
        "guided": {"guided": "sfcm"},
        "attention": {"guided": "attention"},
        "late": {"guided": "sfcm", "guided_from": 1.0},
        "held": {},
        "both": {"edit": "p2p"},
    }.items():
        draw(base, config(**more), tmp_path / name)
        drawn[name] = [
            (tmp_path / name / file).read_bytes() for file in (ORIGINAL_PICTURE, TUNED_PICTURE)
        ]
    assert len({original for original, _ in drawn.values()}) == 1
    assert drawn["late"] == drawn["free"] and len({tuned for _, tuned in drawn.values()}) == 7
    with pytest.raises(BadInput, match="edit is 'wish'"):
        config(edit="wish")


def test_without_judges_the_portraits_still_come(base, adapter, tmp_path):
    report = draw(base, config(targets=("a hat", "freckled skin")), tmp_path / "out")[0]
    assert (
        report["response"] is None
        and report["attributes"] is None
        and report["target"] == ["a hat", "freckled skin"]
    )
    strip = Image.open(tmp_path / "out" / STRIP)
    assert strip.size == (
        3 * 20 + 4,
        2 * 20 + 4,
    )  # three steps of 16 pixels, one row for each target


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"adapter": "crown"}, "adapter is 'crown'"),
        ({"mode": "replace", "replace": "dress"}, "replace"),
        ({"base": "a photo of " + "a young woman with long red hair and " * 12}, "too long"),
    ],
)
def test_bad_input_writes_nothing(base, adapter, tmp_path, wrong, words):
    with pytest.raises(BadInput, match=words):
        draw(base, config(**wrong), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_stopped_drawing_writes_nothing_and_leaves_the_base_alone(base, adapter, tmp_path):
    before = base.unet.get_parameter(cross_attention_names(base.unet)[0]).clone()

    def stop(step):
        if step.done == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        draw(base, config(), tmp_path / "out", callback=stop)
    assert not (tmp_path / "out").exists()
    assert torch.equal(before, base.unet.get_parameter(cross_attention_names(base.unet)[0]))


def test_overlay_is_bright_where_the_map_is_high():
    picture, heat = np.full((16, 16, 3), 100, np.uint8), np.zeros((4, 4))
    heat[0, 0] = 1
    shown = overlay(picture, heat)
    assert shown.shape == picture.shape and shown[0, 0].sum() > shown[15, 15].sum()
    assert np.array_equal(overlay(picture, heat, opacity=0.0), picture)
    colours = heat_colours(np.array([0.0, 0.5, 1.0]))
    assert (np.diff(colours.sum(-1)) > 0).all() and colours.max() <= 255


def test_strip_rows_share_one_scale():
    picture = np.zeros((8, 8, 3), np.uint8)
    growing = np.stack([np.full((2, 2), value) for value in (0.0, 0.5, 1.0)])
    sheet = np.asarray(attention_strip(picture, [growing], columns=2), int)
    assert sheet.shape == (16, 28, 3) and sheet[6, 6].sum() < sheet[6, 18].sum()

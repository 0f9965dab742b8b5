"""Fine-tuning end to end on the tiny random base: data, loop, resume, and the adapter file."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from portrait_world import new_portrait_base, stored

from spf import userdata
from spf.errors import BadInput, Cancelled
from spf.exchange import Layout, load_adapter, low_rank, write
from spf.exchange.lowrank import eight_bits, ranks
from spf.files import load_tensors, read_header
from spf.finetune import finetune
from spf.methods import build
from spf.paths import METADATA, Adapter, cross_attention_names, response, save_adapter
from spf.portraits.description import TARGETS
from spf.portraits.tailored import tailored_set
from spf.prompts import compose
from spf.settings import FinetuneConfig
from spf.shelf import adapter_name
from spf.training_data import full_base, row_columns, tailored_rows, user_rows
from spf.weights import KEY, note, sketch

SMALL = {"batch": 2, "own_count": 3, "enhanced_every": 1}


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.fixture
def weights(base):
    """Before and after: fine-tuning gives the base back to the bit."""
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    yield before
    assert all(torch.equal(value, before[name]) for name, value in base.unet.state_dict().items())
    assert not any(parameter.requires_grad for parameter in base.unet.parameters())


def config(**settings):
    return FinetuneConfig(**({"method": "spf", "data": "hat", "steps": 4, "images": 6} | settings))


def test_spf_writes_a_file_that_explains_itself_and_one_for_others(base, weights, tmp_path):
    seen = []
    path = finetune(
        base,
        config(),
        tmp_path,
        settings=SMALL | {"plain": 0.5, "trainable": "cross-attention"},
        callback=lambda *row: seen.append(row),
    )
    adapter = load_adapter(path, base)
    made = {"hat.safetensors", "hat.lora.safetensors", "state"}
    assert {file.name for file in tmp_path.iterdir()} == made
    assert path == tmp_path / "hat.safetensors" and set(METADATA) <= set(adapter.metadata)
    assert (
        adapter.metadata["method"] == "spf"
        and adapter.metadata["target"] == "a hat"
        and adapter.metadata["steps"] == "4"
    )
    assert {"diffusion", "output", "enhanced"} <= set(json.loads(adapter.metadata["losses"]))
    assert json.loads(adapter.metadata["settings"])["batch"] == 2 and "torch" in json.loads(
        adapter.metadata["versions"]
    )
    assert (
        set(adapter.names()) <= set(cross_attention_names(base.unet)) and len(adapter.names()) > 10
    )
    assert (
        [row[0] for row in seen] == [1, 2, 3, 4]
        and "output" in seen[-1][1]
        and "output" not in seen[0][1]
    )


@pytest.mark.parametrize("method", ["naive", "adalora"])
def test_the_weights_that_it_was_tuned_on_are_noted(base, weights, tmp_path, method):
    path = finetune(base, config(method=method, steps=3), tmp_path, settings={"batch": 2})
    others = read_header(path.with_suffix(".lora.safetensors"))[0]
    for said in (load_adapter(path, base).metadata, others):
        assert said[KEY] == note(sketch(base.unet))[KEY]
        assert not base.weights.strange(said)
        assert new_portrait_base(seed=1).weights.strange(said)


def test_naive_moves_every_part_and_the_picture(base, weights, tmp_path):
    path = finetune(
        base, config(method="naive"), tmp_path, settings={"batch": 2, "learning_rate": 1e-2}
    )
    adapter = load_adapter(path, base)
    assert path.name == "hat-naive.safetensors" and len(adapter.names()) > 0.9 * len(weights)
    latents, step, states = (
        torch.zeros(1, 4, 8, 8),
        torch.tensor(500),
        base.encode_text(["a photo"]),
    )
    plain = base.unet(latents, step, states).sample
    with response(base.unet, adapter):
        assert not torch.equal(base.unet(latents, step, states).sample, plain)
    assert torch.equal(base.unet(latents, step, states).sample, plain)


def test_same_seed_same_weights_other_seed_others(base, weights, tmp_path):
    def made(seed, folder):
        return load_tensors(
            finetune(base, config(seed=seed, steps=2), tmp_path / folder, settings=SMALL)
        )

    first, again, other = made(3, "a"), made(3, "b"), made(4, "c")
    assert first.keys() == again.keys() and all(
        torch.equal(first[name], again[name]) for name in first
    )
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_stopped_run_continues_as_the_same_run(base, weights, tmp_path):
    whole = load_tensors(finetune(base, config(), tmp_path / "whole", settings=SMALL))

    def stop(step, terms, eta):
        if step == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        finetune(base, config(), tmp_path / "parts", settings=SMALL, callback=stop)
    assert load_adapter(tmp_path / "parts" / "hat.safetensors", base).metadata["steps"] == "3"
    parts = load_tensors(finetune(base, config(), tmp_path / "parts", settings=SMALL))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    again = finetune(base, config(), tmp_path / "parts", settings=SMALL)  # nothing left to do
    assert all(torch.equal(whole[name], value) for name, value in load_tensors(again).items())
    assert load_adapter(again, base).metadata["steps"] == "4"


def test_adapters_on_the_way_are_kept(base, weights, tmp_path):
    last = finetune(base, config(steps=4, keep=2), tmp_path / "kept", settings=SMALL)
    kept = {path.name: path for path in (tmp_path / "kept" / "steps").iterdir()}
    assert set(kept) == {"hat-2.safetensors", "hat-4.safetensors"}
    early, late = (load_adapter(kept[f"hat-{step}.safetensors"], base) for step in (2, 4))
    assert early.metadata["steps"] == "2" and late.metadata["steps"] == "4"
    final = load_tensors(last)
    assert all(torch.equal(final[name], value) for name, value in late.tensors.items())
    assert any(not torch.equal(final[name], value) for name, value in early.tensors.items())
    plain = load_tensors(finetune(base, config(steps=4), tmp_path / "plain", settings=SMALL))
    assert (
        all(torch.equal(final[name], plain[name]) for name in plain)
        and not (tmp_path / "plain" / "steps").exists()
    )


def test_maps_made_at_the_border_of_the_stages_survive_a_stop(base, weights, tmp_path):
    settings = SMALL | {"averaged": 2, "latents": "own"}
    whole = load_tensors(finetune(base, config(), tmp_path / "whole", settings=settings))
    maps = load_tensors(tmp_path / "whole" / "state" / "control.safetensors")
    assert [value.shape for value in maps.values()] == [(6, 8, 8), (3, 8, 8)] and (
        maps["0"].amax((1, 2)) == 1
    ).sum() >= 4

    def stop(step, terms, eta):
        if step == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        finetune(base, config(), tmp_path / "parts", settings=settings, callback=stop)
    parts = load_tensors(finetune(base, config(), tmp_path / "parts", settings=settings))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_folder_continues_only_its_own_run(base, weights, tmp_path):
    finetune(base, config(steps=2), tmp_path, settings=SMALL)
    with pytest.raises(BadInput, match="other steps; give another folder"):
        finetune(base, config(steps=3), tmp_path, settings=SMALL)
    with pytest.raises(BadInput, match="other settings"):
        finetune(base, config(steps=2), tmp_path, settings=SMALL | {"output": 9.0})
    path = finetune(base, config(steps=3), tmp_path, settings=SMALL, resume=False)
    assert load_adapter(path, base).metadata["steps"] == "3"


def test_a_second_stage_starts_from_a_first_one_and_keeps_what_it_does_not_train(
    base, weights, tmp_path
):
    first = finetune(
        base,
        config(method="naive", steps=2),
        tmp_path / "1",
        settings={"batch": 2, "learning_rate": 1e-2},
    )
    second = finetune(
        base, config(start=str(first), steps=1), tmp_path / "2", settings=SMALL | {"plain": 0.0}
    )
    before, after = load_tensors(first), load_tensors(second)
    assert before.keys() <= after.keys()
    attention = set(cross_attention_names(base.unet))
    for name, value in before.items():
        same = torch.allclose(value, after[name], atol=1e-6)
        assert same or name in attention, name
    assert any(not torch.equal(before[name], after[name]) for name in attention & before.keys())


def test_the_original_models_own_portraits_are_drawn_once(base, weights, tmp_path):
    finetune(base, config(steps=2), tmp_path, settings=SMALL)
    file = tmp_path / "state" / "own.safetensors"
    drawn, stamp = load_tensors(file), file.stat().st_mtime_ns
    assert [value.shape for value in drawn.values()] == [(3, 4, 8, 8)]
    finetune(base, config(steps=2), tmp_path, settings=SMALL, resume=False)
    assert file.stat().st_mtime_ns == stamp
    finetune(base, config(steps=2, data="freckles"), tmp_path, settings=SMALL, resume=False)
    assert load_tensors(file).keys() != drawn.keys()


def test_bad_input_is_refused_before_anything_is_written(base, weights, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(BadInput, match="must be one of freckles"):
        finetune(base, config(data="crown"), out)
    with pytest.raises(BadInput, match="no setting"):
        finetune(base, config(), out, settings={"speed": 1})
    with pytest.raises(BadInput, match="does not exist"):
        finetune(base, config(start=str(tmp_path / "none.safetensors")), out)
    for wrong in (
        {"steps": 0},
        {"steps": float("nan")},
        {"method": "lora+"},
        {"images": 0},
        {"seed": -1},
    ):
        with pytest.raises(BadInput, match=next(iter(wrong))):
            config(**wrong)
    kept, base.clip = base.clip, None
    try:
        with pytest.raises(BadInput, match="set enhanced to 0 and text to caption"):
            finetune(base, config(), out)
        assert not out.exists()
        finetune(base, config(steps=2), out, settings=SMALL | {"enhanced": 0.0, "text": "caption"})
    finally:
        base.clip = kept


def test_rows_hold_what_the_pictures_and_texts_say(base):
    data = tailored_rows(base, TARGETS["hat"], 5, 0, build("spf", {"text": "caption"}).config)
    rows = data.rows
    assert (
        rows.latents.shape == (5, 4, 8, 8)
        and rows.base.shape == (5, 77, 32)
        and rows.image.shape == rows.target.shape
    )
    torch.testing.assert_close(rows.complete[2], base.encode_text([f"{data.texts[2]}, a hat"])[0])
    assert all(
        item.base_text == text
        for item, text in zip(tailored_set("hat", 5, 0), data.texts, strict=True)
    )
    full = tailored_rows(base, TARGETS["hat"], 2, 0, build("spf", {"text": "full"}).config)
    assert (
        "gray background" in full.texts[0]
        and "smiling" in full.texts[0]
        and "hat" not in full.texts[0]
    )


def test_columns_pair_the_same_words_of_both_texts(base):
    prompt = compose(
        "a photo of a woman wearing a T-shirt before a curtain", "dress", "replace", "T-shirt"
    )
    before, after = row_columns(base, prompt)
    words = {
        path: base.tokenizer.convert_ids_to_tokens(base.tokens([text])[0])
        for path, text in (("b", prompt.base), ("c", prompt.complete))
    }
    phrases = [name for name in before if name.startswith("phrase")]
    assert [[words["b"][i] for i in before[name]] for name in phrases] == [
        [words["c"][i] for i in after[name]] for name in phrases
    ]
    assert [words["c"][i] for i in after["target"]] == ["dress</w>"] and "target" not in before
    assert before["pad"][-1] == after["pad"][-1] == 76


@pytest.mark.parametrize("name", TARGETS)
def test_full_texts_name_the_bias_that_captions_hide(name):
    item, target = tailored_set(name, 1, 0)[0], TARGETS[name]
    text = full_base(item, target).text
    assert target.text not in text and (
        target.mode == "append" or target.replace.lower() in text.lower()
    )
    if "background" in TARGETS[name].bias:
        assert TARGETS[name].bias["background"] in text


def test_low_rank_keeps_what_matters():
    normal = torch.Generator().manual_seed(0)
    drawn = lambda *shape: torch.randn(shape, generator=normal)  # noqa: E731
    tensors = {
        "exact": drawn(40, 3) @ drawn(3, 30),
        "conv": drawn(20, 10, 3, 3),
        "faint": 1e-4 * drawn(40, 30),
        "bias": torch.ones(40),
        "tiny": torch.ones(6, 6),  # as large as its pair of rank 3
    }
    small = low_rank(Adapter({}, tensors), 3)
    assert {"bias", "tiny"} < set(small.tensors) and set(small.names()) == set(tensors) - {"faint"}
    kept = {name: len(small.tensors[name + ".down"]) for name in ("exact", "conv")}
    assert kept["exact"] >= 3 and 3 < kept["conv"] <= 12, "the room of the faint one is used"
    room = sum(2 * 3 * sum(shape) for shape in ((40, 30), (20, 90), (40, 30)))
    pairs = {name: value for name, value in small.tensors.items() if name[-3:] in (".up", "own")}
    assert (
        room - 130
        < sum(v.numel() * (2 if n[-3:] == ".up" else 1) for n, v in pairs.items())
        <= room
    )
    for name, count in kept.items():
        exact = tensors[name].flatten(1)
        error = (small.difference(name, exact.shape) - exact).square().sum()
        rest = torch.linalg.svdvals(exact)[count:].square().sum()  # Eckart and Young 1936
        assert 0 <= error - rest < 2e-3 * exact.square().sum(), "beside it 8 bits lose little"


def test_room_goes_where_it_explains_most_for_its_size():
    wide = torch.ones(10, 1), torch.tensor([3.0]), torch.ones(1, 10)  # 9 in 30 bytes
    small = torch.ones(2, 2), torch.tensor([1.5, 0.1]), torch.ones(2, 2)  # 2.25 in 6 bytes
    found = {"wide": wide, "small": small}
    assert ranks(found, 35) == {"small": 2} and ranks(found, 36) == {"small": 1, "wide": 1}
    assert ranks(found, 5) == {}


def test_a_row_of_eight_bits_reaches_to_one_whatever_its_sign():
    up, down = eight_bits(torch.ones(2, 2), torch.tensor([[-4.0, 1.0], [0.25, 0.5]]))
    assert up.tolist() == [[4, 0.5]] * 2 and down.float().tolist() == [[-1, 0.25], [0.5, 1]]


def test_a_low_rank_adapter_is_stored_in_few_bytes_and_given_to_others_in_two(base, tmp_path):
    name, shape = next((n, p.shape) for n, p in base.unet.named_parameters() if p.ndim == 4)
    exact = Adapter(dict.fromkeys(METADATA, "x"), {name: torch.randn(shape)})
    adapter = low_rank(exact, 2)
    save_adapter(adapter, tmp_path / "a.safetensors")
    stored = load_tensors(tmp_path / "a.safetensors")
    assert stored[name + ".up"].dtype == torch.float16
    assert stored[name + ".down"].dtype == torch.float8_e4m3fn
    for form in ("own", "kohya", "diffusers", "diff"):
        write(adapter, Layout.of(base), form, tmp_path / "b.safetensors", rank=8)
        given = load_tensors(tmp_path / "b.safetensors").values()
        assert (min(value.element_size() for value in given) == 1) == (form == "own")


def test_names():
    assert adapter_name("hat", "spf") == "hat" and adapter_name("hat", "naive") == "hat-naive"


def test_low_rank_adapter_loads(base, weights, tmp_path):
    path = finetune(
        base,
        config(method="naive", steps=2, rank=2),
        tmp_path,
        settings={"batch": 2, "learning_rate": 1e-2},
    )
    adapter = load_adapter(path, base)
    assert any(name.endswith(".up") for name in adapter.tensors)
    with response(base.unet, adapter):
        assert torch.isfinite(
            base.unet(torch.zeros(1, 4, 8, 8), 5, base.encode_text(["a photo"])).sample
        ).all()


def test_pictures_of_ones_own_are_learnt_like_drawn_ones(base, weights, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(5):
        Image.new("RGB", (90, 70), (50 * number, 90, 9)).save(tmp_path / "in" / f"{number}.png")
        (tmp_path / "in" / f"{number}.txt").write_text(
            f"a photo of a woman with long hair {number}, a straw hat"
        )
    folder = stored(
        tmp_path / "in", userdata.Wish("a straw hat", name="strawhat"), tmp_path / "set"
    )
    rows = user_rows(base, userdata.load(folder), build("spf", SMALL | {"text": "caption"}))
    assert (
        rows.rows.latents.shape[0] == 5 and rows.texts[1] == "a photo of a woman with long hair 1"
    )
    chosen = userdata.load(folder)
    words = f"{'a photo of a woman, ' * 20}a straw hat"
    long = replace(chosen.items[3], complete_text=words, name="sub/3.png")
    with pytest.raises(BadInput, match="sub/3.png cannot be learnt from: .+ is too long"):
        user_rows(base, replace(chosen, items=(*chosen.items[:3], long)), build("spf", SMALL))
    path = finetune(base, config(data=str(folder), steps=2), tmp_path / "run", settings=SMALL)
    assert path.name == "strawhat.safetensors"
    metadata = load_adapter(path, base).metadata
    assert metadata["target"] == "a straw hat"
    assert json.loads(metadata["data"])["data"] == folder.name
    assert str(tmp_path) not in json.dumps(metadata), "nobody else learns where it lay"
    with pytest.raises(BadInput, match="needs no exact regions"):
        finetune(
            base,
            config(data=str(folder), method="tokencompose"),
            tmp_path / "masks",
            settings={"batch": 2},
        )
    with pytest.raises(BadInput, match="data is"):
        finetune(base, config(data=str(tmp_path)), tmp_path / "none")


# memory


@pytest.mark.parametrize("method", ["spf", "lora", "adalora", "purecc"])
def test_a_base_in_half_precision_is_trained_by_fp32_masters(tmp_path, method):
    base = new_portrait_base().to(dtype=torch.bfloat16)
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    path = finetune(base, config(method=method), tmp_path, settings={"batch": 2} | HALVED[method])
    tensors = load_adapter(path, base).tensors
    assert tensors and any(value.abs().max() > 0 for value in tensors.values())
    after = base.unet.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    state = load_tensors(next((tmp_path / "state").glob("state-*.safetensors")))
    kinds = {v.dtype for name, v in state.items() if name.startswith(("module.", "adam.exp"))}
    assert kinds == {torch.float32}


HALVED = {
    "spf": SMALL | {"plain": 0.5},
    "lora": {"rank": 4},
    "adalora": {"rank": 2},
    "purecc": {"rank": 4},
}


def test_checkpointing_makes_the_same_adapter(base, weights, tmp_path):
    settings = SMALL | {"plain": 0.5, "trainable": "low-rank", "layer_rank": 2}
    paths = [
        finetune(base, config(checkpointing=less), tmp_path / str(less), settings=settings)
        for less in (False, True)
    ]
    one, two = (load_tensors(path) for path in paths)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    assert all(key.endswith((".down", ".up")) and ".attn2." in key for key in one)


def test_what_weighs_nothing_is_not_computed(base, weights, tmp_path, monkeypatch):
    import spf.methods.spf as method

    for name in ("fine_grained", "text_consistent", "output_alignment", "record"):
        monkeypatch.setattr(method, name, None)
    free = {"fine_grained": 0.0, "text_consistent": 0.0, "output": 0.0, "enhanced": 0.0}
    monkeypatch.setattr(method.Spf, "control", lambda self, rows, ctx: torch.ones(len(rows), 8, 8))
    finetune(base, config(), tmp_path, settings=SMALL | {"plain": 0.0} | free)

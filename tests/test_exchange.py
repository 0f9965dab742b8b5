"""Adapters of other programs mean here what they mean there, and ours mean there what they mean
here.
"""

import json
import math

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from peft import LoraConfig, get_peft_model
from real_world import SD21, exact_base, new_cut_base
from safetensors.torch import load_file, save_file

from spf.errors import BadInput, UnsafeFile
from spf.exchange import (
    FORMS,
    Layout,
    Loss,
    as_pairs,
    fitting,
    load_adapter,
    low_rank,
    origin,
    read_adapter,
    write,
    write_for_others,
)
from spf.exchange.checkpoint import (
    checkpoint_tensors,
    merged,
    pipeline_of,
    write_checkpoint,
    write_folder,
)
from spf.exchange.names import kohya_name
from spf.exchange.writing import kohya_metadata
from spf.geometry import text_config
from spf.paths import METADATA, TEXT, Adapter, TunablePaths, response, text_name
from spf.prompts import compose
from spf.sampling import GuideConfig, TunedPath, initial_latents, sample_pair
from spf.shelf import OWN, Shelf
from spf.single_file import unet_names, vae_names

ABOUT = dict.fromkeys(METADATA, "x")
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
QUERY, OUT = f"{BLOCK}.attn1.to_q", f"{BLOCK}.attn2.to_out.0"
CONV, PROJ, NORM = "mid_block.resnets.0.conv1", "mid_block.attentions.0.proj_in", "conv_norm_out"
SAMPLER = "down_blocks.0.downsamplers.0.conv"
TEXT_QUERY = "text_model.encoder.layers.1.self_attn.q_proj"
TEXT_OUT = "text_model.encoder.layers.1.self_attn.out_proj"
"""diffusers tells the spelling of a text encoder's keys by its output projections."""
TEXT_FC = "text_model.encoder.layers.0.mlp.fc1"


@pytest.fixture(scope="module")
def base():
    return new_cut_base()


@pytest.fixture(scope="module")
def layout(base):
    return Layout.of(base)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weights(base):
    """Every weight of the network by its name in an adapter."""
    found = {name: value.detach().clone() for name, value in base.unet.named_parameters()}
    return found | {
        text_name(name): value.detach().clone()
        for name, value in base.text_encoder.named_parameters()
    }


def changes(base, adapter):
    """What `merged` makes of an adapter, as differences."""
    before = weights(base)
    with merged(base, adapter):
        after = weights(base)
    return {
        name: after[name] - before[name] for name in after if not after[name].equal(before[name])
    }


def stock_changes(file):
    """The same of a file that the stock pipeline reads and fuses."""
    base = new_cut_base()
    before = weights(base)
    pipeline = pipeline_of(base)
    pipeline.load_lora_weights(file)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    after = weights(base)
    return {
        name: after[name] - before[name] for name in after if not after[name].equal(before[name])
    }


def same(one, other, atol=1e-5, rtol=1e-4):
    assert set(one) == set(other) and one
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=atol, rtol=rtol, msg=name)


def pairs(layout, modules, rank=3):
    """An adapter of random pairs for modules; every other one has a rank of its own."""
    tensors = {}
    for number, module in enumerate(modules):
        r, shape = rank + number % 2, layout.shapes[f"{module}.weight"]
        tensors[f"{module}.weight.down"] = noise(r, math.prod(shape[1:]), seed=number)
        tensors[f"{module}.weight.up"] = noise(shape[0], r, seed=100 + number)
    return Adapter(ABOUT, tensors)


@pytest.fixture
def mixed(layout):
    """Pairs of several kinds, whole matrices, convolutions, biases and norms, in UNet and text
    encoder.
    """
    adapter = pairs(layout, [QUERY, CONV, TEXT + TEXT_QUERY])
    whole = [f"{OUT}.weight", f"{OUT}.bias", f"{PROJ}.weight", f"{NORM}.weight", f"{NORM}.bias"]
    whole += [f"{SAMPLER}.weight", f"{TEXT}{TEXT_FC}.weight", f"{TEXT}{TEXT_FC}.bias"]
    values = {name: noise(*layout.shapes[name], seed=len(name)) for name in whole}
    return Adapter(ABOUT, adapter.tensors | values)


# names


def test_kohya_names_are_those_of_its_documentation():
    """192 modules of the UNet and 72 of the text encoder are what kohya's trainer counts for SD 1.x
    by default.
    """
    layout = Layout.of(exact_base())
    inner = (".attn1.", ".attn2.", ".ff.net.", ".proj_in", ".proj_out")
    unet = [name for name in layout.modules if not name.startswith(TEXT)]
    maps = {kohya_name(name) for name in unet if any(part in name for part in inner)}
    assert len(maps) == 192
    text = {kohya_name(m) for m in layout.modules if ".self_attn." in m or ".mlp." in m}
    assert len(text) == 72
    block = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0"
    assert maps >= {
        f"{block}_attn1_to_q",
        f"{block}_attn2_to_out_0",
        f"{block}_ff_net_0_proj",
        f"{block}_ff_net_2",
        "lora_unet_mid_block_attentions_0_proj_in",
        "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_attn2_to_k",
    }
    assert text >= {
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te_text_model_encoder_layers_11_self_attn_out_proj",
        "lora_te_text_model_encoder_layers_11_mlp_fc2",
    }
    assert (
        layout.kohya["lora_unet_down_blocks_0_resnets_0_conv1"] == "down_blocks.0.resnets.0.conv1"
    )
    assert (
        layout.kohya["lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_q"]
        == f"{BLOCK}.attn2.to_q"
    )
    assert (
        len(layout.kohya) == len(set(layout.kohya)) and set(layout.kohya.values()) == layout.modules
    )


@pytest.mark.parametrize("sizes", [None, SD21], ids=["SD 1.5", "SD 2.1"])
def test_single_file_names_are_what_diffusers_reads(sizes):
    text = text_config(1024, 23, 16) if sizes else None
    exact = exact_base(sizes, text) if sizes else exact_base()
    names = unet_names(exact.unet)
    file = {f"model.diffusion_model.{original}": name for name, original in names.items()}
    assert {name: name for name in names} == convert_ldm_unet_checkpoint(file, exact.unet.config)
    assert {name for name, _ in exact.unet.named_parameters()} == set(names)
    assert len(set(vae_names(exact.vae).values())) == len(list(exact.vae.parameters()))


def test_a_checkpoint_comes_back_through_diffusers(base):
    file = checkpoint_tensors(base)
    unet = convert_ldm_unet_checkpoint(dict(file), dict(base.unet.config))
    vae = convert_ldm_vae_checkpoint(dict(file), dict(base.vae.config))
    text = convert_ldm_clip_checkpoint(dict(file))
    for part, found in ((base.unet, unet), (base.vae, vae)):
        for name, value in part.named_parameters():
            assert torch.equal(found.pop(name).reshape(value.shape), value), name
        assert not found
    for name, value in base.text_encoder.named_parameters():
        assert torch.equal(text.pop(text_name(name).removeprefix(TEXT)), value)
    assert not text


# in


@pytest.fixture
def trained(base):
    """Both parts with random peft LoRA, as trainers make them: (unet, text encoder) wrapped."""
    fresh = new_cut_base()
    both = []
    for part, modules, more in (
        (fresh.unet, ["to_q", "to_out.0", "conv1", "proj_in"], {"alpha_pattern": {"conv1": 3}}),
        (fresh.text_encoder, ["q_proj", "fc1"], {"rank_pattern": {"fc1": 2}}),
    ):
        with torch.random.fork_rng():
            torch.manual_seed(len(both))
            config = LoraConfig(
                r=4,
                lora_alpha=6,
                target_modules=modules,
                init_lora_weights=False,
                **more,
            )
            both.append(get_peft_model(part, config))
    return both


def peft_changes(trained):
    found = {}
    for part, named in zip(trained, (str, text_name), strict=True):
        for name, module in part.base_model.model.named_modules():
            if hasattr(module, "get_delta_weight"):
                found[named(f"{name}.weight")] = module.get_delta_weight("default").detach()
    return found


def test_a_folder_of_peft_is_read_with_its_patterns(base, trained, tmp_path):
    for part, folder in zip(trained, ("unet", "text"), strict=True):
        part.save_pretrained(tmp_path / folder)
    found = {}
    for folder in ("unet", "text"):
        assert origin(tmp_path / folder).form == "peft"
        found |= changes(base, read_adapter(tmp_path / folder, base))
    same(found, peft_changes(trained))
    (tmp_path / "unet" / "adapter_config.json").unlink()
    with pytest.raises(BadInput, match="says its strength in adapter_config.json"):
        read_adapter(tmp_path / "unet", base)


def test_the_bias_of_a_pair_is_scaled_as_the_pair_is(base, tmp_path):
    """peft's lora_bias: alpha / rank weighs all that the second half gives."""
    start = f"base_model.model.{OUT}"
    down, up, bias = noise(2, 8), noise(8, 2, seed=1), noise(8, seed=2)
    tensors = {f"{start}.lora_A.weight": down, f"{start}.lora_B.weight": up}
    save_file(tensors | {f"{start}.lora_B.bias": bias}, tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "lora_alpha": 6, "r": 2, "lora_bias": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    found = changes(base, read_adapter(tmp_path, base))
    same(found, {f"{OUT}.weight": 3 * up @ down, f"{OUT}.bias": 3 * bias})
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(BadInput, match="describes list, but only LoRA is read"):
        read_adapter(tmp_path, base)


@pytest.mark.parametrize(
    ("width", "name"), [(768, "SD 1.x"), (1024, "SD 2.x"), (2048, "SDXL"), (9, "")]
)
def test_a_file_without_a_word_betrays_its_base_by_its_width(tmp_path, width, name):
    file = tmp_path / "k.safetensors"
    start = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    pair = {"down": torch.ones(2, width), "up": torch.ones(8, 2)}
    save_file({f"{start}.lora_{end}.weight": value for end, value in pair.items()}, file)
    assert origin(file).base == name


def test_a_kernel_of_one_pixel_is_no_convolution(layout, tmp_path):
    for kernel, parts in ((1, ()), (2, ("convolutions",)), (3, ("convolutions",))):
        pair = {"down": torch.ones(2, 8, kernel, kernel), "up": torch.ones(8, 2, 1, 1)}
        start = kohya_name(CONV)
        tensors = {f"{start}.lora_{end}.weight": value for end, value in pair.items()}
        save_file(tensors, tmp_path / "k.safetensors")
        assert origin(tmp_path / "k.safetensors").parts == parts


@pytest.mark.parametrize("half", [torch.tensor(1.0), torch.ones(8)], ids=["number", "row"])
def test_a_half_that_is_one_number_or_row_is_no_half(base, tmp_path, half):
    start = kohya_name(f"{BLOCK}.attn2.to_k")
    pair = {f"{start}.lora_down.weight": half, f"{start}.lora_up.weight": torch.ones(8, 1)}
    save_file(pair, tmp_path / "k.safetensors")
    with pytest.raises(BadInput, match="made for another model than cut"):
        read_adapter(tmp_path / "k.safetensors", base)
    assert not fitting(base)(tmp_path / "k.safetensors"), "a list of files does not stop at it"
    own = {f"{QUERY}.weight.down": half, f"{QUERY}.weight.up": torch.ones(8, 1)}
    save_file(own, tmp_path / "own.safetensors", ABOUT)
    with pytest.raises(BadInput):
        read_adapter(tmp_path / "own.safetensors", base)


@pytest.mark.parametrize("recipe", [True, False], ids=["with alpha in its header", "without"])
def test_a_diffusers_file_is_read_as_diffusers_does(base, trained, tmp_path, recipe):
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import get_peft_model_state_dict

    states = [get_peft_model_state_dict(part) for part in trained]
    plain = [
        {key.removeprefix("base_model.model."): value for key, value in state.items()}
        for state in states
    ]
    configs = [part.peft_config["default"].to_dict() for part in trained]
    for config in configs:
        config["target_modules"] = sorted(config["target_modules"])
    about = dict(
        unet_lora_adapter_metadata=configs[0], text_encoder_lora_adapter_metadata=configs[1]
    )
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=plain[0],
        text_encoder_lora_layers=convert_state_dict_to_diffusers(plain[1]),
        **(about if recipe else {}),
    )
    found = read_adapter(tmp_path, base)
    same(changes(base, found), stock_changes(tmp_path / "pytorch_lora_weights.safetensors"))
    if recipe:
        same(changes(base, found), peft_changes(trained))
    assert origin(tmp_path).sentence().startswith("diffusers LoRA of rank 4")


def test_the_old_spelling_of_diffusers_is_read(base, tmp_path):
    query, out = (f"unet.{name}".replace("attn", "@") for name in (QUERY, f"{BLOCK}.attn2"))
    old = {}
    for path, name in ((query.rpartition(".")[0], "to_q_lora"), (out, "to_out_lora")):
        path = path.replace("@", "attn") + f".processor.{name}"
        old |= {f"{path}.down.weight": noise(2, 8), f"{path}.up.weight": noise(8, 2)}
    save_file(old, tmp_path / "old.safetensors")
    found = read_adapter(tmp_path / "old.safetensors", base)
    assert found.names() == [f"{QUERY}.weight", f"{OUT}.weight"]
    same(changes(base, found), stock_changes(tmp_path / "old.safetensors"))


HEAD, TO = "text_model.encoder.layers.1.", "text_encoder.text_model.encoder.layers.1."


@pytest.mark.parametrize(
    ("spelling", "module"),
    [
        (f"{TO}self_attn.to_q_lora.@.weight", "self_attn.q_proj"),
        (f"{TO}self_attn.to_out_lora.@.weight", "self_attn.out_proj"),
        (f"{HEAD}self_attn.to_v_lora.@.weight", "self_attn.v_proj"),
        (f"{TO}self_attn.k_proj.lora_linear_layer.@.weight", "self_attn.k_proj"),
        (f"{HEAD}mlp.fc1.lora_linear_layer.@.weight", "mlp.fc1"),
        (f"{TO}mlp.fc2.lora.@.weight", "mlp.fc2"),
        ("text_encoder.encoder.layers.1.mlp.fc1.lora.@.weight", "mlp.fc1"),
        ("lora_te_text_model_encoder_layers_1_mlp_fc1.lora_@.weight", "mlp.fc1"),
        ("lora_te1_text_model_encoder_layers_1_mlp_fc2.lora_@.weight", "mlp.fc2"),
        ("lora_te_encoder_layers_1_self_attn_q_proj.lora_@.weight", "self_attn.q_proj"),
    ],
)
def test_text_encoders_keys_are_read_in_every_spelling(base, layout, tmp_path, spelling, module):
    name = f"{TO}{module}.weight"
    high, wide = layout.shapes[name]
    down, up = noise(2, wide), noise(high, 2)
    named = {spelling.replace("@", "down"): down, spelling.replace("@", "up"): up}
    save_file(named, tmp_path / "x.safetensors")
    same(changes(base, read_adapter(tmp_path / "x.safetensors", base)), {name: up @ down})


def kohya_file(layout, path, modules, alpha=lambda rank: rank / 2, **more):
    """A kohya file of random pairs, alphas and differing ranks."""
    tensors = {}
    for number, module in enumerate(modules):
        r, shape = 2 + number % 3, layout.shapes[f"{module}.weight"]
        ends = (1, 1) if len(shape) == 4 else ()
        name = kohya_name(module)
        tensors[f"{name}.lora_down.weight"] = noise(r, *shape[1:], seed=number)
        tensors[f"{name}.lora_up.weight"] = noise(shape[0], r, *ends, seed=50 + number)
        tensors[f"{name}.alpha"] = torch.tensor(alpha(r))
    save_file(tensors, path, more)
    return tensors


def test_a_kohya_file_with_alpha_ranks_convolutions_and_text_encoder(base, layout, tmp_path):
    file = tmp_path / "k.safetensors"
    modules = [QUERY, OUT, PROJ, CONV, SAMPLER, TEXT + TEXT_QUERY, TEXT + TEXT_FC]
    tensors = kohya_file(layout, file, modules, ss_base_model_version="sd_v1", ss_steps="1500")
    found = read_adapter(file, base)
    exact = {}
    for module in modules:
        name = kohya_name(module)
        down, up = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"]
        product = 0.5 * up.flatten(1) @ down.flatten(1)
        exact[f"{module}.weight"] = product.reshape(layout.shapes[f"{module}.weight"])
    same(changes(base, found), exact)
    assert found.metadata["steps"] == "1500" and found.metadata["base_model"] == "SD 1.x"
    about = origin(file)
    assert about.rank == 4 and about.parts == ("text encoder", "convolutions")
    assert about.sentence() == "kohya LoRA of rank 4 for SD 1.x, with text encoder and convolutions"


def test_one_alpha_for_all_is_read_as_diffusers_reads_it(base, layout, tmp_path):
    file = tmp_path / "k.safetensors"
    kohya_file(
        layout, file, [QUERY, PROJ, CONV, TEXT + TEXT_QUERY, TEXT + TEXT_OUT], alpha=lambda r: 3.0
    )
    same(changes(base, read_adapter(file, base)), stock_changes(file))


def test_names_of_single_files_mean_the_same_modules(base, layout, tmp_path):
    tensors = kohya_file(layout, tmp_path / "k.safetensors", [QUERY, CONV, SAMPLER])
    other = {kohya_name(m): "lora_unet_" + n.replace(".", "_") for m, n in layout.original.items()}
    renamed = {
        f"{other[name]}.{end}": value
        for key, value in tensors.items()
        for name, _, end in [key.partition(".")]
    }
    assert not set(renamed) & set(tensors)
    save_file(renamed, tmp_path / "s.safetensors")
    one, two = (read_adapter(tmp_path / name, base) for name in ("k.safetensors", "s.safetensors"))
    same(changes(base, one), changes(base, two))


def test_a_kernel_among_the_ranks_is_three_convolutions(base, layout, tmp_path):
    out, into = layout.shapes[f"{CONV}.weight"][:2]
    down, mid, up = noise(3, into, 1, 1), noise(3, 3, 3, 3, seed=1), noise(out, 3, 1, 1, seed=2)
    name = kohya_name(CONV)
    save_file(
        {
            f"{name}.lora_down.weight": down,
            f"{name}.lora_mid.weight": mid,
            f"{name}.lora_up.weight": up,
        },
        tmp_path / "cp.safetensors",
    )
    kernel = changes(base, read_adapter(tmp_path / "cp.safetensors", base))[f"{CONV}.weight"]
    image, conv = noise(1, into, 5, 5, seed=3), torch.nn.functional.conv2d
    torch.testing.assert_close(
        conv(image, kernel, padding=1),
        conv(conv(conv(image, down), mid, padding=1), up),
        atol=1e-4,
        rtol=1e-4,
    )


def test_whole_differences_add_to_pairs(base, layout, tmp_path):
    name = kohya_name(OUT)
    tensors = kohya_file(layout, tmp_path / "k.safetensors", [OUT])
    whole, bias, norm = noise(8, 8), noise(8), noise(8, seed=4)
    more = {f"{name}.diff": whole, f"{name}.diff_b": bias, f"{kohya_name(NORM)}.w_norm": norm}
    save_file(tensors | more, tmp_path / "d.safetensors")
    pair = changes(base, read_adapter(tmp_path / "k.safetensors", base))[f"{OUT}.weight"]
    same(
        changes(base, read_adapter(tmp_path / "d.safetensors", base)),
        {f"{OUT}.weight": pair + whole, f"{OUT}.bias": bias, f"{NORM}.weight": norm},
    )


SPELLED = {
    "peft": ("unet.{}.lora_A.weight", "unet.{}.lora_B.weight"),
    "peft, named": ("unet.{}.lora_A.default.weight", "unet.{}.lora_B.default.weight"),
    "bare": ("{}.lora_A.weight", "{}.lora_B.weight"),
    "layer": ("unet.{}.lora.down.weight", "unet.{}.lora.up.weight"),
    "linear layer": (
        "unet.{}.lora_linear_layer.down.weight",
        "unet.{}.lora_linear_layer.up.weight",
    ),
    "underscore": ("unet.{}_lora.down.weight", "unet.{}_lora.up.weight"),
}


@pytest.mark.parametrize("spelling", SPELLED)
def test_a_layer_may_be_spelled_in_many_ways(base, tmp_path, spelling):
    file, ends = tmp_path / "x.safetensors", [name.format(QUERY) for name in SPELLED[spelling]]
    down, up = noise(1, 8), noise(8, 1, seed=1)
    save_file(dict(zip(ends, (down.bfloat16(), up.bfloat16()), strict=True)), file)
    found = changes(base, read_adapter(file, base))
    wanted = up.bfloat16().float() @ down.bfloat16().float()
    same(found, {f"{QUERY}.weight": wanted})
    assert origin(file).sentence() == "diffusers LoRA of rank 1"


def test_what_comfyui_saves_is_read(base, layout, tmp_path):
    """Its own names: those of a single file, and of its text encoder."""
    file, text = tmp_path / "x.safetensors", f"text_encoders.clip_l.transformer.{TEXT_QUERY}"
    query, out = (f"diffusion_model.{layout.original[module]}" for module in (QUERY, OUT))
    down, up, bias, wide, high = noise(2, 8), noise(8, 2), noise(8), noise(2, 32), noise(32, 2)
    save_file(
        {
            f"{query}.lora_down.weight": down,
            f"{query}.lora_up.weight": up,
            f"{out}.diff_b": bias,
            f"{text}.lora_down.weight": wide,
            f"{text}.lora_up.weight": high,
        },
        file,
    )
    wanted = {f"{QUERY}.weight": up @ down, f"{OUT}.bias": bias}
    wanted[f"{TEXT}{TEXT_QUERY}.weight"] = high @ wide
    same(changes(base, read_adapter(file, base)), wanted)
    assert origin(file).sentence() == "kohya LoRA of rank 2, with text encoder"


Q = kohya_name(QUERY)
C, FF = kohya_name(CONV), kohya_name(f"{BLOCK}.ff.net.0.proj")
PAIR = {f"{Q}.lora_down.weight": torch.ones(2, 8), f"{Q}.lora_up.weight": torch.ones(8, 2)}


def kernel(down, up, mid=()):
    """A LoCon of one convolution in these shapes."""
    shapes = {"down": down, "up": up} | ({"mid": mid} if mid else {})
    return {f"{C}.lora_{kind}.weight": torch.ones(shape) for kind, shape in shapes.items()}


REFUSED = {
    "loha": ({f"{Q}.hada_w1_a": torch.ones(1)}, "is a LoHa"),
    "lokr": ({f"{Q}.lokr_w1": torch.ones(1)}, "is a LoKr"),
    "dora": (PAIR | {f"{Q}.dora_scale": torch.ones(8)}, "is a DoRA"),
    "sdxl": (PAIR | {"lora_te2_x.lora_up.weight": torch.ones(1)}, "is a LoRA for SDXL"),
    "flux": ({"transformer.x.lora_A.weight": torch.ones(1)}, "is a LoRA for a transformer"),
    "flux, kohya": (
        {"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": torch.ones(1, 1)},
        "is a LoRA for a transformer",
    ),
    "flux, comfyui": (
        {"diffusion_model.double_blocks.0.x.lora_up.weight": torch.ones(1, 1)},
        "is a LoRA for a transformer",
    ),
    "sdxl, comfyui": (
        PAIR | {"text_encoders.clip_g.transformer.x.lora_up.weight": torch.ones(1)},
        "is a LoRA for SDXL",
    ),
    "glora": ({f"{Q}.a1.weight": torch.ones(2, 8)}, "is a GLoRA"),
    "vera": ({f"base_model.model.{QUERY}.vera_lambda_b": torch.ones(8)}, "is a VeRA"),
    "ip-adapter": ({"ip_adapter.1.to_k_ip.weight": torch.ones(2, 2)}, "is an IP-Adapter"),
    "motion": ({f"{BLOCK}.motion_modules.0.lora_A.weight": torch.ones(1)}, "is a motion module"),
    "hypernetwork": ({"768.0.linear.0.weight": torch.ones(2, 2)}, "is a hypernetwork"),
    "control": (PAIR | {"lora_controlnet": torch.ones(1)}, "is a ControlNet"),
    "weights alone": ({f"{QUERY}.weight": torch.ones(8, 8)}, "is no adapter: none of its 1"),
    "zeros": ({k: 0 * v for k, v in PAIR.items()}, "changes nothing: all its differences are 0"),
    "no strength": (PAIR | {f"{Q}.alpha": torch.tensor(0.0)}, "changes nothing"),
    "rank 0": (
        {f"{Q}.lora_down.weight": torch.ones(0, 8), f"{Q}.lora_up.weight": torch.ones(8, 0)},
        "changes nothing",
    ),
    "whole numbers": ({k: v.to(torch.int8) for k, v in PAIR.items()}, "in int8, but a difference"),
    "embedding": ({"emb_params": torch.ones(1)}, "is a text embedding"),
    "checkpoint": ({"model.diffusion_model.x": torch.ones(1)}, "is a whole checkpoint"),
    "other": ({"lm_head": torch.ones(1)}, "is no adapter: none of its 1 tensors"),
    "empty": ({}, "is no adapter"),
    "rest": (PAIR | {"lora_unet_x": torch.ones(1)}, "has a tensor lora_unet_x"),
    "layer": ({"lora_unet_x.diff": torch.ones(1)}, "no layer here is lora_unet_x"),
    "half": ({f"{Q}.lora_down.weight": torch.ones(2, 8)}, "only one half of the pair"),
    "rank": ({**PAIR, f"{Q}.lora_up.weight": torch.ones(8, 3)}, "made for another model than cut"),
    "width": (
        {
            f"{kohya_name(BLOCK)}_attn2_to_k.lora_down.weight": torch.ones(2, 2048),
            f"{kohya_name(BLOCK)}_attn2_to_k.lora_up.weight": torch.ones(8, 2),
        },
        r"is \[8, 32\] here, and the file has .* It is for SDXL",
    ),
    "alpha": (PAIR | {f"{Q}.alpha": torch.ones(2)}, r"alpha of shape \[2\] but it must be one"),
    "alpha alone": (PAIR | {f"{Q[:-1]}k.alpha": torch.ones(1)}, "to_k.alpha but no pair that it"),
    "a kernel's difference, turned": ({f"{C}.diff": torch.ones(3, 3, 16, 16)}, "made for another"),
    "a matrix, turned": ({f"{FF}.diff": torch.ones(8, 64)}, r"is \[64, 8\] here"),
    "a kernel, turned": (kernel((2, 3, 3, 16), (16, 2, 1, 1)), r"'down': \[2, 3, 3, 16\]"),
    "a row in parts": ({**PAIR, f"{Q}.lora_down.weight": torch.ones(2, 2, 4)}, "made for another"),
    "ranks that differ": (
        kernel((2, 16, 1, 1), (16, 3, 1, 1), (3, 2, 3, 3)),
        r"'mid': \[3, 2, 3, 3\]",
    ),
    "another kernel": (kernel((2, 16, 1, 1), (16, 2, 1, 1), (2, 2, 1, 9)), r"\[2, 2, 1, 9\]"),
    "embedding, diffusers": ({"<cat-toy>": torch.ones(768)}, "is a text embedding"),
    "embedding, sdxl": ({"clip_l": torch.ones(1, 768)}, "is a text embedding"),
    "flux, bare": ({"double_blocks.0.x.lora_A.weight": torch.ones(1, 1)}, "for a transformer"),
    "autoencoder": ({"decoder.conv_in.weight": torch.ones(1)}, "is an autoencoder"),
    "long": (PAIR | {"x" * 301: torch.ones(1)}, "a name must be at most 300 printable characters"),
    "lines": (PAIR | {"a\nb": torch.ones(1)}, r"name is 'a\\nb', but a name must be"),
    "difference": ({f"{Q}.diff": torch.ones(9, 9)}, "made for another model"),
    "bias": ({f"{Q}.diff_b": torch.ones(8)}, "made for another model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_one_sentence(base, tmp_path, name):
    tensors, sentence = REFUSED[name]
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises((BadInput, UnsafeFile), match=sentence) as error:
        read_adapter(tmp_path / "x.safetensors", base)
    assert "\n" not in str(error.value)


MADE = {
    f"unet.{QUERY}.lora_A.cat.weight": noise(2, 8),
    f"unet.{QUERY}.lora_B.cat.weight": noise(8, 2),
}
RECIPES = {
    "[]": "has a damaged lora_adapter_metadata",
    "null": "has a damaged lora_adapter_metadata",
    '{"unet.lora_alpha": NaN}': "has lora_alpha 'nan' but it must be a number",
    '{"unet.lora_alpha": true}': "has lora_alpha 'True' but it must be a number",
    '{"unet.lora_alpha": 1' + 400 * "0" + "}": "has lora_alpha '1000",
    '{"unet.alpha_pattern": {"to_q": "6"}}': "has lora_alpha '6' but it must be a number",
    '{"unet.alpha_pattern": ["to_q"]}': r"has alpha_pattern \['to_q'\] but it must be numbers",
    '{"unet.alpha_pattern": {"to_q(": 6}}': r"has alpha_pattern 'to_q\(', which is no pattern",
    '{"unet.alpha_pattern": {"([a-z_.]+)*x": 6}}': "could take for ever to match",
    '{"unet.alpha_pattern": {".*a.*b.*c.*d": 6}}': "could take for ever to match",
    '{"unet.alpha_pattern": {"(a?)(b?)(c?)d": 6}}': "could take for ever to match",
    '{"unet.use_rslora": "false"}': "has use_rslora 'false' but it must be true or false",
    5000 * "[" + 5000 * "]": "has a damaged lora_adapter_metadata",
    '{"unet.use_dora": true}': "describes a DoRA",
    '{"unet.init_lora_weights": "pissa_niter_4"}': "'pissa_niter_4', which changed the base",
}


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_a_recipe_that_cannot_be_followed_is_one_sentence(base, tmp_path, recipe):
    save_file(MADE, tmp_path / "x.safetensors", {"lora_adapter_metadata": recipe})
    with pytest.raises((BadInput, UnsafeFile), match=RECIPES[recipe]):
        read_adapter(tmp_path / "x.safetensors", base)
    assert not fitting(base)(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("recipe", "scale"),
    [
        ({}, 1.0),
        ({"unet.lora_alpha": 6}, 3.0),
        ({"lora_alpha": 6}, 3.0),
        ({"unet.lora_alpha": 6, "unet.use_rslora": True}, 6 / math.sqrt(2)),
        ({"unet.alpha_pattern": {"to_q": 1}, "unet.lora_alpha": 6}, 0.5),
        ({"unet.r": 2}, 4.0),
        ({"unet.alpha_pattern": {r"attn[12]\.to_(?:k|q)": 1, "to_q": 5}}, 0.5),
        ({"unet.alpha_pattern": {"to_": 1, "^to_q": 1, ".*blocks.*": 4}}, 2.0),
        ({"text_encoder.lora_alpha": 6}, 1.0),
    ],
)
def test_a_recipe_says_the_strength_as_peft_takes_it(base, tmp_path, recipe, scale):
    """Without an alpha that is 8 through the rank; pairs may carry the name of their adapter."""
    about = {"lora_adapter_metadata": json.dumps(recipe)}
    save_file(MADE, tmp_path / "x.safetensors", about)
    down, up = MADE.values()
    wanted = {f"{QUERY}.weight": scale * up @ down}
    same(changes(base, read_adapter(tmp_path / "x.safetensors", base)), wanted)


def test_a_pair_without_ranks_beside_others_changes_nothing(base, tmp_path):
    nothing = {
        f"{C}.lora_down.weight": noise(0, 16, 3, 3),
        f"{C}.lora_up.weight": noise(16, 0, 1, 1),
    }
    save_file(PAIR | nothing | {f"{C}.alpha": torch.tensor(1.0)}, tmp_path / "x.safetensors")
    found = read_adapter(tmp_path / "x.safetensors", base)
    same(changes(base, found), {f"{QUERY}.weight": torch.full((8, 8), 2.0)})


def test_a_kernel_may_lie_in_a_row_and_a_matrix_be_a_kernel_of_one(base, tmp_path):
    down, up, whole = noise(2, 144), noise(16, 2), noise(8, 8, 1, 1)
    row = {f"{C}.lora_down.weight": down, f"{C}.lora_up.weight": up, f"{Q}.diff": whole}
    save_file(row, tmp_path / "x.safetensors")
    wanted = {
        f"{CONV}.weight": (up @ down).reshape(16, 16, 3, 3),
        f"{QUERY}.weight": whole[..., 0, 0],
    }
    same(changes(base, read_adapter(tmp_path / "x.safetensors", base)), wanted)


def test_what_a_file_says_of_its_base_is_short_and_on_one_line(base, tmp_path):
    save_file(PAIR, tmp_path / "x.safetensors", {"ss_base_model_version": "my\nbase " + 99 * "x"})
    assert origin(tmp_path / "x.safetensors").base == ("my base " + 99 * "x")[:60]


def test_an_own_file_with_a_difference_twice_is_refused(base, tmp_path):
    twice = {f"{QUERY}.weight{end}": noise(8, 8) for end in ("", ".down", ".up")}
    save_file(twice, tmp_path / "x.safetensors", ABOUT)
    with pytest.raises(BadInput, match=r"to_q.weight twice, as a whole and as a pair"):
        read_adapter(tmp_path / "x.safetensors", base)


def test_pickles_and_broken_files_are_not_opened(base, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match="may hold code"):
        read_adapter(tmp_path / "x.pt", base)
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(UnsafeFile, match="undamaged safetensors"):
        read_adapter(tmp_path / "x.safetensors", base)
    with pytest.raises(BadInput, match="folder without"):
        read_adapter(tmp_path, base)


# out


def test_an_exact_form_comes_back_as_it_was(base, layout, mixed, tmp_path):
    file = tmp_path / "all.safetensors"
    written = write(mixed, layout, "diff", file, dtype=torch.float32)
    assert written.loss == Loss() and FORMS["diff"].lossless
    found = read_adapter(file, base)
    same(changes(base, found), changes(base, mixed))
    for name, value in mixed.tensors.items():
        if name in found.tensors and not name.endswith((".up", ".down")):
            assert torch.equal(found.tensors[name], value), name
    assert found.metadata["method"] == "x"


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_pairs_are_read_by_diffusers_and_come_back(base, layout, tmp_path, form):
    modules = [QUERY, OUT, PROJ, CONV, SAMPLER, "conv_in"]
    modules += [TEXT + TEXT_QUERY, TEXT + TEXT_OUT, TEXT + TEXT_FC]
    modules += ["time_embedding.linear_1", "mid_block.resnets.0.time_emb_proj"]
    adapter, file = pairs(layout, modules), tmp_path / "x.safetensors"
    written = write(adapter, layout, form, file, dtype=torch.float32)
    assert written.rank == 4 and written.loss.error < 1e-6
    exact = changes(base, adapter)
    same(changes(base, read_adapter(file, base)), exact)
    same(stock_changes(file), exact)


def test_kohya_files_say_their_alpha_and_their_base(tmp_path):
    exact = Layout.of(exact_base())
    adapter = Adapter(
        ABOUT,
        {f"{QUERY}.weight.down": torch.ones(8, 320), f"{QUERY}.weight.up": torch.ones(320, 8)},
    )
    write(adapter, exact, "kohya", tmp_path / "k.safetensors")
    tensors = load_file(tmp_path / "k.safetensors")
    assert tensors[f"{Q}.alpha"].shape == () and tensors[f"{Q}.alpha"] == 8
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    about = origin(tmp_path / "k.safetensors").metadata
    assert about["ss_network_dim"] == "8" and about["ss_network_alpha"] == "8.0"
    assert about["ss_base_model_version"] == "sd_v1" and about["ss_v2"] == "False"
    assert about["modelspec.architecture"] == "stable-diffusion-v1/lora"
    about = kohya_metadata(Layout.of(exact_base(SD21, text_config(1024, 23, 16))), 0)
    assert about["ss_base_model_version"] == "sd_v2" and about["ss_v2"] == "True"
    assert about["modelspec.architecture"] == "stable-diffusion-v2/lora"
    assert "ss_network_dim" not in about, "whole differences have no rank"


def test_beside_each_adapter_lies_one_that_other_programs_read(base, layout, mixed, tmp_path):
    """Pairs alone are a LoRA for everybody; whole differences keep everything, for all but
    diffusers.
    """
    file = tmp_path / "hat.lora.safetensors"
    adapter = pairs(layout, [QUERY, CONV])
    assert write_for_others(adapter, layout, file).form == "kohya"
    half = Adapter(ABOUT, {name: value.half() for name, value in adapter.tensors.items()})
    same(stock_changes(file), changes(base, half), atol=1e-3, rtol=2e-3)  # two roundings to half
    written = write_for_others(mixed, layout, file)
    assert written.form == "diff" and written.loss == Loss(0.0, 0.0, 0.0, ("", 0.0)) == Loss()
    half = Adapter(ABOUT, {name: value.half() for name, value in mixed.tensors.items()})
    same(changes(base, read_adapter(file, base)), changes(base, half), atol=1e-3, rtol=2e-3)


def test_what_a_rank_leaves_out_is_stated_biases_included(base, layout, mixed, tmp_path):
    file = tmp_path / "small.safetensors"
    written = write(mixed, layout, "kohya", file, rank=2)
    exact, found = changes(base, mixed), changes(base, read_adapter(file, base))

    def size(values):
        return math.sqrt(sum(value.square().sum().item() for value in values))

    lost = {name: value - found.get(name, torch.zeros(())) for name, value in exact.items()}
    vectors = [value for name, value in exact.items() if value.ndim < 2]
    assert len(vectors) == 4
    assert written.loss.error == pytest.approx(size(lost.values()) / size(exact.values()), rel=1e-3)
    assert written.loss.vectors == pytest.approx(size(vectors) / size(exact.values()), rel=1e-3)
    assert written.loss.error**2 == pytest.approx(
        written.loss.matrices**2 + written.loss.vectors**2
    )
    worst, share = written.loss.worst
    assert share == pytest.approx(size([lost[worst]]) / size([exact[worst]]), rel=1e-3)
    told, names = [], mixed.names()
    how = {"dtype": torch.float32, "show": lambda *now: told.append(now)}
    full = write(mixed, layout, "kohya", file, rank=1000, **how).loss
    assert told == [(done, len(names)) for done in range(1, len(names) + 1)]
    assert full.matrices < 1e-5 and full.error == pytest.approx(full.vectors)


def test_large_matrices_are_near_the_best_of_their_rank():
    matrix = noise(300, 400) @ torch.diag(torch.logspace(0, -3, 400)) @ noise(400, 400, seed=1)
    adapter = Adapter(ABOUT, {"a.weight": matrix})
    for rank in (4, 16):
        loss = as_pairs(adapter, rank, torch.float32)[1]
        best = torch.linalg.svdvals(matrix)[rank:].norm() / matrix.norm()
        assert best <= loss.error * (1 + 1e-4) and loss.error < 1.01 * best
    again = as_pairs(adapter, 4)[0]
    assert all(
        torch.equal(value, as_pairs(adapter, 4)[0].tensors[k]) for k, value in again.tensors.items()
    )
    wide = as_pairs(low_rank(adapter, 60), 8, torch.float32)[1]
    assert wide.error < 1.05 * torch.linalg.svdvals(matrix)[8:].norm() / matrix.norm()


def test_embedding_tables_and_nothing_at_all(layout, tmp_path):
    table = text_name("embeddings.token_embedding.weight")
    adapter = Adapter(ABOUT, {table: noise(*layout.shapes[table])})
    with pytest.raises(BadInput, match="no matrix"):
        write(adapter, layout, "kohya", tmp_path / "x.safetensors")
    with pytest.raises(BadInput, match="form is 'gguf' but must be one of own, diffusers"):
        write(adapter, layout, "gguf", tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_merged_checkpoint_holds_the_sum_and_the_base_is_as_before(base, mixed, tmp_path):
    before = weights(base)
    file = write_checkpoint(base, mixed, tmp_path / "m.safetensors", scale=0.5, dtype=torch.float32)
    half = changes(base, mixed)
    unet = convert_ldm_unet_checkpoint(load_file(file), dict(base.unet.config))
    for name, value in base.unet.named_parameters():
        wanted = before[name] + 0.5 * half.get(name, torch.zeros(()))
        torch.testing.assert_close(unet[name].reshape(value.shape), wanted, msg=name)
    assert all(torch.equal(value, before[name]) for name, value in weights(base).items())
    exact = exact_base(SD21, text_config(1024, 23, 16))
    with pytest.raises(BadInput, match="SD 2.x"):
        checkpoint_tensors(exact)


def test_a_merged_folder_is_a_base_like_any_other(base, mixed, tmp_path):
    from spf.bases.reading import load_base

    folder = write_folder(base, mixed, tmp_path / "merged")
    loaded, exact = load_base(str(folder)), changes(base, mixed)
    before, after = weights(base), weights(loaded)
    for name in before:
        torch.testing.assert_close(after[name], before[name] + exact.get(name, torch.zeros(())))
    assert json.loads((folder / "model_index.json").read_text())["_class_name"].startswith("Stable")
    with pytest.raises(BadInput, match="is there already"):
        write_folder(base, mixed, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


# as tuned weights


def kohya_with_text(base, layout, file):
    modules = [QUERY, OUT, CONV, TEXT + TEXT_QUERY, TEXT + TEXT_OUT, TEXT + TEXT_FC]
    kohya_file(layout, file, modules, alpha=lambda rank: 2.0)
    return load_adapter(file, base)


def test_a_foreign_file_draws_what_the_stock_pipeline_draws_with_it(base, layout, tmp_path):
    """Text encoder included: the texts are read with the tuned weights, the empty one too."""
    file = tmp_path / "k.safetensors"
    adapter = kohya_with_text(base, layout, file)
    noise = initial_latents(base, [3])
    path = TunedPath(base, [compose("a photo of a woman", "a hat")], guidance=4.0, compare=False)
    ours = path.draw(response(base, adapter), noise, 3)
    stock = new_cut_base()
    plain = stock.encode_text(["a photo of a woman, a hat"])
    pipeline = pipeline_of(stock)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(file)
    how = {"num_inference_steps": 3, "guidance_scale": 4.0, "output_type": "latent"}
    theirs = pipeline("a photo of a woman, a hat", latents=noise, **how).images
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    assert not stock.encode_text(["a photo of a woman, a hat"]).equal(plain)
    free = TunedPath(base, [compose("a photo of a woman", "a hat")], compare=False)
    assert not torch.allclose(free.draw(response(base, ()), noise, 3), ours, atol=1e-2)


def test_a_held_drawing_keeps_the_original_where_a_foreign_file_asks_for_nothing(
    base, layout, tmp_path
):
    adapter = kohya_with_text(base, layout, tmp_path / "k.safetensors")
    before = weights(base)
    trace = sample_pair(
        base,
        compose("a photo of a woman"),
        {"free": adapter, "held": adapter},
        steps=3,
        guide=GuideConfig("held"),
        free=["free"],
    )
    assert (trace.tuned["held"].images == trace.original.images).all()
    assert not (trace.tuned["free"].images == trace.original.images).all()
    assert all(torch.equal(value, before[name]) for name, value in weights(base).items())


def test_one_door_for_all_forms(base, layout, mixed, tmp_path):
    exact = changes(base, mixed)
    write(mixed, layout, "own", tmp_path / "own.safetensors")
    write(mixed, layout, "diff", tmp_path / "diff.safetensors", dtype=torch.float32)
    for name in ("own", "diff"):
        same(changes(base, load_adapter(tmp_path / f"{name}.safetensors", base)), exact)
    assert (
        origin(tmp_path / "own.safetensors").sentence()
        == "own adapter of rank 4 for x, with text encoder"
    )
    about = ABOUT | {"base_model": "photos"}
    save_file({f"{QUERY}.weight": torch.ones(320, 320)}, tmp_path / "w.safetensors", about)
    with pytest.raises(
        BadInput, match=r"w.safetensors \(for photos, and this is cut\) was made for"
    ):
        load_adapter(tmp_path / "w.safetensors", base)
    with pytest.raises(BadInput, match="made for another model: text_encoder"):
        TunablePaths(base.unet, [f"{QUERY}.weight"]).load(mixed)


def test_what_is_offered_can_be_drawn_with(base, layout, tmp_path, monkeypatch):
    """Every file that lies among one's own adapters is listed and loads, or is refused in words."""
    monkeypatch.setenv("SPF_CHECKPOINTS", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    found = pairs(layout, [QUERY, CONV])
    made = Adapter(ABOUT | {"target": "a straw hat", "base_model": base.name}, found.tensors)
    write(made, layout, "own", OWN / "straw+hat.safetensors")
    write_for_others(made, layout, OWN / "straw+hat.lora.safetensors")
    write(found, layout, "kohya", OWN / "style.safetensors", dtype=torch.float32)
    write(found, layout, "diff", OWN / "whole.lora.safetensors", dtype=torch.float32)
    eight = {name: value.to(torch.float8_e4m3fn) for name, value in made.tensors.items()}
    save_file(eight, OWN / "eight.safetensors", ABOUT)
    save_file({"emb_params": torch.ones(1, 768)}, OWN / "words.safetensors")

    shelf, exact = Shelf.usual(), changes(base, made)
    assert list(shelf.choices()) == ["eight", "straw-hat", "style", "whole.lora", "words"]
    assert shelf.pick(["a straw hat"], base.weights) == ["straw-hat"]
    for name in ("straw-hat", "style", "whole.lora"):
        same(changes(base, load_adapter(name, base)), exact)
    assert set(changes(base, load_adapter("eight", base))) == set(exact)
    with pytest.raises(BadInput, match="words.safetensors is a text embedding"):
        load_adapter("words", base)

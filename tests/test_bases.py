"""What a base's name stands for: every usual form is read to the same weights, every other refused
in one sentence.
"""

import json
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from real_world import SD21, new_cut_base
from safetensors.torch import load_file, save_file

from spf.bases import hub as the_hub
from spf.bases.checks import configurations, skeleton
from spf.bases.finding import find_base
from spf.bases.pinned import PINNED, Pinned, licence_of
from spf.bases.reading import empty_base, load_base, scheduler_of
from spf.bases.source import Source
from spf.config import EMBEDDED
from spf.devices import best_device, dtype_of
from spf.errors import BadInput, UnsafeFile
from spf.exchange.checkpoint import checkpoint_tensors, pipeline_of
from spf.prompts import compose
from spf.sampling import sample_pair
from spf.shelf import checkpoints
from spf.single_file import OPEN_CLIP_KEY, check_kind, header, prediction_of

FOLDERS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}


@pytest.fixture(scope="module")
def original():
    return new_cut_base()


@pytest.fixture(scope="module")
def saved(original, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases") / "cut"
    pipeline_of(original).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(saved, tmp_path / "cut")


def change(folder, part, **values):
    names = {"": "model_index.json", "scheduler": "scheduler_config.json"}
    file = folder / part / names.get(part, "config.json")
    config = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def same_weights(base, original, dtype=torch.float32):
    for part in FOLDERS:
        wanted = getattr(original, part).state_dict()
        found = getattr(base, part).state_dict()
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            assert torch.equal(found[name], value.to(dtype)), name


# forms


def test_a_folder_of_fp16_variants_and_of_shards_is_read(folder, original):
    for part, stem in FOLDERS.items():
        file = folder / part / f"{stem}.safetensors"
        tensors = {name: value.half() for name, value in load_file(file).items()}
        if part == "text_encoder":
            save_file(tensors, folder / part / f"{stem}.fp16.safetensors", {"format": "pt"})
        else:
            names, index = sorted(tensors), {}
            for number, some in enumerate((names[::2], names[1::2]), 1):
                shard = f"{stem}.fp16-0000{number}-of-00002.safetensors"
                save_file({n: tensors[n] for n in some}, folder / part / shard, {"format": "pt"})
                index |= dict.fromkeys(some, shard)
            (folder / part / f"{stem}.safetensors.index.fp16.json").write_text(
                json.dumps({"metadata": {"total_size": 1}, "weight_map": index})
            )
        file.unlink()
    assert find_base(str(folder)).weights("unet")[0] == ".fp16"
    for file in (folder / "text_encoder").glob("*.safetensors"):
        file.rename(file.with_name(file.name.replace("fp16", "bf16")))
    assert find_base(str(folder)).weights("text_encoder")[0] == ".bf16"
    same_weights(load_base(str(folder), dtype=torch.float16), original, torch.float16)


def test_a_single_file_is_read_to_the_same_weights(folder, original, tmp_path):
    """Its sizes are those of SD 1.5, unless a folder of its name beside it says otherwise."""
    file = tmp_path / "portraits.safetensors"
    save_file({k: v.detach().contiguous() for k, v in checkpoint_tensors(original).items()}, file)
    with pytest.raises(BadInput, match="portraits has text states of 32; what can be used"):
        load_base(str(file))
    described = tmp_path / "portraits"
    folder.rename(described)
    for part, stem in FOLDERS.items():
        (described / part / f"{stem}.safetensors").unlink()
    base = load_base(str(file))
    same_weights(base, original)
    assert base.name == "portraits" and base.tokens(["a hat"]).equal(original.tokens(["a hat"]))


def test_a_single_file_of_other_sizes_or_with_a_lack_is_refused_before_it_is_read(
    folder, original, tmp_path
):
    file, tensors = tmp_path / "cut.safetensors", checkpoint_tensors(original)
    tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
    gone = "model.diffusion_model.middle_block.0.in_layers.2.weight"
    save_file({k: v for k, v in tensors.items() if k != gone}, file)
    with pytest.raises(
        UnsafeFile, match=rf"lacks 1 of the \d+ tensors of its unet, {gone} for one"
    ):
        load_base(str(file))
    save_file(tensors | {gone: torch.ones(2, 2, 3, 3)}, file)
    with pytest.raises(
        UnsafeFile, match=r"as \[2, 2, 3, 3\], where its configuration says \[16, 16"
    ):
        load_base(str(file))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(UnsafeFile, match="cut.safetensors is damaged or cut off"):
        load_base(str(file))


def test_a_file_that_may_hold_code_is_not_opened(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match="model.ckpt, which may hold code"):
        load_base(str(tmp_path / "model.ckpt"))


UNET1 = "model.diffusion_model."
CROSS = f"{UNET1}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
WHOLE = {
    f"{UNET1}input_blocks.0.0.weight": (320, 4, 3, 3),
    CROSS: (320, 768),
    "first_stage_model.x": (1,),
    "cond_stage_model.x": (1,),
}
KINDS = {
    "sdxl": ({"conditioner.embedders.0.x": (1,)}, "is SDXL"),
    "sd3": ({f"{UNET1}joint_blocks.0.x": (1,)}, "is SD 3"),
    "flux": ({"double_blocks.0.x": (1,)}, "is Flux"),
    "control": ({"control_model.x": (1,)}, "is a ControlNet"),
    "lora": ({"lora_unet_x.lora_down.weight": (1,)}, "is a LoRA, which goes where an adapter"),
    "other": ({"lm_head.weight": (1,)}, "is no checkpoint of Stable Diffusion"),
    "inpainting": (WHOLE | {f"{UNET1}input_blocks.0.0.weight": (320, 9, 3, 3)}, "inpainting"),
    "depth": (WHOLE | {f"{UNET1}input_blocks.0.0.weight": (320, 5, 3, 3)}, "follows a depth map"),
    "pix2pix": (WHOLE | {f"{UNET1}input_blocks.0.0.weight": (320, 8, 3, 3)}, "by instruction"),
    "older": (
        WHOLE | {"cond_stage_model.transformer.embeddings.x": (1,)},
        "has its text encoder under older names",
    ),
    "no vae": ({k: v for k, v in WHOLE.items() if "first" not in k}, "has no autoencoder in it"),
    "no text": ({k: v for k, v in WHOLE.items() if "cond" not in k}, "has no text encoder in it"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_files_are_told_by_their_keys(kind):
    shapes, sentence = KINDS[kind]
    with pytest.raises(BadInput, match=rf"model x {sentence}|model x .*{sentence}"):
        check_kind("x", shapes)
    assert check_kind("x", WHOLE) == 768


def test_what_a_file_predicts(tmp_path):
    file = tmp_path / "x.safetensors"
    assert prediction_of(file, {}, [], 768) == "epsilon"
    assert prediction_of(file, {}, ["v_pred"], 768) == "v_prediction"
    assert prediction_of(file, {"modelspec.prediction_type": "v"}, [], 1024) == "v_prediction"
    with pytest.raises(BadInput, match='put x.yaml beside it, with the line parameterization: "v"'):
        prediction_of(file, {}, [], 1024)
    file.with_suffix(".yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    assert prediction_of(file, {}, [], 1024) == "v_prediction"
    file.with_suffix(".yaml").write_text("parameterization: x0\n")
    with pytest.raises(
        BadInput, match="x says that it predicts 'x0' but it must be one of eps, ep"
    ):
        prediction_of(file, {}, [], 1024)
    file.with_suffix(".yaml").write_text("model: {}\n")
    assert prediction_of(file, {}, [], 1024) == "epsilon"


def test_a_key_says_that_the_noise_ends_without_signal(tmp_path):
    file = tmp_path / "x.safetensors"
    for more, silent in ({"v_pred"}, False), ({"v_pred", "ztsnr"}, True):
        shapes = WHOLE | dict.fromkeys(more, (1,))
        save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, file)
        schedule = scheduler_of(configurations(find_base(str(file)))["scheduler"])
        assert schedule.config.prediction_type == "v_prediction"
        assert (schedule.alphas_cumprod[-1] == 0) == silent


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.5", "2.1"])
def test_a_single_file_of_the_exact_size_is_read(tmp_path, version):
    """4 GB of random weights; SD 2.1 with OpenCLIP's names and velocity."""
    from transformers import CLIPTextModel

    from spf.geometry import SD15, SD_VAE, text_config

    made = new_cut_base()
    sizes = {"1.5": (SD15, text_config()), "2.1": (SD21, text_config(1024, 23, 16))}[version]
    made.unet = type(made.unet)(**sizes[0]).half()
    made.vae = type(made.vae)(**SD_VAE).half()
    made.text_encoder = CLIPTextModel(sizes[1]).half()
    file = tmp_path / "x.safetensors"
    if version == "1.5":
        tensors = checkpoint_tensors(made)
    else:
        from spf.single_file import UNET_KEY, VAE_KEY, unet_names, vae_names

        tensors = {UNET_KEY + unet_names(made.unet)[n]: v for n, v in made.unet.named_parameters()}
        tensors |= {VAE_KEY + vae_names(made.vae)[n]: v for n, v in made.vae.named_parameters()}
        tensors |= open_clip(made.text_encoder)
    about = {"modelspec.prediction_type": "v"} if version == "2.1" else {}
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, file, about)
    del tensors
    made.tokenizer.save_pretrained(tmp_path / "tokenizer")
    base = load_base(str(file), dtype=torch.float16)
    for part in ("unet", "text_encoder"):
        wanted = getattr(made, part).state_dict()
        for name, value in getattr(base, part).state_dict().items():
            torch.testing.assert_close(value, wanted[name], msg=name)
    assert base.diffusion.prediction == ("v_prediction" if version == "2.1" else "epsilon")
    assert base.image_size == (768 if version == "2.1" else 512)


def open_clip(encoder):
    """A text encoder of transformers under OpenCLIP's names, with the last layer that SD 2.x never
    uses.
    """
    width, made = encoder.config.hidden_size, {}
    state = {k.removeprefix("text_model."): v for k, v in encoder.state_dict().items()}
    ends = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for layer in range(24):
        own, block = f"encoder.layers.{min(layer, 22)}.", f"transformer.resblocks.{layer}."
        for end in ("weight", "bias"):
            qkv = [state[f"{own}self_attn.{one}_proj.{end}"] for one in "qkv"]
            made[f"{block}attn.in_proj_{end}"] = torch.cat(qkv)
            for ours, theirs in ends.items():
                made[f"{block}{theirs}.{end}"] = state[f"{own}{ours}.{end}"]
    made["token_embedding.weight"] = state["embeddings.token_embedding.weight"]
    made["positional_embedding"] = state["embeddings.position_embedding.weight"]
    made["ln_final.weight"] = state["final_layer_norm.weight"]
    made["ln_final.bias"] = state["final_layer_norm.bias"]
    made["text_projection"] = torch.eye(width).half()
    return {OPEN_CLIP_KEY + name: value.clone() for name, value in made.items()}


# refusals


REFUSED = {
    "sdxl": ("unet", {"addition_embed_type": "text_time"}, "is SDXL, which has two text encoders"),
    "inpainting": ("unet", {"in_channels": 9}, "is for inpainting"),
    "seven": ("unet", {"in_channels": 7}, "takes 7 channels where its latents have 4"),
    "classes": ("unet", {"class_embed_type": "timestep"}, "unet with class_embed_type timestep"),
    "t5": ("text_encoder", {"model_type": "t5"}, "text encoder of kind t5 and not CLIP's"),
    "bert": ("text_encoder", {"model_type": "bert"}, "text encoder of kind bert"),
    "consistency": ("unet", {"time_cond_proj_dim": 256}, "unet with time_cond_proj_dim 256"),
    "video": ("unet", {"_class_name": "UNetMotionModel"}, "a unet of kind UNetMotionModel"),
    "tiny vae": ("vae", {"_class_name": "AutoencoderTiny"}, "a vae of kind AutoencoderTiny"),
    "flow class": ("scheduler", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "a flow"),
    "width": ("unet", {"cross_attention_dim": 24}, "text states of 32 where its unet wants 24"),
    "flow": ("scheduler", {"prediction_type": "flow"}, "predicts flow"),
    "few steps": ("scheduler", {"_class_name": "LCMScheduler"}, "is drawn with LCMScheduler"),
    "sigmas": ("scheduler", {"_class_name": "EDMEulerScheduler"}, "drawn with EDMEulerScheduler"),
    "own schedule": ("scheduler", {"_class_name": ["a.py", "B"]}, r"drawn with \['a.py', 'B'\]"),
    "no noise": ("scheduler", {"beta_end": ...}, "has no beta_end in scheduler/scheduler_config"),
    "own code": ("", {"_class_name": ["mine.py", "Mine"]}, "by code of its own, mine.py Mine"),
    "sdxl, by name": ("", {"_class_name": "StableDiffusionXLPipeline"}, "is SDXL"),
    "control": ("", {"controlnet": ["diffusers", "ControlNetModel"]}, "has a part controlnet of"),
    "own unet": ("", {"unet": ["mine", "MyUNet"]}, "has a unet of kind MyUNet"),
    "upscaler": ("", {"_class_name": "StableDiffusionUpscalePipeline"}, "is a StableDiffusionUpsc"),
    "no pipeline": ("", {"_class_name": ...}, "is a pipeline of no kind"),
    "quantised": (
        "text_encoder",
        {"quantization_config": {"bits": 4}},
        "encoder that is quantised",
    ),
    "kinds": ("text_encoder", {"model_type": None, "architectures": [3]}, "encoder of kind 3 and"),
    "no size": ("unet", {"sample_size": ...}, "sample_size None in unet/config.json but it must"),
    "two sizes": ("unet", {"sample_size": [8, 16]}, r"sample_size \[8, 16\] in unet/config.json"),
    "size 0": ("unet", {"sample_size": 0}, "sample_size 0 in unet/config.json but it must"),
    "no scale": ("vae", {"scaling_factor": None}, "scaling_factor None in vae/config.json but it"),
    "scale 0": ("vae", {"scaling_factor": 0}, "scaling_factor 0 in vae/config.json but it must"),
    "scale NaN": ("vae", {"scaling_factor": np.nan}, "scaling_factor nan in vae/config.json but"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_kinds_of_folders_are_refused_before_anything_is_loaded(folder, monkeypatch, name):
    part, values, sentence = REFUSED[name]
    change(folder, part, **values)
    for stem, file in FOLDERS.items():
        (folder / stem / f"{file}.safetensors").write_bytes(b"never read")
    with pytest.raises(BadInput, match=sentence) as error:
        load_base(str(folder))
    assert "\n" not in str(error.value)


def test_a_pipeline_of_another_kind_is_told_by_its_kind(folder):
    (folder / "unet").rename(folder / "transformer")
    with pytest.raises(UnsafeFile, match="a missing or damaged unet folder"):
        load_base(str(folder))
    for kind in ("FluxPipeline", "StableDiffusion3Pipeline"):
        (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
        with pytest.raises(BadInput, match=f"model cut is a {kind}; what can be used"):
            load_base(str(folder))
    (folder / "model_index.json").write_text("[]")
    with pytest.raises(BadInput, match="model cut is a pipeline of no kind"):
        load_base(str(folder))


@pytest.mark.parametrize(
    "values",
    [
        {"beta_schedule": "cosine9"},
        {"beta_start": "small"},
        {"num_train_timesteps": 0},
        {"beta_schedule": "linear", "beta_end": 4.0},
        {"beta_start": -0.01},
        {"timestep_spacing": "foo"},
        {"steps_offset": "a"},
        {"steps_offset": 5000},
        {"steps_offset": -2},
        {"num_train_timesteps": 199},
    ],
)
def test_a_schedule_that_is_none_is_one_sentence(folder, values):
    change(folder, "scheduler", **values)
    with pytest.raises(UnsafeFile, match="cut has a scheduler whose configuration makes no noise"):
        load_base(str(folder))


def test_the_window_of_the_tokenizer_is_that_of_its_text_encoder(folder, original):
    """Tokenizers come without their configuration, or with more words than the encoder knows."""
    (folder / "tokenizer" / "tokenizer_config.json").unlink()
    base = load_base(str(folder))
    assert base.tokenizer.model_max_length == 77
    assert base.tokens(["a hat"]).equal(original.tokens(["a hat"]))
    words = folder / "tokenizer" / "tokenizer.json"
    table = json.loads(words.read_text())
    table["added_tokens"].append(table["added_tokens"][0] | {"id": 9999, "content": "<cat>"})
    words.write_text(json.dumps(table))
    with pytest.raises(UnsafeFile, match=r"a tokenizer of \d+ words, and its text encoder knows"):
        load_base(str(folder))


@pytest.mark.parametrize("part", FOLDERS)
def test_missing_tensors_are_no_random_layers(folder, part):
    file = folder / part / f"{FOLDERS[part]}.safetensors"
    tensors = load_file(file)
    some = sorted(name for name in tensors if name.endswith(".weight"))[:3]
    save_file({k: v for k, v in tensors.items() if k not in some}, file, {"format": "pt"})
    with pytest.raises(UnsafeFile, match=rf"lacks 3 of the \d+ tensors of its {part}"):
        load_base(str(folder))


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_tensors_that_a_network_does_not_have_are_not_left_out(folder, part):
    file = folder / part / f"{FOLDERS[part]}.safetensors"
    save_file(load_file(file) | {"conv_in.scale_weight": torch.ones(1)}, file)
    with pytest.raises(UnsafeFile, match=f"has conv_in.scale_weight in its {part}, which the"):
        load_base(str(folder))


@pytest.mark.parametrize("part", FOLDERS)
def test_weights_in_whole_numbers_are_quantised_ones(folder, part):
    file = folder / part / f"{FOLDERS[part]}.safetensors"
    save_file({name: value.to(torch.int8) for name, value in load_file(file).items()}, file)
    with pytest.raises(BadInput, match=f"of its {part} as I8, but weights must be one of F64, F32"):
        load_base(str(folder))


def test_what_a_part_has_in_place_of_its_weights(folder):
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    aside = file.rename(file.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    with pytest.raises(UnsafeFile, match=r"_model.safetensors or .fp16.safetensors or"):
        load_base(str(folder))
    index = file.with_name(f"{file.name}.index.json")
    for shards, sentence in (
        ({"a": 3}, "is no index of weights"),
        ({"a": "../x.safetensors"}, "names files outside its folder"),
        ({"a": "gone.safetensors"}, "a missing or damaged unet folder"),
    ):
        index.write_text(json.dumps({"weight_map": shards}))
        with pytest.raises(UnsafeFile, match=sentence):
            load_base(str(folder))
    index.unlink()
    aside.rename(file.with_suffix(".bin"))
    with pytest.raises(BadInput, match="has its unet as a .bin file, which may hold code"):
        load_base(str(folder))


def test_other_files_of_a_folder_that_are_no_such_files(folder):
    (folder / "drawing.json").write_text("[]")
    with pytest.raises(UnsafeFile, match="cut has a damaged drawing.json"):
        load_base(str(folder))
    file = folder / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": "long"}))
    with pytest.raises(UnsafeFile, match="model_max_length 'long' in tokenizer/tokenizer_config"):
        load_base(str(folder))


def test_a_file_and_the_folder_beside_it_say_the_same(folder, original, tmp_path):
    file, tensors = folder.with_suffix(".safetensors"), checkpoint_tensors(original)
    tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
    old = {"first_stage_model.loss.logvar": torch.ones(1), "model_ema.decay": torch.ones(1)}
    save_file(tensors | old, file, {"modelspec.prediction_type": "V"})
    with pytest.raises(BadInput, match="predicts v_prediction, and the folder beside it says eps"):
        load_base(str(file))
    change(folder, "scheduler", prediction_type="v_prediction")
    assert empty_base(str(file)).diffusion.prediction == "v_prediction"
    extra = {"model.diffusion_model.foo": torch.ones(1)}
    save_file(tensors | extra, file)
    with pytest.raises(UnsafeFile, match="has model.diffusion_model.foo in its unet, which the"):
        load_base(str(file))


def test_older_spellings_are_read(folder, original):
    """CLIP with and without `text_model.`, autoencoders whose attention had other names."""
    file = folder / "text_encoder" / "model.safetensors"
    tensors = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in load_file(file).items()}
    save_file(tensors, file, {"format": "pt"})
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    tensors = load_file(file)
    for new, before in old.items():
        tensors = {name.replace(new, before): value for name, value in tensors.items()}
    save_file(tensors, file, {"format": "pt"})
    change(folder, "text_encoder", architectures=["CLIPTextModelWithProjection"])
    same_weights(load_base(str(folder)), original)


# schedulers


@pytest.mark.parametrize(
    "kind, sampler",
    [
        ("EulerDiscreteScheduler", "euler"),
        ("DPMSolverMultistepScheduler", "dpm++"),
        ("PNDMScheduler", "ddim"),
        ("DDIMScheduler", "ddim"),
    ],
)
def test_the_schedule_of_any_scheduler_is_kept_and_no_latent_is_clipped(folder, kind, sampler):
    change(folder, "scheduler", _class_name=kind, clip_sample=..., set_alpha_to_one=...)
    base = load_base(str(folder))
    assert base.sampler == sampler and base.scheduler.config.clip_sample is False
    assert base.scheduler.config.set_alpha_to_one is False
    wide = 9 * torch.ones(1, 4, 8, 8)
    scheduler = base.new_scheduler(4)
    moved = scheduler.step(torch.zeros_like(wide), scheduler.timesteps[0], wide)
    assert moved.pred_original_sample.min() > 9


def test_what_a_configuration_says_is_kept():
    config = {"beta_schedule": "linear", "beta_start": 0.001, "beta_end": 0.01, "steps_offset": 0}
    made = scheduler_of(config | {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True})
    assert made.config.beta_schedule == "linear" and made.config.steps_offset == 0
    assert made.config.timestep_spacing == "trailing" and made.alphas_cumprod[-1] == 0


# the hub


FILES = {
    "model_index.json": 10,
    "unet/config.json": 10,
    "unet/diffusion_pytorch_model.safetensors": 4000,
    "unet/diffusion_pytorch_model.fp16.safetensors": 2000,
    "unet/diffusion_pytorch_model.bin": 4000,
    "vae/diffusion_pytorch_model.safetensors": 300,
    "text_encoder/model.fp16-00001-of-00002.safetensors": 100,
    "text_encoder/model.fp16-00002-of-00002.safetensors": 100,
    "text_encoder/model.safetensors.index.fp16.json": 1,
    "tokenizer/vocab.json": 20,
    "safety_checker/model.safetensors": 9000,
    "v1-5-pruned.ckpt": 9000,
}


@pytest.fixture
def hub(monkeypatch, saved):
    """A hub of one repository; `calls` are the patterns that were asked for."""
    calls = []

    class Api:
        def model_info(self, repository, revision=None, files_metadata=False):
            return SimpleNamespace(
                sha="f" * 40,
                siblings=[SimpleNamespace(rfilename=n, size=s) for n, s in FILES.items()],
                card_data=SimpleNamespace(to_dict=lambda: {"license": "openrail"}),
            )

    def snapshot(repository, revision=None, allow_patterns=None, local_files_only=False):
        if local_files_only:
            raise OSError("not cached")
        calls.append(allow_patterns)
        return str(saved)

    monkeypatch.setattr(the_hub, "HfApi", Api)
    monkeypatch.setattr(the_hub, "snapshot_download", snapshot)
    return calls


def test_the_embedded_base_is_itself_by_whatever_path_it_is_named(monkeypatch):
    own = checkpoints() / "base"
    for path in (own, own / ".." / "base"):
        assert find_base(str(path)) == find_base(EMBEDDED)
    monkeypatch.chdir(own.parent)
    assert find_base("base") == find_base(EMBEDDED)


def test_licence_and_size_are_told_before_the_smallest_weights_are_fetched(hub, caplog):
    with caplog.at_level(logging.INFO):
        source = find_base("someone/portraits")
    assert source.licence == "openrail" and source.name == "someone/portraits"
    small, wanted = hub
    assert small == list(the_hub.SMALL_FILES)
    assert set(wanted) == set(FILES) - {
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "safety_checker/model.safetensors",
        "v1-5-pruned.ckpt",
    }
    assert "someone/portraits at revision ffffffffffff, licence openrail, 0.0 GB" in caplog.text


def test_another_kind_of_model_is_refused_before_its_weights_are_fetched(hub, saved, monkeypatch):
    real = the_hub.configurations

    def inpainting(source):
        parts = real(source)
        return parts | {"unet": parts["unet"] | {"in_channels": 9}}

    monkeypatch.setattr(the_hub, "configurations", inpainting)
    with pytest.raises(BadInput, match="is for inpainting"):
        find_base("someone/inpainting")
    assert len(hub) == 1


def test_pinned_models_say_what_they_are():
    for name, pinned in PINNED.items():
        assert len(pinned.revision) == 40 and pinned.bytes > 1e9 and pinned.licence
        assert licence_of(name) == licence_of(pinned.repository) == pinned.licence
    assert licence_of("embedded") == "apache-2.0" and licence_of("mine") == ""
    assert Pinned("a/b", "1" * 40, "mit", 2_140_000_000).sentence() == (
        "a/b at revision 111111111111, licence mit, 2.1 GB"
    )


def test_the_full_id_of_a_pinned_model_is_that_model(hub):
    pinned = PINNED["stable-diffusion-v1-5"]
    source = find_base(pinned.repository)
    assert source.name == "stable-diffusion-v1-5" and source.licence == pinned.licence


# without weights


def test_an_empty_base_has_every_shape_and_no_bytes(saved, original):
    base = empty_base(str(saved))
    assert all(value.is_meta for value in base.unet.parameters())
    shapes = {name: value.shape for name, value in base.unet.named_parameters()}
    assert shapes == {name: value.shape for name, value in original.unet.named_parameters()}
    assert base.diffusion.prediction == "epsilon" and base.image_size == 64


def test_a_configuration_that_makes_no_network_is_told(folder):
    change(folder, "unet", block_out_channels=[8, 16])
    with pytest.raises(UnsafeFile, match="configuration that makes no network"):
        skeleton(Source("cut", folder))
    with pytest.raises(BadInput, match="does not exist"):
        header(folder / "none.safetensors")


# precision and device


def test_a_base_in_half_precision_draws_nearly_the_same(saved):
    """Latents and steps stay in fp32; only the networks compute in bf16."""
    drawn = {}
    for name in ("fp32", "bf16"):
        base = load_base(str(saved), dtype=dtype_of(name))
        trace = sample_pair(base, compose("a photo of a woman", "a hat"), steps=3)
        assert base.dtype == dtype_of(name) and trace.original.latents.dtype == np.float32
        drawn[name] = trace.original.latents
    difference = np.abs(drawn["fp32"] - drawn["bf16"]).mean()
    assert 0 < difference < 0.05 * np.abs(drawn["fp32"]).mean()


def test_devices_and_formats_that_are_not_there_are_told():
    assert best_device("cpu") == "cpu" and best_device() in ("cpu", "cuda", "mps")
    with pytest.raises(BadInput, match="device is 'abacus' but no such device"):
        best_device("abacus")
    with pytest.raises(BadInput, match="dtype is 'int8' but must be one of fp32, bf16, fp16"):
        dtype_of("int8")

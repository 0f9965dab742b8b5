"""What a base model's name stands for, and whether it can be used, before any of its weights is
read or fetched.

A name is "embedded", one of PINNED, the full id of a hub repository (owner/name or
owner/name@revision), a folder in the layout of a diffusers StableDiffusionPipeline, or a single
.safetensors checkpoint of SD 1.x or 2.x. Every refusal is one sentence. Only safetensors are read,
no remote code is run, and licence and size are told before anything is downloaded.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import CLIPTextConfig, CLIPTextModel

from .config import EMBEDDED, check_choice
from .errors import BadInput, UnsafeFile
from .files import read_header, read_json
from .shelf import checkpoints
from .single_file import (
    CHANNELS,
    OPEN_CLIP_KEY,
    SD1,
    SD2,
    check_kind,
    expected,
    header,
    prediction_of,
    standard,
)

log = logging.getLogger(__name__)

UNET, VAE, TEXT_ENCODER, TOKENIZER, SCHEDULER = (
    "unet",
    "vae",
    "text_encoder",
    "tokenizer",
    "scheduler",
)
HUB_ID = re.compile(r"(?P<id>[\w][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")
UNREACHABLE = (HfHubHTTPError, LocalEntryNotFoundError, OSError)


@dataclass(frozen=True)
class Pinned:
    """One revision of a hub repository. bytes: of what is downloaded, about."""

    repository: str
    revision: str
    licence: str
    bytes: int

    def sentence(self) -> str:
        """What is told before a download."""
        return (
            f"{self.repository} at revision {self.revision[:12]}, licence {self.licence},"
            f" {self.bytes / 1e9:.1f} GB"
        )


PIPELINE_FILES = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    *(f"tokenizer/{one}" for one in ("merges.txt", "vocab.json")),
    *(f"tokenizer/{one}.json" for one in ("special_tokens_map", "tokenizer_config")),
    *(f"{part}/config.json" for part in (UNET, VAE, TEXT_ENCODER)),
    *(f"{part}/diffusion_pytorch_model.fp16.safetensors" for part in (UNET, VAE)),
    f"{TEXT_ENCODER}/model.fp16.safetensors",
)
"""What a Space fetches of a pinned base when it is built."""
PINNED = {
    "stable-diffusion-v1-5": Pinned(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        "creativeml-openrail-m",
        2_140_000_000,
    ),
    "stable-diffusion-2-1": Pinned(
        "stabilityai/stable-diffusion-2-1",
        "5cae40e6a2745ae2b01ad92ae5043f95f23644d6",
        "openrail++",
        2_590_000_000,
    ),
}
PINNED_CLIP = Pinned(
    "openai/clip-vit-large-patch14",
    "32bd64288804d66eefd0ccbe215aa642df71cc41",
    "mit",
    1_720_000_000,
)
PINNED_CHECKER = Pinned(
    PINNED["stable-diffusion-v1-5"].repository,
    PINNED["stable-diffusion-v1-5"].revision,
    PINNED["stable-diffusion-v1-5"].licence,
    610_000_000,
)
CHECKER_FILES = (
    "safety_checker/config.json",
    "safety_checker/model.fp16.safetensors",
    "feature_extractor/*",
)
CLIP_FILES = ("*.json", "merges.txt", "model.safetensors")
CLIP_PRELOADED = (
    *("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "vocab.json", "merges.txt", "model.safetensors"),
)
SMALL_FILES = ("model_index.json", "scheduler/*", "tokenizer/*", "*/config.json")
CLASSES = {UNET: "UNet2DConditionModel", VAE: "AutoencoderKL"}
WEIGHTS = {UNET: "diffusion_pytorch_model", VAE: "diffusion_pytorch_model", TEXT_ENCODER: "model"}
VARIANTS = ("", ".fp16", ".bf16")
"""Kinds of weight files, in the order in which they are taken; hub downloads take the smaller one
first.
"""


@dataclass(frozen=True)
class Source:
    """Where the parts of a base lie. file: a single checkpoint, whose `folder` holds
    configurations, if any.
    """

    name: str
    folder: Path
    file: Path | None = None
    licence: str = ""

    def weights(self, part: str) -> tuple[str, list[Path]]:
        """(variant, files) of a part in the folder. Raises UnsafeFile or BadInput when there are
        none that can be read.
        """
        folder, stem = self.folder / part, WEIGHTS[part]
        for variant in VARIANTS:
            one = folder / f"{stem}{variant}.safetensors"
            index = folder / f"{stem}.safetensors.index{variant}.json"
            if one.is_file():
                return variant, [one]
            if index.is_file():
                return variant, [folder / name for name in _shards(index)]
        if any(folder.glob("*.bin")) or any(folder.glob("*.ckpt")):
            raise BadInput(
                f"model {self.name} has its {part} as a .bin file, which may hold code;"
                " save it as .safetensors."
            )
        raise UnsafeFile(
            f"model {self.name} has a missing or damaged {part} folder;"
            " restore it or download it again."
        )


def preloaded(name: str) -> dict[str, str]:
    """A pinned base and its CLIP as `space.front_matter` writes them. Raises BadInput."""
    pinned = PINNED[check_choice("model", name, PINNED)]
    files = {pinned: PIPELINE_FILES, PINNED_CLIP: CLIP_PRELOADED}
    return {one.repository: f"{','.join(what)} {one.revision}" for one, what in files.items()}


def settled(name: str) -> str:
    """The name under which a program in another folder finds the same base."""
    known = name == EMBEDDED or _pinned(name)
    return name if known or not (name and Path(name).exists()) else str(Path(name).resolve())


def _pinned(name: str) -> str | None:
    """The short name of a pinned base, by that or by its repository."""
    return next((key for key, one in PINNED.items() if name in (key, one.repository)), None)


def find(name: str) -> Source:
    """The source of a base, downloaded if it is a hub id; raises BadInput for a name that stands
    for nothing.
    """
    if name == EMBEDDED:
        return Source(EMBEDDED, checkpoints() / "base", licence="apache-2.0")
    if short := _pinned(name):
        return _download(short, PINNED[short])
    path = Path(name)
    if path.is_file():
        return _single_file(path)
    if (path / "model_index.json").is_file():
        return Source(path.resolve().name, path)
    if path.is_dir() and name:
        raise BadInput(f"model is the folder {name!r}, but a model_index.json must be in it.")
    if found := HUB_ID.fullmatch(name):
        return _download(name, _described(found["id"], found["revision"]))
    raise BadInput(
        f"model is {name!r} but must be one of {', '.join([EMBEDDED, *PINNED])}, a hub id"
        " (owner/name), a folder with a model_index.json, or a .safetensors checkpoint."
    )


def _single_file(path: Path) -> Source:
    """A checkpoint file; a diffusers folder of its name beside it may describe other sizes than
    SD's.
    """
    header(path)
    return Source(path.stem, path.with_suffix(""), path)


def licence_of(name: str) -> str:
    """Licence of a base by its name, as far as it is known here; else empty."""
    if name == EMBEDDED:
        return "apache-2.0"
    short = _pinned(name)
    return PINNED[short].licence if short else ""


# downloads


def clip_source(download: bool = False) -> Path | None:
    """Folder of CLIP ViT-L/14 in the cache; with `download` it is fetched if it is not there."""
    return _fetched(PINNED_CLIP, CLIP_FILES, download)


def checker_source(download: bool = False) -> Path | None:
    """Folder in the cache whose safety_checker is that of SD 1.x; with `download` it is fetched."""
    found = _fetched(PINNED_CHECKER, CHECKER_FILES, download)
    return found if found and all(any(found.glob(one)) for one in CHECKER_FILES) else None


def _fetched(pinned: Pinned, files: Sequence[str], download: bool) -> Path | None:
    """The snapshot with these files: the cached one, else with `download` a new one."""
    options = {"revision": pinned.revision, "allow_patterns": list(files)}
    try:
        found = Path(snapshot_download(pinned.repository, local_files_only=True, **options))
        if not download or all(any(found.glob(one)) for one in files):
            return found
    except (*UNREACHABLE, ValueError):
        if not download:
            return None
    log.info("Downloads %s.", pinned.sentence())
    try:
        return Path(snapshot_download(pinned.repository, **options))
    except UNREACHABLE as error:
        raise BadInput(f"{pinned.repository} is not reachable; go online once.") from error


def _described(repository: str, revision: str | None) -> Pinned:
    """What the hub says of a repository, without downloading it; of a cached one what is known."""
    try:
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    except HFValidationError as error:
        raise BadInput(f"model is {repository!r}, which is no id of a hub repository.") from error
    except UNREACHABLE:
        return Pinned(repository, revision or "main", "see its page", 0)
    files = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    card = info.card_data.to_dict() if info.card_data else {}
    licence = card.get("license_name") or card.get("license") or "not stated"
    wanted = _wanted(files)
    return Pinned(repository, info.sha, str(licence), sum(files[name] for name in wanted))


def _wanted(files: Iterable[str]) -> list[str]:
    """The files of a repository that a base needs: of each part the smallest safetensors."""
    names = list(files)
    wanted = [name for name in names if any(fnmatch(name, pattern) for pattern in SMALL_FILES)]
    for part, stem in WEIGHTS.items():
        for variant in reversed(VARIANTS):
            patterns = [
                f"{part}/{stem}{variant}.safetensors",
                f"{part}/{stem}{variant}-0*.safetensors",
            ]
            patterns.append(f"{part}/{stem}.safetensors.index{variant}.json")
            if found := [name for name in names if any(fnmatch(name, one) for one in patterns)]:
                wanted += found
                break
    return wanted


def _download(name: str, pinned: Pinned) -> Source:
    """The snapshot of a revision: from the cache, else small files first, which may refuse it, then
    the weights.
    """
    options = {"revision": pinned.revision}
    try:
        folder = Path(snapshot_download(pinned.repository, local_files_only=True, **options))
        source = Source(name, folder, licence=pinned.licence)
        for part in WEIGHTS:
            source.weights(part)
        return source
    except (*UNREACHABLE, ValueError, UnsafeFile, BadInput):
        pass
    try:
        folder = Path(
            snapshot_download(pinned.repository, allow_patterns=list(SMALL_FILES), **options)
        )
        check_configurations(Source(name, folder), configurations(Source(name, folder)))
        log.info("Downloads %s.", pinned.sentence())
        siblings = HfApi().model_info(pinned.repository, revision=pinned.revision).siblings or ()
        wanted = _wanted(one.rfilename for one in siblings)
        folder = Path(snapshot_download(pinned.repository, allow_patterns=wanted, **options))
    except UNREACHABLE as error:
        raise BadInput(
            f"model {pinned.repository} is neither in the cache nor reachable on the hub; "
            "go online once or give a folder."
        ) from error
    return Source(name, folder, licence=pinned.licence)


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(read_json(index)["weight_map"].values()))
    except (KeyError, TypeError, AttributeError) as error:
        raise UnsafeFile(f"{index} is no index of weights; download the model again.") from error


# checks


@dataclass(frozen=True)
class Skeleton:
    """The networks of a base on the meta device: every name and shape, and no bytes."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    scheduler: dict[str, Any] = field(default_factory=dict)


def configurations(source: Source) -> dict[str, dict[str, Any]]:
    """Configuration of each part of a source. Raises UnsafeFile when one is missing or damaged,
    BadInput for a checkpoint file that is none of SD 1.x or 2.x.
    """
    if source.file and not (source.folder / "model_index.json").is_file():
        metadata, shapes = header(source.file)
        width = check_kind(source.name, shapes)
        if width not in (SD1, SD2):
            raise _refused(source, f"has text states of {width or 'several widths'}")
        return standard(width, prediction_of(source.file, metadata, shapes, width))
    if source.file:
        check_kind(source.name, header(source.file)[1])
    found = {}
    for part in (*WEIGHTS, SCHEDULER):
        file = "scheduler_config.json" if part == SCHEDULER else "config.json"
        try:
            found[part] = read_json(source.folder / part / file)
        except (BadInput, UnsafeFile) as error:
            kind = _pipeline(source)
            if not kind.startswith("StableDiffusion") or "Diffusion3" in kind:
                raise _refused(source, f"is a {kind or 'pipeline of no kind'}") from error
            raise UnsafeFile(
                f"model {source.name} has a missing or damaged {part} folder;"
                " restore it or download it again."
            ) from error
        if not isinstance(found[part], dict):
            raise UnsafeFile(f"model {source.name} has a damaged {part}/{file}.")
    return found


def check_configurations(source: Source, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises BadInput, in one sentence, for a model that is no text-to-image Stable Diffusion of
    one CLIP encoder.
    """
    unet, vae, text = parts[UNET], parts[VAE], parts[TEXT_ENCODER]
    for part, kind in CLASSES.items():
        if (found := parts[part].get("_class_name", kind)) != kind:
            raise _refused(source, f"has a {part} of kind {found}")
    if "XL" in _pipeline(source) or unet.get("addition_embed_type") == "text_time":
        raise _refused(source, "is SDXL, which has two text encoders")
    latents = vae.get("latent_channels", 4)
    if (channels := unet.get("in_channels", 4)) != latents:
        kind = CHANNELS.get(channels) if latents == 4 else None
        raise _refused(
            source, kind or f"takes {channels} channels where its latents have {latents}"
        )
    for key in (
        "addition_embed_type",
        "class_embed_type",
        "encoder_hid_dim_type",
        "num_class_embeds",
        "time_cond_proj_dim",
    ):
        if unet.get(key) is not None:
            raise _refused(source, f"has a unet with {key} {unet[key]}")
    kind = text.get("model_type") or "".join(text.get("architectures") or ["unknown"])
    if kind not in ("clip_text_model", "CLIPTextModel", "CLIPTextModelWithProjection"):
        raise _refused(source, f"has a text encoder of kind {kind} and not CLIP's")
    width, wanted = text.get("hidden_size", 512), unet.get("cross_attention_dim", 1280)
    if width != wanted:
        raise _refused(source, f"has text states of {width} where its unet wants {wanted}")
    flows = str(parts[SCHEDULER].get("_class_name", "")).startswith("FlowMatch")
    prediction = "a flow" if flows else parts[SCHEDULER].get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise _refused(source, f"predicts {prediction}")


def _pipeline(source: Source) -> str:
    """The pipeline that a folder says it is for; empty where it says none."""
    index = source.folder / "model_index.json"
    said = read_json(index) if index.is_file() else {}
    return str(said.get("_class_name", "")) if isinstance(said, dict) else ""


def _refused(source: Source, why: str) -> BadInput:
    return BadInput(
        f"model {source.name} {why}; what can be used is text-to-image Stable Diffusion 1.x"
        " and 2.x."
    )


def skeleton(source: Source) -> Skeleton:
    """The networks of a source, after every check that needs no weights. Raises BadInput or
    UnsafeFile.
    """
    parts = configurations(source)
    check_configurations(source, parts)
    try:
        with torch.device("meta"):
            text = CLIPTextConfig.from_dict(dict(parts[TEXT_ENCODER]))
            made = Skeleton(
                UNet2DConditionModel.from_config(parts[UNET]),
                AutoencoderKL.from_config(parts[VAE]),
                CLIPTextModel(text),
                dict(parts[SCHEDULER]),
            )
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise UnsafeFile(
            f"model {source.name} has a configuration that makes no network."
        ) from error
    if source.file:
        _check_file(source, made)
    else:
        for part in WEIGHTS:
            _check_tensors(source, part, getattr(made, part))
    return made


def _check_file(source: Source, made: Skeleton) -> None:
    """The same for a checkpoint file. OpenCLIP's names are left to diffusers, which refuses a lack
    of them.
    """
    there = header(source.file)[1]
    text = [(name, tuple(value.shape)) for name, value in made.text_encoder.named_parameters()]
    for part, wanted in expected(made.unet, made.vae, text).items():
        if part != TEXT_ENCODER or not any(key.startswith(OPEN_CLIP_KEY) for key in there):
            compare(source.name, part, wanted, there)


def _check_tensors(source: Source, part: str, network: torch.nn.Module) -> None:
    """Raises UnsafeFile unless the headers of a part's files have every tensor of its network in
    its shape.
    """
    there: dict[str, tuple[int, ...]] = {}
    for file in source.weights(part)[1]:
        shapes = read_header(file)[1]
        there |= {_plain(part, name): shape for name, shape in shapes.items()}
    wanted = {_plain(part, name): tuple(value.shape) for name, value in network.named_parameters()}
    compare(source.name, part, wanted, there)


def compare(
    name: str, part: str, wanted: Mapping[str, Sequence[int]], there: Mapping[str, Sequence[int]]
) -> None:
    """Raises UnsafeFile when tensors of a part are missing or of another shape."""
    if missing := [key for key in wanted if key not in there]:
        raise UnsafeFile(
            f"model {name} lacks {len(missing)} of the {len(wanted)} tensors of its {part},"
            f" {missing[0]} for one; download it again."
        )
    for key, shape in wanted.items():
        same_size = tuple(there[key]) == tuple(shape) or (
            part == VAE and [n for n in there[key] if n > 1] == [n for n in shape if n > 1]
        )
        if not same_size:
            raise UnsafeFile(
                f"model {name} has {key} of its {part} as {list(there[key])}, where its"
                f" configuration says {list(shape)}."
            )


OLD_VAE = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def _plain(part: str, name: str) -> str:
    """A tensor's name in one spelling: older files of CLIP have a prefix, older autoencoders other
    names.
    """
    if part == TEXT_ENCODER:
        return name.removeprefix("text_model.")
    if part == VAE:
        for old, new in OLD_VAE.items():
            name = name.replace(old, new)
    return name


def tokenizer_folder(source: Source) -> Path:
    """CLIP's tokenizer for a base: its own, for a checkpoint file one beside it, else that of a
    pinned model.

    Raises BadInput when there is none and the hub cannot be reached.
    """
    places = [source.folder / TOKENIZER, source.folder.parent / TOKENIZER]
    for place in places if source.file else places[:1]:
        if (place / "vocab.json").is_file() or (place / "tokenizer.json").is_file():
            return place
    if source.file is None:
        raise UnsafeFile(
            f"model {source.name} has a missing or damaged tokenizer folder;"
            " restore it or download it again."
        )
    for pinned in PINNED.values():
        options = {"revision": pinned.revision, "allow_patterns": [f"{TOKENIZER}/*"]}
        for local in (True, False):
            try:
                found = snapshot_download(pinned.repository, local_files_only=local, **options)
            except (*UNREACHABLE, ValueError):
                continue
            if (Path(found) / TOKENIZER / "vocab.json").is_file():
                return Path(found) / TOKENIZER
    raise BadInput(
        f"model {source.name} is a single file without a tokenizer, and the hub is not reachable;"
        f" put the folder {TOKENIZER} of a Stable Diffusion beside it, or go online once."
    )

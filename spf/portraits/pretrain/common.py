"""What the four trainers share: portraits as batches, and folders that are replaced whole or not at
all."""

import contextlib
import copy
import dataclasses
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spf.files import atomic, load_tensors, read_header, read_json, save_tensors, write_json
from spf.portraits.dataset import PortraitSet, cached_portraits
from spf.portraits.pretrain.presets import Preset
from spf.training import holding

log = logging.getLogger(__name__)

UNSEEN = 512
"""Portraits on which a part is measured."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training order: what to train, how large, how long, and where files go.

    checkpoints  receives the usable folders (base/vae, clip, ...), each replaced whole
    out          keeps what only a resumed run needs, drawn portraits and samples
    """

    preset: Preset
    out: Path = Path("runs/pretrain")
    checkpoints: Path = Path("checkpoints")
    steps: int | None = None
    minutes: float | None = None
    portraits: int | None = None
    seed: int = 0
    resume: bool = True

    def order(self, name: str, folder: str = "", share: float = 1.0) -> dict:
        """Arguments of `fit`: where a run keeps its state, its seed, and how long it lasts (a share
        of the given steps, or minutes, or the preset's minutes)."""
        order = {"out": self.out / (folder or name), "seed": self.seed, "resume": self.resume}
        if self.steps is not None:
            return order | {"steps": max(1, round(self.steps * share))}
        return order | {"minutes": (self.minutes or self.preset.minutes[name]) * share}

    def data(self, targets: str, *, split: str = "train", n: int | None = None) -> PortraitSet:
        """Drawn portraits of a split, drawn once and kept under `out`; 512 of the splits that
        nothing trains on."""
        count = n or self.portraits or self.preset.portraits
        count = count if split == "train" else min(count, UNSEEN)
        return cached_portraits(
            targets, count, self.seed, self.preset.image_size, self.out / "portraits", split=split
        )


def start_from(module: nn.Module, path: Path) -> bool:
    """Begin with the weights of a trained part, where there are any of the same sizes; a resumed
    state goes before them. Returns whether there were."""
    if not path.is_file():
        return False
    sizes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if sizes != read_header(path)[1]:
        log.info("%s has other sizes, so training starts anew", path)
        return False
    module.load_state_dict(load_tensors(path))
    log.info("starting from %s", path)
    return True


def beginning(module: nn.Module, file: Path, resume: bool) -> dict[str, Tensor]:
    """The weights that a run began with, which are kept in `file`, since what it saves takes the
    place of what it was given."""
    if not (resume and file.exists()):
        file.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(file, module.state_dict())
    return load_tensors(file)


def mixed(
    module: nn.Module, others: Mapping[str, Tensor], share: float
) -> contextlib.AbstractContextManager[None]:
    """Inside the block `others` have this share in the module's weights of their names."""
    own = module.state_dict()
    found = {name: own[name].lerp(value.to(own[name]), share) for name, value in others.items()}
    return holding(own, found)


def batch_indices(rng: np.random.Generator, count: int, batch: int) -> np.ndarray:
    """Sorted positions of one batch (sorted: reads from a file on disk go forward)."""
    return np.sort(rng.choice(count, size=batch, replace=batch > count))


def kept_array(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that is made once and then read from its file as it is needed."""
    if not path.exists():
        log.info("making %s", path)
        with atomic(path) as draft:
            np.save(draft, make())
    return np.load(path, mmap_mode="r", allow_pickle=False)


def generator(rng: np.random.Generator, device: torch.device) -> torch.Generator:
    """A generator on a device, seeded by the step's own."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**62)))


def noise(
    rng: np.random.Generator, shape: tuple[int, ...], device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal noise from the step's own generator, made where it is needed."""
    device = torch.device(device)
    if device.type == "cpu":
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    return torch.randn(shape, generator=generator(rng, device), device=device)


def replayed(objective: nn.Module, examples: tuple[Tensor, ...]) -> nn.Module:
    """The objective as CUDA graphs of its forward and backward passes, whose thousand small kernels
    cost the processor nothing then; on other devices as it is.

    examples  inputs as all later ones will be: same shapes, same device
    """
    if examples[0].device.type != "cuda":
        return objective
    with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
        return torch.cuda.make_graphed_callables(objective, examples, allow_unused_input=True)


def save_half(module: nn.Module, folder: Path) -> None:
    """Write a model in half precision that is read as float32.

    transformers gives a model the precision its config names, diffusers float32 whatever the file
    holds; a pipeline needs both to agree.
    """
    half = copy.deepcopy(module).cpu().to(memory_format=torch.contiguous_format).half().eval()
    half.save_pretrained(folder)
    config = read_json(folder / "config.json")
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        if "dtype" in part:
            part["dtype"] = "float32"
        part.pop("_name_or_path", None)  # a place on this machine
    write_json(folder / "config.json", config)


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Write into a new folder beside `folder`; on a clean exit it takes the place of `folder`,
    otherwise it goes."""
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        for file in part.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)  # safetensors makes private files
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(part, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)

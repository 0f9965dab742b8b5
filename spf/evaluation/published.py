"""The paper's own columns by published networks, through torchmetrics, where the weights already
lie on this machine.

Nothing is downloaded: FID and LPIPS need `pip install ".[metrics]"` and their weights in torch's
hub folder, CLIP-T and CLIP-I the CLIP that the SD 1.5 base uses, in the Hugging Face cache. They
know photographs; on drawn portraits they are weak judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache

from spf.bases.hub import clip_source
from spf.bases.pinned import PINNED_CLIP
from spf.evaluation.pictures import Album

COLUMNS = {
    "fid": "FID, Inception v3",
    "lpips": "LPIPS, AlexNet",
    "clip_t_large": "CLIP-T against the complete text, CLIP ViT-L/14",
    "clip_i_large": "CLIP-I, CLIP ViT-L/14",
}
"""Mean over the pairs of a row, without an interval."""
HUB_FILES = {
    "fid": "weights-inception-2015-12-05-6726825d.pth",
    "lpips": "alexnet-owt-7be5be79.pth",
}
LIBRARIES = {"fid": ("torchmetrics", "torch_fidelity"), "lpips": ("torchmetrics", "torchvision")}


def absent() -> dict[str, str]:
    """Columns that cannot be measured here, and why."""
    found = {}
    for name, title in COLUMNS.items():
        missing = [
            library
            for library in LIBRARIES.get(name, ("torchmetrics",))
            if find_spec(library) is None
        ]
        if missing:
            found[title] = f"needs {', '.join(missing)}, which the extra [metrics] brings"
        elif (
            name in HUB_FILES
            and not (Path(torch.hub.get_dir()) / "checkpoints" / HUB_FILES[name]).is_file()
        ):
            found[title] = f"its weights {HUB_FILES[name]} are not in torch's hub folder"
        elif name not in HUB_FILES and not _clip_is_cached():
            found[title] = f"{PINNED_CLIP.repository} is not in the Hugging Face cache"
    return found


def published(rows: Sequence[Mapping], originals: Album, pictures: Album) -> list[dict]:
    """Rows of results.json for the columns that can be measured here: method, target, measure,
    value = low = high, n.
    """
    why = absent()
    names = [name for name, title in COLUMNS.items() if title not in why]
    found = []
    if not names:
        return found
    for method, target in dict.fromkeys((row["method"], row["target"]) for row in rows):
        some = [row for row in rows if (row["method"], row["target"]) == (method, target)]
        pairs = [
            (originals.get(row["original"]), pictures.get(row["key"]), row["text"]) for row in some
        ]
        pairs = [pair for pair in pairs if pair[0] is not None and pair[1] is not None]
        if len(pairs) < 2:
            continue
        before, after = (
            torch.from_numpy(np.stack([pair[i] for pair in pairs])).permute(0, 3, 1, 2)
            for i in (0, 1)
        )
        for name in names:
            value = round(float(MEASURE[name](before, after, [pair[2] for pair in pairs])), 6)
            found.append(
                {
                    "method": method,
                    "target": target,
                    "measure": name,
                    "value": value,
                    "low": value,
                    "high": value,
                    "n": len(pairs),
                }
            )
    return found


def _clip_is_cached() -> bool:
    files = ("config.json", "model.safetensors")
    return all(
        isinstance(
            try_to_load_from_cache(PINNED_CLIP.repository, file, revision=PINNED_CLIP.revision), str
        )
        for file in files
    )


def _fid(before: torch.Tensor, after: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(2048)
    for images, real in ((before, True), (after, False)):
        for part in images.split(32):
            metric.update(part, real=real)
    return metric.compute()


def _lpips(before: torch.Tensor, after: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as distance

    parts = zip((before / 255).split(32), (after / 255).split(32), strict=True)
    return torch.cat(
        [distance(a, b, "alex", "none", normalize=True).reshape(-1) for a, b in parts]
    ).mean()


def _clip_score(source: list, target: list) -> torch.Tensor:
    """Cosine by torchmetrics, which gives it times 100."""
    from torchmetrics.functional.multimodal import clip_score
    from transformers import CLIPModel, CLIPProcessor

    def cached():
        folder = clip_source(download=True)
        return CLIPModel.from_pretrained(
            folder, local_files_only=True
        ), CLIPProcessor.from_pretrained(folder, local_files_only=True)

    return clip_score(source, target, cached) / 100


MEASURE = {
    "fid": _fid,
    "lpips": _lpips,
    "clip_t_large": lambda before, after, texts: _clip_score(list(after), list(texts)),
    "clip_i_large": lambda before, after, texts: _clip_score(list(before), list(after)),
}

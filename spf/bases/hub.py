"""Base models from the hub: the smallest safe files of a revision, from the cache where they are
there; small files come first and may refuse the model before its weights are fetched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from spf.errors import BadInput, UnsafeFile

from .checks import check_configurations, configurations
from .pinned import CHECKER_FILES, CLIP_FILES, PINNED, PINNED_CHECKER, PINNED_CLIP, Pinned
from .source import TOKENIZER, VARIANTS, WEIGHTS, Source

log = logging.getLogger(__name__)

UNREACHABLE = (HfHubHTTPError, LocalEntryNotFoundError, OSError)
SMALL_FILES = ("model_index.json", "scheduler/*", "tokenizer/*", "*/config.json")


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


def looked_up(repository: str, revision: str | None) -> Pinned:
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
    wanted = _smallest(files)
    return Pinned(repository, info.sha, str(licence), sum(files[name] for name in wanted))


def _smallest(files: Iterable[str]) -> list[str]:
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


def downloaded(name: str, pinned: Pinned) -> Source:
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
        wanted = _smallest(one.rfilename for one in siblings)
        folder = Path(snapshot_download(pinned.repository, allow_patterns=wanted, **options))
    except UNREACHABLE as error:
        raise BadInput(
            f"model {pinned.repository} is neither in the cache nor reachable on the hub; "
            "go online once or give a folder."
        ) from error
    return Source(name, folder, licence=pinned.licence)


def clip_tokenizer() -> Path | None:
    """CLIP's tokenizer of a pinned model, cached or fetched; None where none is reachable."""
    for pinned in PINNED.values():
        options = {"revision": pinned.revision, "allow_patterns": [f"{TOKENIZER}/*"]}
        for local in (True, False):
            try:
                found = snapshot_download(pinned.repository, local_files_only=local, **options)
            except (*UNREACHABLE, ValueError):
                continue
            if (Path(found) / TOKENIZER / "vocab.json").is_file():
                return Path(found) / TOKENIZER
    return None

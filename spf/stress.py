"""The long forms of the tests on robustness: many broken inputs, kills, threads and clients, each
told in numbers.

fuzz(1000)                   # broken files and texts: each is read or refused in words
kills(5, folder)             # a job killed at random ends in the weights of one left alone
threads(engine, 8, 50)       # mixed requests at once give what each gives alone
clients(url, 50, 600)        # the same over the network, with the memory that it took
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import random
import signal
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from . import userdata
from .config import GenerateConfig
from .encodings import decoded
from .engine import Engine, Result
from .errors import SpfError
from .files import load_tensors, open_image, read_json
from .jobs import ENDED, Jobs
from .prompts import compose

log = logging.getLogger(__name__)
HAT = userdata.Wish("a hat")
TEXTS = (
    "a woman, (a hat:1.3), smiling <lora:x:1>",
    "a man without a hat, 帽子, “quoted” \u200b\u202e",
    "{[((a hat)))]}, wearing, and, with with, -",
)
ALPHABET = "ah t,.;:()[]{}<>\\|'\"-–’“帽é\u0301\u200b\u202e\ud83d\x00\n\t0123456789"
Show = Callable[[int, int], None]


def _quiet(done: int, total: int) -> None:
    pass


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes with a few of them changed, cut out, repeated, or the end missing."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made) + 1)
        kind = rng.randrange(4)
        if kind == 0 and at < len(made):
            made[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del made[at : at + rng.randint(1, 40)]
        elif kind == 2:
            made[at:at] = made[at : at + rng.randint(1, 40)]
        else:
            made = made[: max(1, at)]
    return bytes(made)


def _pictures() -> list[bytes]:
    found = []
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 4), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"):
        exif = Image.Exif()
        exif[0x0112] = 6
        held = io.BytesIO()
        extra = {"exif": exif.tobytes()} if kind in ("PNG", "JPEG", "WEBP", "AVIF") else {}
        image.convert("RGB" if kind in ("JPEG", "BMP") else "RGBA").save(held, kind, **extra)
        found.append(held.getvalue())
    return found


def _archive() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", _pictures()[0])
        archive.writestr("a/0.txt", TEXTS[0])
        archive.writestr("metadata.csv", "file_name,text\na/0.png,x\n")
    return held.getvalue()


def readers(folder: Path) -> dict[str, tuple[list[bytes], Callable[[bytes], Any]]]:
    """Every reader of what strangers bring: whole inputs to break, and what reads them."""

    def by_file(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
        def through(data: bytes) -> Any:
            (folder / name).write_bytes(data)
            return read(folder / name)

        return through

    def table(name: str) -> Callable[[bytes], Any]:
        return by_file(name, lambda path: userdata.check([path], HAT))

    def unpack(path: Path) -> Any:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            return userdata.check(userdata.unpacked([path], place), HAT)

    def caption(data: bytes) -> Any:
        return userdata.texts(decoded(data)[0], "", HAT)

    def prompt(data: bytes) -> Any:
        text = data.decode("utf-8", "surrogateescape")
        return compose(text, text[:50]), GenerateConfig(text)

    texts = [text.encode("utf-8", "ignore") for text in TEXTS]
    rows = json.dumps({"file_name": "a.png", "text": TEXTS[0]}).encode()
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(8)
    return {
        "picture": (_pictures(), by_file("a.png", lambda path: open_image(path, 64))),
        "archive": ([_archive()], by_file("a.zip", unpack)),
        "jsonl": ([rows + b"\n" + rows], table("metadata.jsonl")),
        "csv": ([b"file_name;text\na.png;x\n" * 2], table("metadata.csv")),
        "caption": (texts, caption),
        "prompt": (texts, prompt),
        "json": ([rows], by_file("a.json", read_json)),
        "weights": ([weights], by_file("a.safetensors", load_tensors)),
        "set": ([b'{"wish": {"target": "a"}, "items": []}'], _stored(folder)),
    }


def _stored(folder: Path) -> Callable[[bytes], Any]:
    def through(data: bytes) -> Any:
        (folder / "dataset.json").write_bytes(data)
        return userdata.load(folder)

    return through


def fuzz(count: int, seed: int = 0, show: Show = _quiet) -> dict[str, dict[str, int]]:
    """`count` broken inputs for each reader: how many were read, refused in words, and failed in
    any other way.
    """
    results = {}
    with tempfile.TemporaryDirectory() as place:
        chosen = readers(Path(place))
        for index, (name, (wholes, read)) in enumerate(chosen.items()):
            rng, told = random.Random(f"{seed} {name}"), Counter(read=0, refused=0, failed=0)
            for number in range(count):
                data = mutated(rng.choice(wholes), rng)
                if name in ("caption", "prompt") and number % 2:
                    letters = "".join(rng.choices(ALPHABET, k=rng.randint(0, 80)))
                    data = letters.encode("utf-8", "surrogatepass")
                try:
                    read(data)
                    told["read"] += 1
                except SpfError:
                    told["refused"] += 1
                except Exception:
                    told["failed"] += 1
                    log.exception("%s failed on input %d of seed %d", name, number, seed)
                show(index * count + number + 1, len(chosen) * count)
            results[name] = dict(told)
    return results


def kills(
    count: int, folder: str | Path, request: dict | None = None, seed: int = 0, show: Show = _quiet
) -> dict[str, Any]:
    """A job killed `count` times at random moments and resumed: whether it ends in the weights of
    one left alone.

    lost: the most seconds between the last kept state and a kill.
    """
    jobs, rng = Jobs(Path(folder) / "jobs", Path(folder) / "adapters"), random.Random(seed)
    request = request or {"data": "hat", "method": "naive", "steps": 60, "images": 16}

    def finished(name: str, to_kill: int) -> dict[str, Any]:
        left, lost, began = to_kill, 0.0, time.monotonic()
        while True:
            status = jobs.status(name)
            if status.phase == "done":
                return {"status": status, "killed": to_kill - left, "lost": lost}
            if status.phase in ENDED:
                jobs.resume(name)
                began = time.monotonic()
            elif left and time.monotonic() - began > rng.uniform(5.0, 40.0):
                state = jobs.root / name / "state" / "state.json"
                if state.is_file() and status.step:
                    lost = max(lost, time.time() - state.stat().st_mtime)
                os.kill(status.pid, signal.SIGKILL)
                left -= 1
                show(to_kill - left, to_kill)
                time.sleep(0.5)
            time.sleep(0.2)

    alone = finished(jobs.start(request), 0)["status"]
    told = finished(jobs.start(request), count)
    first, second = (load_tensors(one.adapter) for one in (alone, told["status"]))
    equal = first.keys() == second.keys() and all((first[k] == second[k]).all() for k in first)
    return {"killed": told["killed"], "equal": bool(equal), "lost": round(told["lost"], 1)}


def _config(number: int) -> GenerateConfig:
    texts = ("a photo of a young woman", "a photo of an old man with a beard")
    targets = (("a hat",), ("sunglasses",), ())[number % 3]
    return GenerateConfig(texts[number % 2], targets, seed=number, steps=2)


def drawn(engine: Engine, config: GenerateConfig) -> str:
    """The portraits of a drawing as one number."""
    result = next(event for event in engine.compare(config) if isinstance(event, Result))
    held = b"".join(result.portraits[role].tobytes() for role in sorted(result.portraits))
    return hashlib.sha256(held).hexdigest()


def threads(engine: Engine, count: int, each: int, show: Show = _quiet) -> dict[str, int]:
    """`count` threads with `each` mixed requests: drawings, hints and bad input. wrong: other than
    alone.
    """
    engine.load()
    alone = {number: drawn(engine, _config(number)) for number in range(12)}
    told, lock, done = Counter(right=0, wrong=0, failed=0), threading.Lock(), [0]

    def work(index: int) -> None:
        rng = random.Random(index)
        for _ in range(each):
            number, kind = rng.randrange(12), rng.randrange(3)
            try:
                if kind == 0:
                    found = "right" if drawn(engine, _config(number)) == alone[number] else "wrong"
                elif kind == 1:
                    engine.words(_config(number))
                    found = "right"
                else:
                    found = "right" if _refused(engine) else "wrong"
            except Exception:
                log.exception("A request failed beside others.")
                found = "failed"
            with lock:
                told[found] += 1
                done[0] += 1
                show(done[0], count * each)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return dict(told)


def _refused(engine: Engine) -> bool:
    try:
        list(engine.compare(GenerateConfig("a man", ("x" * 900,), steps=2)))
    except SpfError:
        return True
    return False


def clients(url: str, count: int, seconds: float, show: Show = _quiet) -> dict[str, Any]:
    """`count` visitors for some time on a page that this process serves.

    growth: of the memory, as a share, after a minute. busy: refusals for want of a place, which
    are right.
    """
    from gradio_client import Client

    known: dict[int, str] = {}
    told, lock = Counter(right=0, wrong=0, busy=0, failed=0), threading.Lock()
    began, me = time.monotonic(), psutil.Process()
    first = 0

    def visit(index: int) -> None:
        rng, client = random.Random(index), Client(url, verbose=False)
        while time.monotonic() - began < seconds:
            number = rng.randrange(6)
            config = _config(number)
            try:
                asked = {"base": config.base, "target": " + ".join(config.targets)}
                answer = client.predict(**asked, seed=number, steps=2, api_name="/compare")
                picture = hashlib.sha256(str(answer["portraits"]).encode()).hexdigest()
                with lock:
                    same = known.setdefault(number, picture) == picture
                    told["right" if same else "wrong"] += 1
            except Exception as error:
                with lock:
                    told["busy" if "usy" in str(error) or "503" in str(error) else "failed"] += 1
                time.sleep(rng.uniform(0.5, 2.0))

    workers = [threading.Thread(target=visit, args=(index,), daemon=True) for index in range(count)]
    for worker in workers:
        worker.start()
    while (now := time.monotonic() - began) < seconds:
        if not first and now > min(60.0, seconds / 3):
            first = me.memory_info().rss
        show(int(now), int(seconds))
        time.sleep(1.0)
    for worker in workers:
        worker.join(120)
    return dict(told) | {"growth": round(me.memory_info().rss / first - 1, 3)}

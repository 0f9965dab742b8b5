"""The long forms of the tests on robustness: many broken inputs, kills, threads and clients, each
told in numbers.

fuzz(1000)                   # broken files and texts: each is read or refused in words
kills(5, folder)             # a job killed at random ends in the weights of one left alone
threads(engine, 8, 50)       # mixed requests at once give what each gives alone
with served() as (url, server):             # the page in a process of its own
    clients(url, 50, 600, server=server)    # the same over the network, and what memory it took
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from . import userdata
from .answers import Result
from .config import GenerateConfig
from .encodings import decoded
from .engine import Engine
from .errors import SpfError
from .files import load_tensors, read_json
from .images import open_image
from .jobs import ENDED, Jobs, Status
from .prompts import compose

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[1]
HAT = userdata.Wish("a hat")
TEXTS = (
    "a woman, (a hat:1.3), smiling <lora:x:1>",
    "a man without a hat, 帽子, “quoted” \u200b\u202e",
    "{[((a hat)))]}, wearing, and, with with, -",
)
ALPHABET = "ah t,.;:()[]{}<>\\|'\"-–’“帽é\u0301\u200b\u202e\ud83d\x00\n\t0123456789"
Show = Callable[[int, int], None]
OVER = (*ENDED, "done")
"""Phases of a job that no process works at."""
PATIENCE = 120.0
"""Seconds that a visitor waits for an answer."""


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


@dataclass(frozen=True)
class Life:
    """One process of a job, watched to its end. first: when its first step was seen, None if it
    made none. lasted: until its end or its kill; both in seconds.
    """

    status: Status
    first: float | None
    lasted: float
    killed: bool = False


def _live(jobs: Jobs, name: str, due: float = math.inf) -> Life:
    """Watches a job that has just been started, and kills it once it is due."""
    began, known, first = time.monotonic(), jobs.status(name).step, None
    while True:
        status, lasted = jobs.status(name), time.monotonic() - began
        if first is None and status.step != known:
            first = lasted
        if status.phase in OVER:
            return Life(status, first, lasted)
        if lasted >= due and status.pid:
            os.kill(status.pid, signal.SIGKILL)
            while jobs.status(name).phase not in OVER:
                time.sleep(0.1)
            return Life(jobs.status(name), first, lasted, killed=True)
        time.sleep(0.1)


def kills(
    count: int, folder: str | Path, request: dict | None = None, seed: int = 0, show: Show = _quiet
) -> dict[str, Any]:
    """A job killed `count` times while it starts and while it trains, and resumed each time:
    whether it ends in the weights of one left alone.

    training: the kills after a step. lost: the most seconds of training that no state kept.
    """
    jobs, rng = Jobs(Path(folder) / "jobs", Path(folder) / "adapters"), random.Random(seed)
    request = request or {"data": "hat", "method": "naive", "steps": 120, "images": 16}
    alone = _live(jobs, jobs.start(request))
    starting = alone.first or alone.lasted
    each = 2 * (alone.lasted - starting) / (count + 1)

    name, killed, training, lost = jobs.start(request), 0, 0, 0.0
    life = _live(jobs, name, rng.uniform(0.5 * starting, starting + each))
    while life.killed:
        killed += 1
        if life.first is not None:
            training += 1
            state = jobs.root / name / "state" / "state.json"
            kept = time.time() - state.stat().st_mtime if state.is_file() else math.inf
            lost = max(lost, min(kept, life.lasted - life.first))
        show(killed, count)
        jobs.resume(name)
        due = rng.uniform(0.5 * starting, starting + each)
        life = _live(jobs, name, due if killed < count else math.inf)

    ends = [one.status for one in (alone, life)]
    told = {"killed": killed, "training": training, "lost": round(lost, 1)}
    if any(status.phase != "done" for status in ends):
        return told | {"equal": False, "ended": [status.message for status in ends]}
    first, second = (load_tensors(status.adapter) for status in ends)
    same = first.keys() == second.keys() and all((first[k] == second[k]).all() for k in first)
    return told | {"equal": bool(same)}


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


@contextmanager
def served(patience: float = PATIENCE) -> Iterator[tuple[str, int]]:
    """The page, by app.py in a process and a folder of its own: its address and the process.
    Raises SpfError where it does not answer within so many seconds.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": paths, "GRADIO_TEMP_DIR": folder}
        log_file = Path(folder) / "log"
        with log_file.open("w", encoding="utf-8") as said:
            server = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=said, stderr=said
            )
        try:
            url, end = f"http://127.0.0.1:{port}/", time.monotonic() + patience
            while not _answers(url):
                if server.poll() is not None or time.monotonic() > end:
                    told = log_file.read_text(encoding="utf-8", errors="replace")[-2000:]
                    raise SpfError(f"The page did not open. What it said last: {told}")
                time.sleep(0.2)
            yield url, server.pid
        finally:
            server.kill()
            server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except OSError:
        return False


def clients(
    url: str, count: int, seconds: float, show: Show = _quiet, server: int | None = None
) -> dict[str, Any]:
    """`count` visitors, each with an address as behind a proxy, for some time on a page that the
    process `server` serves, or this one.

    memory: of the server alone, in MB, at the end; growth: of it, as a share, after a minute and
    a first picture, for which the model is loaded.
    busy: refusals for want of a place, which are right.
    """
    from gradio_client import Client
    from gradio_client.utils import QueueError

    known: dict[int, str] = {}
    told, lock = Counter(right=0, wrong=0, busy=0, failed=0), threading.Lock()
    began, page = time.monotonic(), psutil.Process(server)
    first, warm = page.memory_info().rss, False

    def visit(index: int) -> None:
        rng, client = random.Random(index), None
        address = {"x-forwarded-for": f"10.0.{index // 250}.{index % 250 + 1}"}
        while time.monotonic() - began < seconds:
            number = rng.randrange(6)
            config = _config(number)
            try:
                client = client or Client(
                    url, verbose=False, headers=address, httpx_kwargs={"timeout": PATIENCE}
                )
                asked = {"base": config.base, "target": " + ".join(config.targets)}
                answer = client.predict(**asked, seed=number, steps=2, api_name="/compare")
                picture = hashlib.sha256(str(answer["portraits"]).encode()).hexdigest()
                with lock:
                    same = known.setdefault(number, picture) == picture
                    told["right" if same else "wrong"] += 1
            except Exception as error:
                busy = isinstance(error, QueueError)
                if not busy:
                    log.exception("A visitor was not served.")
                with lock:
                    told["busy" if busy else "failed"] += 1
                time.sleep(rng.uniform(0.5, 2.0))

    workers = [threading.Thread(target=visit, args=(index,), daemon=True) for index in range(count)]
    for worker in workers:
        worker.start()
    while (now := time.monotonic() - began) < seconds:
        if not warm and now > min(60.0, seconds / 3) and told["right"]:
            first, warm = page.memory_info().rss, True
        show(int(now), int(seconds))
        time.sleep(1.0)
    for worker in workers:
        worker.join(PATIENCE)
    last = page.memory_info().rss
    return dict(told) | {"memory": last // 10**6, "growth": round(last / first - 1, 3)}

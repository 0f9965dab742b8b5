"""Where the page runs, and how it borrows the GPU that a ZeroGPU Space lends for the length of one
call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import lru_cache, wraps
from html import unescape
from pathlib import Path

import gradio as gr

from spf.answers import Progress, Result
from spf.config import GenerateConfig
from spf.engine import Engine
from spf.errors import SpfError, placeless
from spf.worker import Worker

from .boundary import Worded, reported
from .texts import both, same

SLICE, SPARE = 60, 15
"""Seconds of a lent GPU that a slice of fine-tuning asks for, and that are left for what comes
after its last step.
"""


LOST = "ZeroGPU worker error"
"""Title of what the platform raises when a worker is gone or has failed without our words."""


class NotLent(Worded):
    """Why a call on the lent GPU ended: what was explained there, what the Space says of its quota
    and its queue, or that it took the GPU back.
    """


def on_zero_gpu() -> bool:
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "t")


def on_space() -> bool:
    """Whether this runs as a Hugging Face Space, which sets the server's address itself."""
    return bool(os.environ.get("SPACE_ID"))


CODE = "code.zip"
"""Under this name a page gives away the code that runs it."""


def source() -> str:
    """Where visitors find the code that runs: the Space's own place, else the page itself."""
    space = os.environ.get("SPACE_ID")
    return f"https://huggingface.co/spaces/{space}/tree/main" if space else CODE


def may_train() -> bool:
    """Fine-tuning is for one's own machine or copy; SPF_TRAINING=1 switches it on there."""
    return not on_space() or os.environ.get("SPF_TRAINING") == "1"


def on_gpu(function: Callable[..., Iterator], seconds: Callable[..., int]) -> Callable:
    """The generator `function` as the Space runs it: in a forked worker, for at most
    seconds(*arguments).

    Errors that are explained arrive as SpfError with their sentence, as they do without a worker.
    """
    if not on_zero_gpu():
        return function
    # only there: it must come before torch touches CUDA, and it is not needed anywhere else
    import spaces

    return received(spaces.GPU(duration=seconds)(sent(function)))


@lru_cache(maxsize=4)
def lent_drawing(engine: Engine) -> Callable[..., Iterator[Progress | Result]]:
    """`Engine.compare` as the Space runs it: one function for the whole page, since each has
    processes of its own. What it draws tells the engine how many seconds to ask for.
    """

    def draw(config: GenerateConfig, maps: bool = False) -> Iterator[Progress | Result]:
        yield from engine.compare(config, maps)

    lent = on_gpu(draw, engine.seconds)

    def timed(config: GenerateConfig, maps: bool = False) -> Iterator[Progress | Result]:
        with closing(lent(config, maps)) as events:
            for event in events:
                if isinstance(event, Result):
                    engine.learn(event)
                yield event

    return timed


@lru_cache(maxsize=4)
def lent_reading(engine: Engine) -> Callable[..., Iterator]:
    """`Engine.reread` as the Space runs it."""

    def read(config: GenerateConfig, word: str = "") -> Iterator:
        yield from engine.reread(config, word)

    return on_gpu(read, lambda config, word="": engine.seconds(config))


def lent_training(engine: Engine) -> Callable[[str, str], Iterator]:
    """One slice of a fine-tuning job, for `SlicedJobs`."""

    def train(folder: str, adapters: str) -> Iterator[int]:
        yield Worker(Path(folder), Path(adapters), engine, SLICE - SPARE).run()

    return on_gpu(train, lambda *_: SLICE)


def sent(function: Callable[..., Iterator]) -> Callable[..., Iterator]:
    """The worker's side: of all exceptions only gr.Error keeps its words on the way out of it."""

    @wraps(function)
    def worker(*arguments):
        try:
            yield from function(*arguments)
        except SpfError as error:
            raise gr.Error(placeless(error), print_exception=False) from None
        except Exception as error:
            raise gr.Error(reported(error)["en"], print_exception=False) from None

    return worker


def received(function: Callable[..., Iterator]) -> Callable[..., Iterator]:
    """The page's side: whatever comes out of a worker, or of the Space itself, is a sentence for
    the visitor. Raises SpfError only.
    """

    @wraps(function)
    def call(*arguments):
        try:
            yield from function(*arguments)
        except SpfError:
            raise
        except Exception as error:
            raise NotLent(ending(error)) from None

    return call


def ending(error: Exception) -> dict[str, str]:
    """Why a call ended, in words: a GPU that was taken back, a worker or a Space that failed, or
    what either of them says.
    """
    if not isinstance(error, gr.Error):
        return reported(error, "error.gpu")
    said = plain(str(error.message))
    if error.title == LOST:
        return both("error.taken") if "abort" in said else reported(error, "error.gpu")
    return same(said)


def plain(text: str) -> str:
    """A message without the markup that some notices of the platform have."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())

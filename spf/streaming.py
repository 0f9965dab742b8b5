"""Work in a thread of its own, seen as the stream of what it tells.

The thread holds what must be given back, so closing the stream is how its work is stopped: it is
over when the stream is.
"""

from __future__ import annotations

import gc
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from .errors import Cancelled, SpfError, out_of_memory
from .relied import unlike

Tell = Callable[[Any], None]
"""What the work calls with everything that is to be seen."""
Check = Callable[[], None]
"""What the work calls now and then; raises Cancelled once nobody listens any more."""


class Crashed(Exception):
    """A bug or a broken library: the text is the traceback. The exception itself would keep its
    tensors alive.
    """


def streamed(work: Callable[[Tell, Check], None]) -> Iterator[Any]:
    """Runs work(tell, check) in a thread and yields what it tells; closing the iterator makes its
    next check() stop it. Raises SpfError or Crashed, see `plainly`.
    """
    events: queue.SimpleQueue = queue.SimpleQueue()
    stop = threading.Event()
    ended = object()

    def check() -> None:
        if stop.is_set():
            raise Cancelled("Stopped.")

    def run() -> None:
        try:
            work(events.put, check)
        except BaseException as error:
            events.put(plainly(error))
        events.put(ended)

    thread = threading.Thread(target=run, name="draw", daemon=True)
    thread.start()
    try:
        while (event := events.get()) is not ended:
            if isinstance(event, Exception):
                raise event
            yield event
    finally:
        stop.set()
        thread.join()  # the lock is free and the network as it was before anybody else is let in
        _tidy()


def plainly(error: BaseException) -> Exception:
    """The same failure without its frames, which would keep every tensor of the work alive."""
    if isinstance(error, SpfError):
        return type(error)(str(error))
    if out_of_memory(error):
        return SpfError(
            "There is not enough memory for this drawing; close other programs "
            "or choose fewer steps."
        )
    if isinstance(error, ImportError) and (changed := unlike(error)):
        return changed
    return Crashed("".join(traceback.format_exception(error)))


def _tidy() -> None:
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()

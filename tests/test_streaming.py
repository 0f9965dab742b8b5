"""Work in a thread is seen as it goes, ends when nobody listens, and fails in words."""

import gc
import threading
import weakref

import pytest

from spf.errors import BadInput, Cancelled, NotFinite, SpfError, out_of_memory
from spf.streaming import Crashed, plainly, streamed


def test_what_is_told_comes_in_order_and_the_thread_is_gone():
    before = threading.active_count()
    assert list(streamed(lambda tell, check: [tell(number) for number in range(5)])) == [*range(5)]
    assert threading.active_count() == before


def test_who_stops_listening_ends_the_work_before_anything_else_is_done():
    ended, more = [], threading.Event()

    def work(tell, check):
        try:
            for number in range(1000):
                check()
                tell(number)
                more.wait(1.0)
        except Cancelled:
            ended.append(number)
            raise

    stream = streamed(work)
    assert next(stream) == 0
    more.set()
    stream.close()
    assert ended and 0 < ended[0] < 1000


@pytest.mark.parametrize(
    "error, kind, words",
    [
        (BadInput("steps is 0."), BadInput, "steps is 0."),
        (NotFinite("NaN in latents."), NotFinite, "NaN in latents."),
        (MemoryError(), SpfError, "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried"), SpfError, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), SpfError, "not enough memory"),
        (ZeroDivisionError("by 0"), Crashed, "ZeroDivisionError: by 0"),
        (KeyboardInterrupt(), Crashed, "KeyboardInterrupt"),
        (ImportError("no x", name="somebody"), Crashed, "no x"),
    ],
)
def test_a_failure_of_the_work_is_one_of_the_stream(error, kind, words):
    class Large:
        """Stands for a tensor that only the frames of the failure hold."""

    held = []

    def work(tell, check):
        large = Large()
        held.append(weakref.ref(large))
        raise error

    with pytest.raises(kind) as caught:
        list(streamed(work))
    assert type(caught.value) is kind and words in str(caught.value)
    error.__traceback__ = None
    gc.collect()
    assert held[0]() is None, "its frames are gone"


def test_memory_is_not_blamed_for_everything():
    assert not out_of_memory(RuntimeError("the memory of an elephant"))
    assert type(plainly(OSError("full"))) is Crashed

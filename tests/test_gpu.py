"""On a lent GPU the visitor reads the sentences that he would read anywhere, and those of the
platform itself.
"""

import json
import queue
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import gradio as gr
import pytest

from spf.errors import BadInput, SpfError
from spf.jobs import STATE, SlicedJobs
from spf.ui.boundary import sentence
from spf.ui.gpu import NotLent, plain, received, sent
from spf.ui.texts import both


def worker(*events):
    def draw(config):
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    return received(sent(draw))


def test_what_is_drawn_comes_through_and_what_is_explained_stays_explained():
    assert list(worker(1, 2)("x")) == [1, 2]
    events = worker(1, BadInput("target is empty but must be a text."))("x")
    assert next(events) == 1
    with pytest.raises(SpfError, match="^target is empty but must be a text.$"):
        next(events)


def test_a_bug_in_a_worker_is_told_with_a_code_and_without_its_traceback(caplog):
    with pytest.raises(NotLent, match="Code") as error:
        list(worker(ZeroDivisionError("secret"))("x"))
    assert "secret" not in str(error.value) and "secret" in caplog.text


def test_notices_of_the_platform_are_read_as_they_are():
    def lent(config):
        raise gr.Error(
            "You have exceeded your GPU quota (60s requested, 12s left). <a href='x'>PRO</a>"
        )
        yield

    with pytest.raises(NotLent, match=r"^You have exceeded .*12s left\). PRO$"):
        list(received(lent)("x"))
    assert plain("a &amp; b<br>c") == "a & b c"


def taken():
    """As the platform says that a worker is gone."""
    return gr.Error("GPU task aborted", title="ZeroGPU worker error")


def test_a_gpu_that_is_taken_back_is_told_in_every_language():
    def lent(config):
        yield 1
        raise taken()

    events = received(lent)("x")
    assert next(events) == 1
    with pytest.raises(NotLent) as error:
        next(events)
    assert str(error.value) == "The Space took its GPU back before this was finished. Try again."
    assert sentence(error.value) == both("error.taken") and both("error.taken")["zh"] != str(
        error.value
    )


@pytest.mark.parametrize(
    "failure",
    [
        gr.Error("AssertionError", title="ZeroGPU worker error"),
        RuntimeError("ZeroGPU API /schedule error: 500"),
        queue.Empty(),
        ConnectionResetError("reset by 10.0.0.1"),
    ],
)
def test_what_the_platform_does_not_explain_is_a_sentence_with_a_code(failure, caplog):
    def lent(config):
        raise failure
        yield

    with pytest.raises(NotLent, match=r"^The GPU of this Space could not be used.* Code \w{4}"):
        list(received(lent)("x"))
    assert type(failure).__name__ in caplog.text


def test_what_is_refused_before_anything_is_lent_keeps_its_words():
    def lent(config):
        raise BadInput("beside has 3 tuned models but at most 2 are allowed.")
        yield

    with pytest.raises(BadInput, match="^beside has 3"):
        list(received(lent)("x"))


def test_a_job_whose_gpu_is_taken_back_stops_and_goes_on_as_the_same(tmp_path):
    """The worker dies in the middle of its second slice: what it wrote last is not the truth."""
    died = []

    def lend(folder, adapters):
        file = Path(folder) / STATE
        state = json.loads(file.read_text())
        step = state.get("step", 0) + 3
        file.write_text(json.dumps(state | {"step": step, "phase": "running"}))
        if step == 6 and not died:
            died.append(step)
            raise taken()
        phase = "done" if step > 8 else "paused"
        yield file.write_text(json.dumps(state | {"step": step, "phase": phase}))

    jobs = SlicedJobs(tmp_path / "jobs", tmp_path / "adapters", received(lend))
    name = jobs.start({"data": "hat", "method": "naive", "steps": 8})
    with pytest.raises(NotLent, match="took its GPU back"):
        list(jobs.attend(name))
    assert jobs.status(name).phase == "stopped" and jobs.active() is None
    jobs.resume(name)
    assert [jobs.status(name).step for _ in jobs.attend(name)] == [9]
    assert jobs.status(name).phase == "done"


PICKLED = """
import inspect, pickle, sys, torch
torch.version.cuda = "12.8"
while True:  # the package looks for parts of torch that a build for processors lacks
    try:
        from spaces.zero import wrappers
        from spaces.zero.wrappers import error as lost, exception_result
        break
    except AttributeError as error:
        setattr(torch._C, str(error).rsplit("'", 2)[1], lambda *a, **k: None)
        for name in [name for name in sys.modules if name.startswith("spaces")]:
            del sys.modules[name]
from spf.errors import BadInput
from spf.ui.gpu import LOST, ending, sent

def draw(config):
    raise BadInput("steps is 0 but must be a whole number from 1 to 200.")
    yield

try:
    list(sent(draw)("x"))
except Exception as error:
    print(pickle.loads(pickle.dumps(exception_result(error))).gradio_error.message)
try:
    list(draw("x"))
except Exception as error:
    print(pickle.loads(pickle.dumps(exception_result(error))).gradio_error)
assert repr(LOST)[1:-1] in inspect.getsource(wrappers.generator_function_wrapper)
print(ending(lost(LOST, "GPU task aborted"))["en"])
"""


@pytest.mark.skipif(find_spec("spaces") is None, reason="only Spaces have the package spaces")
def test_the_real_package_hands_on_our_sentences_and_not_our_classes():
    ran = subprocess.run([sys.executable, "-c", PICKLED], capture_output=True, text=True)
    assert ran.stdout.splitlines() == [
        "steps is 0 but must be a whole number from 1 to 200.",
        "None",
        "The Space took its GPU back before this was finished. Try again.",
    ], ran.stderr[-500:]

"""On a lent GPU the visitor reads the sentences that he would read anywhere, and those of the
platform itself.
"""

import subprocess
import sys
from importlib.util import find_spec

import gradio as gr
import pytest

from spf.errors import BadInput, SpfError
from spf.ui.gpu import NotLent, plain, received, sent


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


PICKLED = """
import pickle, sys, torch
torch.version.cuda = "12.8"
while True:  # the package looks for parts of torch that a build for processors lacks
    try:
        from spaces.zero.wrappers import exception_result
        break
    except AttributeError as error:
        setattr(torch._C, str(error).rsplit("'", 2)[1], lambda *a, **k: None)
        for name in [name for name in sys.modules if name.startswith("spaces")]:
            del sys.modules[name]
from spf.errors import BadInput
from spf.ui.gpu import sent

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
"""


@pytest.mark.skipif(find_spec("spaces") is None, reason="only Spaces have the package spaces")
def test_the_real_package_hands_on_our_sentences_and_not_our_classes():
    ran = subprocess.run([sys.executable, "-c", PICKLED], capture_output=True, text=True)
    assert ran.stdout.splitlines() == [
        "steps is 0 but must be a whole number from 1 to 200.",
        "None",
    ], ran.stderr[-500:]

"""The engine on the tiny random model: it streams, it stops, it leaves nothing behind, it tells the
truth.
"""

import os
import pickle
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import new_tiny_base
from fake_engine import FakeEngine
from safetensors.torch import save_file

from spf.answers import Progress, Result
from spf.config import AUTO, GenerateConfig
from spf.engine import Engine
from spf.errors import BadInput, NotFinite, SpfError, UnsafeFile
from spf.files import load_tensors
from spf.paths import Adapter, save_adapter
from spf.sampling import Kept, counting
from spf.shelf import NAIVE, ORIGINAL, TUNED
from spf.streaming import Crashed
from spf.weights import note

CONFIG = GenerateConfig(
    "a photo of a young woman with long hair", ("a hat",), seed=3, steps=4, adapter=AUTO
)


ABOUT = {
    "method": "spf",
    "base_model": "unknown",
    "target": "a hat",
    "steps": "1",
    "losses": "{}",
    "versions": "{}",
}


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """The engine around the tiny base, with the adapters hat and hat-naive."""
    base = new_tiny_base()
    monkeypatch.setattr("spf.bases.reading.load_base", lambda name, **_: base)
    names = [name for name, _ in base.unet.named_parameters() if "attn2.to_v" in name]
    for name, size in (("hat", 0.3), ("hat-naive", 0.6)):
        tensors = {key: size * torch.randn_like(base.unet.get_parameter(key)) for key in names}
        save_adapter(Adapter(ABOUT, tensors), tmp_path / "adapters" / f"{name}.safetensors")
    return Engine(device="cpu", folder=tmp_path)


def run(engine, config=CONFIG):
    *events, result = engine.compare(config)
    assert isinstance(result, Result) and all(isinstance(event, Progress) for event in events)
    return events, result


def test_adapters_of_other_weights_are_named(engine, tmp_path):
    assert run(engine)[1].strangers == {}
    for name, seed in (("hat", 1), ("hat-naive", 0)):
        file = tmp_path / "adapters" / f"{name}.safetensors"
        said = ABOUT | note(new_tiny_base(seed).weights.sketch)
        save_adapter(Adapter(said, load_tensors(file)), file)
    chosen = run(engine, replace(CONFIG, adapter="hat"))[1]
    assert chosen.strangers == {"hat": ABOUT["base_model"]}
    assert engine.resolved(CONFIG).adapter == "", "nobody else chooses it"
    assert run(engine)[1].unfit == ("hat",) and chosen.unfit == ()


def test_a_file_of_another_model_is_passed_over_and_named(engine, tmp_path):
    file = tmp_path / "adapters" / "hat.safetensors"
    assert run(engine)[1].unfit == () and engine.pick(["a hat"]) == "hat"
    save_file({"mid_block.attentions.0.proj_in.lora_A.weight": torch.ones(2, 5)}, file)
    assert engine.pick(["a hat"]) == "" and engine.unfit(CONFIG) == ("hat",)
    assert run(engine)[1].unfit == ("hat",)


def test_a_drawing_streams_progress_and_ends_in_one_result(engine):
    assert engine.state == "loading" and engine.roles(CONFIG) == [ORIGINAL, TUNED, NAIVE]
    events, result = run(engine)
    assert engine.state == "ready" and events[0].what == "loading"
    steps = [(event.what, event.step) for event in events if event.steps]
    passes = (ORIGINAL, TUNED, TUNED, NAIVE)  # a held drawing follows the original's first
    assert steps == [
        (role, 4 * number + k) for number, role in enumerate(passes) for k in range(1, 5)
    ]
    assert result.config.adapter == "hat" and list(result.portraits) == [ORIGINAL, TUNED, NAIVE]
    assert all(
        result.frames[role].shape == (4, 16, 16, 3) for role in result.portraits
    ) and result.frame_steps == (
        0,
        1,
        2,
        3,
    )
    assert [result.reports[role]["adapter"] for role in (TUNED, NAIVE)] == ["hat", "hat-naive"]
    assert result.reports[TUNED]["attributes"] is None  # there are no judges here
    assert not np.array_equal(result.portraits[TUNED], result.portraits[NAIVE])


def test_a_result_can_be_sent_to_another_process(engine):
    _, result = run(engine)
    copy = pickle.loads(pickle.dumps(result))
    assert np.array_equal(copy.portraits[TUNED], result.portraits[TUNED])
    assert not any(isinstance(value, torch.Tensor) for value in vars(copy.trace).values())


def test_the_original_is_drawn_once_for_one_seed(engine):
    _, first = run(engine)
    events, second = run(engine, replace(CONFIG, adapter="hat"))
    assert ORIGINAL not in {event.what for event in events}
    assert ORIGINAL in events[0].previews, "what is known is shown at once"
    assert np.array_equal(first.portraits[TUNED], second.portraits[TUNED])
    assert np.array_equal(first.frames[ORIGINAL], second.frames[ORIGINAL])
    assert np.array_equal(first.frames[TUNED], second.frames[TUNED])
    events, third = run(engine, replace(CONFIG, seed=4))
    assert ORIGINAL in {event.what for event in events} and not np.array_equal(
        first.portraits[ORIGINAL], third.portraits[ORIGINAL]
    )


def test_no_more_is_kept_than_fits(engine):
    config = replace(CONFIG, adapter="", beside="")
    drawn = lambda seed: ORIGINAL in {e.what for e in run(engine, replace(config, seed=seed))[0]}  # noqa: E731
    assert drawn(60)
    engine.kept = Kept(3 * engine.kept.currsize)
    assert all(drawn(seed) for seed in (60, 61, 62))
    assert not drawn(60), "used again, so it is not the next to go"
    assert drawn(99) and not drawn(60) and drawn(61)


def test_of_a_second_press_only_what_changed_is_drawn(engine):
    _, first = run(engine)
    events, second = run(engine, replace(CONFIG, push=2.0))
    assert {event.what for event in events if event.steps} == {TUNED}
    assert max(event.steps for event in events) == CONFIG.steps, "neither a map nor a column beside"
    for role in (ORIGINAL, NAIVE):
        assert np.array_equal(first.portraits[role], second.portraits[role])
        assert np.array_equal(first.frames[role], second.frames[role])
    engine.kept.clear()
    _, alone = run(engine, replace(CONFIG, push=2.0))
    for role in second.portraits:
        assert np.array_equal(alone.portraits[role], second.portraits[role])


def test_maps_are_made_later_for_the_same_pictures(engine):
    _, first = (list(engine.compare(CONFIG, maps=False))[k] for k in (0, -1))
    assert first.trace.tuned[TUNED].difference is None and first.trace.original.maps == {}
    *events, second = engine.compare(CONFIG)
    told = [(event.what, event.step, event.steps) for event in events if event.steps]
    assert told == [(TUNED, k, 4) for k in range(1, 5)]
    assert second.trace.tuned[TUNED].difference.shape[0] == CONFIG.steps
    assert second.trace.original.maps and second.trace.tuned[NAIVE].maps == {}
    for role in first.portraits:
        assert np.array_equal(first.portraits[role], second.portraits[role])
        assert np.array_equal(first.frames[role], second.frames[role])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"beside": ""},
        {"others": "alike"},
        {"guided": ""},
        {"guided": "sfcm"},
        {"targets": ("a hat", "a scarf"), "adapter": "hat"},
        {"edit": "p2p", "guided": ""},
        {"guidance": 1.0},
        {"adapter": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("maps", [False, True])
def test_no_more_rows_are_drawn_than_are_reserved_and_hardly_fewer(engine, change, maps):
    config = replace(CONFIG, **change)
    with counting(engine.load()) as calls:
        list(engine.compare(config, maps))
    drawn, reserved = sum(calls) / config.steps, engine.rows(config, maps)
    assert drawn <= reserved and (reserved <= 1.7 * drawn or config.guidance == 1)


def test_the_seconds_asked_for_follow_what_a_row_takes(engine):
    usual = replace(CONFIG, steps=25)
    first = engine.seconds(usual)
    assert (
        8 < first < engine.seconds(usual, True) < engine.seconds(replace(CONFIG, steps=200)) == 120
    )
    _, result = run(engine)
    assert 0 < result.row_seconds < 1
    engine.learn(replace(result, row_seconds=2 * engine.row_seconds))
    assert engine.seconds(usual) == pytest.approx(2 * first - 8, abs=1)
    for _ in range(5):
        engine.learn(replace(result, row_seconds=1e-6))
    engine.learn(replace(result, row_seconds=0.0))  # all of it was there
    assert engine.seconds(usual) == 8


def test_what_a_result_carries_is_only_what_is_shown(engine):
    for maps in (False, True):
        *_, result = engine.compare(CONFIG, maps=maps)
        paths = [result.trace.original, *result.trace.tuned.values()]
        assert all(path.predicted is None and path.starts is None for path in paths)


def test_closing_stops_within_a_step_and_leaves_the_network_as_it_was(engine):
    _, before = run(engine)
    events = engine.compare(replace(CONFIG, seed=9, steps=50))
    while next(events).what != TUNED:
        pass
    events.close()
    assert not engine._lock.locked() and not [
        thread for thread in threading.enumerate() if thread.name == "draw"
    ]
    assert not any(module._forward_hooks for module in engine.base.unet.modules())
    engine.kept.clear()
    assert np.array_equal(run(engine)[1].portraits[TUNED], before.portraits[TUNED])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are copies of a process")
def test_a_copy_of_the_process_does_not_wait_for_who_is_not_in_it(engine):
    """Somebody types while a worker of a lent GPU is forked."""
    with engine._spelling, engine._lock:
        child = os.fork()
        if not child:
            locked = engine._spelling.locked() or engine._lock.locked()
            os._exit(3 if locked else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert engine._spelling.locked() and engine._lock.locked(), "here they are held as before"


def test_two_visitors_get_what_each_would_get_alone(engine):
    wanted = {
        adapter: run(engine, replace(CONFIG, adapter=adapter))[1].portraits[TUNED]
        for adapter in ("hat", "")
    }
    engine.kept.clear()
    start, wrong = threading.Barrier(2), []

    def visit(adapter):
        start.wait()
        for _ in range(3):
            if not np.array_equal(
                run(engine, replace(CONFIG, adapter=adapter))[1].portraits[TUNED], wanted[adapter]
            ):
                wrong.append(adapter)

    threads = [threading.Thread(target=visit, args=(adapter,)) for adapter in wanted]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert not wrong


def test_automatic_adapters(engine):
    assert (
        engine.pick(["a hat"]) == engine.pick(["HAT "]) == "hat"
        and engine.pick(["a crown"]) == engine.pick([]) == ""
    )
    assert list(engine.adapters()) == ["hat"], "the naive counterpart is no choice of its own"
    assert engine.resolved(replace(CONFIG, targets=("a crown",))).adapter == ""
    assert engine.roles(replace(CONFIG, adapter="")) == [ORIGINAL, TUNED]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"adapter": "wig"}, "adapter is 'wig' but must be one of: hat, hat-naive."),
        ({"adapter": "../hat"}, "adapter is '../hat' but must be one of"),
        ({"mode": "replace", "replace": "beard"}, "replace"),
        ({"base": "a photo of a woman " + "with long hair " * 40}, "too long"),
    ],
)
def test_bad_input_is_one_sentence_and_the_next_request_works(engine, change, words):
    with pytest.raises(BadInput, match=words.replace(".", r"\.")):
        run(engine, replace(CONFIG, **change))
    run(engine)


def test_words_are_looked_at_before_drawing(engine):
    config = replace(CONFIG, base="a photo of a young knight with long hair")
    assert engine.words(config).unknown == (), "nothing is claimed while the tokenizer is not there"
    engine.load()
    assert engine.words(config).unknown == ("knight",)


def test_broken_numbers_are_named_and_not_shown(engine):
    engine.load()
    with torch.no_grad():
        parameter = engine.base.unet.conv_out.weight
        kept = parameter[0, 0, 0, 0].clone()
        parameter[0, 0, 0, 0] = float("nan")
        with pytest.raises(NotFinite, match="unet .* step 1"):
            run(engine)
        parameter[0, 0, 0, 0] = kept
    run(engine)


def test_a_truncated_adapter_is_refused_and_not_offered(engine):
    file = engine.folder / "adapters" / "hat.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    assert "hat" not in engine.adapters()
    with pytest.raises(UnsafeFile):
        run(engine, replace(CONFIG, adapter="hat"))


def test_errors_keep_no_tensors_and_memory_errors_say_what_to_do(tmp_path):
    engine = FakeEngine(tmp_path, fault=torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(SpfError, match="not enough memory"):
        run(engine)
    engine.fault = RuntimeError("a bug")
    with pytest.raises(Crashed, match="RuntimeError: a bug") as caught:
        run(engine)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    run(engine)


def test_a_missing_model_is_reported_and_can_be_mended(tmp_path, monkeypatch):
    engine = Engine(str(tmp_path / "nothing"), folder=tmp_path)
    engine.start()
    assert engine.wait(30) and engine.state == "failed" and "nothing" in engine.problem
    with pytest.raises(BadInput):
        run(engine)
    monkeypatch.setattr("spf.bases.reading.load_base", lambda name, **_: new_tiny_base())
    run(engine, replace(CONFIG, adapter=""))
    assert engine.state == "ready"


def test_a_stopped_drawing_frees_the_lock_for_the_one_that_waits(tmp_path):
    engine = FakeEngine(tmp_path, pause=0.02)
    engine.load()
    first = engine.compare(replace(CONFIG, steps=100))
    next(first)
    second = engine.compare(CONFIG)
    threading.Timer(0.3, first.close).start()
    began = time.perf_counter()
    assert (
        isinstance(list(second)[-1], Result)
        and engine.peak == 1
        and time.perf_counter() - began > 0.2
    )


def test_hints_and_drawings_share_no_tokenizer(engine):
    """Whoever types asks for words all the time; a tokenizer that keeps its last settings must not
    be the drawing's.
    """
    alone = run(engine, CONFIG)[1].portraits[TUNED]
    engine.kept.clear()
    stop, failed = threading.Event(), []

    def type_on():
        while not stop.is_set():
            try:
                engine.words(CONFIG)
            except Exception as error:
                failed.append(error)

    typing = [threading.Thread(target=type_on) for _ in range(4)]
    [thread.start() for thread in typing]
    try:
        for _ in range(3):
            assert np.array_equal(run(engine, CONFIG)[1].portraits[TUNED], alone)
    finally:
        stop.set()
        [thread.join() for thread in typing]
    with engine._speller(engine.base) as copied:
        assert copied is not engine.base.tokenizer
    assert not failed


def test_a_device_that_is_not_there_is_refused(tmp_path):
    for device in ("cuda:99", "nothing"):
        with pytest.raises(BadInput, match="device is"):
            Engine("embedded", device).load()

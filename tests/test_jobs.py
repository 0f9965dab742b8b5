"""Background jobs: what is said about them is true, whatever happens to their process."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from portrait_world import new_portrait_base, stored, sure_reading

from spf import userdata
from spf.errors import BadInput, Busy, Cancelled
from spf.files import load_tensors
from spf.jobs import (
    ACTIVE,
    KINDS,
    STATE,
    Jobs,
    SlicedJobs,
    kept_step,
)
from spf.methods import build
from spf.pixels import as_pixels
from spf.portraits.description import sample_portrait
from spf.worker import Sitters, Worker, sitter_texts


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Jobs, "COMMAND", (sys.executable, str(Path(__file__).parent / "fake_job.py"))
    )
    jobs = Jobs(tmp_path / "jobs", tmp_path / "adapters")
    yield jobs
    if name := jobs.active():
        os.kill(jobs.status(name).pid, signal.SIGKILL)


def wait(jobs, name, *phases, step=0):
    """The status once it has one of the phases and so many steps."""
    for _ in range(600):
        status = jobs.status(name)
        if status.phase in phases and status.step >= step:
            return status
        time.sleep(0.05)
    raise AssertionError(status)


@pytest.mark.parametrize("given", ["mine", "./mine", "owner/name", "embedded", "here.safetensors"])
def test_a_job_finds_the_model_of_its_page_from_any_folder(jobs, tmp_path, monkeypatch, given):
    (tmp_path / "mine").mkdir()
    (tmp_path / "embedded").mkdir()
    (tmp_path / "here.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    name = jobs.start({"data": "hat", "method": "naive", "steps": 1, "model": given})
    found = json.loads((jobs.root / name / "request.json").read_text())["model"]
    there = given in ("mine", "./mine", "here.safetensors")
    assert found == (str((tmp_path / given).resolve()) if there else given)
    wait(jobs, name, "done", "failed", "interrupted")


def test_the_log_is_read_as_it_was_written_whatever_the_machine_writes(jobs, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    monkeypatch.setattr(Jobs, "COMMAND", (sys.executable, "-c", "print('Zoë 帽子 🎩')"))
    name = jobs.start({"data": "hat", "method": "spf", "steps": 6})
    wait(jobs, name, "interrupted")
    assert jobs.log(name) == ["Zoë 帽子 🎩"]


def test_what_a_process_says_as_it_fails_at_once_is_kept(jobs, monkeypatch):
    begin = Jobs._begin

    def slow(self, name):
        pid = begin(self, name)
        time.sleep(0.5)  # the note of who works comes late
        return pid

    says = """
import json, sys
from pathlib import Path
from filelock import FileLock
folder = Path(sys.argv[1])
with FileLock(folder / ".lock", timeout=10):
    (folder / "state.json").write_text(json.dumps({"phase": "failed", "message": "no such set"}))
"""
    monkeypatch.setattr(Jobs, "_begin", slow)
    monkeypatch.setattr(Jobs, "COMMAND", (sys.executable, "-c", says))
    name = jobs.start({"data": "hat", "method": "spf", "steps": 6})
    jobs._children[name].wait()
    status = jobs.status(name)
    assert (status.phase, status.message) == ("failed", "no such set")


def test_a_job_runs_to_its_end_and_says_so(jobs):
    name = jobs.start({"data": "hat", "method": "spf", "steps": 6})
    assert name == "hat-spf-1" and jobs.active() == name
    status = wait(jobs, name, "done")
    assert (
        status.step == 6
        and Path(status.adapter).is_file()
        and status.looks == [{"step": 5, "response": 0.5, "pollution": 0.1}]
    )
    assert [row["step"] for row in jobs.history(name)] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ] and "fake job at work" in jobs.log(name)
    assert len(jobs.pictures(name)["original"]) == 4 and jobs.active() is None
    assert jobs.start({"data": "hat", "method": "spf", "steps": 6}) == "hat-spf-2"


def test_stop_and_resume_continue_the_same_run(jobs):
    name = jobs.start({"data": "hat", "steps": 40})
    wait(jobs, name, "running", step=3)
    jobs.stop(name)
    stopped = wait(jobs, name, "stopped")
    assert 3 <= stopped.step < 40
    jobs.resume(name)
    again = wait(jobs, name, "running", step=stopped.step + 2)
    assert again.step < 40
    jobs.stop(name)
    wait(jobs, name, "stopped")
    assert len({row["step"] for row in jobs.history(name)}) == len(jobs.history(name))


def test_pause_waits_and_resume_goes_on_at_once(jobs):
    name = jobs.start({"data": "hat", "steps": 40})
    wait(jobs, name, "running", step=3)
    jobs.pause(name)
    paused = wait(jobs, name, "paused")
    pid = paused.pid
    time.sleep(0.4)
    assert jobs.status(name).step == paused.step and jobs.active() == name
    with pytest.raises(Busy):
        jobs.start({"data": "hat", "steps": 5})
    jobs.resume(name)
    assert wait(jobs, name, "running", step=paused.step + 1).pid == pid, "the same process"
    jobs.pause(name)
    wait(jobs, name, "paused")
    jobs.stop(name)
    assert wait(jobs, name, "stopped").step < 40, "stop works on a paused job too"


def test_a_set_of_ones_own_is_fine_tuned_on_under_its_name(jobs, tmp_path):
    for number in range(4):
        Image.new("RGB", (80, 80), (60 * number, 9, 9)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"a photo of man {number}, wearing a straw hat")
    folder = stored(tmp_path, userdata.Wish("a straw hat", name="strawhat"), tmp_path / "set")
    name = jobs.start({"data": str(folder), "steps": 4})
    assert name == "strawhat-spf-1" and wait(jobs, name, "done").step == 4
    assert sitter_texts(str(folder)) == [f"a photo of man {number}" for number in range(4)]
    with pytest.raises(BadInput):
        jobs.start({"data": str(tmp_path), "steps": 4})


def test_sitters_are_drawn_judged_and_mapped(tmp_path):
    base, seen = new_portrait_base(), []

    def read(images):
        seen.append(images)
        values = sample_portrait(
            np.random.default_rng(0), split="test", targets="none"
        ).attributes()
        hat = {"hat": "hat" if len(seen) > 1 else "none"}
        return sure_reading([values | hat] * len(images), as_pixels(images))

    settings = build("spf").map_settings
    sitters = Sitters(
        SimpleNamespace(base=base, read=read, screened=lambda images: images),
        "hat",
        tmp_path,
        settings,
    )
    base.unet.train()
    assert sitters.look() == {"response": 1.0, "pollution": 0.0} and base.unet.training
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{kind}-{n}.png" for kind in KINDS for n in range(4)
    }
    control = sitters._control()
    assert control.shape == (4, 8, 8) and 0 <= control.min() and 0 < control.max() <= 1
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (80, 80), (60 * number, 9, 9)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a photo of a woman, a crown")
    own = stored(folder, userdata.Wish("a crown"), tmp_path / "set")
    plain = Sitters(
        SimpleNamespace(base=base, read=read, screened=lambda images: images),
        str(own),
        folder,
        None,
    )
    assert plain.look()["response"] is None
    assert not list(folder.glob("sfcm-*.png")), "naive fine-tuning has no control map to show"


def test_another_page_and_a_restarted_one_see_the_same_job(jobs, tmp_path):
    name = jobs.start({"data": "hat", "steps": 30})
    wait(jobs, name, "running", step=2)
    other = Jobs(tmp_path / "jobs", tmp_path / "adapters")
    assert other.active() == name and other.status(name).phase in ACTIVE
    with pytest.raises(Busy, match=name):
        other.start({"data": "hat", "steps": 5})
    other.stop(name)
    wait(jobs, name, "stopped")


@pytest.mark.parametrize(
    ("seed", "words"),
    [(9, "want of memory, at step 3 of 30"), (7, "ended with code 7 at step 3 of 30")],
)
def test_a_dead_process_is_never_called_done(jobs, tmp_path, seed, words):
    name = jobs.start({"data": "hat", "steps": 30, "seed": seed})
    status = wait(jobs, name, "interrupted" if seed == 9 else "failed")
    assert (
        words in status.message
        and status.kept == 0
        and status.adapter == ""
        and jobs.active() is None
    )
    assert Jobs(tmp_path / "jobs").status(name).phase == "interrupted", (
        "also for a page that never knew the process"
    )


def test_a_job_of_a_process_that_is_gone_is_not_running(jobs):
    name = jobs.start({"data": "hat", "steps": 3})
    wait(jobs, name, "done")
    file = jobs.root / name / "state.json"
    file.write_text(
        json.dumps(
            json.loads(file.read_text()) | {"phase": "running", "pid": os.getpid(), "born": 12.5}
        )
    )
    assert Jobs(jobs.root).status(name).phase == "interrupted", (
        "the number belongs to another process now"
    )
    jobs._children.clear()
    jobs.resume(name)


@pytest.mark.parametrize(
    "bad",
    [
        {"data": "crown"},
        {"steps": 0},
        {"method": "magic"},
        {"settings": {"w9": 1}},
        {"settings": {"fine_grained": -1}},
    ],
)
def test_a_bad_request_starts_nothing(jobs, bad):
    with pytest.raises(BadInput):
        jobs.start({"data": "hat", "steps": 5} | bad)
    assert jobs.names() == []


@pytest.mark.parametrize("name", ["", "nothing", "../jobs", "a/b", "x" * 99])
def test_names_lead_nowhere_else(jobs, name):
    with pytest.raises(BadInput):
        jobs.status(name)


# one start at a time


def start_in_a_process(root, gate, told):
    jobs = Jobs(root, root.parent / "adapters")
    jobs.COMMAND = (sys.executable, str(Path(__file__).parent / "fake_job.py"))
    gate.wait()
    try:
        told.put(jobs.start({"data": "hat", "steps": 40}))
    except (Busy, BadInput) as error:
        told.put(error)


def test_of_starts_at_once_one_runs(tmp_path, jobs):
    """Processes, as two pages on one folder are; each waits at the gate and then starts."""
    context = multiprocessing.get_context("spawn")
    gate, told = context.Barrier(3), context.Queue()
    root = tmp_path / "jobs"
    starters = [
        context.Process(target=start_in_a_process, args=(root, gate, told)) for _ in range(3)
    ]
    for starter in starters:
        starter.start()
    answers = [told.get(timeout=120) for _ in starters]
    for starter in starters:
        starter.join()
    names = [answer for answer in answers if isinstance(answer, str)]
    assert len(names) == 1 and jobs.names() == names
    assert all(isinstance(answer, Busy) for answer in answers if answer not in names)
    jobs.stop(names[0])
    wait(jobs, names[0], "stopped", "done")


def test_resume_pressed_twice_runs_once(jobs):
    name = jobs.start({"data": "hat", "steps": 40})
    wait(jobs, name, "running", step=2)
    jobs.stop(name)
    wait(jobs, name, "stopped")
    started = []
    run = jobs._run
    jobs._run = lambda one: (time.sleep(0.2), started.append(one), run(one))
    refused = []

    def press():
        try:
            jobs.resume(name)
        except (Busy, BadInput) as error:
            refused.append(error)

    pressed = [threading.Thread(target=press) for _ in range(4)]
    for thread in pressed:
        thread.start()
    for thread in pressed:
        thread.join()
    assert started == [name] and len(refused) == 3
    jobs.stop(name)
    wait(jobs, name, "stopped", "done")


def test_two_processes_never_work_in_one_folder(tmp_path):
    from filelock import FileLock

    from spf.jobs import LOCK

    (tmp_path / "request.json").write_text('{"steps": 3}')
    worker = Worker(tmp_path, tmp_path)
    worker.work = lambda: pytest.fail("the other one is still at it")
    with FileLock(tmp_path / LOCK), pytest.MonkeyPatch.context() as patch:
        patch.setattr("spf.worker.LOCK_WAIT", 0.1)
        assert worker.run() == 3
    assert not (tmp_path / "state.json").exists()


def test_a_worker_that_starts_slowly_says_nothing_of_an_earlier_run(tmp_path):
    """It may be made before the page has written that the job starts anew, and begin after that."""
    said = {"phase": "failed", "message": "no room", "step": 2, "looks": [{"step": 1}]}
    (tmp_path / STATE).write_text(json.dumps(said))
    worker = worker_in(tmp_path)
    (tmp_path / STATE).write_text(json.dumps(said | {"phase": "starting", "message": ""}))
    worker.work = lambda: tmp_path / "hat.safetensors"
    assert worker.run() == 0
    now = told_by(tmp_path)
    assert (now["phase"], now["message"], now["looks"]) == ("done", "", said["looks"])
    assert now["pid"] == os.getpid()


# damage and want


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 9000, '{"phase": 3}'])
@pytest.mark.parametrize("file", ["state.json", "request.json"])
def test_a_damaged_file_disables_its_job_alone(jobs, file, content):
    broken = jobs.start({"data": "hat", "steps": 2})
    wait(jobs, broken, "done")
    (jobs.root / broken / file).write_text(content)
    assert jobs.status(broken).phase in ("failed", "interrupted")
    name = jobs.start({"data": "hat", "steps": 2})
    assert wait(jobs, name, "done").step == 2 and set(jobs.names()) == {broken, name}
    jobs.delete(broken)
    assert jobs.names() == [name]


def test_a_job_at_work_is_not_deleted_and_a_deleted_one_is_gone(jobs):
    name = jobs.start({"data": "hat", "steps": 40})
    with pytest.raises(Busy, match="stop it first"):
        jobs.delete(name)
    jobs.stop(name)
    wait(jobs, name, "stopped")
    jobs.delete(name)
    assert jobs.names() == [] and not [p for p in jobs.root.iterdir() if p.is_dir()]
    with pytest.raises(BadInput):
        jobs.delete(name)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        Jobs(tmp_path / "file" / "jobs").start({"data": "hat", "steps": 2})


def test_a_disk_without_room_is_noticed_before_the_job(jobs, monkeypatch):
    usage = SimpleNamespace(free=100 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(BadInput, match="100 MiB free but 400 MiB are needed"):
        jobs.start({"data": "hat", "steps": 2})
    assert jobs.names() == []


def worker_in(tmp_path):
    (tmp_path / "request.json").write_text('{"steps": 3, "settings": {}, "model": "embedded"}')
    return Worker(tmp_path, tmp_path / "adapters")


def told_by(tmp_path):
    return json.loads((tmp_path / "state.json").read_text())


def test_a_full_disk_pauses_with_the_numbers_and_goes_on(tmp_path, monkeypatch):
    worker, usage = worker_in(tmp_path), SimpleNamespace(free=10 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    waiting = threading.Thread(target=worker.wait_for_room, args=(100 << 20, None))
    waiting.start()
    for _ in range(200):
        if (tmp_path / "state.json").is_file() and told_by(tmp_path)["phase"] == "paused":
            break
        time.sleep(0.02)
    assert told_by(tmp_path)["message"].startswith(
        "The disk has 10 MiB free but 132 MiB are needed"
    )
    usage.free = 900 << 20
    (tmp_path / "pause").unlink()
    waiting.join(10)
    assert not waiting.is_alive() and told_by(tmp_path)["phase"] == "running"


@pytest.mark.parametrize(
    "error, words",
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "not enough memory"),
        (OSError(28, "No space left on device"), "MiB free"),
        (KeyError("x"), "KeyError; the log says more"),
    ],
)
def test_each_failure_is_told_as_what_it_is(tmp_path, error, words):
    worker = worker_in(tmp_path)

    def work():
        raise error

    worker.work = work
    assert worker.run() == 1
    assert told_by(tmp_path)["phase"] == "failed" and words in told_by(tmp_path)["message"]


def test_drafts_of_killed_saves_vanish(tmp_path):
    worker = worker_in(tmp_path)
    (tmp_path / "state").mkdir()
    left = tmp_path / "state" / ".state-00000003.ab12.draft.safetensors"
    left.write_bytes(b"half")
    worker.work = lambda: (_ for _ in ()).throw(Cancelled("Stopped."))
    assert worker.run() == 0 and not left.exists()
    assert told_by(tmp_path)["phase"] == "stopped"


def test_what_was_kept_is_what_is_said(tmp_path):
    assert kept_step(tmp_path) == 0
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "a.safetensors").write_bytes(b"four")
    held = {"step": 7, "file": "a.safetensors", "bytes": 4}
    (tmp_path / "state" / "state.json").write_text(json.dumps(held))
    assert kept_step(tmp_path) == 7
    (tmp_path / "state" / "a.safetensors").write_bytes(b"cut")
    assert kept_step(tmp_path) == 0


# slices of a lent card


@pytest.fixture
def sliced(tmp_path):
    """Each slice trains three steps more; the lender may be told to refuse."""
    refused = []

    def lend(folder, adapters):
        if refused:
            raise refused.pop()
        file = Path(folder) / STATE
        state = json.loads(file.read_text())
        step = min(state.get("step", 0) + 3, 8)
        done = step == 8
        stopped = (Path(folder) / "stop").exists()
        phase = "done" if done else "stopped" if stopped else "paused"
        yield file.write_text(json.dumps(state | {"step": step, "phase": phase}))

    jobs = SlicedJobs(tmp_path / "jobs", tmp_path / "adapters", lend)
    jobs.refused = refused
    return jobs


def test_slices_follow_one_another_until_the_job_is_done(sliced):
    name = sliced.start({"data": "hat", "method": "naive", "steps": 8})
    assert sliced.status(name).phase == "starting" and sliced.active() == name
    steps = [sliced.status(name).step for _ in sliced.attend(name)]
    assert steps == [3, 6, 8] and sliced.status(name).phase == "done"


def test_a_slice_that_is_refused_leaves_a_job_to_resume(sliced):
    name = sliced.start({"data": "hat", "method": "naive", "steps": 8})
    attended = sliced.attend(name)
    next(attended)
    sliced.refused.append(BadInput("You have exceeded your GPU quota."))
    with pytest.raises(BadInput, match="GPU quota"):
        list(attended)
    assert sliced.status(name).phase == "stopped" and sliced.active() is None
    sliced.resume(name)
    assert len(list(sliced.attend(name))) == 2 and sliced.status(name).phase == "done"


def test_who_leaves_or_stops_ends_the_slices(sliced):
    name = sliced.start({"data": "hat", "method": "naive", "steps": 8})
    attended = sliced.attend(name)
    next(attended)
    attended.close()
    assert sliced.status(name).phase == "stopped"
    sliced.resume(name)
    sliced.pause(name)
    assert len(list(sliced.attend(name))) == 1 and sliced.status(name).phase == "stopped"


def test_a_worker_pauses_when_its_slice_is_over_and_goes_on_as_the_same_run(tmp_path):
    """The real training of the tiny base: two slices of no length are two steps, then the rest."""
    base = new_portrait_base()
    engine = SimpleNamespace(
        base=base,
        load=lambda: base,
        read=lambda images: None,
        screened=lambda images: images,
    )
    request = {"data": "hat", "method": "naive", "steps": 3, "images": 4, "seed": 0}
    for name in ("whole", "parts"):
        folder = tmp_path / name
        folder.mkdir()
        settings = {"settings": {"batch": 2}, "model": "embedded"}
        (folder / "request.json").write_text(json.dumps(request | settings))
    assert Worker(tmp_path / "whole", tmp_path, engine).run() == 0
    for step in (1, 2):
        assert Worker(tmp_path / "parts", tmp_path, engine, seconds=0).run() == 0
        state = json.loads((tmp_path / "parts" / STATE).read_text())
        assert (state["phase"], state["step"]) == ("paused", step)
    assert Worker(tmp_path / "parts", tmp_path, engine, seconds=600).run() == 0
    one, two = (load_tensors(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)

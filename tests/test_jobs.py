"""Background jobs: what is said about them is true, whatever happens to their process."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from portrait_world import new_portrait_base

from spf import userdata
from spf.errors import BadInput, Busy
from spf.jobs import ACTIVE, KINDS, Jobs, Sitters, sitter_texts
from spf.portraits.description import sample_portrait


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
    folder = userdata.store(
        tmp_path, userdata.Wish("a straw hat", name="strawhat"), tmp_path / "set"
    )
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
        return SimpleNamespace(
            values=[values | {"hat": "hat" if len(seen) > 1 else "none"}] * len(images)
        )

    sitters = Sitters(SimpleNamespace(base=base, read=read), "hat", tmp_path)
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
        (folder / f"{number}.txt").write_text("a photo of a woman, a straw hat")
    own = userdata.store(folder, userdata.Wish("a straw hat"), tmp_path / "set")
    assert (
        Sitters(SimpleNamespace(base=base, read=read), str(own), folder).look()["response"] is None
    )


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
    ("seed", "words"), [(9, "was killed at step 3 of 30"), (7, "ended with code 7 at step 3 of 30")]
)
def test_a_dead_process_is_never_called_done(jobs, tmp_path, seed, words):
    name = jobs.start({"data": "hat", "steps": 30, "seed": seed})
    status = wait(jobs, name, "failed")
    assert words in status.message and status.adapter == "" and jobs.active() is None
    assert Jobs(tmp_path / "jobs").status(name).phase == "failed", (
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
    assert Jobs(jobs.root).status(name).phase == "failed", (
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

"""The page survives its visitors: names, sites, floods, values that no field takes, and bugs of any
kind.
"""

import asyncio
import io
import json
import logging
import os
import tempfile
import threading
import time
import zipfile
from types import SimpleNamespace

import gradio as gr
import httpx
import psutil
import pytest
from fake_engine import FakeEngine
from gradio.state_holder import StateHolder
from gradio_client import Client
from gradio_client.exceptions import AppError

import app
from spf import stress
from spf.errors import BadInput, SpfError
from spf.jobs import Jobs
from spf.ui import build, launch_options, sturdy, visits
from spf.ui.boundary import Guarded
from spf.ui.server import Front, visitor
from spf.ui.texts import both
from spf.votes import Votes

# what is remembered of visitors


def test_visitors_who_left_are_forgotten_and_pictures_sent_are_not_kept(tmp_path):
    with Guarded() as made:
        box, kept = gr.Textbox("x" * 1000), gr.State("job")
        box.change(lambda text: text, box, box)
    made.state_holder = StateHolder()
    made.state_holder.set_blocks(made)
    for number in range(3 * visits.LEFT):
        made.state_holder[f"s{number}"].is_closed = number != 1
    held = made.state_holder.session_data
    assert len(held) == visits.LEFT + 2 and "s1" in held and "s2" not in held
    assert len(made.state_holder.time_last_used) == len(held)
    one = made.state_holder["s1"]
    one._update_value_in_config(box._id, "a picture"), one._update_config(box._id)
    assert one.config_values == {} and list(one.components) == []
    one[kept._id] = "hat-spf-1"
    assert one[kept._id] == "hat-spf-1" and made.state_holder["s1"] is one


# names and sites


def test_a_page_gives_its_code_away_and_nothing_else():
    status, body = asked(Front(page, "", None), "/studio/code.zip")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        names = archive.namelist()
    assert status == 200 and {"app.py", "LICENSE", "spf/ui/server.py"} <= set(names)
    assert {name.partition("/")[0] for name in names if "/" in name} <= {"spf", "docs", "tests"}
    assert not [name for name in names if "__pycache__" in name or "/." in name]
    assert asked(Front(page, ""), "/code.zip", host="spf.example")[0] == 421
    assert asked(Front(page, "", None), "/code.zip", "POST")[0] == 200, "which the page answers"


def asked(front, path="/", method="GET", client="1.2.3.4", **headers):
    """(status, body) of a request to the front."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "client": (client, 5),
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
    }
    asyncio.run(front(scope, None, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], body


async def page(scope, receive, send):
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"<head>", "more_body": True})
    await send({"type": "http.response.body", "body": b"</head>"})


@pytest.mark.parametrize(
    "host, hosts, status",
    [
        ("127.0.0.1:7860", (), 200),
        ("LOCALHOST:7860", (), 200),
        ("[::1]:7860", (), 200),
        ("demo.example.org", (), 421),
        ("demo.example.org", ("demo.example.org",), 200),
        ("Demo.Example.org:443", ("demo.example.org",), 200),
        ("127.0.0.1.evil.example", ("demo.example.org",), 421),
        ("", (), 421),
    ],
)
def test_the_page_answers_under_its_names_alone(host, hosts, status):
    from spf.ui.server import LOCAL

    assert asked(Front(page, "", (*LOCAL, *hosts)), host=host)[0] == status


@pytest.mark.parametrize("path", ["/", "", "/spf/", "/a/b/"])
def test_the_script_goes_into_the_page_under_any_prefix(path):
    assert asked(Front(page, "<script>", None), path)[1] == b"<head><script></head>"


@pytest.mark.parametrize(
    "origin, headers, status",
    [
        (None, {}, 200),
        ("http://127.0.0.1:7860", {}, 200),
        ("https://evil.example", {}, 403),
        ("null", {}, 403),
        ("http://127.0.0.1:9999", {}, 200),  # of the same machine, under one of our names
        ("https://demo.example.org", {"x_forwarded_host": "demo.example.org"}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join"])
def test_what_other_sites_send_is_refused(origin, headers, status, path):
    sent = {"host": "127.0.0.1:7860", "content_length": "5"} | headers
    sent |= {"origin": origin} if origin else {}
    assert asked(Front(page, ""), path, "POST", **sent)[0] == status


def test_uploads_of_one_address_are_bounded_together(monkeypatch):
    front, clock = Front(page, "", None), [0.0]
    monkeypatch.setattr("spf.ui.server.UPLOADED", 100)
    monkeypatch.setattr("spf.ui.server.time", SimpleNamespace(monotonic=lambda: clock[0]))

    def upload(length, client="1.1.1.1"):
        return asked(front, "/upload", "POST", client, host="x", content_length=str(length))[0]

    assert [upload(60), upload(60), upload(40), upload(1)] == [200, 413, 200, 413]
    assert upload(100, "2.2.2.2") == 200
    clock[0] = 4000.0
    assert upload(100) == 200
    assert asked(front, "/upload", "POST", host="x")[0] == 411


# the queue


@pytest.fixture
def small_page(monkeypatch):
    """A page with one slow event at a time, and what a visitor does to it."""
    gate = threading.Event()

    def slow(value):
        gate.wait(20)
        return f"done {value}"

    def broken(value):
        raise {"bug": KeyError("/secret/path"), "told": BadInput("x is 1 but must be 2.")}[value]

    def compare(base: str, target: str, seed: int, steps: int) -> dict:
        return {"portraits": {}}

    with Guarded() as made:
        field, number = gr.Textbox(elem_id="words"), gr.Slider(5, 60, elem_id="steps")
        gr.Button().click(slow, field, field, api_name="slow", concurrency_limit=1)
        gr.Button().click(broken, field, field, api_name="broken", queue=False)
        gr.Button().click(lambda n: n, number, number, api_name="number", queue=False)
        gr.api(compare, api_name="compare", concurrency_limit=1)
    made.queue(max_size=20, default_concurrency_limit=1)
    sturdy.strengthen(made)
    _, url, _ = made.launch(prevent_thread_lock=True, quiet=True, show_error=False, ssr_mode=False)
    yield SimpleNamespace(page=made, url=url.rstrip("/"), gate=gate)
    gate.set()
    made.close()


def join(small_page, session, client=None, fn=0, data="x"):
    body = {"fn_index": fn, "data": [data], "session_hash": session}
    headers = {"x-forwarded-for": client} if client else {}
    url = f"{small_page.url}/gradio_api/queue/join"
    return httpx.post(url, json=body, headers=headers, timeout=60)


def test_a_page_and_an_address_hold_few_places(small_page):
    answers = [join(small_page, "one", "1.1.1.1") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert answers[2].json()["detail"] == both("busy.page", n=2)
    others = [join(small_page, f"s{n}", "1.1.1.1") for n in range(3)]
    assert [answer.status_code for answer in others] == [200, 200, 503]
    assert others[2].json()["detail"] == both("busy.address", n=4)
    assert join(small_page, "two", "2.2.2.2").status_code == 200, "somebody else is let in"


def test_a_full_queue_is_told_in_words(small_page):
    for number in range(30):
        answer = join(small_page, f"s{number}", f"1.1.1.{number}")
    assert answer.status_code == 503 and answer.json()["detail"] == both("busy.queue", n=20)


def test_a_trial_with_many_visitors_counts_a_full_queue_as_busy(small_page, monkeypatch):
    monkeypatch.setattr(sturdy, "PER_ADDRESS", 0)
    told = stress.clients(small_page.url, 1, 1.5)
    assert told["busy"] and not told["failed"] + told["wrong"] + told["right"]


def test_the_page_of_a_trial_has_a_process_whose_memory_alone_counts():
    with stress.served() as (url, server):
        assert server != os.getpid() and psutil.Process(server).ppid() == os.getpid()
        assert httpx.get(url).status_code == 200
        told = stress.clients(url, 0, 0.1, server=server)
        assert told["memory"] == pytest.approx(
            psutil.Process(server).memory_info().rss / 1e6, rel=0.2
        )
    assert not psutil.pid_exists(server)


def test_a_page_that_does_not_open_says_why(monkeypatch, tmp_path):
    (tmp_path / "app.py").write_text("raise SystemExit('no such weights')")
    monkeypatch.setattr(stress, "ROOT", tmp_path)
    with pytest.raises(SpfError, match="no such weights"), stress.served():
        pass


def test_a_flood_of_fresh_sessions_leaves_the_queue_working(small_page, monkeypatch):
    monkeypatch.setattr(sturdy, "SESSIONS", 30)
    waiting = [join(small_page, f"w{n}", f"9.9.9.{n}").json()["event_id"] for n in range(5)]
    small_page.gate.set()  # events end while others come, as in the flood that stopped the queue
    for number in range(150):
        join(small_page, f"flood{number}", f"2.2.{number // 100}.{number % 100}")
    assert len(waiting) == 5 and len(small_page.page._queue.pending_messages_per_session) <= 40
    for _ in range(200):
        if not list(small_page.page._queue.held()):
            break
        time.sleep(0.05)
    answer = join(small_page, "later", "3.3.3.3")
    assert answer.status_code == 200 and not small_page.page._queue.stopped
    url = f"{small_page.url}/gradio_api/queue/data?session_hash=later"
    with httpx.stream("GET", url, timeout=20) as stream:
        for line in stream.iter_lines():
            if "process_completed" in line:
                assert json.loads(line.removeprefix("data: "))["output"]["data"] == ["done x"]
                break


def test_a_loop_that_dies_is_started_again(small_page, monkeypatch, caplog):
    small_page.gate.set()
    queue, calls = small_page.page._queue, []
    whole = queue.get_events

    def dies_once():
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("session")
        return whole()

    monkeypatch.setattr(queue, "get_events", dies_once)
    with caplog.at_level(logging.ERROR):
        assert join(small_page, "a").status_code == 200
        for _ in range(100):
            if len(calls) > 1 and not queue.stopped and not list(queue.held()):
                break
            time.sleep(0.05)
    assert join(small_page, "b").status_code == 200
    assert "died and is started again" in caplog.text


# the border


def called(small_page, name, value):
    fn = {"broken": 1, "number": 2}[name]
    body = {"fn_index": fn, "data": [value], "session_hash": "s"}
    return httpx.post(f"{small_page.url}/gradio_api/run/predict", json=body, timeout=60).json()


def test_what_an_event_raises_leaves_it_as_a_sentence(small_page, caplog):
    assert called(small_page, "broken", "told")["error"] == "x is 1 but must be 2."
    with caplog.at_level(logging.ERROR):
        told = called(small_page, "broken", "bug")["error"]
    assert told.startswith("Something went wrong on our side") and "/secret/path" not in told
    code = told.split("Code ")[1][:4]
    assert f"error {code}" in caplog.text and "/secret/path" in caplog.text


@pytest.mark.parametrize("value", [100, -1, "x", [1], None, {"a": 1}])
def test_a_value_that_a_field_refuses_is_named(small_page, value):
    told = called(small_page, "number", value)
    if "error" in told:
        assert told["error"], "never silence"
    if value in (100, -1):
        assert "60" in told["error"] or "5" in told["error"]


@pytest.mark.parametrize("port", [0, 99999])
def test_a_port_that_is_none_is_refused_in_one_sentence(port):
    import subprocess
    import sys
    from pathlib import Path

    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "app.py", "--port", str(port)], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 2 and done.stderr.strip().count("\n") == 0
    assert f"--port is {port}" in done.stderr


@pytest.mark.parametrize(
    "host, forwarded, asker",
    [
        ("127.0.0.1", "1.1.1.1, 10.0.0.1", "1.1.1.1"),
        ("::1", "1.1.1.1", "1.1.1.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),
        ("", "1.1.1.1", ""),
    ],
)
def test_only_a_proxy_of_ours_names_who_asks(host, forwarded, asker):
    assert visitor(host, forwarded) == asker


@pytest.mark.skipif(os.name != "posix", reason="users share one temporary folder on posix alone")
@pytest.mark.parametrize(
    "found", ["none", "own", "for all to write", "a link", "a file", "others'"]
)
def test_uploads_lie_in_a_folder_that_nobody_else_made(tmp_path, monkeypatch, found):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    there = tmp_path / f"spf-{os.getuid()}"
    if found == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        there.symlink_to(tmp_path / "elsewhere")
    elif found == "a file":
        there.write_text("x")
    elif found != "none":
        there.mkdir()
        there.chmod(0o777 if found == "for all to write" else 0o700)
    if found == "others'":
        there.rename(tmp_path / "spf-12345")
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    got = app.temporary()
    assert (got == there) == (found in ("none", "own"))
    assert got.parent == tmp_path and got.is_dir() and not got.is_symlink()
    assert got.stat().st_mode & 0o777 == 0o700 and got.name != "spf-12345"


def test_no_place_for_uploads_is_one_sentence(monkeypatch, capsys):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(SystemExit) as ended:
        app.temporary()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "TMPDIR" in told


def test_a_user_without_name_home_or_folder_draws_uploads_and_is_told(tmp_path, monkeypatch):
    """A container's user: no entry in the table of users, no home, and a folder it cannot write."""
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    if os.name == "posix":
        monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[f"uid not found: {uid}"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(app.temporary()))
    (tmp_path / "runs").write_text("no folder can be made here")
    jobs = Jobs(tmp_path / "runs" / "jobs", tmp_path / "runs" / "adapters")
    votes = Votes(tmp_path / "runs" / "votes.sqlite")
    made = build(FakeEngine(tmp_path), {}, jobs, votes, [tmp_path])
    _, url, _ = made.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    try:
        client = Client(url, verbose=False)
        drawn = client.predict(
            base="a photo of a man", target="a hat", steps=2, api_name="/compare"
        )
        assert set(drawn["portraits"]) == {"original", "tuned", "naive"}
        sent = httpx.post(f"{url}gradio_api/upload", files={"files": ("0.png", b"x")})
        assert sent.status_code == 200 and sent.json()[0].startswith(str(tmp_path / "spf-"))
        with pytest.raises(AppError, match=r"cannot be written \(.+\), so no job can be started"):
            client.predict(target="hat", steps=2, api_name="/finetune")
        assert client.predict(api_name="/job") == {"phase": "none"}
    finally:
        made.close()

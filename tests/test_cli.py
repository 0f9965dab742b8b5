"""The command line: bad input is one sentence on stderr and exit code 2."""

import codecs
import inspect
import json
import os
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from spf import cli
from spf.portraits.pretrain.presets import PRESETS
from spf.shelf import checkpoints


def spf(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "spf", *arguments], capture_output=True, text=True, timeout=600
    )


def test_help_names_the_commands():
    done = spf("--help")
    assert done.returncode == 0 and "pretrain" in done.stdout


def test_the_help_of_pretrain_names_every_preset():
    shown = " ".join(CliRunner().invoke(cli.app, ["pretrain", "--help"]).output.split())
    assert "small (128 pixels, a processor), small-longer (128 pixels, a processor that" in shown
    assert "small-gpu (128 pixels, a GPU), large (256" in shown
    for name, made in PRESETS.items():
        assert f"{name} ({made.image_size} pixels, {made.machine})" in shown


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("pretrain", "vae", "--preset", "huge"), "preset"),
        (("pretrain", "dream"), "stage"),
        (("pretrain", "vae", "--steps", "0"), "steps is 0"),
        (("pretrain", "vae", "--steps", "many"), "--steps"),
        (("pretrain", "vae", "--size", "3"), "--size"),
    ],
)
def test_bad_input(arguments, words, tmp_path):
    done = spf(*arguments)
    assert done.returncode == 2
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 1)])
def test_a_trial_that_fails_is_told_by_the_exit_code(monkeypatch, capsys, failed, code):
    row = {"read": 1, "refused": 0, "failed": failed}
    monkeypatch.setattr("spf.stress.fuzz", lambda *_: {"picture": row})
    monkeypatch.setattr(sys, "argv", ["spf", "stress", "--inputs", "1"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code or 0) == code
    assert json.loads(capsys.readouterr().out) == {"inputs": {"picture": row}}


def test_no_command_returns_what_would_be_taken_for_an_exit_code():
    made = [inspect.unwrap(command.callback) for command in cli.app.registered_commands]
    assert made and {inspect.signature(one).return_annotation for one in made} <= {None, "None"}


@pytest.mark.skipif(os.name == "nt", reason="Windows hands over letters, not bytes")
@pytest.mark.parametrize("locale", ["C", "POSIX"])
@pytest.mark.parametrize(
    ("typed", "told"),
    [("--帽子", "--帽子"), ("--café🎩", "--café🎩"), (b"--caf\xe9", "--caf\\udce9")],
)
def test_what_is_typed_is_read_in_every_locale(locale, typed, told):
    """As in containers and cron jobs where Python is kept from helping itself."""
    plain = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "spf", typed], capture_output=True, env=os.environ | plain
    )
    said = done.stderr.decode("utf-8")
    assert done.returncode == 2 and len(said.splitlines()) == 1 and told in said


@pytest.mark.parametrize("encoding", ["cp1252", "gbk"])
def test_every_text_can_be_printed_in_every_encoding(tmp_path, monkeypatch, encoding):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    Image.new("RGB", (64, 64)).save(tmp_path / "Zoe\u0308 帽子 🎩.png")
    (tmp_path / "Zoe\u0308 帽子 🎩.txt").write_text("a photo of a woman, a hat", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "spf", "check-data", tmp_path, "--target", "a scarf"],
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(f'"{done.stdout.decode(encoding).replace(chr(10), " ").strip()}"')
    assert "Zoe\u0308 帽子 🎩.png" in told


@pytest.mark.skipif(
    not (checkpoints() / "base" / "model_index.json").is_file(), reason="no embedded model here"
)
@pytest.mark.parametrize("encoding", ["cp1252", "gbk"])
def test_a_report_goes_into_a_file_in_every_encoding(tmp_path, monkeypatch, encoding):
    """As `spf generate ... > log` does on Windows; everything that was drawn is there as well."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    text = "a photo of a woman, 帽子, café 🎩"
    done = subprocess.run(
        [sys.executable, "-m", "spf", "generate", "--base", text, "--target", "帽子"]
        + ["--steps", "1", "--guided", "", "--out", str(tmp_path / "Zoë 帽子")],
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.decode(encoding))
    assert report["base"] == text and report["target"] == ["帽子"]
    assert json.loads((tmp_path / "Zoë 帽子" / "report.json").read_text("utf-8")) == report


@pytest.mark.parametrize("text", ["帽子", "🎩", "lone \udce9", "ё\u202e", 'a "b"'])
def test_json_stays_json_where_an_encoding_lacks_letters(text):
    codecs.register_error("escaped", cli.escaped)
    written = json.dumps(text, ensure_ascii=False).encode("cp1252", "escaped")
    assert json.loads(written.decode("cp1252")) == text


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["generate", "--base", "a man", "--target", "a hat", "--out", "{}"], "out is '{}' but"),
        (["portraits", "--out", "{}/in"], "out is '{}/in' but file is a file; give a folder."),
        (["convert", "hat", "--to", "kohya", "--out", "{}"], "is a file; give a folder."),
        (["check-data", ".", "--target", "a hat", "--report", "."], "report is '.' but must be a"),
        (["votes", "--file", "{}.sqlite"], "file is '{}.sqlite' but no votes are there"),
        (["models", "--get", "clip", "--check", "embedded"], "get and check cannot both be given"),
        (["finetune", "--data", "{}"], "data is '{}' but must be one of freckles"),
    ],
)
def test_places_are_judged_before_anything_is_computed(
    tmp_path, monkeypatch, capsys, arguments, sentence
):
    file = tmp_path / "file"
    file.write_text("x")
    monkeypatch.setattr(sys, "argv", ["spf", *(one.format(file) for one in arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2 and sentence.format(file) in told and file.read_text() == "x"


def test_what_the_system_refuses_is_one_sentence(monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "out/original.png")

    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "out/original.png: No space left on device.\n"

"""generate, finetune and evaluate from the command line, on the tiny random base as
checkpoints/.
"""

import json
import sys

import pytest
import torch
from conftest import save_base
from portrait_world import new_portrait_base

from spf import cli
from spf.evaluation.judges import Judges

TEXT = "a photo of a young woman with long red hair"
FAST = ["--set", "batch=2", "--steps", "2", "--images", "4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """checkpoints/ with base, clip, judges and an empty adapters folder."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_base(new_portrait_base(), folder)
    torch.manual_seed(0)
    Judges(32, (8, 8, 8, 8, 8)).save(folder / "judges")
    (folder / "adapters").mkdir()
    return folder


@pytest.fixture
def spf(folder, monkeypatch, capsys):
    """spf("generate", ...) -> (exit code, stdout, stderr)."""
    monkeypatch.setenv("SPF_CHECKPOINTS", str(folder))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["spf", *map(str, arguments)])
        try:
            code = cli.main() or 0
        except SystemExit as stopped:
            code = stopped.code or 0
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_from_fine_tuning_to_the_table(spf, folder, tmp_path):
    for method, own in (("spf", ["--set", "own_count=2"]), ("naive", [])):
        code, out, _ = spf(
            "finetune", "--method", method, "--data", "hat", "--out", tmp_path / method, *FAST, *own
        )
        assert code == 0
        file = (
            tmp_path / method / ("hat.safetensors" if method == "spf" else "hat-naive.safetensors")
        )
        assert out.strip() == str(file)
        file.rename(folder / "adapters" / file.name)
    code, out, _ = spf(
        "generate",
        "--base",
        TEXT,
        "--target",
        "a hat",
        "--seed",
        7,
        "--steps",
        2,
        "--out",
        tmp_path / "pair",
    )
    report = json.loads(out)
    assert code == 0 and report == json.loads((tmp_path / "pair" / "report.json").read_text())
    assert report["adapter"] == "hat" and report["seed"] == 7 and report["response"] is not None
    assert set(report["seconds"]) == {"loading", "pair", "judging"}
    arguments = (
        "evaluate",
        "--methods",
        "naive,spf",
        "--prompts",
        2,
        "--seeds",
        1,
        "--steps",
        2,
        "--out",
        tmp_path / "table",
    )
    code, out, _ = spf(*arguments)
    assert code == 0 and "| hat | naive |" in out and "| hat | spf |" in out
    rows = json.loads((tmp_path / "table" / "results.json").read_text())["rows"]
    assert {row["target"] for row in rows} == {"hat"} and {row["method"] for row in rows} == {
        "naive",
        "spf",
    }
    code, out, _ = spf(
        "generate",
        "--base",
        TEXT,
        "--target",
        "watercolor painting",
        "--mode",
        "replace",
        "--replace",
        "photo",
        "--also",
        "",
        "--adapter",
        folder / "adapters" / "hat.safetensors",
        "--steps",
        2,
        "--count",
        2,
        "--out",
        tmp_path / "two",
    )
    assert (
        code == 0
        and [report["complete"] for report in json.loads(out)]
        == [TEXT.replace("photo", "watercolor painting")] * 2
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("generate", "--base", "", "--target", "a hat"), "base is empty"),
        (("generate", "--base", TEXT, "--target", " "), "target is empty"),
        (("generate", "--base", TEXT, "--target", "a hat", "--steps", 0), "steps is 0"),
        (("generate", "--base", TEXT, "--target", "a hat", "--guidance", "nan"), "guidance is nan"),
        (("generate", "--base", TEXT, "--target", "a hat", "--seed", -1), "seed is -1"),
        (
            ("generate", "--base", TEXT, "--target", "a hat", "--adapter", "crown"),
            "adapter is 'crown'",
        ),
        (
            ("generate", "--base", TEXT, "--target", "a hat", "--adapter", "../x"),
            "adapter is '../x'",
        ),
        (
            (
                "generate",
                "--base",
                TEXT,
                "--target",
                "a dress",
                "--mode",
                "replace",
                "--replace",
                "suit",
            ),
            'replace is "suit"',
        ),
        (
            ("generate", "--base", " ".join(["red"] * 90), "--target", "a hat", "--adapter", ""),
            "too long",
        ),
        (
            ("generate", "--base", TEXT, "--target", "a hat", "--model", "nowhere"),
            "model is 'nowhere'",
        ),
        (("finetune", "--data", "crown"), "data is 'crown'"),
        (("finetune", "--data", "hat", "--method", "magic"), "method is 'magic'"),
        (("finetune", "--data", "hat", "--steps", 0), "steps is 0"),
        (("finetune", "--data", "hat", "--set", "speed=9"), "KEY=VALUE"),
        (("finetune", "--data", "hat", "--set", "output=-3"), "output is -3"),
        (("finetune", "--data", "hat", "--start", "crown"), "adapter is 'crown'"),
        (("evaluate", "--methods", "spf", "--targets", "freckles"), "adapter is 'freckles'"),
        (("evaluate", "--methods", ",", "--targets", "hat"), "methods is ','"),
        (("evaluate", "--methods", "original", "--targets", "crown"), "target is 'crown'"),
        (
            ("evaluate", "--methods", "original", "--targets", "hat", "--split", "train"),
            "split is 'train'",
        ),
        (("evaluate", "--methods", "original", "--targets", "hat", "--seeds", 0), "seeds is 0"),
        (
            ("evaluate", "--methods", "original", "--targets", "hat", "--threads", -1),
            "threads is -1",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(spf, tmp_path, arguments, words):
    code, out, err = spf(*arguments, "--out", tmp_path / "out")
    assert code == 2 and out == "" and words in err
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_foreign_or_broken_adapter_is_refused(spf, tmp_path):
    broken = tmp_path / "x.safetensors"
    broken.write_bytes(b"<html>not found</html>" * 10)
    code, _, err = spf(
        "generate",
        "--base",
        TEXT,
        "--target",
        "a hat",
        "--adapter",
        broken,
        "--out",
        tmp_path / "out",
    )
    assert code == 2 and "safetensors" in err and not (tmp_path / "out").exists()

"""The command line: bad input is one sentence on stderr and exit code 2."""

import subprocess
import sys

import pytest


def spf(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "spf", *arguments], capture_output=True, text=True, timeout=600
    )


def test_help_names_the_commands():
    done = spf("--help")
    assert done.returncode == 0 and "pretrain" in done.stdout


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

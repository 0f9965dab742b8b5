"""The page's scripts and styles: formatted and linted as biome.json says, where that tool is
there.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STATIC = sorted((ROOT / "spf" / "ui" / "static").iterdir())
OWN = ROOT / "node_modules" / ".bin" / "biome"
BIOME = str(OWN) if OWN.exists() else shutil.which("biome")


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_lines_fit_the_screen(path):
    wide = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 100]
    assert not wide


@pytest.mark.skipif(not BIOME, reason="no biome here: npm install brings it")
def test_scripts_and_styles_are_formatted_and_clean():
    done = subprocess.run(
        [BIOME, "ci", "--error-on-warnings"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr

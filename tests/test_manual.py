"""The documents say what the code says, and what they point to is there."""

import ast
import re
import textwrap

import pytest

from spf import manual, methods, registry
from spf.config import GenerateConfig
from spf.evaluation.measured import MEANINGS
from spf.methods import Method

ROOT = manual.ROOT
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_module_is_in_the_list_with_a_line():
    text = (ROOT / manual.ARCHITECTURE).read_text(encoding="utf-8")
    for path in [*(ROOT / "spf").rglob("*.py"), ROOT / "app.py"]:
        (line,) = re.findall(rf"^- `{path.relative_to(ROOT)}`: (.+)$", text, re.M)
        assert len(line.split()) > 2


def test_a_module_that_changes_changes_the_list(tmp_path):
    (tmp_path / "spf").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "app.py").write_text('"""The program (Who et al. 2020) runs. And more."""\n')
    (tmp_path / "spf" / "new.py").write_text('"""Something\nnew."""\n')
    old = f"# A\n{manual.START}- `gone.py`: x\n{manual.END}the rest\n"
    (tmp_path / manual.ARCHITECTURE).write_text(old)
    assert manual.ARCHITECTURE in manual.write(tmp_path)
    text = (tmp_path / manual.ARCHITECTURE).read_text()
    assert (
        "- `app.py`: The program (Who et al. 2020) runs.\n- `spf/new.py`: Something new.\n" in text
    )
    assert "gone" not in text and text.endswith("the rest\n") and not manual.write(tmp_path)


def test_every_setting_is_told_with_what_it_may_be():
    text = manual.settings()
    assert "| strength | `1.0` | -2 to 3 |" in text and "| guided | `held` | none, `held`" in text
    for name in GenerateConfig.settings():
        assert f"\n| {name} | " in text
    for name in registry.METHODS:
        assert f"## The method {name}\n" in text


def test_the_ways_through_the_house_lead_through_what_is_there():
    """Every file that is named exists, and what is named before a file is defined in it."""
    text = (ROOT / manual.ARCHITECTURE).read_text(encoding="utf-8").partition(manual.START)[0]
    ways = [part for part in text.split("\n## ") if part.startswith("A ")]
    assert len(ways) == 3
    named = 0
    for way in ways:
        files = re.findall(r"`((?:spf|static)/[^`]+)`", way)
        assert len(files) >= 4
        for file in files:
            home = ROOT / ("spf/ui" if file.startswith("static") else ".")
            assert (home / file).exists(), file
        for name, file in re.findall(r"`([A-Za-z_.]+)` \(`(spf/[^`]+\.py)`\)", way):
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            for part in name.split("."):
                found = [node for node in tree.body if getattr(node, "name", None) == part]
                assert found, f"{file} has no {name}"
                tree = found[0]
            named += 1
    assert named >= 10


def test_the_glossary_is_short_and_says_each_word_once():
    lines = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 20
    words = [word for line in lines for word in re.findall(r"\*\*(.+?)\*\*", line)]
    assert len(words) == len(set(words)) >= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_examples_for_contributors_work(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = [textwrap.dedent(one) for one in re.findall(r"```python\n(.*?)```", text, re.S)]
    files = [one for one in blocks if one.startswith('"""')]
    places = ("methods/still.py", "portraits/targets/earrings.py", "evaluation/measured/light.py")
    for place, block in zip(places, files, strict=True):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(block)
    monkeypatch.setattr(registry, "FOLDERS", [registry.HOME, tmp_path])
    assert isinstance(methods.build("still"), Method) and "brightness" in MEANINGS
    assert registry.TAUGHT.fact("earrings", "TEXT") == "gold earrings"

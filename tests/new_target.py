"""What test_registry.py runs in a process of its own: a target whose file lies in a folder that is
given is seen everywhere.

    python tests/new_target.py FOLDER
"""
# ruff: noqa: E402  the folder has to be known before the tables are made of it

import sys
from pathlib import Path

from spf import registry

registry.FOLDERS.append(Path(sys.argv[1]) / "more")

import numpy as np
from fake_engine import FakeEngine
from test_registry import choices
from typer.testing import CliRunner

from spf.cli import app
from spf.evaluation.entries import every_target
from spf.evaluation.measures import changed, responded
from spf.evaluation.summary import document, summary
from spf.portraits.captions import caption
from spf.portraits.dataset import phrase_mask
from spf.portraits.description import ATTRIBUTES, TARGETS, sample_portrait
from spf.portraits.render import render
from spf.portraits.tailored import tailored_set
from spf.targets import known_targets
from spf.ui import build
from spf.ui.tabs.compare import suggestions
from spf.userdata import target_of

new = TARGETS["earrings"]
assert ATTRIBUTES["earrings"] == ("none", "earrings") and list(TARGETS)[-1] == "earrings"
assert known_targets(("Gold earrings", "earrings")) == [new, new] == 2 * [target_of("earrings")]

plain = sample_portrait(np.random.default_rng(0), fixed={"hair_style": "bald"})
worn = plain.with_target(new)
one, other = render(plain, 64), render(worn, 64)
apart = (one.image != other.image).any(-1)
assert apart.sum() > 20
assert (~apart | other.mask("ear")).mean() > 0.99, "drawn where it says that it shows"
assert phrase_mask(("earrings",), other.regions).sum() > one.mask("ear").sum()
assert responded(worn.attributes(), new)
assert changed(plain.attributes(), worn.attributes(), [new]) == []

(item,) = tailored_set("earrings", 1)
assert (item.portrait.gender, item.portrait.background) == ("woman", "sea")
assert item.complete_text.endswith(", gold earrings") and "sea" not in item.base_text
said = ["earrings" in caption(worn, np.random.default_rng(n)).text for n in range(50)]
assert 15 <= sum(said) < 50, "about 0.6, less in short texts"
assert all("earrings" not in caption(plain, np.random.default_rng(n)).text for n in range(9))

shown = build(FakeEngine(Path(sys.argv[1])), {})
assert choices(shown, "ft-data")["earrings"] == "gold earrings"
assert "earrings" in [one["key"] for one in suggestions(FakeEngine(Path(sys.argv[1])))["items"]]
said = CliRunner().invoke(app, ["finetune", "--data", "earings", "--out", sys.argv[1]])
assert "earrings" in str(said.exception), said.exception
assert every_target(["original"], []) == list(TARGETS)
row = {"method": "spf", "target": "earrings", "prompt": 0, "seed": 0, "response": 0.5}
settings = dict.fromkeys(("prompts", "seeds", "steps", "split"), 1)
columns = {"measures": {"response": "there"}, "absent": {}}
results = {"rows": summary([row]), "settings": settings} | columns
assert "earrings" in document(results)

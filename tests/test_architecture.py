"""The house plan holds: imports point one way, nothing unsafe is called, every file says
what it is for.
"""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from spf import manual

ROOT = Path(__file__).resolve().parents[1]
FLOORS = [
    [
        "spf.bases",
        "spf.errors",
        "spf.pace",
        "spf.pixels",
        "spf.registry",
        "spf.tokenizer",
        "spf.words",
    ],
    [
        "spf.config",
        "spf.encodings",
        "spf.files",
        "spf.images",
        "spf.relied",
        "spf.space",
        "spf.votes",
        "spf.weights",
    ],
    [
        "spf.bases.source",
        "spf.devices",
        "spf.diffusion",
        "spf.losses",
        "spf.options",
        "spf.packing",
        "spf.mentions",
        "spf.prompts",
        "spf.rows",
        "spf.sfcm",
        "spf.single_file",
        "spf.streaming",
        "spf.training",
    ],
    [
        "spf.attention",
        "spf.bases.checks",
        "spf.bases.pinned",
        "spf.guides",
        "spf.portraits",
        "spf.solvers",
        "spf.traits",
    ],
    ["spf.bases.hub", "spf.targets"],
    ["spf.shelf"],
    ["spf.bases.finding"],
    [
        "spf.answers",
        "spf.control",
        "spf.models",
        "spf.safety",
        "spf.settings",
        "spf.traits.writing",
    ],
    [
        "spf.bases.reading",
        "spf.edits",
        "spf.paths",
        "spf.results",
        "spf.traits.reading",
        "spf.traits.telling",
        "spf.userdata",
        "spf.watching",
    ],
    [
        "spf.exchange",
        "spf.geometry",
        "spf.injected",
        "spf.lessons",
        "spf.rereading",
        "spf.sampling",
    ],
    ["spf.convert", "spf.made_data", "spf.methods"],
    ["spf.training_data"],
    ["spf.own_portraits"],
    ["spf.evaluation", "spf.finetune", "spf.manual", "spf.memory"],
    ["spf.bench", "spf.generate", "spf.loading", "spf.portraits.pretrain", "spf.receipt"],
    ["spf.reproduce", "spf.sheet"],
    ["spf.commands", "spf.engine"],
    ["spf.bench_commands", "spf.jobs", "spf.model_commands"],
    ["spf.worker"],
    ["spf.stress", "spf.ui"],
    ["app", "spf.cli"],
    ["spf.__main__"],
]
"""A file, or a package with all its files, imports from the floors below its own, never from its
own floor or above.
"""
ONLY_IN = {
    "gradio": ["app", "spf.ui"],
    "spaces": ["app", "spf.ui"],
    "diffusers": [
        "spf.bases.checks",
        "spf.bases.reading",
        "spf.single_file",
        "spf.solvers",
        "spf.geometry",
        "spf.models",
        "spf.safety",
        "spf.paths",
        "spf.attention",
        "spf.injected",
        "spf.exchange",
        "spf.portraits.pretrain",
    ],
    "peft": ["spf.injected", "spf.exchange"],
    "typer": ["spf.bench_commands", "spf.cli", "spf.commands", "spf.model_commands", "spf.options"],
}
FORBIDDEN = {
    "pickle",
    "cPickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "eval",
    "exec",
    "torch.load",
    "torch.save",
}
NAMES = {"PIL": "pillow", "gradio_client": "gradio"}
BROUGHT_BY_THE_HOST = {"spaces"}
OPTIONAL = {
    re.sub("-", "_", Requirement(one).name)
    for extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ].values()
    for one in extra
}
"""Libraries that are imported only where they are there."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in [*(ROOT / "spf").rglob("*.py"), *ROOT.glob("app.py")]}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def within(name: str, homes: list[str]) -> bool:
    return any(name == home or name.startswith(home + ".") for home in homes)


def place(name: str) -> tuple[int, str] | None:
    """(floor, home) of a file; the home is the innermost package that has a place of its own."""
    homes = [(floor, home) for floor, some in enumerate(FLOORS) for home in some]
    fits = [(floor, home) for floor, home in homes if within(name, [home])]
    return max(fits, key=lambda fit: len(fit[1]), default=None)


def live_nodes(tree: ast.AST):
    """All nodes but those under `if TYPE_CHECKING`, which never run."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            todo.extend(ast.iter_child_nodes(node))


def imports(name: str) -> set[str]:
    """Absolute names of everything that a file imports, at its top or inside functions."""
    found = set()
    package = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in live_nodes(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            source = ".".join([*above, *([node.module] if node.module else [])])
            found |= {
                inner if (inner := f"{source}.{alias.name}") in FILES else source
                for alias in node.names
            }
    return found


@pytest.mark.parametrize("name", FILES)
def test_imports_point_one_way(name):
    if name == "spf":
        assert not [other for other in imports(name) if other.startswith("spf")], (
            "the package itself imports lazily"
        )
        return
    here = place(name)
    assert here, f"{name} has no place in the house plan; give it one in FLOORS"
    for other in imports(name):
        if other.startswith("spf.") or other == "app":
            there = place(other)
            assert there and (there[1] == here[1] or there[0] < here[0]), (
                f"{name}, on floor {here[0]}, must not import {other}"
            )
        for library, homes in ONLY_IN.items():
            if within(other, [library]):
                assert within(name, homes), (
                    f"{library} belongs in {', '.join(homes)}, not in {name}"
                )


@pytest.mark.parametrize("name", ["spf.errors", "spf.registry", "spf.config", "spf.relied"])
def test_the_ground_floor_needs_only_the_standard_library(name):
    assert all(
        other.split(".")[0] in sys.stdlib_module_names | {"spf", "__future__"}
        for other in imports(name)
    )


@pytest.mark.parametrize("name", ["spf.diffusion", "spf.sfcm", "spf.losses"])
def test_the_equations_need_only_torch(name):
    libraries = {other.split(".")[0] for other in imports(name)} - sys.stdlib_module_names
    assert libraries <= {"torch", "spf"}


@pytest.mark.parametrize("name", FILES)
def test_nothing_unsafe_is_used(name):
    for node in live_nodes(TREES[name]):
        if isinstance(node, (ast.Name, ast.Attribute)):
            assert ast.unparse(node) not in FORBIDDEN, f"{name} line {node.lineno}"
        elif isinstance(node, ast.Call):
            text = ast.unparse(node.func)
            assert text != "print", f"{name} line {node.lineno}: use logging"
            for keyword in node.keywords:
                asked = keyword.arg in ("trust_remote_code", "allow_pickle", "shell")
                assert not asked or ast.unparse(keyword.value) == "False", (
                    f"{name} line {node.lineno}"
                )
    assert not {other.split(".")[0] for other in imports(name)} & FORBIDDEN


def untold_encodings(tree: ast.AST) -> list[int]:
    """Lines that open a text file, or a program's output as text, in whatever encoding the machine
    has.
    """
    found = []
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func).rpartition(".")[2]
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        words = [
            one.value for one in [*call.args, *given.values()] if isinstance(one, ast.Constant)
        ]
        text = name in ("read_text", "write_text") and not (name == "read_text" and call.args)
        text |= name == "open" and any(word in ("r", "w", "a", "x", "rt", "wt") for word in words)
        text |= name in ("run", "Popen", "check_output") and "text" in given
        if text and "encoding" not in given and "utf-8" not in words:
            found.append(call.lineno)
    return found


@pytest.mark.parametrize("name", FILES)
def test_no_text_depends_on_the_encoding_of_the_machine(name):
    assert not untold_encodings(TREES[name])


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("path.read_text()", [1]),
        ("path.write_text('x')", [1]),
        ("open(path, 'w')", [1]),
        ("path.open('a')", [1]),
        ("subprocess.run(['x'], text=True)", [1]),
        ("path.read_text(encoding='utf-8')", []),
        ("path.read_text('utf-8')", []),
        ("path.open('rb')", []),
        ("Image.open(path)", []),
    ],
)
def test_an_untold_encoding_is_seen(code, lines):
    assert untold_encodings(ast.parse(code)) == lines


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_what_it_is_for(name):
    assert ast.get_docstring(TREES[name]), f"{name} has no docstring"


def test_own_pictures_are_read_without_torch_or_gradio():
    code = "import sys, spf.userdata; assert not {'torch', 'gradio'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_climb_is_seen():
    assert place("spf.portraits.pretrain.unet")[0] > place("spf.evaluation.desk")[0]
    assert place("spf.portraits.render") == place("spf.portraits.description")
    assert place("spf.finetune")[0] == place("spf.evaluation")[0], "neither may import the other"
    homes = [home for some in FLOORS for home in some]
    assert len(homes) == len(set(homes)) and place("spf.nowhere") is None
    gone = [home for home in homes if not any(within(name, [home]) for name in FILES)]
    assert not gone, f"{gone} are in the house plan but not in the house"


def test_the_walk_sees_the_library():
    assert (
        len(FILES) >= 20
        and "spf.models" in imports("spf.paths")
        and "torch.nn.functional" in imports("spf.losses")
    )


def test_the_package_is_instant_and_its_names_exist():
    code = (
        "import sys, spf; assert 'torch' not in sys.modules; "
        "[getattr(spf, name) for name in spf.__all__]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def requirements() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = [
        Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()
    ]
    return {one.name.lower(): one for one in found}


def test_every_library_is_declared():
    declared = {re.sub("-", "_", name) for name in requirements()} | OPTIONAL
    for name in FILES:
        libraries = (
            {other.split(".")[0] for other in imports(name)}
            - sys.stdlib_module_names
            - {"spf", "app"}
        )
        for library in libraries - BROUGHT_BY_THE_HOST:
            assert NAMES.get(library, library).lower() in declared, f"{name} imports {library}"


@pytest.mark.parametrize(
    "library, old, good",
    [
        ("torch", ["2.7.1", "2.10.0", "2.14.0"], ["2.11.0", "2.13.0"]),
        ("gradio", ["6.27.0"], ["6.28.0", "6.31.0"]),
        ("transformers", ["5.2.0", "4.57.0"], ["5.23.0"]),
        ("safetensors", ["0.7.0"], ["0.8.0"]),
        ("pillow", ["12.2.0"], ["12.3.0"]),
    ],
)
def test_versions_with_known_holes_are_excluded(library, old, good):
    allowed = requirements()[library].specifier
    assert not any(version in allowed for version in old) and all(
        version in allowed for version in good
    )


def test_no_floor_lies_below_what_a_library_at_its_own_floor_asks_for():
    floors = {
        name: next(one.version for one in wanted.specifier if one.operator == ">=")
        for name, wanted in requirements().items()
    }
    at_floor = [name for name, floor in floors.items() if version(name) == floor]
    assert "diffusers" in at_floor, "or there is nothing to compare with"
    for library in at_floor:
        for asked in map(Requirement, requires(library) or ()):
            floor = floors.get(asked.name.lower().replace("-", "_"))
            if floor and not asked.marker:
                assert floor in asked.specifier, f"{library} needs {asked}, and ours is {floor}"


@pytest.mark.parametrize("how", [["format", "--check"], ["check"]])
def test_the_code_is_formatted_and_linted(how):
    places = ["spf", "tests", "app.py"]
    command = [sys.executable, "-m", "ruff", *how, "--no-cache", *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ruff format . && ruff check --fix . mends most: {done.stdout}"


def test_what_is_made_from_the_code_is_as_the_code_says():
    for path, text in manual.written().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, (
            f"{path} is older than the code; python -m spf manual writes it"
        )

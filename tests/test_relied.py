"""What is relied on in libraries beyond their promises is there, is all told in one place, and is
missed in one sentence.
"""

import ast
import subprocess
import sys
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from accelerate.state import AcceleratorState
from conftest import new_tiny_base, save_base
from diffusers import ModelMixin
from gradio.queueing import Queue
from test_architecture import ROOT, TREES, live_nodes

import app
from spf import attention, cli
from spf.bases.reading import load_base
from spf.errors import ChangedLibrary
from spf.injected import AdaLoraPaths, LoraPaths, projections
from spf.portraits.pretrain.muon import Muon
from spf.relied import FIELDS, NAMES, explained, gone, require, unlike
from spf.streaming import plainly
from spf.training import fit, make_accelerator
from spf.ui.sturdy import SturdyQueue, strengthen
from spf.worker import Worker

END = ", on which this program relies; install the versions that requirements.txt names."
LIBRARIES = ("accelerate", "diffusers", "gradio", "peft", "torch", "transformers")
PUBLIC = {"torch.nn.functional", "torch.nn.utils.rnn", "torch.utils.checkpoint"}


@pytest.mark.parametrize("purpose", NAMES)
def test_everything_that_is_relied_on_is_there(purpose):
    require(purpose)


def test_the_table_names_all_private_names_and_inner_modules():
    """A name that begins with _ and is not ours, and whatever is imported from deep inside."""
    told = {place for some in NAMES.values() for place in some}
    names = {part for place in told for part in place.partition(":")[2].split(".")}
    names |= {name for *_, some in FIELDS.values() for name in some.split()}
    nodes = [(file, node) for file, tree in TREES.items() for node in live_nodes(tree)]
    ours = {
        node.name
        for _, node in nodes
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }
    for file, node in nodes:
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            own = ast.unparse(node.value) in ("self", "cls", "super()") or node.attr in ours
            public = node.attr == "_replace" or node.attr.endswith("__")
            assert own or public or node.attr in names, f"{file} line {node.lineno}: {node.attr}"
        if isinstance(node, ast.ImportFrom) and not node.level:
            parts = node.module.split(".")
            deep = len(parts) > 2 or node.module in ("gradio.queueing", "accelerate.state")
            if parts[0] in LIBRARIES and deep and node.module not in PUBLIC:
                for alias in node.names:
                    place = f"{node.module}:{alias.name}"
                    assert any(one.startswith(place) for one in told), f"{file}: {place}"


def test_the_table_names_all_that_the_sturdy_queue_takes_from_gradios():
    told = {place.rpartition(".")[2] for place in NAMES["queue"]}
    fields = set(FIELDS["queue"][2].split())
    replaced = {name for name in vars(SturdyQueue) if not name.startswith("__")}
    assert {name for name in replaced if hasattr(Queue, name)} <= told
    [tree] = [
        node
        for node in ast.walk(TREES["spf.ui.sturdy"])
        if isinstance(node, ast.ClassDef) and node.name == "SturdyQueue"
    ]
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    }
    assert used - replaced <= fields


def test_a_name_that_is_gone_or_is_called_otherwise_is_one_sentence(monkeypatch):
    monkeypatch.delattr(Queue, "notify_clients")
    with pytest.raises(ChangedLibrary) as error:
        require("queue")
    assert str(error.value) == f"gradio {gr.__version__} has no Queue.notify_clients{END}"
    monkeypatch.undo()

    for push in (
        lambda self, body, username, request: None,
        lambda self, body, request, username, more: None,
    ):
        monkeypatch.setattr(Queue, "push", push)
        with pytest.raises(ChangedLibrary, match=r"Queue.push\(self, body, request, username\),"):
            require("queue")
    monkeypatch.setattr(Queue, "push", lambda self, body, request, username, more=0, **rest: None)
    require("queue")


# where it is told


def test_a_page_is_not_opened_on_a_queue_that_cannot_be_made_sturdy(monkeypatch, capsys):
    with gr.Blocks() as page:
        gr.Button()
    page.queue()
    del page._queue.active_jobs
    with pytest.raises(ChangedLibrary, match="has no Queue with active_jobs,"):
        strengthen(page)

    monkeypatch.setattr(sys, "argv", ["app.py"]), monkeypatch.setenv("GRADIO_TEMP_DIR", "/nowhere")
    monkeypatch.delattr(Queue, "notify_clients")
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2 and capsys.readouterr().err.splitlines()[-1].endswith(END)


def test_training_says_so_before_its_first_step(monkeypatch):
    network = torch.nn.Linear(2, 2)
    with monkeypatch.context() as without:
        without.delattr(torch, "_foreach_lerp_")
        with pytest.raises(ChangedLibrary, match=r"^torch \S+ has no _foreach_lerp_,"):
            fit(network, None, steps=1, lr=0.1, out=None, average=0.9)
        with pytest.raises(ChangedLibrary, match="_foreach_lerp_"):
            Muon([{"params": list(network.parameters())}], 0.1)
    monkeypatch.delattr(AcceleratorState, "_reset_state")
    with pytest.raises(ChangedLibrary, match="^accelerate .* has no AcceleratorState._reset_state"):
        make_accelerator()


def test_a_base_whose_attention_cannot_be_read_is_refused(tmp_path, monkeypatch):
    save_base(new_tiny_base(), tmp_path)
    with monkeypatch.context() as otherwise:
        otherwise.setattr(attention, "Attention", torch.nn.Linear)
        with pytest.raises(ChangedLibrary, match="^diffusers .* cross-attention in its UNet"):
            load_base(str(tmp_path / "base"))
    with monkeypatch.context() as otherwise:
        otherwise.setattr(ModelMixin, "enable_gradient_checkpointing", lambda self: None)
        with pytest.raises(ChangedLibrary, match="enable_gradient_checkpointing"):
            load_base(str(tmp_path / "base"))


@pytest.mark.parametrize("kind, purpose", [(LoraPaths, "lora"), (AdaLoraPaths, "adalora")])
def test_low_rank_layers_of_another_make_leave_the_network_as_it_was(
    tiny_base, monkeypatch, kind, purpose
):
    sizes = {"rank": 2, "alpha": 2.0}
    if kind is AdaLoraPaths:
        sizes |= {"initial": 3, "steps": 9, "warm": 1, "final": 1, "every": 1}
    library, what, names = FIELDS[purpose]
    monkeypatch.setitem(FIELDS, purpose, (library, what, f"{names} lora_Z"))
    before = dict(tiny_base.unet.named_modules())
    with pytest.raises(ChangedLibrary, match=f"{what} with lora_Z,"):
        kind(tiny_base.unet, projections(tiny_base.unet), **sizes).__enter__()
    assert dict(tiny_base.unet.named_modules()) == before


# what cannot be imported


def failed(statement: str) -> ImportError:
    with pytest.raises(ImportError) as error:
        exec(statement)
    return error.value


def test_a_failed_import_is_told_by_its_library():
    told = unlike(failed("from diffusers.loaders.lora_base import GONE"))
    assert str(told) == str(gone("diffusers", "GONE in diffusers.loaders.lora_base"))
    told = unlike(failed("import torch._subclasses.gone"))
    assert str(told) == str(gone("torch", "torch._subclasses.gone"))
    assert unlike(failed("import bitsandbytes_gone")) is None and unlike(ImportError("x")) is None


def test_a_library_that_is_missing_is_told_with_what_to_do(monkeypatch):
    def version(library):
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError(library)

    monkeypatch.setattr("spf.relied.version", version)
    told = unlike(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert str(told) == "torch is not installed; python -m pip install -r requirements.txt"


def test_every_door_tells_a_failed_import(monkeypatch, capsys, tmp_path):
    error = failed("from peft.utils.other import gone")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("peft ") and said.endswith(f"{END}\n")

    with pytest.raises(ImportError, match="ours"), explained():
        raise ImportError("ours", name="spf.gone")
    assert isinstance(plainly(error), ChangedLibrary), "what a drawing raises"

    (tmp_path / "request.json").write_text("{}")
    worker = Worker(tmp_path, tmp_path, SimpleNamespace())
    monkeypatch.setattr(worker, "work", fail)
    assert worker.run() == 1 and worker.state["message"] == said.strip()


def test_a_page_whose_gradio_has_moved_ends_in_one_sentence():
    code = (
        "import gradio.queueing, runpy; del gradio.queueing.Event; "
        "runpy.run_path('app.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    [said] = done.stderr.splitlines()
    assert said == f"gradio {gr.__version__} has no Event in gradio.queueing{END}"

"""SPF-Portrait Studio: flags -> settings -> page -> launch.

python app.py                       on http://127.0.0.1:7860, the embedded model, no network
python app.py --model FOLDER        with another Stable Diffusion base (or SPF_MODEL=FOLDER)
python app.py --listen --port 80    reachable from other machines, for anybody there
python app.py --allow-host demo.example.org --auth me:secret     behind a proxy, with a password
python app.py --mcp                 also offers its endpoints to language models
                                    (pip install "gradio[mcp]")
"""

from __future__ import annotations

import argparse
import logging
import os
import stat
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from spf import relied  # noqa: E402 - the switches above must be set before Gradio is imported

with relied.explained():
    from spf.config import EMBEDDED, MODEL
    from spf.engine import Engine
    from spf.errors import ChangedLibrary
    from spf.jobs import Jobs, SlicedJobs
    from spf.ui import build, examples, launch_options
    from spf.ui.gpu import lent_training, on_space, on_zero_gpu

LISTENING = """
**********************************************************************
  The page answers %s on every network that reaches this
  machine. They see what is drawn, fill its disk and use its time.
**********************************************************************"""


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The page: compare, look inside, fine-tune.")
    parser.add_argument(
        "--model", default=MODEL, help="embedded, a folder, a .safetensors checkpoint, or a hub id"
    )
    parser.add_argument("--device", default=None, help="cpu, cuda, ...; the best one by default")
    parser.add_argument(
        "--port", type=int, default=None, help="7860 or the next free one by default"
    )
    parser.add_argument(
        "--listen", action="store_true", help="answer other machines too, without a password"
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        default=os.environ.get("GRADIO_MCP_SERVER", "").lower() == "true",
        help="offer the named endpoints as tools to language models",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which a proxy shows the page; may be given several times",
    )
    parser.add_argument(
        "--auth",
        default=os.environ.get("SPF_AUTH", ""),
        metavar="NAME:PASSWORD",
        help="let in only who knows this; $SPF_AUTH keeps it out of the list of processes",
    )
    parser.add_argument(
        "--unfiltered",
        action="store_true",
        help="show a real model's pictures without its safety checker; on this machine only",
    )
    parser.add_argument("--open", action="store_true", help="open the browser")
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options = flags()
    if options.port is not None and not 1 <= options.port <= 65535:
        raise refused(f"--port is {options.port} but must be a whole number from 1 to 65535.")
    if options.auth and not all(options.auth.partition(":")[::2]):
        raise refused("--auth must be a name and a password with a colon between them.")
    if options.listen:
        logging.warning(LISTENING, "whoever knows the password" if options.auth else "everybody")
    if options.mcp and find_spec("mcp") is None:
        raise refused(
            '--mcp needs a package that is not installed: python -m pip install "gradio[mcp]"'
        )
    if not os.environ.get("GRADIO_TEMP_DIR"):
        os.environ["GRADIO_TEMP_DIR"] = str(temporary())
    require_filter(options.model, options.unfiltered, public=options.listen or on_space())
    jobs = Jobs("runs/jobs")
    engine = Engine(
        options.model, options.device, own=jobs.adapters, filtered=not options.unfiltered
    )
    if on_zero_gpu():
        jobs = SlicedJobs(jobs.root, jobs.adapters, lent_training(engine))
    try:
        page = build(engine, examples.load(), jobs)
    except ChangedLibrary as error:
        raise refused(str(error)) from None
    if on_zero_gpu():
        engine.load_all()  # the Space hands its weights to the workers at launch
    try:
        launch(page, options)
    except OSError as error:
        place = f"port {options.port}" if options.port else "ports 7860 to 7959"
        raise refused(f"The page cannot be opened on {place}: {error}") from None
    engine.start()  # torch and the weights come after the page: the first picture does not wait
    page.block_thread()


def require_filter(model: str, unfiltered: bool, public: bool) -> None:
    """A real model's pictures go to everybody only past its safety checker; here alone it is said
    that there is none.
    """
    if model == EMBEDDED:
        return
    if unfiltered and public:
        raise refused(
            "--unfiltered is for this machine alone and not for a page that others reach."
        )
    from spf.safety import checker_folder

    if unfiltered or checker_folder(Path(model)) is None:
        fetch = "python -m spf models --get checker"
        if public:
            raise refused(f"A real model needs a safety checker where others reach it: {fetch}")
        logging.warning("No safety checker looks at what this model draws; fetch it by: %s", fetch)


def launch(page, options: argparse.Namespace) -> None:
    """Opens the page and returns."""
    page.launch(
        server_name=None if on_space() else "0.0.0.0" if options.listen else "127.0.0.1",
        server_port=options.port,
        inbrowser=options.open,
        prevent_thread_lock=True,
        mcp_server=options.mcp,
        auth=[tuple(options.auth.split(":", 1))] if options.auth else None,
        **launch_options(local=not (options.listen or on_space()), hosts=options.allow_host),
    )


def temporary() -> Path:
    """A folder for uploads that is this user's own: one that others made or may write in is not
    trusted. Ends the program where there is no place for one.
    """
    try:
        place = Path(tempfile.gettempdir())
    except OSError:
        raise refused(
            "Uploads need a folder that can be written, and there is none for temporary files;"
            " name one in TMPDIR."
        ) from None
    folder = place / f"spf-{getattr(os, 'getuid', lambda: 'own')()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if _private(folder) and os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="spf-"))


def _private(folder: Path) -> bool:
    made = folder.lstat()
    if os.name != "posix":  # where each user has a temporary folder of their own
        return True
    writable = made.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(made.st_mode) and made.st_uid == os.getuid() and not writable


def refused(sentence: str) -> SystemExit:
    """What ends the program on bad input: one sentence on stderr, exit code 2."""
    sys.stderr.write(f"{sentence}\n")
    return SystemExit(2)


if __name__ == "__main__":
    main()

"""SPF-Portrait Studio: flags -> settings -> page -> launch.

python app.py                       on http://127.0.0.1:7860, with the embedded model, without network
python app.py --model FOLDER        with another Stable Diffusion base (or SPF_MODEL=FOLDER)
python app.py --listen --port 80    reachable from other machines; anybody who can reach it can use it
python app.py --mcp                 also offers its endpoints to language models (pip install "gradio[mcp]")
"""

from __future__ import annotations

import argparse
import logging
import os
from importlib.util import find_spec

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from spf.config import MODEL  # noqa: E402
from spf.engine import Engine  # noqa: E402 - the switches above must be set before Gradio is imported
from spf.jobs import Jobs  # noqa: E402
from spf.ui import build, examples, launch_options  # noqa: E402
from spf.ui.gpu import on_space, on_zero_gpu  # noqa: E402


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
    parser.add_argument("--open", action="store_true", help="open the browser")
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options = flags()
    if options.listen:
        logging.warning("The page answers everybody who can reach this machine.")
    if options.mcp and find_spec("mcp") is None:
        raise SystemExit(
            '--mcp needs a package that is not installed: python -m pip install "gradio[mcp]"'
        )
    jobs = Jobs("runs/jobs")
    engine = Engine(options.model, options.device, own=jobs.adapters)
    page = build(engine, examples.load(), jobs)
    if on_zero_gpu():
        engine.load_all()  # the Space hands its weights to the workers at launch
    page.launch(
        server_name=None if on_space() else "0.0.0.0" if options.listen else "127.0.0.1",
        server_port=options.port,
        inbrowser=options.open,
        prevent_thread_lock=True,
        mcp_server=options.mcp,
        **launch_options(local=not (options.listen or on_space())),
    )
    engine.start()  # torch and the weights come after the page, so that the first picture does not wait for them
    page.block_thread()


if __name__ == "__main__":
    main()

"""The picture of the page in the README: the page with its first ready example, in a Chromium
without a window.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from spf.engine import Engine
from spf.errors import BadInput
from spf.jobs import Jobs

from . import build, examples, launch_options

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def shoot(out: Path, width: int = 1280, height: int = 1000) -> Path:
    """Writes a PNG of the page. Raises BadInput without a Chromium (or SPF_CHROMIUM) or without
    playwright.
    """
    browser = (
        os.environ.get("SPF_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BadInput(
            "playwright is missing, which drives the browser; install the project with [test]."
        ) from None
    if not browser:
        raise BadInput(
            "SPF_CHROMIUM is empty and no Chromium was found; set it to a browser's file."
        )
    with tempfile.TemporaryDirectory() as folder:
        page = build(
            Engine(), examples.load(), Jobs(Path(folder) / "jobs", Path(folder) / "adapters")
        )
        _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options())
        try:
            with sync_playwright() as driver:
                window = driver.chromium.launch(executable_path=browser, args=list(FLAGS))
                tab = window.new_page(
                    viewport={"width": width, "height": height}, color_scheme="light"
                )
                tab.goto(address)
                tab.wait_for_selector('.spf-stage[data-phase="done"]')
                tab.evaluate("document.fonts.ready")
                tab.wait_for_timeout(1500)  # pictures fade in
                tab.screenshot(path=out)
                window.close()
        finally:
            page.close()
    return out

"""Named endpoints for programs: what the Compare tab does, through `gradio_client` or plain HTTP."""

from __future__ import annotations

import gradio as gr

from spf.engine import Engine, Result
from spf.errors import SpfError

from . import stage
from .compare import AUTO, reported, wanted
from .gpu import on_gpu


def build(engine: Engine) -> None:
    """Registers the endpoints on the page that is being built."""

    def draw(config):
        yield from engine.compare(config)

    lent = on_gpu(draw, engine.seconds)

    def compare(
        base: str, target: str = "", mode: str = "append", replace: str = "", adapter: str = AUTO,
        seed: int = 0, steps: int = 30, guidance: float = 4.0,
    ) -> dict:  # fmt: skip
        """Draws the base text with the original model and the complete text with the tuned one, from the same noise.

        Parameters:
            base: the portrait, for example "a photo of a young woman with long red hair"
            target: what should change, for example "a hat"; several are joined with +
            mode: "append" adds the target, "replace" puts it in place of the words in `replace`
            replace: the words of the base text that the target replaces
            adapter: "auto", "" for none, or a name that /adapters lists
            seed: start of the noise, 0 to 4294967295
            steps: denoising steps, 1 to 200
            guidance: classifier-free guidance, 1 to 20
        Returns:
            portraits (PNG data URIs by role), complete (the text), report (by role), notices
        """
        try:
            config = wanted(base, target, mode, replace, adapter, seed, steps, guidance)
            result = next(event for event in lent(config) if isinstance(event, Result))
        except SpfError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception as error:
            raise gr.Error(reported(error)["en"], print_exception=False) from None
        value = stage.finished(result)
        told = [notice["text"]["en"] for notice in value["notices"]]
        return {
            "portraits": value["portraits"],
            "complete": result.words.prompt.complete,
            "report": value["report"],
            "notices": told,
        }

    def adapters() -> list[str]:
        """Names of the tuned models that can be chosen."""
        return list(engine.adapters())

    gr.api(compare, api_name="compare", concurrency_id="gpu", concurrency_limit=1)
    gr.api(adapters, api_name="adapters", queue=False)

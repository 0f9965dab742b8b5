"""Named endpoints for programs: what the tabs do, through `gradio_client`, plain HTTP, or as tools of a language model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import gradio as gr

from spf import results as tables
from spf.config import GenerateConfig
from spf.engine import Engine, Result
from spf.errors import SpfError
from spf.jobs import Jobs
from spf.portraits.tailored import SIZE

from . import stage
from .compare import AUTO, reported, wanted
from .gpu import on_gpu

TOLD = ("name", "phase", "step", "steps", "left", "terms", "looks", "message", "adapter", "lora")


def build(engine: Engine, jobs: Jobs | None = None, places: Iterable[str | Path] = ()) -> None:
    """Registers the endpoints on the page that is being built. jobs: None where nobody may train."""

    def draw(config):
        yield from engine.compare(config)

    lent = on_gpu(draw, engine.seconds)

    def compare(
        base: str,
        target: str = "",
        mode: str = "append",
        replace: str = "",
        adapter: str = AUTO,
        seed: int = 0,
        steps: int = GenerateConfig.steps,
        guidance: float = GenerateConfig.guidance,
        guided: str = GenerateConfig.guided,
    ) -> dict:
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
            guided: "held" to the original outside the map and told what it shows inside, "told" or "untold" for one of the two,
                "sfcm", "difference" or "attention" to blend by these, or "" for none
        Returns:
            portraits (PNG data URIs by role), complete (the text), report (by role), notices
        """
        try:
            config = wanted(base, target, mode, replace, adapter, seed, steps, guidance, guided)
            result = next(event for event in lent(config) if isinstance(event, Result))
        except SpfError as error:
            raise _refused(error) from None
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

    def words(base: str, target: str = "", mode: str = "append", replace: str = "") -> dict:
        """What the model makes of a text, without drawing.

        Parameters:
            base: the portrait
            target: what should change; several are joined with +
            mode: "append" or "replace"
            replace: the words of the base text that the target replaces
        Returns:
            complete (the text), phrases, targets, unknown (words that the model lacks), dropped (words beyond its window)
        """
        try:
            found = engine.words(wanted(base, target, mode, replace))
        except SpfError as error:
            raise _refused(error) from None
        return {
            "complete": found.prompt.complete,
            "phrases": [phrase.text for phrase in found.prompt.phrases],
            "targets": [phrase.text for phrase in found.prompt.target_phrases],
            "unknown": list(found.unknown),
            "dropped": list(found.dropped),
        }

    def results() -> list[dict]:
        """Evaluation results: for each table its name, settings, and rows of method, target, measure, value, low, high, n."""
        return [
            {
                "name": one.name,
                "settings": dict(one.settings),
                "rows": [dict(row) for row in one.rows],
            }
            for one in tables.load(places)
        ]

    def finetune(
        target: str = "hat",
        method: str = "spf",
        steps: int = 80,
        settings: dict | None = None,
        images: int = SIZE,
    ) -> str:
        """Starts fine-tuning on a ready set in the background and returns the name of the job; one job runs at a time.

        Parameters:
            target: name of the set, such as hat, freckles, laughing, dress
            method: spf, naive, or another method
            steps: training steps, 1 to 2000
            settings: of the method, by name, as the command line's --set
            images: pictures of the set, 1 to 100000
        """
        try:
            request = {
                "data": target,
                "method": method,
                "steps": steps,
                "images": images,
                "settings": settings or {},
            }
            return jobs.start(request | {"model": engine.model})
        except SpfError as error:
            raise _refused(error) from None

    def job(name: str = "") -> dict:
        """What is true about a fine-tuning job: phase, step, losses, response and pollution so far, the finished adapter.

        Parameters:
            name: as /finetune returned it; the newest by default
        """
        try:
            chosen = name or next(iter(jobs.names()), "")
            known = asdict(jobs.status(chosen)) if chosen else {"phase": "none"}
        except SpfError as error:
            raise _refused(error) from None
        files = {key: Path(known[key]).name for key in ("adapter", "lora") if known.get(key)}
        return {key: known[key] for key in TOLD if key in known} | files

    def control_job(name: str, action: str) -> dict:
        """Pauses, stops or resumes a fine-tuning job; returns what /job does.

        Parameters:
            name: of the job
            action: pause, stop or resume
        """
        try:
            if action not in ("pause", "stop", "resume"):
                raise gr.Error(
                    f"action is {action[:20]!r} but must be pause, stop or resume.",
                    print_exception=False,
                )
            getattr(jobs, action)(name)
        except SpfError as error:
            raise _refused(error) from None
        return job(name)

    gr.api(compare, api_name="compare", concurrency_id="gpu", concurrency_limit=1)
    gr.api(adapters, api_name="adapters", queue=False)
    gr.api(words, api_name="words", queue=False)
    gr.api(results, api_name="results", queue=False)
    if jobs is not None:
        gr.api(finetune, api_name="finetune", concurrency_limit=1)
        gr.api(job, api_name="job", queue=False)
        gr.api(control_job, api_name="control_job", queue=False)


def _refused(error: SpfError) -> gr.Error:
    return gr.Error(str(error), print_exception=False)

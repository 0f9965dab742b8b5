"""Named endpoints for programs: what the tabs do, through `gradio_client`, plain HTTP, or as tools
of a language model.
"""

from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from spf import results as tables
from spf.answers import Result
from spf.errors import BadInput, SpfError, placeless
from spf.settings import FinetuneConfig

from . import stage
from .boundary import reported
from .form import about
from .gpu import lent_drawing, may_train
from .page import Page, wanted

TOLD = (
    "name",
    "phase",
    "step",
    "steps",
    "left",
    "terms",
    "looks",
    "message",
    "adapter",
    "lora",
    "kept",
)
ACTIONS = ("pause", "stop", "resume", "delete")


def build(page: Page) -> None:
    """Registers the endpoints on the page that is being built; those of fine-tuning where it is
    allowed.
    """
    _drawing(page)
    _results(page)
    if may_train():
        _training(page)


def _drawing(page: Page) -> None:
    """compare, adapters and words."""
    engine, form = page.engine, page.form

    lent = lent_drawing(engine)

    def compare(**settings: Any) -> dict:
        """Draws the base text with the original model and the complete text with the tuned one,
        from the same noise.

        Returns:
            portraits (PNG data URIs by role), complete (the text), report (by role), notices
        """
        try:
            config = wanted(form, **settings)
            result = next(event for event in lent(config) if isinstance(event, Result))
        except SpfError as error:
            raise _refused(error) from None
        except Exception as error:
            raise gr.Error(reported(error)["en"], print_exception=False) from None
        value = stage.finished(result)
        return {
            "portraits": value["portraits"],
            "complete": result.words.prompt.complete,
            "report": value["report"],
            "notices": [notice["text"]["en"] for notice in value["notices"]],
        }

    def adapters() -> list[str]:
        """Names of the tuned models that can be chosen."""
        return list(engine.adapters())

    def words(**settings: Any) -> dict:
        """What the model makes of a text, without drawing.

        Returns:
            complete (the text), phrases, targets, unknown (words that the model lacks), dropped
            (words beyond its window)
        """
        try:
            found = engine.words(wanted(form, **settings))
        except SpfError as error:
            raise _refused(error) from None
        return {
            "complete": found.prompt.complete,
            "phrases": [phrase.text for phrase in found.prompt.phrases],
            "targets": [phrase.text for phrase in found.prompt.target_phrases],
            "unknown": list(found.unknown),
            "dropped": list(found.dropped),
        }

    heavy = {"concurrency_id": "gpu", "concurrency_limit": 1}
    gr.api(form.function(compare), api_name="compare", **heavy)
    gr.api(adapters, api_name="adapters", queue=False)
    gr.api(form.function(words, ["texts"]), api_name="words", queue=False)


def _results(page: Page) -> None:
    def results() -> list[dict]:
        """Evaluation results: for each table its name, settings, and rows of method, target,
        measure, value, low, high, n.
        """
        return [
            {
                "name": one.name,
                "settings": dict(one.settings),
                "rows": [dict(row) for row in one.rows],
            }
            for one in tables.load(page.places)
        ]

    gr.api(results, api_name="results", queue=False)


def _training(page: Page) -> None:
    """finetune, job and control_job."""
    engine, jobs = page.engine, page.jobs

    def attended(name: str) -> str:
        for _ in jobs.attend(name):
            pass  # on a lent card the job goes on while it is waited for
        return name

    def finetune(
        target: str = FinetuneConfig.data,
        method: str = FinetuneConfig.method,
        steps: int = 80,
        settings: dict | None = None,
        images: int = FinetuneConfig.images,
    ) -> str:
        """Starts fine-tuning on a ready set in the background and returns the name of the job; one
        job runs at a time.

        Parameters:
            target: name of a ready set, which is that of its target
            method: {method}
            steps: {steps}
            settings: of the method, by name, as the command line's --set
            images: {images}
        """
        try:
            request = {
                "data": target,
                "method": method,
                "steps": steps,
                "images": images,
                "settings": settings or {},
            }
            return attended(jobs.start(request | {"model": engine.model}))
        except SpfError as error:
            raise _refused(error) from None

    def job(name: str = "") -> dict:
        """What is true about a fine-tuning job: phase, step, losses, response and pollution so far,
        the finished adapter.

        Parameters:
            name: as /finetune returned it; the newest by default
        """
        try:
            chosen = name or next(iter(jobs.names()), "")
            known = asdict(jobs.status(chosen)) if chosen else {"phase": "none"}
        except SpfError as error:
            raise _refused(error) from None
        files = {key: Path(known[key]).name for key in ("adapter", "lora") if known.get(key)}
        told = {key: known[key] for key in TOLD if key in known} | files
        return told | {"message": placeless(told["message"])} if "message" in told else told

    def control_job(name: str, action: str) -> dict:
        """Pauses, stops, resumes or deletes a fine-tuning job; returns what /job does.

        Parameters:
            name: of the job
            action: pause, stop, resume or delete
        """
        try:
            if action not in ACTIONS:
                raise BadInput(
                    f"action is {str(action)[:20]!r} but must be one of {', '.join(ACTIONS)}."
                )
            getattr(jobs, action)(name)
            if action == "resume":
                attended(name)
        except SpfError as error:
            raise _refused(error) from None
        return job(name) if action != "delete" else {"name": name, "phase": "none"}

    said = {name: about(one) for name, one in FinetuneConfig.settings().items()}
    finetune.__doc__ = inspect.cleandoc(finetune.__doc__).format(**said)
    gr.api(finetune, api_name="finetune", concurrency_limit=1)
    gr.api(job, api_name="job", queue=False)
    gr.api(control_job, api_name="control_job", queue=False)


def _refused(error: SpfError) -> gr.Error:
    return gr.Error(placeless(error), print_exception=False)

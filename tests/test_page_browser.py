"""The page in a real Chromium, around an engine that draws instead of computing: what a visitor
sees and presses.
"""

import io
import json
import os
import re
import shutil
import sys
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from fake_engine import FakeEngine
from PIL import Image

from spf.jobs import Jobs
from spf.shelf import Shelf
from spf.ui import build, examples, launch_options
from spf.votes import Votes

CHROMIUM = (
    os.environ.get("SPF_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine; set SPF_CHROMIUM"),
]

BASE, TARGET, GENERATE, STOP = "#base textarea", "#target textarea", "#generate", "#stop"
DONE = '.spf-stage[data-phase="done"]'
STEPS = examples.WANTED["hat"].steps
"""Of the example that stands on the page first."""


AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
REACHED = """() => {
    const ids = [];
    for (let node = document.activeElement; node; node = node.parentElement) ids.push(node.id);
    return ids;
}"""
OUTLINED = """() => {
    const node = document.activeElement, style = getComputedStyle(node);
    const exempt = node === document.body || node.type === 'range';
    return exempt || style.outlineStyle !== 'none' || style.boxShadow !== 'none';
}"""
DIFFERS = """() => {
    const pen = document.querySelector('figure[data-role=tuned] canvas').getContext('2d');
    return pen.getImageData(0, 0, 384, 384).data.some((value) => value);
}"""
PLACES = """() => ['#generate', '.spf-stage .pictures', '.spf-stage .actions', '#adapter']
    .map((place) => document.querySelector(place).getBoundingClientRect().top + scrollY)
    .map(Math.round)"""
CONTRAST = """() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const part = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const colour = parse(getComputedStyle(node).backgroundColor);
            if ((colour[3] ?? 1) > 0.9) return colour;
        }
        return [255, 255, 255];
    };
    const poor = [], seen = { opacityProperty: true, visibilityProperty: true };
    for (const node of document.querySelectorAll('.gradio-container *')) {
        const says = (child) => child.nodeType === 3 && child.textContent.trim();
        const text = [...node.childNodes].some(says);
        if (!text || !node.getBoundingClientRect().width || !node.checkVisibility(seen)) continue;
        if (node.closest(':disabled, footer, .sr-only, .frame')) continue;
        const a = light(parse(getComputedStyle(node).color)), b = light(ground(node));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const words = node.textContent.trim().slice(0, 30);
        if (ratio < 4.5) poor.push([words, node.className, ratio.toFixed(2)]);
    }
    return poor;
}"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = FakeEngine(tmp_path_factory.mktemp("fake"))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def jobs(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Jobs, "COMMAND", (sys.executable, str(Path(__file__).parent / "fake_job.py")))
        jobs = Jobs(folder / "jobs", folder / "adapters")
        engine.shelf = Shelf((*engine.shelf.folders, jobs.adapters))
        yield jobs
        if name := jobs.active():
            jobs.stop(name)


@pytest.fixture(scope="module")
def url(engine, jobs, tmp_path_factory):
    stored = examples.make(
        engine, tmp_path_factory.mktemp("examples"), ["hat", "dress", "watercolor"]
    )
    folder = tmp_path_factory.mktemp("results")
    settings = {"prompts": 2, "seeds": 1, "split": "test", "steps": 6, "guidance": 4.0, "seed": 0}
    rows = [
        {
            "method": method,
            "target": "hat",
            "measure": measure,
            "value": value,
            "low": value,
            "high": value,
            "n": 2,
        }
        for method, values in (("spf", (0.8, 0.1, 0.85)), ("naive", (0.9, 0.4, 0.72)))
        for measure, value in zip(("response", "pollution", "purity"), values, strict=True)
    ]
    (folder / "small.json").write_text(
        json.dumps({"settings": settings, "measures": {}, "rows": rows})
    )
    page = build(engine, stored, jobs, Votes(folder / "votes.sqlite"), [folder])
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield address
    page.close()


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, url, engine):
    """visit(query="", **context): an open page. Fails on console errors and on requests that leave
    this machine.
    """
    with opened(chromium, url) as visit:
        engine.pause, engine.fault = 0.0, None
        yield visit


LEFT = ("AbortError", "Connection errored out")
"""What Gradio says of a stream that a page drops."""
TORN = "Cannot set properties of undefined (setting"
"""What it says of a piece that comes while the page is being left; at any other time it counts."""


@contextmanager
def opened(chromium, url):
    contexts, trouble = [], []
    playwright.expect.set_options(timeout=20_000)  # other work may share the machine

    leaving = set()

    def complain(page, text):
        if not any(words in text for words in LEFT) and not (TORN in text and page in leaving):
            trouble.append(text)

    def visit(query="", width=1280, height=900, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(60_000)  # other work may share the machine
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on(
            "console",
            lambda message: complain(page, message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: complain(page, str(error)))
        page.on("framenavigated", lambda frame: leaving.discard(page))

        def asked(request):
            if not request.url.startswith((url, "data:", "blob:")):
                trouble.append(request.url)
            if request.is_navigation_request():
                leaving.add(page)

        page.on("request", asked)
        page.goto(url + query)
        page.wait_for_selector(f"{DONE} figure img[src]")
        return page

    yield visit
    [context.close() for context in contexts]
    assert not trouble, trouble


def sentence(page):
    return page.inner_text(".spf-stage .sentence")


def open_tab(page, name):
    page.click(f"#tabs [role=tab]:has-text('{name}')")


def say(page, words):
    playwright.expect(page.locator(".spf-stage .sentence")).to_contain_text(words, timeout=15_000)


def until(true, seconds=10.0):
    """Waits for what happens beside the page."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    assert true()


def test_the_first_pair_is_there_before_anything_is_computed(visit, engine):
    steps = engine.steps_done
    page = visit()
    assert sentence(page) == "The hat is there. All 18 other attributes are unchanged."
    assert page.locator(".spf-stage figure:visible img").count() == 3 and engine.steps_done == steps
    assert page.evaluate("document.querySelector('.spf-stage img').naturalWidth") == 512
    playwright.expect(page.locator(".spf-chrome .state")).to_have_text("model ready")


def test_generate_streams_and_ends_in_a_verdict(visit, engine):
    page = visit()
    page.fill(BASE, "a photo of an old knight with gray hair, wearing a red shirt, in a park")
    playwright.expect(page.locator("#hints")).to_contain_text("The model does not know: knight")
    engine.pause = 0.1
    page.click(GENERATE)
    say(page, "step")
    playwright.expect(page.locator(STOP)).to_be_enabled()
    playwright.expect(page.locator(GENERATE)).to_be_disabled()
    page.wait_for_selector(DONE, timeout=20_000)
    assert sentence(page).startswith("The hat is there.")
    assert (
        "knight" in page.inner_text(".spf-stage .notices")
        and page.locator("mark.unknown").inner_text() == "knight"
    )
    assert page.is_enabled(GENERATE) and page.is_disabled(STOP)
    assert "others changed" in page.inner_text("figure[data-role=naive]")


def test_stop_stops_and_the_next_run_is_whole(visit, engine):
    page = visit()
    engine.pause = 0.2
    for wait in (200, 900):
        page.click(GENERATE)
        say(page, "step")
        page.wait_for_timeout(wait)
        page.keyboard.press("Escape")
        say(page, "Stopped at step")
        playwright.expect(page.locator(GENERATE)).to_be_enabled()
        playwright.expect(page.locator(STOP)).to_be_disabled()
        until(lambda: engine.running == 0)
        assert sentence(page).startswith("Stopped")
    engine.pause = 0
    page.click(GENERATE)
    page.wait_for_selector(DONE, timeout=20_000)


def test_a_text_of_ones_own_is_completed_unless_that_was_switched_off(visit):
    """The first example leaves open what its text does not say; what is typed over it does not."""
    page = visit()
    also, base = page.locator("#also textarea, #also input").first, page.locator(BASE)
    playwright.expect(also).to_have_value("")
    base.click()
    page.keyboard.insert_text("a photo of an old man")  # as pasting does, at once
    playwright.expect(also).to_have_value("auto")
    also.press("Control+a")
    also.press("Backspace")
    base.press_sequentially(" too")
    page.wait_for_timeout(500)
    playwright.expect(also).to_have_value("")


def test_bad_input_and_bugs_are_told_in_place_and_nothing_is_lost(visit, engine):
    page = visit()
    page.fill(BASE, " ")
    page.click(GENERATE)
    say(page, "“Base text” is empty: describe a portrait")
    page.fill(BASE, "a photo of a man")
    engine.fault = RuntimeError("hf_CANARY")
    page.click(GENERATE)
    say(page, "Something went wrong on our side. Your texts are kept. Code ")
    assert "CANARY" not in page.content() and page.input_value(BASE) == "a photo of a man"
    page.click(GENERATE)
    page.wait_for_selector(DONE, timeout=20_000)


def test_an_example_fills_pictures_and_fields_without_computing(visit, engine):
    page, steps = visit(), engine.steps_done
    page.click("#examples button >> nth=1")
    say(page, "The red dress is there.")
    assert page.input_value(TARGET) == "a red dress" and engine.steps_done == steps
    page.click("#examples button >> nth=2")
    say(page, "The watercolor painting is there.")
    assert page.input_value(TARGET) == "watercolor painting"
    assert page.is_checked("#mode input[value=replace]")
    assert (
        page.input_value("#replace input, #replace textarea") == "photo"
        and engine.steps_done == steps
    )


def test_suggestions_fill_the_fields(visit):
    page = visit()
    page.click("#suggest button:has-text('freckled skin')")
    playwright.expect(page.locator(TARGET)).to_have_value("freckled skin")
    page.click("#suggest button:has-text('watercolor painting')")
    playwright.expect(page.locator(TARGET)).to_have_value("watercolor painting")
    playwright.expect(page.locator("input[type=radio][value=auto]")).to_be_checked()
    playwright.expect(page.locator("#replace")).to_be_hidden()


def test_scrubbing_asks_nobody_and_answers_at_once(visit):
    page = visit()
    page.click("#stage button:has-text('Look inside')")
    page.wait_for_selector(".spf-inside .chain canvas")
    asked = []
    page.on(
        "request",
        lambda request: asked.append(request.url) if "gradio_api" in request.url else None,
    )
    taken = page.evaluate("""async () => {
        const root = document.querySelector('.spf-inside'), times = [];
        const range = root.querySelector('.transport input');
        for (let k = 0; k <= +range.max; k++) {
            const began = performance.now();
            range.value = k; range.dispatchEvent(new Event('input'));
            while (root.dataset.painted !== String(k)) await new Promise(requestAnimationFrame);
            times.push(performance.now() - began);
        }
        return times;
    }""")
    assert len(taken) == STEPS and sorted(taken)[len(taken) // 2] < 50 and not asked, taken
    before = page.evaluate("document.querySelectorAll('.panels canvas')[1].toDataURL()")
    page.click(".picker [data-layer=sfcm]")
    page.wait_for_timeout(100)
    assert page.evaluate("document.querySelectorAll('.panels canvas')[1].toDataURL()") != before
    page.focus(".picker [data-layer=sfcm]")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute(".picker [data-layer=noise]", "aria-checked") == "true"
    page.focus(".transport input >> nth=0")
    page.keyboard.press("Home")
    page.click(".play")
    page.wait_for_timeout(700)
    page.click(".play")
    assert 2 <= int(page.input_value(".transport input >> nth=0")) <= 8


def test_a_place_shows_where_it_looks_and_a_word_where_it_would_act(visit):
    page = visit()
    page.click("#stage button:has-text('Look inside')")
    page.wait_for_selector(".spf-inside .chain canvas")
    assert not page.locator(".spf-inside .looks").is_visible()
    page.click(".panels .frame >> nth=1", position={"x": 120, "y": 90})
    page.wait_for_selector(".looks:not(.waits) canvas")
    looked = page.evaluate(CANVAS, ".looks canvas")
    page.click(".panels .frame >> nth=0", position={"x": 300, "y": 300})
    page.wait_for_timeout(200)
    assert page.evaluate(CANVAS, ".looks canvas") != looked
    page.fill(".word-row input", "a beard ")
    page.press(".word-row input", "Enter")
    page.wait_for_selector("[data-layer=apart][aria-checked=true]:has-text('a beard')")
    page.fill(".word-row input", "one, <|x|>")
    page.click(".word-row button")
    told = page.locator(".word-row [role=status]")
    playwright.expect(told).to_contain_text("must not contain")
    page.click("#tabs [role=tab]:has-text('Compare')")
    page.click("#examples button >> nth=1")
    page.click("#tabs [role=tab]:has-text('Look inside')")
    page.wait_for_selector(".spf-inside .chain canvas")
    assert not page.locator("[data-layer=apart], .spf-inside .heard:visible").count()


CANVAS = "(place) => document.querySelector(place).toDataURL()"


def test_the_same_pair_is_there_again_while_others_wait(visit, engine):
    page, other = visit(), visit()
    page.fill("#seed input", "91")
    page.click(GENERATE)
    page.wait_for_selector("#history .past:has-text('91')")
    page.click("#examples button >> nth=1")
    say(page, "The red dress is there.")
    engine.pause = 0.3
    other.fill("#seed input", "92")
    other.click(GENERATE)
    say(other, "step")
    page.click("#examples button >> nth=0")
    say(page, "The hat is there.")
    playwright.expect(page.locator("#seed input")).not_to_have_value("91")
    page.fill("#seed input", "91")
    page.click(GENERATE)
    page.wait_for_selector(DONE, timeout=10_000)
    page.wait_for_function("new URLSearchParams(location.search).get('seed') === '91'")
    assert "step" in sentence(other), "still at work"
    other.click(STOP)
    engine.pause = 0.0


PHASES = """() => {
    const stage = document.querySelector('.spf-stage');
    window.phases = [];
    new MutationObserver(() => window.phases.push(stage.dataset.phase)).observe(
        stage, { attributeFilter: ['data-phase'] });
}"""


def test_whoever_asks_twice_is_answered_twice(visit):
    page = visit()
    page.fill(BASE, "a photo of a man")
    page.fill("#seed input", "93")
    page.click(GENERATE)
    page.wait_for_selector("#history .past:has-text('93')")
    page.evaluate(PHASES)
    for text, answer in (("a photo of a man", "done"),) * 2 + (("", "failed"),) * 2:
        page.fill(BASE, text)
        page.evaluate("window.phases.length = 0")
        page.click(GENERATE)
        page.wait_for_function(f"window.phases.join() === 'queued,{answer}'", timeout=10_000)


def test_an_example_comes_back_after_a_pair_of_the_past(visit):
    page = visit()
    page.click("#examples button >> nth=1")
    say(page, "The red dress is there.")
    example = page.get_attribute("figure[data-role=tuned] img", "src")
    page.fill("#seed input", "94")
    page.click(GENERATE)
    page.wait_for_selector("#history .past:has-text('94')")
    page.click("#examples button >> nth=1")
    say(page, "The red dress is there.")
    page.click("#history .past:has-text('94') .card")
    page.wait_for_function(f"{SHOWN_SOURCE} !== {json.dumps(example)}")
    page.click("#examples button >> nth=1")
    page.wait_for_function(f"{SHOWN_SOURCE} === {json.dumps(example)}", timeout=10_000)


def test_fine_tune_opens_with_the_target_of_compare_until_one_is_chosen(visit):
    page = visit()
    data = page.locator("#ft-data input")

    def opened(target):
        page.click("#tabs [role=tab]:has-text('Compare')")
        page.fill("#target textarea", target)
        page.click("#tabs [role=tab]:has-text('Fine-tune')")

    for target, expected in (("Sunglasses", "sunglasses"), ("a bow + the dress", "dress")):
        opened(target)
        playwright.expect(data).to_have_value(expected)
        page.wait_for_selector(f".spf-check:has-text('{expected}')")
    data.click()
    page.click("[role=option]:has-text('laughing')")
    opened("a hat")
    playwright.expect(data).to_have_value("laughing")
    page.wait_for_selector(".spf-check:has-text('laughing')")


SHOWN_SOURCE = "document.querySelector('figure[data-role=tuned] img').src"
SILENT = """() => {
    const field = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value');
    const get = function () { return this.closest('#base') ? '?' : field.get.call(this); };
    Object.defineProperty(HTMLTextAreaElement.prototype, 'value', { ...field, get });
}"""


def test_what_a_link_brings_is_not_waited_for_longer_than_half_a_minute(chromium, url):
    """A field that never takes the value of the link."""
    context = chromium.new_context()
    context.add_init_script(f"({SILENT})()")
    page = context.new_page()
    page.clock.install()
    page.goto(f"{url}?base=a+photo+of+a+man&target=a+hat&seed=8")
    page.wait_for_selector(".spf-stage[data-phase=queued]", timeout=60_000)
    page.clock.run_for(25_000)
    assert page.get_attribute(".spf-stage", "data-phase") == "queued"
    page.clock.run_for(6_000)
    say(page, "The connection was lost before the picture was there.")
    context.close()


SHAPE = """(place) => {
    const box = document.querySelector(place).getBoundingClientRect();
    return box.width / box.height;
}"""


def test_a_picture_that_is_not_square_is_shown_as_it_is(visit, tmp_path):
    """On the stage, under the slider, as a difference, and with its maps over it."""
    page = visit("?base=a+photo+of+a+young+woman&target=a+hat&width=128&height=64&steps=6")
    say(page, "Done")  # a link is drawn by itself
    frame = ".spf-stage figure[data-role=tuned] .frame"
    assert page.evaluate(SHAPE, frame) == pytest.approx(2, rel=0.02)
    assert (
        page.evaluate("document.querySelector('figure[data-role=tuned] img').naturalWidth") == 512
    )
    page.click("[data-view=slider]")
    assert page.evaluate(SHAPE, ".spf-stage .slider.frame") == pytest.approx(2, rel=0.02)
    page.click("[data-view=difference]")
    page.wait_for_function(
        "document.querySelector('figure[data-role=tuned] canvas').height === 192"
    )
    page.click("#stage button:has-text('Look inside')")
    page.wait_for_selector(".spf-inside .chain canvas", timeout=20_000)
    page.wait_for_function("document.querySelector('.panels canvas').height === 192")
    assert page.evaluate(SHAPE, ".spf-inside .panels .frame") == pytest.approx(2, rel=0.02)
    assert "8 × 16" in page.inner_text(".spf-inside .transport select")
    page.click(".spf-inside .picker [data-layer=held]")
    page.locator(".spf-inside .panels .frame").first.click()
    page.wait_for_function(
        "document.querySelectorAll('.spf-inside .heard tr, .heard li').length > 1"
    )
    page.screenshot(path=tmp_path / "inside.png")


def test_the_slider_moves_by_keyboard(visit):
    page = visit()
    page.click("[data-view=slider]")
    page.focus(".slider input")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert (
        page.evaluate("document.querySelector('.slider').style.getPropertyValue('--at')") == "60%"
    )
    page.click(".segments.quiet [data-role=naive]")
    assert page.inner_text(".tag.right") == "naive weights, free"
    page.click("[data-view=difference]")
    page.wait_for_timeout(200)
    assert page.evaluate(DIFFERS)


def test_everything_works_from_the_keyboard(visit, engine):
    page, reached = visit(), set()
    for _ in range(70):
        page.keyboard.press("Tab")
        reached.update(page.evaluate(REACHED))
        assert page.evaluate(OUTLINED), page.evaluate("document.activeElement.outerHTML")[:200]
    wanted = (
        "examples base target suggest mode chain generate stage adapter seed dice steps guidance "
        "guided recall"
    )
    assert set(wanted.split()) <= reached
    page.focus(BASE)
    page.keyboard.press("Control+Enter")
    say(page, "The hat is there")


def test_a_phone_shows_everything_without_scrolling_sideways(visit):
    page = visit(width=390, height=844, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.click("#stage button:has-text('Look inside')")
    page.wait_for_selector(".spf-inside .chain canvas")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    small = page.evaluate(
        "[...document.querySelectorAll('.spf-own button')].filter(b => b.offsetParent && "
        "b.offsetHeight < 24).length"
    )
    assert small == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(visit, scheme):
    page = visit(color_scheme=scheme)
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    page.fill(BASE, "a photo of a knight")
    playwright.expect(page.locator("#hints")).to_contain_text("knight")
    page.click(GENERATE)
    page.wait_for_selector(f"{DONE} .notices li")
    page.wait_for_timeout(400)
    assert page.evaluate(CONTRAST) == []
    page.click("#stage button:has-text('Look inside')")
    page.wait_for_selector(".spf-inside .chain canvas")
    page.wait_for_timeout(400)
    assert page.evaluate(CONTRAST) == []


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core; npm install brings it")
@pytest.mark.parametrize(
    "way",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"color_scheme": "dark", "width": 390, "height": 844, "locale": "zh-CN"},
    ],
    ids=["light", "dark", "phone-zh"],
)
def test_axe_finds_nothing_on_any_tab(visit, jobs, way):
    """All rules, on the whole page but Gradio's own footer; what tabs show later is there too."""
    page = visit(**way)
    page.evaluate(AXE.read_text())
    later = {
        "inside": (".panels .frame >> nth=1", ".looks:not(.waits)"),
        "results": (".sheet .cell >> nth=0", ".spf-pairs[data-phase=done]"),
        "vote": (".spf-vote .next", ".spf-vote .questions"),
    }
    found = []
    for tab in page.locator("#tabs [role=tab]").all():
        name = tab.get_attribute("data-tab-id")
        tab.click()
        for press, there in [later[name]] if name in later else []:
            page.click(press)
            page.wait_for_selector(there)
        page.wait_for_timeout(1000)
        told = page.evaluate("axe.run({exclude: 'footer'}, {resultTypes: ['violations']})")
        found += [
            (name, one["id"], node["html"][:160])
            for one in told["violations"]
            for node in one["nodes"]
        ]
    assert found == []


def test_several_seeds_come_home_as_one_file_and_back_onto_the_stage(visit, engine):
    page = visit()
    page.click("#series button")

    def typed():  # the fold puts its first value in once more while it opens
        page.fill("#series-count input[type=number]", "2")
        page.keyboard.press("Tab")
        page.wait_for_timeout(300)
        return page.input_value("#series-count input[type=range]") == "2"

    until(typed)
    page.click("#series-go")
    page.wait_for_selector('.spf-sheet[data-phase="done"]', timeout=120_000)
    assert page.locator(".spf-sheet .pair-card").count() == 2
    with page.expect_download() as download:
        page.click(".spf-sheet .sheet-bar .plain")
    names = zipfile.ZipFile(download.value.path()).namelist()
    assert {"01/tuned.png", "02/original.png", "02/report.json", "index.json"} <= set(names)

    seed = page.input_value("#seed input")
    page.click(".spf-sheet .pair-card >> nth=1")
    playwright.expect(page.locator("#seed input")).to_have_value(str(int(seed) + 1))
    assert page.locator(".spf-history .past").count() == 2
    assert page.locator("#examples [aria-pressed=true]").count() == 0, (
        "another pair is on the stage"
    )
    page.click(".spf-history .past >> nth=0 >> .tools button >> nth=0")
    page.click(".spf-history .past >> nth=1 >> .tools button >> nth=0")
    say(page, "Two tuned portraits of this session.")


def test_a_stopped_run_leaves_the_pair_before_it(visit, engine):
    page = visit()
    page.wait_for_selector("#adapter input")
    page.wait_for_timeout(500)  # the large version of the picture comes a moment later
    before = page.get_attribute("figure[data-role=tuned] img", "src")
    engine.pause = 0.2
    page.fill("#seed input", "4")
    page.click(GENERATE)
    say(page, "step")
    page.wait_for_timeout(800)
    page.click(STOP)
    say(page, "Stopped at step")
    assert page.get_attribute("figure[data-role=tuned] img", "src") == before


def test_the_colour_scheme_can_be_chosen_and_stays(visit):
    page = visit(color_scheme="light")
    page.click(".scheme")
    page.reload()
    page.wait_for_selector(DONE)
    assert page.evaluate("document.body.classList.contains('dark')")


def test_nothing_jumps_while_a_run_goes_on(visit, engine):
    page = visit()
    engine.pause = 0.01
    page.wait_for_selector("#adapter input")
    page.wait_for_timeout(500)
    before = page.evaluate(PLACES)
    page.click(GENERATE)
    seen = set()
    for _ in range(40):
        seen.add(json.dumps(page.evaluate(PLACES)))
        page.wait_for_timeout(30)
    page.wait_for_selector(DONE, timeout=20_000)
    after = page.evaluate(PLACES)
    assert seen <= {json.dumps(before)} and np.allclose(before, after), (before, seen, after)


def test_a_saved_picture_brings_its_settings_back(visit, tmp_path):
    page = visit()
    page.click("#examples button >> nth=1")
    say(page, "The red dress is there.")
    with page.expect_download() as download:
        page.click("figure[data-role=tuned] .icon")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    drawn = json.loads(Image.open(file).info["spf"])
    assert drawn["targets"] == ["a red dress"]
    page.click("#examples button >> nth=0")
    say(page, "The hat is there.")
    page.set_input_files(".spf-recall input", file)
    playwright.expect(page.locator(TARGET)).to_have_value("a red dress")
    assert page.input_value("#seed input") == str(drawn["seed"])


def test_everything_can_be_taken_home(visit):
    page = visit()
    with page.expect_download() as download:
        page.click("#stage button:has-text('Download all')")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert {"original.png", "tuned.png", "naive.png", "report.json", "maps.npz"} == set(
            archive.namelist()
        )
        assert json.loads(archive.read("report.json"))["tuned"]["response"] == 1.0
        maps = np.load(io.BytesIO(archive.read("maps.npz")))
        assert maps["tuned/16"].shape == (STEPS, 6, 16, 16) and maps["chain"].dtype == np.uint8


@pytest.mark.parametrize("way, place", [("look", "in a park"), ("take home", "by the sea")])
def test_maps_are_made_for_whoever_asks_for_them(visit, engine, way, place):
    page = visit()
    page.fill(BASE, f"a photo of an old man {place}")
    engine.pause = 0.1
    page.click(GENERATE)
    say(page, "step")
    page.wait_for_selector(DONE, timeout=20_000)
    drawn = engine.steps_done
    if way == "look":
        page.click("#stage button:has-text('Look inside')")
        playwright.expect(page.locator(".spf-inside > p")).to_contain_text("step")
        page.wait_for_selector(".spf-inside .chain canvas", timeout=20_000)
    else:
        with page.expect_download() as download:
            page.click("#stage button:has-text('Download all')")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert "maps.npz" in archive.namelist()
    assert engine.steps_done > drawn, "nothing was made before"
    drawn = engine.steps_done
    page.click("button[role=tab]:has-text('Compare')")
    page.click("#stage button:has-text('Look inside')")
    page.wait_for_selector(".spf-inside .chain canvas")
    assert engine.steps_done == drawn


def test_a_link_brings_the_same_fields(visit):
    page = visit()
    page.click("#examples button >> nth=2")
    say(page, "The watercolor painting is there.")
    page.click("#stage button:has-text('Copy link')")
    link = page.evaluate("navigator.clipboard.readText()")
    other = visit(link[link.index("?") :])
    playwright.expect(other.locator(TARGET)).to_have_value("watercolor painting")
    seed = re.search(r"[?&]seed=(\d+)", link)[1]
    assert other.input_value("#seed input") == seed
    assert other.is_checked("#mode input[value=replace]")
    bad = visit("?base=a+woman&steps=0")
    playwright.expect(bad.locator("#hints")).to_contain_text(
        "The link was not used: “Steps” is 0.0 but must be"
    )


def test_a_reload_brings_back_what_is_shown_or_drawn(visit, engine):
    page = visit()
    assert "?" not in page.url, "the first example needs no address"
    page.fill("#seed input", "77")
    engine.pause = 0.3
    page.click(GENERATE)
    say(page, "step")
    assert parse_qs(urlsplit(page.url).query)["seed"] == ["77"]
    page.reload()
    engine.pause = 0.0
    page.wait_for_selector(f"{DONE}", timeout=60_000)
    playwright.expect(page.locator("#seed input")).to_have_value("77")
    page.wait_for_function("new URLSearchParams(location.search).get('seed') === '77'")
    page.wait_for_selector("#history .past:has-text('77')")
    drawn = engine.steps_done
    page.goto("about:blank")
    page.go_back()
    say(page, "The hat is there.")
    page.wait_for_selector(f"{DONE} figure img[src]", timeout=60_000)
    playwright.expect(page.locator("#seed input")).to_have_value("77")
    assert engine.steps_done == drawn, "it was there"
    page.click("#examples button >> nth=1")
    say(page, "The red dress is there.")
    page.reload()
    say(page, "The red dress is there.")


def test_no_other_pair_stands_under_the_settings_of_one_that_is_on_its_way(visit, engine):
    page = visit()
    card = page.locator("#examples button >> nth=1")
    page.fill("#base textarea", "a photo of a woman that nobody drew")
    engine.pause = 0.3
    page.click(GENERATE)
    say(page, "step")
    playwright.expect(card).to_be_disabled()
    page.click(STOP)
    playwright.expect(card).to_be_enabled()

    first = page.get_attribute("figure[data-role=tuned] img", "src")
    engine.pause = 1.0
    asked = "?base=a+photo+of+a+man+that+nobody+drew&target=a+hat&seed=4310"
    page.goto(page.url.split("?")[0] + asked, wait_until="commit")
    page.wait_for_selector(".spf-stage[data-phase=queued], .spf-stage[data-phase=running]")
    assert page.get_attribute("figure[data-role=tuned] img", "src") != first
    playwright.expect(card).to_be_disabled()


def test_a_link_that_is_refused_leaves_the_page_as_it_comes(visit):
    page = visit("?base=a+photo+of+a+man&target=a+hat&steps=9000")
    playwright.expect(page.locator("#hints")).to_contain_text("9000")
    say(page, "The hat is there.")


def test_a_link_beyond_the_sliders_is_drawn_as_it_says(visit):
    asked = "steps=100&guidance=15&strength=-2&push=9&guided=attention&seed=4e9"
    page = visit(f"?base=a+photo+of+a+man&target=a+hat&{asked}")
    page.wait_for_selector(f"{DONE} figure[data-role=tuned] img[alt*=' man']", timeout=60_000)
    playwright.expect(page.locator("#hints")).not_to_contain_text("No tuned model")
    page.click("#stage button:has-text('Copy link')")
    drawn = parse_qs(urlsplit(page.evaluate("navigator.clipboard.readText()")).query)
    assert drawn["base"] == ["a photo of a man"] and drawn["adapter"] == ["hat"]
    for name, (value,) in parse_qs(asked).items():
        shown = drawn[name][0]
        assert shown == value or float(shown) == float(value)


@pytest.mark.parametrize("typed", ["-1", "", "3.7", "99999999999"])
def test_whatever_is_typed_as_a_seed_ends_the_waiting(visit, typed):
    page = visit()
    page.fill("#seed input", typed)
    page.click(GENERATE)
    say(page, f"“Seed” is {typed or 'empty'} but must be a whole number from 0 to 4294967295.")
    playwright.expect(page.locator(GENERATE)).to_be_enabled()
    page.fill("#seed input", "1e3")
    page.click(GENERATE)
    page.wait_for_selector(DONE, timeout=20_000)


def test_chinese_visitors_read_chinese(visit):
    page = visit(locale="zh-CN")
    assert sentence(page) == "已出现：帽子。其余 18 个属性全部未变。"
    assert (
        page.inner_text(GENERATE) == "生成"
        and "基础文本" in page.inner_text("#base")
        and page.inner_text("[data-view=slider]") == "滑块"
    )
    page.click(".spf-chrome button[lang=en]")
    page.wait_for_selector(DONE)
    playwright.expect(page.locator(GENERATE)).to_have_text("Generate")


def test_refusals_and_ready_sets_are_chinese_too_and_the_last_pair_keeps_its_reading(visit):
    page = visit(locale="zh-CN")
    read = page.inner_text("figure[data-role=original] .score")
    page.fill(BASE, "woman " * 200)
    page.click(GENERATE)
    say(page, "“基础文本”有 1199 个字符，最多 1000 个。")
    assert page.inner_text("figure[data-role=original] .score") == read
    page.fill(BASE, "a photo of a young old woman")
    playwright.expect(page.locator("#hints")).to_contain_text("同时要求年轻和年老（年龄）")
    page.click("#suggest button:has-text('金发')")
    playwright.expect(page.locator(TARGET)).to_have_value("blonde hair")
    open_tab(page, "微调")
    playwright.expect(page.locator(".spf-check h2")).to_contain_text("的现成图片集")
    assert not re.search("[A-Za-z]{3}", page.inner_text(".spf-check .findings"))


def test_every_tab_of_a_phone_can_be_reached_by_scrolling(visit):
    page = visit(width=390, height=844, has_touch=True)
    tabs = page.locator("#tabs [role=tab]")
    assert tabs.count() == 7 and page.evaluate("document.documentElement.scrollWidth") == 390
    page.evaluate("document.querySelector('#tabs [role=tab]:last-of-type').click()")
    place = "document.querySelector('#tabs [aria-selected=true]').getBoundingClientRect()"
    page.wait_for_function(f"{place}.left >= 0 && {place}.right <= 390")


def test_the_code_comes_from_the_page_itself(visit):
    page = visit()
    with page.expect_download() as download:
        page.click(".spf-chrome nav a[href='code.zip']")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"app.py", "LICENSE"} <= set(archive.namelist())


def test_a_job_is_watched_survives_a_reload_and_ends_in_compare(visit, jobs):
    page = visit()
    page.click("#tabs [role=tab]:has-text('Fine-tune')")
    page.fill(
        "#ft-steps input[type=number]", "300"
    )  # long enough to be still at work after a slow reload
    page.keyboard.press("Tab")
    page.click("#ft-start")
    playwright.expect(page.locator(".spf-job .sentence")).to_contain_text("of 300")
    assert page.is_disabled("#ft-start") and page.is_enabled("#ft-stop")
    page.reload()
    page.click("#tabs [role=tab]:has-text('Fine-tune')")
    playwright.expect(page.locator(".spf-job .phase")).to_have_text("running")
    page.click("#ft-pause")
    playwright.expect(page.locator(".spf-job .sentence")).to_contain_text("Paused at step")
    page.click("#ft-resume")
    playwright.expect(page.locator(".spf-job .phase")).to_have_text("running")
    page.click("#ft-stop")
    playwright.expect(page.locator(".spf-job .sentence")).to_contain_text("Stopped by you at step")
    page.click("#ft-resume")
    playwright.expect(page.locator(".spf-job .sentence")).to_contain_text(
        "Done: 300 steps", timeout=60_000
    )
    assert (
        page.locator(".spf-job .large img").count() == 3
        and page.locator(".spf-job .small img").count() == 4
        and page.locator(".spf-job .charts polyline").count() == 1
        and page.locator(".spf-job .looks polyline").count() == 2
    )
    assert page.locator(".spf-job .large img >> nth=0").bounding_box()["width"] > 240
    first = page.get_attribute(".spf-job .large img >> nth=1", "src")
    page.click(".spf-job .small button >> nth=2")
    assert page.get_attribute(".spf-job .large img >> nth=1", "src") != first
    assert "error in the noise" in page.inner_text(".spf-job .charts .legend")
    page.click("#ft-use")
    playwright.expect(page.locator("#adapter input")).to_have_value("hat-spf-1")
    assert page.input_value(TARGET) == "a hat"
    page.wait_for_function("new URLSearchParams(location.search).get('adapter') === 'hat-spf-1'")
    page.wait_for_selector(DONE)  # it is drawn at once


def test_a_failed_job_says_so_and_shows_its_log(visit, jobs):
    page = visit()
    name = jobs.start({"data": "sunglasses", "steps": 30, "seed": 7})
    page.click("#tabs [role=tab]:has-text('Fine-tune')")
    page.reload()
    page.click("#tabs [role=tab]:has-text('Fine-tune')")
    playwright.expect(page.locator(".spf-job .sentence")).to_contain_text("Failed at step 3 of 30")
    playwright.expect(page.locator(".spf-check h2")).to_have_text("The ready set of “sunglasses”")
    assert (
        "something broke" in page.inner_text(".spf-job pre")
        and page.inner_text(".spf-job b") == name
    )


def test_the_tour_ends_where_one_can_try(visit):
    page = visit()
    open_tab(page, "Tour")
    playwright.expect(page.locator(".spf-tour h2")).to_have_text("A model that draws portraits")
    for words in (
        "Teach it a hat",
        "Semantic pollution",
        "Hold everything but the target",
        "The result",
    ):
        page.locator(".tour-nav .strong").focus()
        page.keyboard.press("ArrowRight")
        playwright.expect(page.locator(".spf-tour h2")).to_have_text(words)
        assert page.locator(".spf-tour figure img").count() >= 2
    page.click(".tour-nav .strong")
    playwright.expect(page.locator(GENERATE)).to_be_visible()


LETTERS = """() => [...document.querySelectorAll('.charts svg')].map((svg) =>
    12 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"""


@pytest.mark.parametrize("width", [1280, 900, 390])
def test_letters_in_charts_can_be_read(visit, width):
    page = visit(width=width)
    page.click("#tabs [role=tab]:has-text('Results')")
    page.wait_for_selector(".charts svg")
    page.wait_for_timeout(300)
    assert min(page.evaluate(LETTERS)) >= 11
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_timeout(300)
    assert min(page.evaluate(LETTERS)) >= 11


def test_results_sort_and_lead_to_the_pairs_behind_them(visit, engine):
    page = visit()
    page.click("#tabs [role=tab]:has-text('Results')")
    first = lambda: page.inner_text(".sheet tbody tr >> nth=0 >> .method")  # noqa: E731
    page.click("[data-head=pollution]")
    assert (
        first() == "naive"
        and page.get_attribute("th:has([data-head=pollution])", "aria-sort") == "descending"
    )
    page.keyboard.press("Enter")
    assert first() == "SPF", "sorted by keyboard, and the focus stays on the column"
    assert page.locator(".charts svg circle").count() == 4
    best = "SPF is best here: purity 0.85 (0.85 – 0.85); next naive with 0.72"
    assert page.inner_text(".best-of").startswith(best)
    page.click(".best-of button")
    page.wait_for_selector(".spf-pairs[data-phase=done]")
    assert page.get_attribute(".sheet .cell[aria-pressed=true]", "data-cell") == "hat spf purity"
    page.click(".spf-pairs button[aria-label='Close the portraits']")
    page.wait_for_selector(".spf-pairs", state="hidden")
    page.click(".best-of button")
    page.wait_for_selector(".spf-pairs[data-phase=done] .pair-card")
    page.click(".sheet tbody tr >> nth=0 >> .cell >> nth=1")
    playwright.expect(page.locator(".spf-pairs h2")).to_contain_text("pollution 0.10")
    page.wait_for_selector(".spf-pairs[data-phase=done]")
    assert page.locator(".pair-card img").count() == 4
    assert page.locator(".pair-card .read").first.inner_text().startswith("Identity 1.00.")
    table, pairs = (page.locator(place).bounding_box() for place in (".spf-results", ".spf-pairs"))
    assert pairs["x"] >= table["x"] + table["width"] and pairs["y"] < 300, "beside the table"
    base = page.get_attribute(".pair-card img >> nth=0", "alt")
    page.click(".pair-card >> nth=0 >> button")
    playwright.expect(page.locator(BASE)).to_have_value(base)


def test_a_blind_vote_hides_the_methods_until_it_is_in(visit):
    page = visit()
    page.click("#tabs [role=tab]:has-text('Blind vote')")
    page.click(".spf-vote .next")
    page.wait_for_selector(".spf-vote .questions")
    assert "naive" not in page.inner_text(".spf-vote").lower() and page.is_disabled(
        ".spf-vote .actions button"
    )
    for question in ("keeps", "shows", "nicer"):
        page.focus(f"[data-question={question}] [data-answer=left]")
        page.keyboard.press("ArrowRight")
        assert (
            page.get_attribute(f"[data-question={question}] [data-answer=same]", "aria-checked")
            == "true"
        )
        page.keyboard.press("ArrowLeft")
    page.click(".spf-vote .actions button")
    page.wait_for_selector(".tally-row")
    told = {page.inner_text(f".spf-vote [data-side={side}] b") for side in ("left", "right")}
    assert told in ({"Left: spf", "Right: naive"}, {"Left: naive", "Right: spf"})
    assert (
        "Pairs voted on: 1" in page.inner_text(".spf-vote h3")
        and page.locator(".tally-row").count() == 6
    )


def test_a_chain_of_edits_grows_from_the_stage(visit, engine):
    page = visit()
    page.fill(".spf-stage .edit", "freckled skin")
    page.keyboard.press("Enter")
    page.wait_for_selector(".spf-stage .link >> nth=2", timeout=40_000)
    page.wait_for_selector(DONE, timeout=40_000)
    assert page.input_value(TARGET) == "a hat + freckled skin" and page.is_checked("#chain input")
    assert page.locator(".spf-stage .link").all_inner_texts() == [
        "Original",
        "+ a hat",
        "+ freckled skin",
    ]
    last = page.get_attribute("figure[data-role=tuned] img", "src")
    page.click(".spf-stage .link >> nth=1")
    assert page.get_attribute("figure[data-role=tuned] img", "src") != last
    page.click(".spf-stage .link >> nth=2")
    assert page.get_attribute("figure[data-role=tuned] img", "src") == last
    with page.expect_download() as download:
        page.click("#stage button:has-text('Download all')")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"chain-1.png", "chain-2.png"} <= set(archive.namelist())


def test_the_maps_can_be_taken_home_as_a_film(visit):
    page = visit()
    page.click("#stage button:has-text('Look inside')")
    page.wait_for_selector(".spf-inside .chain canvas")
    pixels = "document.querySelectorAll('.panels canvas')[1].toDataURL()"
    plain = page.evaluate(pixels)
    page.check(".spf-inside .check input")
    page.wait_for_timeout(200)
    assert page.evaluate(pixels) != plain, "the region is outlined"
    with page.expect_download() as download:
        page.click(".spf-inside .actions button:has-text('GIF')")
    film = Image.open(download.value.path())
    assert film.format == "GIF" and film.n_frames == STEPS and film.size == (784, 282)
    frames = []
    for number in (0, STEPS - 1):
        film.seek(number)
        frames.append(np.asarray(film.convert("RGB"), float))
    film.seek(STEPS - 1)
    shown = page.evaluate("document.querySelector('.spf-inside .count').textContent")
    assert (
        np.abs(frames[0] - frames[1]).mean() > 2 and frames[0].std() > 20 and f"of {STEPS}" in shown
    )


def test_pictures_of_ones_own_are_checked_first(visit, tmp_path):
    page = visit()
    page.click("#tabs [role=tab]:has-text('Fine-tune')")
    page.check("#ft-source input[value=own]")
    for number in range(3):
        Image.new("RGB", (80, 80), (80 * number, 9, 9)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"a photo of a man, wearing a straw hat, {number}")
    page.fill("#ft-target :is(input, textarea)", "a straw hat")
    page.set_input_files("#ft-files input[type=file]", sorted(tmp_path.iterdir()))
    playwright.expect(page.locator(".spf-check .error")).to_contain_text(
        "3 usable pictures: at least 4 are needed"
    )
    said = "a photo of a man, wearing a straw hat, 0"
    assert page.inner_text(".spf-check figcaption b >> nth=0") == said
    assert page.inner_text(".spf-check figcaption span >> nth=0") == "a photo of a man, 0"
    page.click("#ft-start")
    playwright.expect(page.locator("#ft-hints")).to_contain_text(
        "3 usable pictures, but 4 to 500 are needed."
    )


def test_a_foreign_name_gets_no_page(url):
    assert httpx.get(url, headers={"Host": "spf.example"}).status_code == 421
    assert httpx.get(url).status_code == 200


def test_programs_use_the_named_endpoints_and_cannot_pass_the_queue(url, engine):
    client = pytest.importorskip("gradio_client").Client(url, verbose=False)
    assert "hat" in client.predict(api_name="/adapters")
    engine.pause = 0
    answer = client.predict("a photo of a man", "a hat", steps=6, api_name="/compare")
    assert answer["report"]["tuned"]["response"] == 1.0 and answer["portraits"]["tuned"].startswith(
        "data:image/png"
    )
    with pytest.raises(Exception, match="base is empty"):
        client.predict("", "a hat", api_name="/compare")
    assert (
        httpx.post(f"{url}gradio_api/run/compare", json={"data": ["a woman", "a hat"]}).status_code
        == 404
    )

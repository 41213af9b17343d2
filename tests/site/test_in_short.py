"""Each page of results opens with what came out: the findings, the figure beside them, and no code that only draws."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from labml_ws.experiment import sweep

TUTORIALS = sorted((Path(__file__).resolve().parents[2] / "docs" / "tutorials").glob("*.py"))
DRAWS = {"image/svg+xml", "image/png"}
FOLD = 900  # pixels: what a window shows before anybody scrolls
# Words of technical prose, and lines of code, that one reads in a minute.
WORDS, LINES = 150, 15

tutorials = pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)


def cells(script: Path) -> list[dict]:
    return json.loads(script.with_suffix(".ipynb").read_text())["cells"]


def shown(cell: dict, mime: str) -> list[str]:
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return ["".join(one[mime]) for one in data if mime in one]


@tutorials
def test_a_tutorial_opens_with_its_findings_and_its_figure(site: Path, script: Path) -> None:
    opening, first, *_ = cells(script)
    assert "".join(opening["source"]).startswith("# ")
    (short,) = shown(first, "text/markdown")
    findings = re.findall(r"^\* (.+)$", short, re.MULTILINE)
    assert short.startswith("**In short**")
    assert 2 <= len(findings) <= 3
    assert all("**" in finding for finding in findings)
    assert re.search(r"\n\n\*\*It doesn’t show\*\* \w", short)
    assert len([mime for mime in DRAWS if shown(first, mime)]) == 1


@tutorials
def test_no_number_of_a_finding_is_typed(script: Path) -> None:
    """In the script the findings are f-strings; a digit outside of braces belongs to a name: a batch of 64, a layer's fan-in."""
    first = script.read_text().split("\n# %%")[2]
    (call,) = re.findall(r"InShort\(\s*\[(.*?)\n        \],", first, re.DOTALL)
    assert "{" in call
    text = re.sub(r"\{(?:[^{}]|\{[^{}]*\})*\}", "", call)
    text = re.sub(r"\]\([^)]*\)|\$[^$]*\$", "", text)
    assert re.findall(r"(?<![\w.])\d+\.\d+(?! \w*\.\w)", text) in ([], ["0.1"])


@tutorials
def test_it_says_how_long_it_takes_and_what_to_know(script: Path) -> None:
    text = script.read_text()
    said = re.search(r"^# \*(\d+) minutes.* It helps to .*\]\(", text, re.MULTILINE)
    assert said
    parts = re.split(r"^# %%", text, flags=re.MULTILINE)[1:]
    prose = " ".join(part for part in parts if part.startswith(" [markdown]"))
    words = re.findall(r"\w+", re.sub(r"\$[^$]*\$|\]\([^)]*\)", "x", prose))
    code = [
        p
        for p in parts
        if not p.startswith(" [markdown]") and '"draws"' not in p.split("\n")[0]
    ]
    lines = [line for part in code for line in part.splitlines() if line.strip()]
    assert abs(int(said[1]) - (len(words) / WORDS + len(lines) / LINES)) <= 1


@tutorials
def test_a_cell_that_shows_a_figure_is_closed(site: Path, script: Path) -> None:
    """What it computes for the figure, if that teaches something, stands in a cell of its own."""
    drawing = [cell for cell in cells(script) if any(shown(cell, mime) for mime in DRAWS)]
    assert drawing
    assert [
        cell["metadata"].get("alt")
        for cell in drawing
        if "draws" not in cell["metadata"]["tags"]
    ] == []


@pytest.mark.browser
@tutorials
def test_the_first_figure_is_seen_without_scrolling(
    browser: Browser, address: str, script: Path
) -> None:
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    tab.goto(f"{address}/tutorials/{script.stem}.html", wait_until="load")
    box = tab.locator("figure.output svg").first.bounding_box()
    closed = tab.locator("details.draws")
    assert box
    assert box["y"] + box["height"] <= FOLD
    assert closed.count() >= 1
    assert tab.locator("details.draws[open]").count() == 0
    # Closed, and still there to be searched and copied.
    assert "plt.style.use" in (closed.first.text_content() or "")
    closed.first.locator("summary").click()
    assert closed.first.locator("pre").is_visible()
    tab.close()


@pytest.mark.browser
def test_on_paper_it_is_said_where_the_code_is(browser: Browser, address: str) -> None:
    tab = browser.new_page(viewport={"width": 643, "height": 900})
    tab.goto(f"{address}/tutorials/weights.html", wait_until="load")
    tab.emulate_media(media="print")
    summary = tab.locator("details.draws > summary").first
    assert summary.is_visible()
    assert "in the notebook" in summary.evaluate("e => getComputedStyle(e, '::after').content")
    tab.close()


def test_results_begin_with_the_batch_sizes_and_the_names_of_methods(site: Path) -> None:
    first = cells(next(path for path in TUTORIALS if path.stem == "recorded_run"))[1]
    table = next(html for html in shown(first, "text/html") if "<table" in html)
    names = re.findall(r'<th scope="row">(.*?)</th>', table)
    assert "by batch size" in table
    assert names == ["BN", "GN", "LN", "WS + GN", "BCN", "WS + BCN", "WS + BN"]
    page = (site / "tutorials" / "recorded_run.html").read_text()
    rows = re.findall(r'<th scope="?row"?>(.*?)</th>', page)
    assert len(rows) > 50
    assert [name for name in rows if re.match(r"[a-z]+(-[a-z\d.]+)+$", name)] == []


WORSE = "tutorials/small_batches.md#why-batchnorm-gets-worse"
LINKED = (
    *("docs/index.md", "docs/glossary.md", "docs/tutorials/micro_batches.py"),
    *("labml_ws/standardization.py", "labml_ws/batch_channel_norm.py"),
)


def test_why_batchnorm_gets_worse_is_said_in_one_sentence_and_led_to(root: Path) -> None:
    told = (root / "docs" / "tutorials" / "small_batches.py").read_text()
    assert told.count("**In one sentence: with few images in a batch BatchNorm") == 1
    for place in LINKED:
        assert f"{Path(WORSE).name}" in (root / place).read_text(), place


def test_a_number_comes_before_the_argument(site: Path) -> None:
    page = (site / "annotated" / "standardization.html").read_text()
    shown = page.index("<samp>first filter, before")
    for word in ("Lipschitz constant", "orthogonal projection"):
        assert page.index(word) > shown


def test_the_home_figure_says_its_budget(root: Path) -> None:
    runs = [run for group in sweep.by_batch_size().values() for run in group]
    ((images, epochs),) = {(run.config.train_images, run.config.epochs) for run in runs}
    text = (root / "docs" / "index.md").read_text()
    caption = text.split("figure: micro-batches\n")[1].strip().split("\n\n")[0]
    assert caption.startswith(f"**{images:,} images, {epochs} epochs, three seeds**")
    assert "The ring is WS + BN" in caption

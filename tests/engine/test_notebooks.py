"""Executed notebooks: outputs, figures that follow the theme, and what is refused."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from mkdocs.exceptions import PluginError
from mkdocstrings import CollectionError

from mkdocstrings_handlers.annotated import AnnotatedHandler
from mkdocstrings_handlers.annotated.document import Document, Section, SourceError
from mkdocstrings_handlers.annotated.read.notebook import read_notebook
from mkdocstrings_handlers.annotated.render.figures import inline_svg

SVG = """<?xml version="1.0" encoding="utf-8"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="72pt" height="36pt" viewBox="0 0 72 36">
 <metadata><date>2020-01-01</date></metadata>
 <defs><path id="m1f" d="M0 0" style="stroke: #000000"/><clipPath id="pq"><rect width="1" height="1"/></clipPath></defs>
 <g id="figure_1"><path d="M 0 0" style="fill: #ffffff"/><use xlink:href="#m1f" x="1"/>
 <g clip-path="url(#pq)"><path style="fill: #1f77b4; stroke: #0000001a"/></g></g>
</svg>"""


def markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def code(text: str, *outputs: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": metadata,
        "source": text,
        "outputs": [*outputs],
        "execution_count": 1,
    }


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def shown(**bundle: str) -> dict[str, Any]:
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {k.replace("__", "/"): v for k, v in bundle.items()},
    }


FIGURE = {
    "output_type": "display_data",
    "metadata": {},
    "data": {"image/svg+xml": SVG, "text/plain": "<Figure>"},
}


def sections_of(path: Path) -> Sequence[Section]:
    return read_notebook(path).sections


@pytest.fixture
def write(project: Path):
    def write(*cells: dict[str, Any]) -> Path:
        path = project / "docs" / "n.ipynb"
        path.write_text(
            json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
        )
        return path

    return write


def test_markdown_cells_are_the_prose_of_the_next_code_cell(write) -> None:
    sections = sections_of(
        write(
            markdown("# T"), markdown("Text."), code("a = 1"), code("b = 2"), markdown("End.")
        )
    )
    assert [(s.prose, s.code) for s in sections] == [
        ("# T\n\nText.", "a = 1"),
        ("", "b = 2"),
        ("End.", ""),
    ]
    assert all(s.kind == "cell" for s in sections)


def test_what_follows_from_a_cell_does_not_stand_beside_the_next_one(write) -> None:
    sections = sections_of(
        write(
            markdown("# Title\n\nIntro."),
            code("a = 1"),
            markdown("So it is.\n\n## Next\n\nMore."),
            code("b = 2"),
        )
    )
    assert [(s.prose, s.code) for s in sections] == [
        ("# Title\n\nIntro.", "a = 1"),
        ("So it is.", ""),
        ("## Next\n\nMore.", "b = 2"),
    ]


def test_two_prints_are_one_output_and_a_drawing_beats_its_description(write) -> None:
    (section,) = sections_of(
        write(code("f()", stream("1\n"), stream("2\n"), FIGURE, alt="A figure"))
    )
    assert [(o.mime, o.alt) for o in section.outputs] == [
        ("text/plain", "A figure"),
        ("image/svg+xml", "A figure"),
    ]
    assert section.outputs[0].data == "1\n2\n"


def test_a_table_brings_along_what_it_says_as_text(write) -> None:
    (section,) = sections_of(
        write(code("t", shown(text__html="<table></table>", text__plain="a  1"), alt="no"))
    )
    assert [(o.mime, o.alt) for o in section.outputs] == [("text/html", "a  1")]


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (FIGURE, "figure"),
        (shown(text__html="<table></table>", text__plain="a  1"), "table"),
        (stream("1"), "output"),
    ],
)
def test_code_that_only_draws_is_closed_and_says_what_it_draws(
    write, handler: AnnotatedHandler, output: dict[str, Any], what: str
) -> None:
    write(markdown("# T"), code("a = 1\nf(a)", output, alt="x", tags=["wide", "draws"]))
    options = handler.get_options({})
    document = handler.collect("docs/n.ipynb", options)
    assert isinstance(document, Document)
    (section,) = document.sections
    assert section.outputs[0].wide
    assert section.code == "a = 1\nf(a)"
    html = handler.render(document, options)
    closed = re.search(
        r'<details class="imports draws"><summary>(.*?)</summary>(.*?)</details>',
        html,
        re.DOTALL,
    )
    assert closed
    assert closed[1] == f"code for this {what}"
    assert re.sub("<[^>]+>", "", closed[2]).split() == ["a", "=", "1", "f(a)"]
    assert "a = 1" not in re.sub("<[^>]+>", "", html.replace(closed[0], ""))


def test_closed_code_that_shows_nothing_is_for_what_follows(write) -> None:
    (section,) = sections_of(write(code("def f(): ...", tags=["draws"])))
    assert section.folds == "code for what follows"


def test_computed_markdown_goes_on_with_the_prose(write, handler: AnnotatedHandler) -> None:
    computed = shown(text__markdown="**In short** $x$", text__plain="In short")
    path = write(markdown("# T\n\nText."), code("f()", computed, FIGURE, alt="x"))
    (section,) = sections_of(path)
    assert section.prose == "# T\n\nText.\n\n**In short** $x$"
    assert [o.mime for o in section.outputs] == ["image/svg+xml"]
    options = handler.get_options({})
    html = handler.render(handler.collect("docs/n.ipynb", options), options)
    assert "<strong>In short</strong>" in html
    assert "katex" in html


def test_a_cell_that_never_ran_is_refused(write) -> None:
    cell = code("f()") | {"execution_count": None}
    with pytest.raises(SourceError, match=r"n\.ipynb: cell 2 was never executed"):
        sections_of(write(markdown("x"), cell))


def test_a_cell_that_raised_is_refused(write) -> None:
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    with pytest.raises(SourceError, match="cell 1 raised ValueError: no"):
        sections_of(write(code("f()", error)))


def test_a_cell_that_warned_is_refused(write) -> None:
    with pytest.raises(SourceError, match="cell 1 wrote to standard error: UserWarning: no"):
        sections_of(write(code("f()", stream("UserWarning: no\n") | {"name": "stderr"})))


def test_a_figure_without_description_is_refused(write, handler: AnnotatedHandler) -> None:
    write(code("f()", FIGURE))
    with pytest.raises(
        CollectionError, match=r'^docs/n\.ipynb: cell 1 draws a figure .*alt="…"'
    ):
        handler.collect("docs/n.ipynb", handler.get_options({}))


def test_an_output_the_page_cannot_show_is_refused(write) -> None:
    with pytest.raises(SourceError, match="cell 1 shows application/x"):
        sections_of(write(code("f()", shown(application__x="1"))))


def test_a_notebook_is_rendered_with_its_outputs(write, handler: AnnotatedHandler) -> None:
    write(
        markdown("# Title\n\n$x$"),
        code("print(1)", stream("<1>\n")),
        code("draw()", FIGURE, alt='A "figure"'),
    )
    options = handler.get_options({})
    html = handler.render(handler.collect("docs/n.ipynb", options), options)
    assert '<h1 id="title">' in html
    assert "katex" in html
    assert "<samp>&lt;1&gt;</samp>" in html
    assert 'role="img"' in html
    assert 'aria-label="A &quot;figure&quot;"' in html
    assert 'id="L' not in html, "a notebook has no lines to point at"


def test_black_follows_the_text_and_white_is_nothing() -> None:
    svg = inline_svg(SVG, "alt", "p")
    assert '#000000"' not in svg
    assert "stroke: currentColor" in svg
    assert "fill: none" in svg
    assert "#1f77b4" in svg
    assert "#0000001a" in svg, "a colour that only begins like black was changed"
    assert "2020" not in svg, "metadata holds a date"


def test_ids_are_unique_deterministic_and_still_fit_their_references() -> None:
    one, two = (
        inline_svg(SVG, "alt", "one"),
        inline_svg(SVG.replace("m1f", "m9z"), "alt", "one"),
    )
    assert one == two
    root = ET.fromstring(one)
    ids = {e.get("id") for e in root.iter() if e.get("id")}
    assert all(i.startswith("one-") for i in ids if i)
    assert {e.get("href", "")[1:] for e in root.iter("use")} <= ids
    assert root.find(".//g[@clip-path]").get("clip-path")[5:-1] in ids  # type: ignore[union-attr, index]


def test_a_figure_is_as_wide_as_its_column_allows_and_as_its_letters_need() -> None:
    root = ET.fromstring(inline_svg(SVG, "alt", "p"))
    assert root.get("viewBox") == "0 0 72 36"
    assert root.get("width") is None
    assert root.get("style") == "max-width:72pt"
    lettered = SVG.replace("</svg>", "<text>step</text></svg>")
    style = ET.fromstring(inline_svg(lettered, "alt", "p")).get("style")
    assert style == "max-width:72pt;min-width:calc(.7*72pt)"


def test_a_figure_keeps_hundredths_of_a_point_and_its_colors_as_they_are() -> None:
    svg = SVG.replace(
        "</svg>", '<path d="M 1.23456 -0.004 L 10.0 2.5" style="stroke-width: 0.123456"/></svg>'
    )
    drawn = inline_svg(svg, "alt", "p")
    assert 'd="M 1.23 -0 L 10 2.5"' in drawn
    assert "stroke-width: 0.123456" in drawn


# ## Ties


def test_a_tie_of_a_notebook_holds_in_its_cell(
    project: Path, handler: AnnotatedHandler
) -> None:
    plain_text = {**markdown("## One\n\n${w}$, ${m}$\n\n* `w`: a weight\n")}
    plain_text["metadata"] = {
        "tied": "## One\n\n$\\code{w}{w}$, $\\code{mean}{m}$\n\n* `w`: a weight\n"
    }
    cells = [
        markdown("# Title"),
        plain_text,
        code("def f(w):\n    mean = w.mean(1)  # [O], a mean\n    return w - mean"),
        markdown("## Two\n\n$\\code{w}{w}$, $\\code{mean}{m}$\n\n* `mean`: another\n"),
        code("def g(w):\n    mean = w\n    return mean"),
    ]
    path = project / "ties.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    options = handler.get_options({})
    html = handler.render(handler.collect("ties.ipynb", options), options)
    rows = re.findall(
        r'<tr data-scope="([^"]*)" data-card="(\d)"([^>]*)>(.*?)</tr>', html, re.S
    )
    names = [(scope, tie, "hidden" in rest, "a mean" in row) for scope, tie, rest, row in rows]
    assert names == [
        ("one", "1", False, False),
        ("one", "2", False, True),
        ("two", "3", True, False),
        ("two", "4", False, False),
    ]
    # The name of another cell is another variable, and its shape another one.
    assert "[O]" in rows[1][3]
    assert "[O]" not in rows[3][3]
    # A line that a card leads to has an anchor, and no other line has.
    assert re.findall(r'class="l" id="(L\d+)"', html) == ["L1", "L2", "L4", "L5"]
    assert re.findall(r'<a href="#(L\d+)"', html) == ["L1", "L2", "L4", "L5"]
    assert html.count('class="n tied" data-tie="1"') == 3
    assert html.count('class="n tied" data-tie="3"') == 2


def test_a_tie_to_a_name_that_is_in_no_cell_beside_it_stops_the_build(
    project: Path, handler: AnnotatedHandler
) -> None:
    cells = [markdown("# T\n\n## A\n\n$\\code{meen}{m}$"), code("mean = 1  # a mean")]
    path = project / "ties.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    options = handler.get_options({})
    with pytest.raises(
        PluginError, match=r"`\\code\{meen\}` names nothing.*Did you mean `mean`"
    ):
        handler.render(handler.collect("ties.ipynb", options), options)

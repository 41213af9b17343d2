"""A page can show a figure of another page's notebook, with where it comes from, and nothing else of it."""

import json
import re
from pathlib import Path

import pytest
from mkdocs.exceptions import PluginError

from mkdocstrings_handlers.annotated import AnnotatedHandler
from mkdocstrings_handlers.annotated.render.figures import inline_svg, thumbnail
from mkdocstrings_handlers.annotated.render.markdown import Writer
from mkdocstrings_handlers.annotated.understand.index import Index

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="1pt"><path id="p" d="M0 0"/></svg>'
SOURCE = '<p class="provenance"><a href="runs.html#a">methods</a></p>'
BLOCK = "::: docs/sub/drawn.ipynb\n    handler: annotated\n    options:\n      figure: {}\n"


def output(**data: str) -> dict[str, object]:
    kinds = {"svg": "image/svg+xml", "html": "text/html"}
    return {
        "output_type": "display_data",
        "metadata": {},
        "data": {kinds[k]: v for k, v in data.items()},
    }


def code(text: str, *outputs: dict[str, object]) -> dict[str, object]:
    return {
        "cell_type": "code",
        "metadata": {"alt": "A line"},
        "execution_count": 1,
        "source": text,
        "outputs": [*outputs],
    }


@pytest.fixture
def notebook(project: Path) -> str:
    words = [
        {"cell_type": "markdown", "metadata": {}, "source": text}
        for text in ("# D\n\n## Drawn so\n", "## Bare\n")
    ]
    cells = [
        words[0],
        code("draw()", output(svg=SVG), output(html=SOURCE)),
        words[1],
        code("x = 1"),
    ]
    path = project / "docs" / "sub" / "drawn.ipynb"
    path.parent.mkdir()
    path.write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    (path.parent / "drawn.md").write_text("::: docs/sub/drawn.ipynb\n    handler: annotated\n")
    (project / "docs" / "a.md").write_text(BLOCK.format("drawn-so"))
    return path.relative_to(project).as_posix()


def test_a_figure_comes_alone_and_its_links_lead_where_they_led(
    handler: AnnotatedHandler, notebook: str
) -> None:
    options = handler.get_options({"figure": "drawn-so"})
    html = handler.render(handler.collect(notebook, options), options)
    assert html.count("<svg") == 1
    assert 'runs.html#a"' in html
    assert "draw()" not in html


@pytest.mark.parametrize(
    ("anchor", "message"),
    [
        ("drawn-sew", "there is no section `#drawn-sew`"),
        ("bare", "expected a figure and its provenance in `#bare`, got 0 and 0"),
    ],
)
def test_what_has_no_figure_is_named(
    handler: AnnotatedHandler, notebook: str, anchor: str, message: str
) -> None:
    options = handler.get_options({"figure": anchor})
    with pytest.raises(PluginError, match=rf"^docs/sub/drawn\.ipynb: {message}"):
        handler.render(handler.collect(notebook, options), options)


def test_a_page_with_a_figure_is_not_the_page_of_the_notebook(
    project: Path, notebook: str
) -> None:
    assert Index(project, project / "docs").pages[notebook] == "sub/drawn.md"


def test_in_markdown_it_is_its_description(project: Path, notebook: str) -> None:
    text = Writer(Index(project, project / "docs")).page("a.md", BLOCK.format("drawn-so"))
    assert text.startswith("*Figure: A line*")
    assert "draw()" not in text


@pytest.mark.parametrize("builder", ["mkdocs", "zensical"])
def test_both_builders_show_it(project: Path, notebook: str, build, builder: str) -> None:
    done = build(project, builder)
    assert done.returncode == 0, done.stdout + done.stderr
    html = (project / "site" / "a.html").read_text()
    assert html.count('<figure class="output"') == 1
    assert 'href="sub/runs.html#a"' in html


PANELS = """<svg xmlns="http://www.w3.org/2000/svg" width="200pt" height="80pt" viewBox="0 0 200 80"><g id="figure_1">
<g id="panel_0.0_0.0_90.0_80.0"><path id="mark" d="M0 0"/><text style="fill: #d9730d">one</text></g>
<g id="panel_90.0_0.0_110.0_80.0"><g style="clip-path: url(#cut)"/><text>two</text></g></g>
<defs><clipPath id="cut"/></defs></svg>"""


def test_panels_become_drawings_that_are_one_figure() -> None:
    html = inline_svg(PANELS, 'What "is" seen', "a")
    assert html.startswith(
        '<div class="panels" role="img" aria-label="What &quot;is&quot; seen"'
    )
    assert re.findall(r'viewBox="([^"]+)"', html) == [
        "0.0 0.0 90.0 80.0",
        "90.0 0.0 110.0 80.0",
    ]
    assert html.count('aria-hidden="true"') == 2
    first, second = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert ("one" in first, "two" in second, "two" in first) == (True, True, False)
    # What one refers to, perhaps in the other, is there once.
    (clip,) = re.findall(r"url\(#([^)]+)\)", second)
    assert html.count(f'id="{clip}"') == 1


def test_colored_letters_take_some_of_the_text_s_color() -> None:
    html = inline_svg(PANELS, "", "a")
    assert "fill: color-mix(in srgb, #d9730d 68%, currentColor)" in html
    assert (
        inline_svg(SVG.replace('d="M', 'style="fill: #d9730d" d="M'), "", "a").count("mix") == 0
    )


def test_a_thumbnail_has_the_first_panel_and_no_words() -> None:
    html = thumbnail(PANELS, "a")
    assert html.count("<svg") == 1
    assert "one" not in html
    assert "<path" in html

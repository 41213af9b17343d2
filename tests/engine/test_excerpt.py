"""A page can show the heart of a function, its formula and the lines that compute it, in the module's own words and lines."""

import re
from pathlib import Path

import pytest
from mkdocs.exceptions import PluginError

from mkdocstrings_handlers.annotated import AnnotatedHandler
from mkdocstrings_handlers.annotated.render.markdown import Writer
from mkdocstrings_handlers.annotated.understand.index import Index

MODULE = r'''r"""
# Two functions
"""


def halved(total, parts=2):
    r"""
    ## A half

    $$\code{half}{h} = \frac{\code{whole}{w}}{\code{parts}{p}}$$

    Then $\code{rest}{r}$, in a second formula: $$\code{rest}{r} = 1$$

    * `parts`: how many; $\code{half}{h}$: one of them; $\code{rest}{r}$: what is left
    """
    whole = float(total)  # all of it
    # Where one line is too short.
    half: float = (
        whole / parts
    )
    rest = whole - half
    if rest:
        half = rest
    return half


def bare(x):
    """Says nothing in signs."""
    return x


def unbound(x):
    r"""
    ## Nothing is bound

    $$\code{x}{x} = 1$$

    * `x`: anything
    """
    return x
'''
BLOCK = (
    "::: two\n    handler: annotated\n    options:\n      excerpt: halved\n      whole: false\n"
)
WHOLE = (
    "::: two\n    handler: annotated\n    options:\n      excerpt: halved\n"
    "      picture: 'A *picture* of it.'\n"
)
LINE = re.compile(r'<span class="l" data-binds="([^"]*)"><a href="([^"]*)" aria-label="(\d+)"')


@pytest.fixture
def module(project: Path) -> Path:
    path = project / "two.py"
    path.write_text(MODULE, encoding="utf-8")
    (project / "docs" / "two.md").write_text("::: two\n    handler: annotated\n")
    (project / "docs" / "a.md").write_text(BLOCK)
    return path


def rendered(handler: AnnotatedHandler, **given: object) -> str:
    options = handler.get_options(given)
    return handler.render(handler.collect("two", options), options)


def shown(html: str) -> list[tuple[str, ...]]:
    return LINE.findall(html)


def test_it_is_the_first_formula_and_the_lines_that_bind_what_it_ties(
    project: Path, module: Path, build
) -> None:
    assert build(project, "mkdocs").returncode == 0
    html = (project / "site" / "a.html").read_text()
    first = MODULE.split("\n").index("    whole = float(total)  # all of it") + 1
    numbers = [first, first + 2, first + 3, first + 4]
    binds = ["whole", "half", "half", "half"]
    assert shown(html) == [
        (b, f"two.html#L{n}", str(n)) for b, n in zip(binds, numbers, strict=True)
    ]
    assert html.count('class="katex-display"') == 1
    assert "too short" not in html
    assert "rest" not in html


def test_a_symbol_and_its_variable_have_one_number_and_one_name(
    project: Path, module: Path, build
) -> None:
    assert build(project, "mkdocs").returncode == 0
    html = (project / "site" / "a.html").read_text()
    formula, code = html.split('<div class="code highlight">')
    symbols = set(re.findall(r'data-code="(\w+)" data-tie="(\d)"', formula))
    variables = {(b, a) for a, b in re.findall(r'data-tie="(\d)" data-code="(\w+)"', code)}
    assert {name for name, _ in symbols} == {"half", "whole", "parts"}
    assert variables == symbols
    assert 'class="excerpt annotated-module"' in html


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("halve", "there is no function `halve` to show. Did you mean `halved`?"),
        ("bare", "nothing in `bare` is a formula"),
        ("unbound", "nothing in `unbound` binds what its formula ties"),
    ],
)
def test_what_has_no_heart_is_named(
    handler: AnnotatedHandler, module: Path, name: str, message: str
) -> None:
    with pytest.raises(PluginError, match=rf"^two\.py(:\d+)?: {re.escape(message)}"):
        rendered(handler, excerpt=name, whole=False)


def test_a_page_with_an_excerpt_is_not_the_page_of_the_module(
    project: Path, module: Path
) -> None:
    assert Index(project, project / "docs").pages["two"] == "two.md"


def test_in_markdown_it_is_tex_and_code(project: Path, module: Path) -> None:
    text = Writer(Index(project, project / "docs")).page("a.md", BLOCK)
    assert text.startswith("$${h} = ")
    assert "```python\nwhole = float(total)  # all of it\nhalf: float = (\n    whole" in text
    assert "A half" not in text


def test_below_a_picture_it_is_a_part_of_the_module_s_page(
    project: Path, module: Path, build
) -> None:
    (project / "docs" / "a.md").unlink()
    (project / "docs" / "two.md").write_text(WHOLE)
    assert build(project, "mkdocs").returncode == 0
    html = (project / "site" / "two.html").read_text()
    assert Index(project, project / "docs").pages["two"] == "two.md"
    opening, rest = html.split("<p>A <em>picture</em> of it.</p>")
    assert "Two functions" in opening
    assert 'id="two.halved"' in rest
    assert {href for _, href, _ in shown(html)} == {f"#L{n}" for _, _, n in shown(html)}
    # One number for a symbol, in the excerpt and below it.
    ties = re.findall(r'data-code="half" data-tie="(\d)"', html)
    assert len(ties) > 2
    assert len(set(ties)) == 1


@pytest.mark.parametrize("builder", ["mkdocs", "zensical"])
def test_both_builders_show_it(project: Path, module: Path, build, builder: str) -> None:
    done = build(project, builder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(shown((project / "site" / "a.html").read_text())) == 4

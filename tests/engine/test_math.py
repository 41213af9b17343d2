"""Formulas: what KaTeX makes of them, what it costs, and what happens when one is wrong."""

from pathlib import Path

import pytest
from markdown import Markdown
from mkdocs.exceptions import PluginError

from mkdocstrings_handlers.annotated.prose import katex
from mkdocstrings_handlers.annotated.prose.katex import Katex, MathError


@pytest.fixture
def convert(cache: Path):
    extension = "mkdocstrings_handlers.annotated.prose"
    config = {extension: {"cache": str(cache)}}
    return lambda text: Markdown(
        extensions=[extension, "fenced_code"], extension_configs=config
    ).convert(text)


def test_inline_and_display_formulas_become_html_and_mathml(convert) -> None:
    html = convert("Inline $x^2$ and\n\n$$\\sum_i x_i$$\n\nand more.")
    assert html.count('<var class="math nobr"') == 1
    assert html.count('<div class="math"') == 1
    assert html.count("<math ") == 2
    assert html.count('class="katex-html"') == 2


def test_text_may_touch_a_display_formula(convert) -> None:
    html = convert("before\n\\begin{align}\na &= b \\\\\n&= c\n\\end{align}\nafter")
    assert "<p>before</p>" in html
    assert "<p>after</p>" in html
    assert "<mtable" in html
    assert "begin{align}" not in html


def test_equations_are_not_numbered(convert) -> None:
    assert "eqn-num" not in convert("\\begin{align}\na &= b\n\\end{align}")


@pytest.mark.parametrize("text", ["`$x$`", "```\n$x$\n```", "costs 5$ or 6$", "\\$x\\$"])
def test_dollars_in_code_prices_and_escapes_are_left_alone(convert, text: str) -> None:
    assert "katex" not in convert(text)


def test_a_tied_symbol_carries_its_name(convert) -> None:
    assert 'data-code="w_hat"' in convert(r"$\code{w_hat}{\hat W}$")
    assert 'data-code="self.eps"' in convert(r"$\code{self.eps}{\epsilon}$")


def test_nothing_else_reaches_into_the_page(convert) -> None:
    with pytest.raises(PluginError, match="href"):
        convert(r"$\href{https://example.org}{x}$")


def test_punctuation_stays_with_its_formula(convert) -> None:
    assert "</var>," in convert("The weight $W$, standardized.")
    assert 'class="nobr"' in convert("The weight $W$, standardized.")


def test_a_short_formula_is_never_broken_and_a_long_one_may_be(convert) -> None:
    assert '<var class="math nobr"' in convert("Fan-in $I = 4608$ here.")
    assert '<var class="math nobr"' in convert(r"as $(\code{mean}{m} - \hat\mu)^2$ is")
    long = convert("a mean $" + " + ".join("abcdefghijkl") + "$ of many.")
    assert "nobr" not in long


def test_a_refused_formula_says_what_is_wrong(cache: Path) -> None:
    with pytest.raises(MathError, match=r"Undefined control sequence: \\fra") as error:
        Katex(str(cache)).render("a\n+ \\fra{1}{2}", display=True)
    assert error.value.line == 1


def test_a_cached_formula_needs_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Katex(str(tmp_path))
    html = first.render("x + 1", display=False)
    second = Katex(str(tmp_path))
    monkeypatch.setattr(second, "ask", lambda *_: pytest.fail("Node was asked"))
    assert second.render("x + 1", display=False) == html
    with pytest.raises(pytest.fail.Exception):
        second.render("x + 1", display=True)


def test_one_process_serves_all_formulas(tmp_path: Path) -> None:
    made = Katex(str(tmp_path))
    made.render("x", display=False)
    process = made.process
    made.render("y", display=False)
    assert made.process is process
    made.close()


def test_missing_katex_says_how_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(katex, "KATEX", tmp_path)
    with pytest.raises(PluginError, match="install it anew"):
        Katex(str(tmp_path)).render("x", display=False)

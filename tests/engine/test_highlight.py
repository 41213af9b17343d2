"""Highlighting is Pygments' own, line by line, and whatever is wrapped around a stretch leaves the text alone."""

import html
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygments import highlight as pygments_highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers.python import PythonLexer

from mkdocstrings_handlers.annotated.render.highlight import Wrap, highlight

FILES = sorted(Path(__file__).parent.glob("*.py"))


def text(lines: list[str]) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", "\n".join(lines)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_without_wraps_it_is_what_pygments_makes(path: Path) -> None:
    source = path.read_text(encoding="utf-8").rstrip("\n")
    lexer = PythonLexer(stripnl=False, ensurenl=False)
    expected = pygments_highlight(source, lexer, HtmlFormatter(nowrap=True))
    assert "\n".join(highlight(source)) == expected.removesuffix("\n")


def test_a_wrap_goes_around_tokens_and_cuts_one_only_where_it_must() -> None:
    assert highlight("a.b", [Wrap(1, 0, 3, "<a>", "</a>")]) == [
        '<a><span class="n">a</span><span class="o">.</span><span class="n">b</span></a>'
    ]
    assert highlight("'abc'", [Wrap(1, 2, 3, "<i>", "</i>")]) == [
        """<span class="s1">'a</span><i><span class="s1">b</span></i><span class="s1">c'</span>"""
    ]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_whatever_is_wrapped_the_text_stays_as_it_was(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(FILES)).read_text(encoding="utf-8")[:3000]
    lines = source.split("\n")
    wraps = []
    for number in data.draw(st.sets(st.integers(1, len(lines)), max_size=8)):
        edges = sorted(
            data.draw(st.sets(st.integers(0, len(lines[number - 1])), min_size=0, max_size=4))
        )
        pairs = zip(edges[::2], edges[1::2], strict=False)
        wraps += [Wrap(number, start, stop, "<a>", "</a>") for start, stop in pairs]
    made = highlight(source, wraps)
    assert text(made) == source
    assert "\n".join(made).count("<a>") == len(wraps)

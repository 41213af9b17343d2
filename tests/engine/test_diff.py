"""A comparison shows the code of both sides, all of it and nothing else, and says where they differ."""

import ast
import contextlib
import html
import json
import re
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mkdocs.exceptions import PluginError
from mkdocstrings import CollectionError

from mkdocstrings_handlers.annotated import AnnotatedHandler
from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.read import source as reading
from mkdocstrings_handlers.annotated.read.source import definitions
from mkdocstrings_handlers.annotated.render.diff import Line, Row, compare, folded

from .test_handler import render

SOURCES = [json.decoder, textwrap, contextlib]
TEXT = '''
class Outer:
    def f(self):
        text = """one  # no comment

    two""" + f"""{self}

# three"""
        return text  # a comment
'''
OBJECTS = {"text.Outer.f": (TEXT, "Outer.f")} | {
    f"{module.__name__}.{name}": (source, name)
    for module in SOURCES
    for source in [Path(module.__file__).read_text(encoding="utf-8")]
    for node, name in definitions(ast.parse(source))
    if len(ast.unparse(node)) < 3000
}


def without_docstrings(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and len(body) > 1
            and isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            del body[0]
    return ast.dump(tree)


def code_of(source: str, name: str) -> list[Line]:
    return [Line(*line) for line in reading.code_of(Source(source), name) or ()]


def code(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


@pytest.mark.parametrize("name", OBJECTS)
def test_the_code_of_an_object_is_the_object_without_its_docstrings(name: str) -> None:
    source, qualified = OBJECTS[name]
    lines = code_of(source, qualified)
    assert lines
    node = next(node for node, found in definitions(ast.parse(source)) if found == qualified)
    expected = ast.parse(ast.unparse(node))
    assert without_docstrings(ast.parse(code(lines))) == without_docstrings(expected)
    # Each line stands in the file under its number; what it lacks of it, is a comment.
    real = source.split("\n")
    for line in lines:
        rest = real[line.number - 1].lstrip().removeprefix(line.text.lstrip()).strip()
        assert not rest or rest.startswith("#")


def numbers(rows: list[Row]) -> list[tuple[list[int], list[int]]]:
    return [([line.number for line in r.old], [line.number for line in r.new]) for r in rows]


@given(st.sampled_from(sorted(OBJECTS)), st.sampled_from(sorted(OBJECTS)))
@settings(max_examples=20, deadline=None)
def test_what_is_gone_and_common_is_the_old_code_and_what_came_and_common_the_new(
    one: str, other: str
) -> None:
    old, new = (code_of(*OBJECTS[name]) for name in (one, other))
    old, new = old[:30], new[:30]
    rows = compare(old, new)
    for side, lines in (("old", old), ("new", new)):
        found = [line for row in rows for line in getattr(row, side)]
        assert [(n.number, n.text) for n in found] == [(n.number, n.text) for n in lines]
    assert all(r.old[0].text == r.new[0].text for r in rows if r.same)
    assert [row for _, part in folded(rows) for row in part] == rows
    if one == other:
        assert all(row.same for row in rows)


def test_a_line_that_changed_stands_beside_what_it_was_with_the_change_marked() -> None:
    old = [
        Line(1, "def f(x):"),
        Line(2, "    return conv(x, self.weight)"),
        Line(3, "    gone"),
    ]
    new = [
        Line(7, "def f(x):"),
        Line(8, "    new = 1"),
        Line(9, "    return conv(x, self.w_hat)"),
    ]
    first, added, changed, gone = compare(old, new)
    assert first.same
    assert not added.old
    assert not gone.new
    (before,), (after,) = changed.old, changed.new
    assert [before.text[a:b] for a, b in before.marks] == ["weight"]
    assert [after.text[a:b] for a, b in after.marks] == ["w_hat"]


def test_only_long_stretches_in_common_are_folded_and_no_difference_is() -> None:
    common = [Line(n, f"line {n}") for n in range(30)]
    rows = compare([*common, Line(99, "a")], [Line(98, "b"), *common])
    stretches = folded(rows)
    assert [(far, len(part)) for far, part in stretches] == [(False, 4), (True, 24), (False, 4)]
    assert all(row.same for far, part in stretches if far for row in part)


def test_lines_that_only_one_has_are_one_row_and_push_nothing_apart() -> None:
    old = [Line(1, "def f(x):"), Line(2, "    first = alpha(1)"), Line(3, "    return first")]
    new = [
        Line(7, "def f(x):"),
        Line(8, '    """Zzz"""'),
        Line(9, "    return first"),
        Line(10, "z = [0]"),
    ]
    assert numbers(compare(old, new)) == [([1], [7]), ([2], [8]), ([3], [9]), ([], [10])]


def test_a_definition_that_only_one_has_comes_after_what_the_other_says_in_the_body_before_it() -> (
    None
):
    old = [
        Line(1, "def f(x):"),
        Line(2, "    alpha = 1"),
        Line(3, "def g(x):"),
        Line(4, "    beta = 2"),
    ]
    new = [Line(7, "def f(x):"), Line(8, "    return [0]")]
    assert numbers(compare(old, new)) == [([1], [7]), ([2], [8]), ([3, 4], [])]


def test_brackets_alone_are_not_a_line_that_changed() -> None:
    rows = compare([Line(1, "    )"), Line(2, "a")], [Line(7, ")"), Line(8, "b")])
    assert numbers(rows) == [([1, 2], [7, 8])]


PLAIN = 'class Plain:\n    """Doubles."""\n\n    def run(self, x):\n        # Twice.\n        return 2 * x  # so\n'
OTHER = "from small import twice\n\n\nclass Other:\n    def run(self, x):\n        return twice(x) < 3\n"


@pytest.fixture
def pair(project: Path) -> Path:
    (project / "plain.py").write_text(PLAIN)
    (project / "other.py").write_text(OTHER)
    (project / "docs" / "plain.md").write_text("::: plain\n    handler: annotated\n")
    return project


def test_a_page_shows_both_sides_in_words_and_signs(
    pair: Path, handler: AnnotatedHandler
) -> None:
    shown = render(handler, "other.Other", diff_from="plain.Plain")
    gone = re.findall(r"<del>(.*?)</del>", shown, re.DOTALL)
    come = re.findall(r"<ins>(.*?)</ins>", shown, re.DOTALL)

    def text(part: str) -> str:
        return html.unescape(re.sub("<[^>]*>", "", part))

    assert [text(part) for part in gone] == [
        "removed: class Plain:",
        "removed:         return 2 * x",
    ]
    assert [text(part) for part in come] == [
        "added: class Other:",
        "added:         return twice(x) < 3",
    ]
    assert "Doubles" not in shown
    assert "Twice" not in shown
    # The numbers lead to the lines, where a page shows them; nobody shows the other module.
    assert re.findall(r'href="([^"]*)" data-n="(\d+)"', shown) == [
        ("plain.html#L1", "1"),
        ("plain.html#L4", "4"),
        ("plain.html#L6", "6"),
    ]
    assert '<a href="plain.html#plain.Plain"><code>plain<wbr>.Plain</code></a>' in shown


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("other.Other", "plain.Plian"), r"^plain\.py: .* Plian .*Did you mean `Plain`\?"),
        (
            ("other.Nothing", "plain.Plain"),
            r"^other\.py: there is no class or function Nothing",
        ),
        (("other.Other", "nowhere.Plain"), r"^nowhere\.Plain: there is no such module"),
        (("other", "plain.Plain"), r"^other: there is no such module"),
    ],
)
def test_an_object_that_is_not_there_is_an_error_that_says_so(
    pair: Path, handler: AnnotatedHandler, names: tuple[str, str], message: str
) -> None:
    with pytest.raises(CollectionError, match=message):
        render(handler, names[0], diff_from=names[1])


def test_an_unknown_option_names_the_real_one(handler: AnnotatedHandler) -> None:
    with pytest.raises(PluginError, match=r"no option diff; it has .*diff_from"):
        handler.get_options({"diff": "plain.Plain"})


def test_both_builders_give_the_same_comparison(pair: Path, build) -> None:
    page = "# Page\n\n::: other.Other\n    handler: annotated\n    options:\n      diff_from: plain.Plain\n"
    (pair / "docs" / "sub").mkdir()
    (pair / "docs" / "sub" / "page.md").write_text(page)
    found = []
    for builder in ("mkdocs", "zensical"):
        done = build(pair, builder)
        assert done.returncode == 0, done.stdout + done.stderr
        made = (pair / "site" / "sub" / "page.html").read_text(encoding="utf-8")
        figure = re.search(r'<figure class="diff".*?</figure>', made, re.DOTALL)
        assert figure
        assert '<a href="../plain.html#plain.Plain">' in figure[0]
        found.append(re.sub(r'\s?data-search-\w+="[^"]*"', "", figure[0]))
    assert found[0] == found[1]


@pytest.mark.parametrize("builder", ["mkdocs", "zensical"])
def test_a_comparison_with_nothing_fails_the_build(pair: Path, build, builder: str) -> None:
    page = (
        "::: other.Other\n    handler: annotated\n    options:\n      diff_from: plain.Plian\n"
    )
    (pair / "docs" / "page.md").write_text(page)
    done = build(pair, builder)
    assert done.returncode != 0
    assert "plain.py: there is no class or function Plian" in done.stdout + done.stderr

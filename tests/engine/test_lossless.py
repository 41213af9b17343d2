"""Nothing is lost: checked against an independent account of what is prose, on generated modules and on the standard library."""

import ast
import io
import itertools
import sysconfig
import tokenize
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkdocstrings_handlers.annotated.document import Source, SourceError
from mkdocstrings_handlers.annotated.read.module import read_module


def speaking_lines(source: str) -> set[int]:
    """Lines that may be prose: those of docstrings, and those that hold a comment and nothing else."""
    text = source.split("\n")
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and (ast.get_docstring(node) or ""):
            lines |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and text[token.start[0] - 1].lstrip().startswith("#"):
            lines.add(token.start[0])
    return lines


def assert_lossless(source: str) -> None:
    lines = source.split("\n")
    sections = read_module(Source(source))
    may_speak = speaking_lines(source)

    # The spans are the file: one after the other, without a gap but for blank lines above the first.
    assert not any(line.strip() for line in lines[: sections[0].span.start - 1])
    for one, next_one in itertools.pairwise(sections):
        assert one.span.stop == next_one.span.start
    assert sections[-1].span.stop == len(lines) + 1

    for section in sections:
        # Code is the file's own lines, in order, under their own numbers.
        assert list(section.code_lines) == sorted(set(section.code_lines))
        assert set(section.code_lines) <= set(section.span)
        assert section.code == "\n".join(lines[n - 1] for n in section.code_lines)
        # Whatever isn't code speaks, and what it says is in the prose, at its number.
        said = dict(zip(section.prose_lines, section.prose.split("\n"), strict=False))
        # An escaped line end joins two lines of a docstring, so there the words are looked for, and not their numbers.
        escapes = any("\\" in lines[n - 1] for n in section.span)
        for n in section.span:
            if n in section.code_lines or not lines[n - 1].strip():
                continue
            assert n in may_speak, f"line {n} is neither code nor prose: {lines[n - 1]!r}"
            if "\\" not in lines[n - 1] and (
                words := lines[n - 1].strip().strip("#rRuU\"' ").split()
            ):
                assert words[-1].rstrip("\"'") in (
                    section.prose if escapes else said.get(n, "")
                ), f"line {n} was not said"
    anchors = [section.anchor for section in sections]
    assert len(anchors) == len(set(anchors))


# Pieces of modules, chosen to be awkward: strings that look like comments, brackets, decorators, blank lines, pragmas.
STATEMENTS = [
    ["x = 1"],
    ["x = '# no comment'  # trailing"],
    ["y = '''", "# inside a string", "", "'''"],
    ["z = f(", "    # inside brackets", "    1,", ")"],
    ["import os"],
    ["# prose", "# more prose"],
    ["# ## Heading", "#", "# $\\mu$ and `code`"],
    ["#no space"],
    ["# noqa"],
    ["# fmt: off"],
    [""],
    ["", ""],
    ["w = [", "]  # closed"],
    ["'''not a docstring'''"],
    ["f'{x}  # {y}'"],
]
DOCSTRINGS = [
    [],
    ['"""One line."""'],
    ["r'''", "Several", "", "    lines.", "'''"],
    ['"""Shared."""; x = 1'],
    ['""" """'],
]
HEADERS = [
    ["def f():"],
    ["@d", "# why", "@e(", "    # arg", "    1)", "async def g(a,", "      b=1):"],
    ["class A(B):"],
]


def indent(lines: list[str]) -> list[str]:
    """As an editor would, but for the insides of strings, which don't mind."""
    return [f"    {line}" if line else line for line in lines]


statements = st.sampled_from(STATEMENTS)
bodies = st.recursive(
    st.lists(statements, max_size=5).map(
        lambda parts: [line for part in parts for line in part]
    ),
    lambda inner: st.lists(
        st.one_of(
            statements,
            st.tuples(st.sampled_from(HEADERS), st.sampled_from(DOCSTRINGS), inner).map(
                lambda t: [*t[0], *indent([*t[1], *t[2], "pass"])]
            ),
            inner.map(lambda body: ["if x:", *indent([*body, "pass"])]),
            inner.map(lambda body: ['if __name__ == "__main__":', *indent([*body, "pass"])]),
        ),
        max_size=4,
    ).map(lambda parts: [line for part in parts for line in part]),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DOCSTRINGS), bodies)
def test_generated_modules_are_read_without_loss(docstring: list[str], body: list[str]) -> None:
    assert_lossless("\n".join([*docstring, *body]) + "\n")


def standard_library() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    files = (
        p
        for p in sorted(root.rglob("*.py"))
        if "site-packages" not in p.parts and "test" not in p.parts
    )
    return [path for path in files if path.stat().st_size < 20_000][:560]


def test_the_standard_library_is_read_without_loss() -> None:
    read = 0
    for path in standard_library():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with tokenize.open(path) as file:
                    source = file.read()
                ast.parse(source)
            except (SyntaxError, UnicodeDecodeError):
                continue
            try:
                assert_lossless(source)
            except SourceError:
                # Its author wrote `\\n` where a page wants a raw docstring; that is refused, not lost.
                continue
            except AssertionError as error:
                pytest.fail(f"{path}: {error}")
        read += 1
    assert read >= 500

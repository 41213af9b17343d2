"""Code only: the same program, proved by its syntax tree, on awkward modules and on the standard library."""

import ast
import io
import tokenize
import warnings
from pathlib import Path

import pytest

from mkdocstrings_handlers.annotated.document import Source, SourceError
from mkdocstrings_handlers.annotated.read.source import code_only
from tests.engine.test_lossless import standard_library

AWKWARD = {
    "a docstring that is all": ("def f():\n    '''Doc.'''\n", "def f():\n    pass\n"),
    "one on the line of the def": ("def f(): 'doc'\n", "def f(): pass\n"),
    "one before a semicolon": ("'''doc'''; x = 1\n", "pass; x = 1\n"),
    "one in parentheses": ("def f():\n    ('a'\n     'b')\n    return 1\n", "def f():\n    return 1\n"),
    "a comment after it": ("class A:\n    'doc'  # why\n    x = 1\n", "class A:\n    x = 1\n"),
    "a hash in a string": ("x = '# no'  # yes\n", "x = '# no'\n"),
    "a comment inside brackets": ("x = [\n    # one\n    1,  # two\n]\n", "x = [\n    1,\n]\n"),
    "a string that is no docstring": ("x = 1\n'''kept'''\n", "x = 1\n'''kept'''\n"),
    "a multi-line string": ("x = '''\n# kept\n\n\n\n'''\n", "x = '''\n# kept\n\n\n\n'''\n"),
    "letters of several bytes": ("def f():\n    'Ŵ → μ'; é = 'ü'  # ß\n", "def f():\n    pass; é = 'ü'\n"),
    "a shebang": ("#!/usr/bin/env python\n# why\nx = 1\n", "#!/usr/bin/env python\nx = 1\n"),
    "nothing but prose": ('"""Doc."""\n# and more\n', ""),
    "Windows' line ends": ("x = 1  # one\r\n# two\r\ny = 2\r\n", "x = 1\ny = 2\n"),
}  # fmt: skip


def tree(source: str) -> str:
    """The syntax without docstrings, and without a `pass` that isn't alone."""
    parsed = ast.parse(source)
    for node in ast.walk(parsed):
        for _, body in ast.iter_fields(node):
            if not (isinstance(body, list) and body and isinstance(body[0], ast.stmt)):
                continue
            if (
                isinstance(
                    node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
                )
                and body is node.body
                and ast.get_docstring(node) is not None
            ):
                del body[0]
            body[:] = [n for n in body if not isinstance(n, ast.Pass)]
    return ast.dump(parsed)


def comments(source: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


@pytest.mark.parametrize(("source", "wanted"), AWKWARD.values(), ids=AWKWARD)
def test_prose_is_cut_out_and_nothing_else(source: str, wanted: str) -> None:
    assert code_only(Source(source)) == wanted
    assert tree(wanted) == tree(source)


def test_comments_at_the_end_of_a_line_can_be_kept() -> None:
    source = "# why\nx = f(y)  # [O, I]\n"
    assert code_only(Source(source), trailing=True) == "x = f(y)  # [O, I]\n"


def test_the_standard_library_computes_the_same_without_its_prose() -> None:
    read = 0
    for path in standard_library():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with tokenize.open(path) as file:
                    source = file.read()
                wanted = tree(source)
            except (SyntaxError, UnicodeDecodeError):
                continue
            try:
                bare = code_only(Source(source))
            except SourceError:  # an escape sequence that Python warns of
                continue
            assert tree(bare) == wanted, path
            assert not [c for c in comments(bare) if not c.startswith("#!")], path
        read += 1
    assert read >= 500


def test_this_projects_own_modules_have_no_prose_left() -> None:
    root = Path(__file__).parents[2]
    for folder in ("labml_ws", "engine/mkdocstrings_handlers/annotated"):
        for path in sorted((root / folder).rglob("*.py")):
            bare = code_only(Source.read(path))
            assert tree(bare) == tree(path.read_text(encoding="utf-8"))
            assert comments(bare) == []
            assert not any(
                ast.get_docstring(n)
                for n in ast.walk(ast.parse(bare))
                if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)
            )

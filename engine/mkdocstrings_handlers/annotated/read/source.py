"""
# What is prose, what is code

Where a docstring is, only the syntax tree knows, and where a comment is, only the tokenizer: a regular expression over lines takes the `#` in `"#ff0000"` for a
comment, and half of a string for prose. Whoever needs to know asks here: the reader, which sets the two beside each other, and everybody who wants a program
without its prose, for a download, a comparison or a fingerprint. What is code in the prose itself, because it stands between fences, is decided here as well.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile

from ..document import Source, SourceError

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# Lines of prose with their numbers in the file.
Text = list[tuple[int, str]]

# A comment that speaks to a tool, not to a reader, stays in the code.
PRAGMA = re.compile(
    r"#(!|\s*-\*-|\s*%%|:|\s*(noqa|nosec|region|endregion)\b"
    r"|\s*(type|fmt|pragma|pylint|mypy|pyright|ty|ruff|flake8|isort|yapf|coding|vim)\s*[:=])"
)
# Letters that a backslash turns into something else, with what that is. Each begins many a command of TeX.
ESCAPES = {
    "a": "a bell",
    "b": "a backspace",
    "f": "a form feed",
    "n": "a line break",
    "r": "a carriage return",
    "t": "a tab",
    "v": "a vertical tab",
}
QUOTES = re.compile(r"(\w*)('''|\"\"\"|'|\")")


# ## Definitions


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[Definition, str]]:
    """Every class and function with its qualified name, whatever statement it is nested in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, DEFINITIONS):
            yield node, prefix + node.name
            yield from definitions(node, f"{prefix}{node.name}.")
        elif not isinstance(node, ast.expr):
            yield from definitions(node, prefix)


def first_line(node: ast.stmt) -> int:
    """Where a statement begins. A definition begins at its first decorator."""
    return min(n.lineno for n in [node, *getattr(node, "decorator_list", [])])


def lines_of(node: ast.stmt) -> range:
    """The lines that a statement covers, decorators included."""
    return range(first_line(node), (node.end_lineno or node.lineno) + 1)


def guard(tree: ast.Module) -> ast.If | None:
    """The `if __name__ == "__main__":` that a module's demo stands under."""
    guards = (
        n
        for n in tree.body
        if isinstance(n, ast.If) and ast.unparse(n.test) == "__name__ == '__main__'"
    )
    return next(guards, None)


def demo(tree: ast.Module) -> list[ast.stmt]:
    """The statements of a module's demo. One that begins with `sys.exit(` is a command line and no demo."""
    node = guard(tree)
    if node is None or ast.unparse(node.body[0]).startswith("sys.exit("):
        return []
    return node.body


def import_zone(tree: ast.Module) -> range:
    """From the first of a module's leading imports to the last: what every module has and no reader came for, so the page folds it away."""
    body = tree.body[1:] if ast.get_docstring(tree, clean=False) is not None else tree.body
    zone = list(takewhile(_imports, body))
    return range(zone[0].lineno, (zone[-1].end_lineno or 0) + 1) if zone else range(0)


def _imports(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    )


# ## Prose


def docstrings(tree: ast.Module) -> Iterator[tuple[ast.Module | Definition, str, ast.stmt]]:
    """Every docstring: whose it is, the qualified name of that, and the statement that is the docstring."""
    nodes: list[tuple[ast.Module | Definition, str]] = [(tree, ""), *definitions(tree)]
    for node, name in nodes:
        if ast.get_docstring(node, clean=False) is not None:
            yield node, name, node.body[0]


def around(
    source: Source, docstring: ast.stmt, lines: Mapping[int, str] | None = None
) -> tuple[str, str]:
    """What stands before a docstring on its first line, and behind it on its last, in the source or in what is left of its `lines`."""
    first, last = docstring.lineno, docstring.end_lineno or docstring.lineno
    start = source.column(first, docstring.col_offset)
    stop = source.column(last, docstring.end_col_offset or 0)
    lines = lines or {n: source.lines[n - 1] for n in (first, last)}
    return lines[first][:start], lines[last][stop:]


def words_of(source: Source, docstring: ast.stmt) -> Text:
    r"""
    What a docstring says, without its common indentation and without the blank lines around it. A comment behind the closing quotes is its last paragraph.

    The words come from the tree, their numbers from the tokens, as a backslash at the end of a line joins two lines to one. Raises `SourceError` where the string
    isn't raw and `\theta` would be a tab and `heta`.
    """
    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant)
    first, *rest = str(docstring.value.value).split("\n")
    margin = min((len(t) - len(t.lstrip()) for t in rest if t.strip()), default=0)
    bare = [first.lstrip(), *(line[margin:] for line in rest)]
    text = trimmed(zip(_numbers(source, docstring), map(str.rstrip, bare), strict=False))
    comment = around(source, docstring)[1].strip()
    if comment and not PRAGMA.match(comment):
        last = docstring.end_lineno or docstring.lineno
        text += [(last, ""), (last, comment[1:].strip())]
    return text


def trimmed(text: Iterable[tuple[int, str]]) -> Text:
    """The text without the blank lines around it."""
    lines = list(text)
    filled = [n for n, (_, line) in enumerate(lines) if line]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def _numbers(source: Source, docstring: ast.stmt) -> list[int]:
    numbers: list[int] = []
    for token in source.tokens:
        inside = docstring.lineno <= token.start[0] <= (docstring.end_lineno or 0)
        m = QUOTES.match(token.string) if inside and token.type == tokenize.STRING else None
        if not m:
            continue
        line, raw = token.start[0], "r" in m[1].lower()
        numbers = numbers or [line]
        for sign in re.finditer(r"\n" if raw else r"\\(.)|\n", token.string, re.DOTALL):
            line += sign[0].endswith("\n")
            if sign[0] == "\n":
                numbers.append(line)
            elif sign[1] in ESCAPES:
                raise SourceError(
                    source.place,
                    line,
                    f"`{sign[0]}` in this docstring is {ESCAPES[sign[1]]}, "
                    'and no letter of a formula. Begin the docstring with r""" to keep its backslashes.',
                )
    return numbers


def comments(source: Source) -> Iterator[tuple[int, int, str, bool]]:
    """
    Every comment: line, column, what it says with its `#`, and whether it's a paragraph: alone on its line, outside of brackets, and not said to a tool.

    Inside brackets a comment stays code. A call or a table of settings is one thought, and a reader who meets it in five pieces, each beside
    half a sentence, has to put it together again; what must be said about it can be said above it.
    """
    depth = 0
    for token in source.tokens:
        line, column = token.start
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        if token.type == tokenize.COMMENT:
            alone = not depth and not source.lines[line - 1][:column].strip()
            yield line, column, token.string, alone and not PRAGMA.match(token.string)


# ## Code without prose


def code_lines(source: Source, trailing: bool = False) -> dict[int, str]:
    """
    The lines of a module without its docstrings and comments, by their numbers in the file; blank lines are among them. Every other character stays as its author
    wrote it. A body that was nothing but a docstring becomes `pass`.

    * `trailing`: keep the comments that share a line with code, which on these pages are mostly shapes
    """
    lines = dict(enumerate(source.lines, 1))
    for line, column, text, _ in comments(source):
        if not lines[line][:column].strip():
            # A shebang speaks to the system.
            if line > 1 or not text.startswith("#!"):
                del lines[line]
        elif not trailing:
            lines[line] = lines[line][:column].rstrip()
    for owner, _, docstring in docstrings(source.tree):
        before, after = around(source, docstring, lines)
        # What follows it on its line can only be a comment, unless a semicolon or a backslash stands between.
        shared = before.strip() or after.strip().startswith((";", "\\"))
        alone = len(owner.body) == 1 and not isinstance(owner, ast.Module)
        for line in lines_of(docstring):
            lines.pop(line, None)
        if alone or shared:
            lines[docstring.lineno] = f"{before}pass{after if shared else ''}"
    return dict(sorted(lines.items()))


def code_only(source: Source, trailing: bool = False) -> str:
    """
    ### A module without its prose

    A module with the same syntax tree but for the docstrings. Tidying up the gaps is left to a formatter. `trailing` as above.
    """
    text = "\n".join(code_lines(source, trailing).values()).strip("\n")
    return f"{text}\n" if text.strip() else ""


def code_of(source: Source, name: str) -> list[tuple[int, str]] | None:
    """
    ### A class or function without its prose

    Its lines with their numbers, moved to the margin; none if `name` isn't defined. A blank line stays where it sets off a definition, and in a string.
    """
    node = next((node for node, other in definitions(source.tree) if other == name), None)
    if node is None:
        return None
    starts = {first_line(inner) for inner, _ in definitions(node)}
    # What a string says on its further lines is neither blank nor indented.
    strings = {
        line
        for inner in ast.walk(node)
        if isinstance(inner, ast.Constant | ast.JoinedStr)
        for line in range(inner.lineno + 1, (inner.end_lineno or 0) + 1)
    }
    code: list[tuple[int, str]] = []
    gap: list[tuple[int, str]] = []
    for line, text in code_lines(source).items():
        if line not in lines_of(node):
            continue
        if line in strings:
            code.append((line, text))
        elif not text.strip():
            gap = [(line, "")]
        else:
            code += gap if line in starts and not code[-1][1].endswith(":") else []
            code.append((line, text.removeprefix(" " * node.col_offset)))
            gap = []
    return code


# ## Fences

FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})(.*)$", re.MULTILINE)
HEADING = re.compile(r"^(#{1,6})[ \t]+(.*?)[ \t]*$", re.MULTILINE)


def split_fences(text: str) -> list[str]:
    """Markdown cut at its fenced code: what is outside and what is fenced, in turn. A fence ends at one of the same sign that is as long or longer."""
    parts: list[str] = []
    at, opening = 0, None
    for m in FENCE.finditer(text):
        if opening is None:
            opening = m if "`" not in m[2] else None
        elif m[1].startswith(opening[1]) and not m[2].strip():
            parts += [text[at : opening.start()], text[opening.start() : m.end()]]
            at, opening = m.end(), None
    return [*parts, text[at:]]


def unfenced(text: str) -> str:
    """The text with blanks in place of what is fenced, so that every character and every line stays where it was."""
    parts = split_fences(text)
    parts[1::2] = [re.sub(r"[^\n]", " ", part) for part in parts[1::2]]
    return "".join(parts)


def headings(text: str) -> Iterator[re.Match[str]]:
    """The headings of a text as matches: `m[1]` are the signs, `m[2]` the words. A `#` in fenced code is none."""
    return HEADING.finditer(unfenced(text))

r"""
# From source to sections

A page of this site is a Python file, read from top to bottom: on the left what its author had to say, on the right what the machine runs.
This module cuts a file into such pairs. It knows nothing of HTML, of Markdown or of the site generator, so everything in it can be tested from a string.

Two rules carry the rest:

* **Nothing is lost.** Every line of the file that isn't blank stands in exactly one section, in order, under its real number.
* **Nothing is guessed.** Where a docstring is, only the syntax tree knows, and where a comment is, only the tokenizer; a regular expression over lines
  takes the `#` in `"#ff0000"` for a comment, and half of a string for prose.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

# A comment that speaks to a tool, not to a reader, stays in the code.
PRAGMA = re.compile(
    r"#(!|\s*-\*-|\s*%%|:|\s*(noqa|nosec|region|endregion)\b"
    r"|\s*(type|fmt|pragma|pylint|mypy|pyright|ty|ruff|flake8|isort|yapf|coding|vim)\s*[:=])"
)


@dataclass(frozen=True)
class Output:
    """What a notebook's cell showed: its media type and its text (`base64` for a bitmap)."""

    mime: str
    data: str
    alt: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """
    ## One section

    The only data structure there is. Modules and executed notebooks both become a list of these, and from there on nobody knows the difference.

    * `prose` is Markdown, and `prose_lines` says for each of its lines where it stands in the file, so that an error in a formula can name its place.
    * `code` keeps the source's own lines, indentation included; `code_lines` has their numbers. They may jump: where a docstring stands between
      a `def` and its body, the docstring is on the left and the two pieces of code meet on the right.
    * `span` is the stretch of the file that the section covers. Spans follow one another without a gap, which is what makes *nothing is lost* easy to prove.
    * `anchor` comes from names and words, never from a count, so a link to a section survives edits to the others.
    """

    prose: str
    prose_lines: tuple[int, ...]
    code: str
    code_lines: tuple[int, ...]
    span: range
    anchor: str
    kind: str
    name: str = ""
    folded: int = 0
    outputs: tuple[Output, ...] = ()

    @property
    def first_line(self) -> int:
        return self.code_lines[0] if self.code_lines else self.span.start


@dataclass(frozen=True)
class Opening:
    """Where a section begins. It covers the file from `line` on; `prose` are the lines that speak, and `text` is what they say, numbered."""

    line: int
    prose: range
    text: tuple[tuple[int, str], ...]
    kind: str
    name: str = ""
    column: int = 0


def read_module(source: str) -> list[Section]:
    """
    ## Reading a module

    Sections open at docstrings, at comments that have a line to themselves, and at `if __name__ == "__main__":`, which is
    a module's demo and not the tail of its last function.
    """
    source = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    # Python ends lines at `\n` only; `str.splitlines` would also cut at a form feed.
    lines = source.split("\n")
    tree = ast.parse(source)
    heads = {_first_line(node): (node, name) for node, name in _definitions(tree)}
    openings = {o.line: o for o in _docstrings(tree, lines)}
    imports = _import_zone(tree)
    # Comments above the module's docstring (shebang, encoding, license) and those among its imports are no one's prose.
    taken = [imports, *(range(o.line, o.prose.stop) for o in openings.values())]
    blocks = {b.line: b for b in _comments(source, lines) if not any(b.line in stretch for stretch in taken)}

    # A comment directly below a header that has no docstring does a docstring's work, so the header comes along with it.
    for line, (node, name, kind) in _headers(tree, heads).items():
        block = next((blocks.pop(n) for n in range(node.lineno + 1, _first_line(node.body[0])) if n in blocks), None)
        if line not in openings and (block or kind == "demo"):
            block = block or Opening(line, range(line, line), (), kind)
            openings[line] = replace(block, line=line, kind=kind, name=name, column=node.col_offset)

    # A comment directly above a definition speaks of it: both go into one section.
    sections: list[list[Opening]] = []
    for o in sorted([*openings.values(), *blocks.values()], key=lambda o: o.line):
        before = sections[-1][-1] if sections else None
        touching = before is not None and not any(lines[n - 1].strip() for n in range(before.prose.stop, o.line))
        if before and before.kind == "comment" and touching and before.column == o.column:
            sections[-1].append(o)
        else:
            sections.append([o])
    if not sections or any(line.strip() for line in lines[: sections[0][0].line - 1]):
        sections.insert(0, [Opening(1, range(1, 1), (), "module")])

    scopes = [(range(line, (node.end_lineno or line) + 1), name) for line, (node, name) in heads.items()]
    stops = [group[0].line for group in sections[1:]] + [len(lines) + 1]
    found = [_section(group, stop, lines, heads, scopes, imports) for group, stop in zip(sections, stops, strict=True)]
    return _unique(found)


def _section(
    group: list[Opening],
    stop: int,
    lines: list[str],
    heads: dict[int, tuple[Definition, str]],
    scopes: list[tuple[range, str]],
    imports: range,
) -> Section:
    """What isn't prose is code. Blank lines between the two only separated them, and are dropped; inside the code they stay."""
    span = range(group[0].line, stop)
    spoken = {n for o in group for n in o.prose}
    code: list[int] = []
    piece: list[int] = []
    for n in [*span, stop]:
        if n in spoken or n == stop:
            while piece and not lines[piece[-1] - 1].strip():
                piece.pop()
            code, piece = code + piece, []
        elif piece or lines[n - 1].strip():
            piece.append(n)

    prose: list[tuple[int, str]] = []
    for o in group:
        prose += [(o.prose.start, ""), *o.text] if prose else o.text

    kind, name = group[-1].kind, group[-1].name
    if kind == "comment" and code and code[0] in heads:
        node, name = heads[code[0]]
        kind = _kind(node)
    elif kind == "comment":
        name = max(((s.start, name) for s, name in scopes if span.start in s), default=(0, ""))[1]
    text = "\n".join(line for _, line in prose)
    return Section(
        prose=text,
        prose_lines=tuple(n for n, _ in prose),
        code="\n".join(lines[n - 1] for n in code),
        code_lines=tuple(code),
        span=span,
        anchor=name if kind in {"class", "function"} else "--".join(filter(None, [name, slug(text or kind)])),
        kind=kind,
        name=name,
        folded=len(list(takewhile(lambda n: n < imports.stop, code))) if kind == "module" else 0,
    )


# ## What opens a section


def _definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[Definition, str]]:
    """Every class and function with its qualified name, whatever it is nested in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, DEFINITIONS):
            yield node, prefix + node.name
            yield from _definitions(node, f"{prefix}{node.name}.")
        else:
            yield from _definitions(node, prefix)


def _docstrings(tree: ast.Module, lines: list[str]) -> Iterator[Opening]:
    """
    A docstring belongs beside the `def` or `class` line that it documents, decorators included: that is where its section begins.
    One that shares its line with code (`def f(): "..."`) can't be taken apart by lines, so it stays code.
    """
    nodes: list[tuple[ast.Module | Definition, str]] = [(tree, ""), *_definitions(tree)]
    for node, name in nodes:
        if ast.get_docstring(node, clean=False) is None:
            continue
        doc = node.body[0]
        end = doc.end_lineno or doc.lineno
        rest = lines[end - 1].encode()[doc.end_col_offset :].strip()
        if lines[doc.lineno - 1].encode()[: doc.col_offset].strip() or not (not rest or rest.startswith(b"#")):
            continue
        text = _without_margin(ast.get_docstring(node, clean=False) or "", doc.lineno)
        yield Opening(_first_line(node), range(doc.lineno, end + 1), text, _kind(node), name, getattr(node, "col_offset", 0))


def _comments(source: str, lines: list[str]) -> Iterator[Opening]:
    """
    Comments on consecutive lines, in one column, are one paragraph or more.

    Inside brackets a comment stays code. A call or a table of settings is one thought, and a reader who meets it in five pieces, each beside
    half a sentence, has to put it together again; what must be said about it can be said above it.
    """
    depth = 0
    block: list[tuple[int, str]] = []
    last = (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line, column = token.start
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        if token.type != tokenize.COMMENT or depth or lines[line - 1][:column].strip() or PRAGMA.match(token.string):
            continue
        if block and (line - 1, column) != last:
            yield _block(block, last[1])
            block = []
        block.append((line, token.string[1:].removeprefix(" ").rstrip()))
        last = (line, column)
    if block:
        yield _block(block, last[1])


def _block(text: list[tuple[int, str]], column: int) -> Opening:
    line = text[0][0]
    return Opening(line, range(line, line + len(text)), tuple(text), "comment", column=column)


def _headers(tree: ast.Module, heads: dict[int, tuple[Definition, str]]) -> dict[int, tuple[Definition | ast.If, str, str]]:
    """Definitions by their first line, and the `if` that guards the demo."""
    found: dict[int, tuple[Definition | ast.If, str, str]] = {
        line: (node, name, _kind(node)) for line, (node, name) in heads.items()
    }
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            found[node.lineno] = (node, "", "demo")
    return found


def _import_zone(tree: ast.Module) -> range:
    """From the first of a module's leading imports to the last: what every module has and no reader came for, so the page folds it away."""
    body = tree.body[1:] if ast.get_docstring(tree, clean=False) is not None else tree.body
    zone = list(takewhile(_imports, body))
    return range(zone[0].lineno, (zone[-1].end_lineno or 0) + 1) if zone else range(0)


def _imports(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    )


def _first_line(node: ast.AST) -> int:
    if isinstance(node, ast.Module):
        return 1
    return min(n.lineno for n in [node, *getattr(node, "decorator_list", [])] if isinstance(n, ast.stmt | ast.expr))


def _kind(node: ast.AST) -> str:
    return {ast.Module: "module", ast.ClassDef: "class"}.get(type(node), "function")


def _without_margin(text: str, line: int) -> tuple[tuple[int, str], ...]:
    """A docstring's lines without their common indentation (the first has none) and without the blank lines around them, numbered from `line`."""
    first, *rest = text.split("\n")
    margin = min((len(t) - len(t.lstrip()) for t in rest if t.strip()), default=0)
    bare = [(line + i, t.rstrip()) for i, t in enumerate([first.lstrip(), *(t[margin:] for t in rest)])]
    spoken = [i for i, (_, t) in enumerate(bare) if t]
    return tuple(bare[spoken[0] : spoken[-1] + 1]) if spoken else ()


# ## Anchors


def slug(text: str, words: int = 6) -> str:
    """
    The first words of a text, or its heading if it begins with one. Formulas and links are left out: what a reader would say aloud remains.
    """
    first = text.strip().split("\n", 1)[0]
    if first.startswith("#"):
        text, words = first, 99
    text = re.sub(r"\$[^$]*\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}|\]\([^)]*\)", " ", text, flags=re.DOTALL)
    text = text.lower().replace("'", "")
    return "-".join(re.findall(r"[a-z0-9]+", text)[:words]) or "formula"


def _unique(sections: Iterable[Section]) -> list[Section]:
    """Two sections that begin with the same words in the same scope are told apart by their order, for want of anything better."""
    seen: Counter[str] = Counter()
    result = []
    for section in sections:
        seen[section.anchor] += 1
        n = seen[section.anchor]
        result.append(section if n == 1 else replace(section, anchor=f"{section.anchor}-{n}"))
    return result

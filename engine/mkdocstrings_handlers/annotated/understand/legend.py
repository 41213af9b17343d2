r"""
# What the symbols mean

A page lists the symbols that it ties to names, each with its meaning and its shape. Nothing is written for that list alone; it is put together from what the source says anyway:

* a list item that begins with the name, as the arguments of a function do: ``* `eps`: added to the variance``, or with the symbol itself:
  `* $\code{mean}{\mu}$: mean of a filter`
* or the comment behind the line that binds it: `flat = weight.flatten(1)  # [O, I], one filter per row`

The function's own words come first, then those of what lies within it, of what is around it, and of the rest of the module. A symbol without a meaning fails the build.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mkdocs.exceptions import PluginError

from ..read.module import Section
from ..read.source import PRAGMA, definitions
from .bindings import sites, targets
from .trace import Record

ITEM = re.compile(r"^[ ]*[*-][ ]+(.*(?:\n(?![ ]*[*-][ ]|[ ]*$).*)*)", re.MULTILINE)
HEAD = r"(?:returns )?(?:`[\w.]+`|\$\\code\{[\w.]+\}\{[^$]*\}\$)"
# One item may explain several things: "`x`: this; `y`: that".
HEADS = re.compile(rf"(?:^|; )({HEAD}(?:,? (?:and )?{HEAD})*): ")
HEADING = re.compile(r"#+[ ]+(.*)")
TRAILING = re.compile(r"(?:(?:\[[^\]]*\] -> )?(\[[^\]]*\]))?(?: each)?[,:]?\s*(.*)")


@dataclass(frozen=True)
class Tie:
    r"""A `\code{name}{symbol}` of a formula: where it stands in the file, and in which scope."""

    name: str
    symbol: str
    place: str
    section: str
    scope: str


@dataclass(frozen=True)
class Entry:
    tie: Tie
    meaning: str
    shape: str
    plain: str


class Explanations:
    """What a module's source says of its names, by scope."""

    def __init__(self, source: str, sections: Sequence[Section], record: Record) -> None:
        tree = ast.parse(source)
        self.words: dict[tuple[str, str], str] = {}
        self.shapes: dict[tuple[str, str], str] = {}
        for section in sections:
            for name, meaning in items(section.prose):
                self.words.setdefault((section.name, name), meaning)
            # A class or a function is what its heading says.
            if section.kind in {"class", "function"} and (m := HEADING.match(section.prose)):
                outer, _, name = section.name.rpartition(".")
                self.words.setdefault((outer, name), m[1])
        spans = [
            (range(node.lineno, (node.end_lineno or 0) + 1), name)
            for node, name in definitions(tree)
        ]

        def scope(line: int) -> str:
            return max((name for span, name in spans if line in span), key=len, default="")

        behind = _trailing(source)
        for node in ast.walk(tree):
            comment = behind.get(getattr(node, "end_lineno", None) or 0)
            m = TRAILING.fullmatch(comment) if comment else None
            for name in _bound(node) if m else ():
                key = (scope(node.lineno), name)  # type: ignore[attr-defined]
                if m and m[1]:
                    self.shapes.setdefault(key, m[1])
                if m and m[2]:
                    self.words.setdefault(key, first_clause(m[2]))
        known = sites(tree)
        for index, name, shape, _ in record:
            if shape:
                self.shapes.setdefault((scope(known[index].line), name), shape)

    def find(self, told: Mapping[tuple[str, str], str], tie: Tie) -> str:
        """
        The nearest word on a name: from its own scope, then from what lies within, then from what lies around it, then from anywhere.
        An introduction has the demo last, as it speaks of the rest. An attribute may be explained as the argument that it was.
        """
        scope, others = tie.section, [s for s, _ in told]
        names = [tie.name, tie.name.removeprefix("self.")]
        chain = [scope.rsplit(".", n)[0] for n in range(scope.count(".") + 1)]
        inner = [s for s in others if s.startswith(f"{scope}.")]
        near = [*chain[:1], *inner, *chain[1:], ""] if scope or tie.scope else []
        for where in [*near, *filter(None, others), ""]:
            for one in names:
                if (where, one) in told:
                    return told[where, one]
        return ""


def items(prose: str) -> Iterator[tuple[str, str]]:
    """The list items of a text that explain a name, each up to the end of its first clause: a legend has no room for more."""
    for item in ITEM.finditer(prose):
        text = " ".join(item[1].split())
        heads = [*HEADS.finditer(text)]
        for head, end in zip(heads, [*(h.start() for h in heads[1:]), len(text)], strict=False):
            if head is heads[0] and head.start():
                break
            meaning = first_clause(text[head.end() : end])
            for code, tie in re.findall(r"`([\w.]+)`|\\code\{([\w.]+)\}", head[1]):
                yield code or tie, meaning


def first_clause(text: str) -> str:
    """Up to the first comma, semicolon, colon, bracket or full stop outside of formulas and code."""
    parts = re.split(r"(`[^`]*`|\$[^$]*\$)", text)
    clause = ""
    for n, part in enumerate(parts):
        cut = None if n % 2 else re.search(r"[,;(:]|\.( |$)", part)
        clause += part[: cut.start()] if cut else part
        if cut:
            break
    clause = re.sub(r"\[([^\]]*)\]\[[^\]]*\]", r"\1", clause).strip()
    # The symbol itself stands in the legend already.
    return re.sub(r"(?<=\w) \$[^$]*\$$", "", clause)


def _trailing(source: str) -> dict[int, str]:
    """Comments behind code, by line. Inside brackets as well, for a parameter that has a line to itself."""
    lines = source.removeprefix("\ufeff").split("\n")
    return {
        token.start[0]: token.string[1:].strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
        and lines[token.start[0] - 1][: token.start[1]].strip()
        and not PRAGMA.match(token.string)
    }


def _bound(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.arg(arg=name):
            yield name
        case ast.Assign(targets=several):
            yield from (name for target in several for name in targets(target))
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            yield from targets(target)


def legend(ties: Sequence[Tie], explanations: Explanations) -> list[Entry]:
    """One entry for each name and meaning, in the order in which a reader meets them."""
    found: dict[tuple[str, str], Entry] = {}
    for tie in ties:
        meaning = explanations.find(explanations.words, tie)
        if not meaning:
            raise PluginError(
                f"{tie.place}: nothing says what `{tie.name}` is, to which `\\code` ties `{tie.symbol}`. "
                f"Write a list item (* `{tie.name}`: …), or a comment behind the line that binds it."
            )
        shape = explanations.find(explanations.shapes, tie)
        found.setdefault((tie.name, meaning), Entry(tie, meaning, shape, plain(tie.symbol)))
    return list(found.values())


# ## For the search
#
# A formula is markup without end, so the search index leaves it out; it finds a symbol by these letters, and a Greek one by its name as well.

ACCENTS = {
    "hat": "\u0302",
    "bar": "\u0304",
    "overline": "\u0304",
    "tilde": "\u0303",
    "dot": "\u0307",
}
SIGNS = {"partial": "∂", "sqrt": "√", "odot": "⊙", "cdot": "·"}


def plain(tex: str) -> str:
    r"""`\hat W_{i,j}` becomes `Ŵ`, and `\sigma_i^2` becomes `σ² sigma`."""
    greek = [c for c in re.findall(r"\\([a-z]+)", tex) if _greek(c)]
    text = re.sub(r"_(\{[^{}]*\}|\\?\w)", "", tex)
    text = re.sub(r"\\(text|mathrm|mathbf)\b", "", text)
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text)
    text = re.sub(r"\\([a-z]+)", lambda m: _greek(m[1]) or SIGNS.get(m[1]) or m[0], text)
    text = re.sub(
        rf"\\({'|'.join(ACCENTS)})\s*\{{?(\w)\b\}}?", lambda m: m[2] + ACCENTS[m[1]], text
    )
    text = re.sub(r"\\[a-z]+", "", text)
    text = text.replace("^2", "²").replace("{", "").replace("}", "")
    text = unicodedata.normalize("NFC", re.sub(r"\\.|\s+", "", text))
    return " ".join([text, *dict.fromkeys(greek)])


def _greek(name: str) -> str:
    try:
        return unicodedata.lookup(f"GREEK SMALL LETTER {name.removeprefix('var').upper()}")
    except KeyError:
        return ""

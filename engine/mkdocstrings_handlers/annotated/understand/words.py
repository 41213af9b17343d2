r"""
# Words and letters

What a list item says of a name in one clause, and a symbol in letters that a search finds. Both are cut out of what is written anyway, so they are rules about text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

ITEM = re.compile(r"^[ ]*[*-][ ]+(.*(?:\n(?![ ]*[*-][ ]|[ ]*$).*)*)", re.MULTILINE)
HEAD = r"(?:returns )?(?:`[\w.]+`|\$\\code\{[\w.]+\}\{[^$]*\}\$)"
# One item may explain several things: "`x`: this; `y`: that".
HEADS = re.compile(rf"(?:^|; )({HEAD}(?:,? (?:and )?{HEAD})*): ")
SHAPE = re.compile(r"(?:^|, |of shape )`(\[[^`\]]*\])`")

# ## For the list of symbols


def items(prose: str) -> Iterator[tuple[str, str]]:
    """The list items of a text that explain a name, each up to the end of its first clause: a legend has no room for more."""
    for names, text in _explained(prose):
        yield from ((name, first_clause(text)) for name in names)


def item_shapes(prose: str) -> Iterator[tuple[str, str]]:
    """The shapes that list items give to names: ``* `w`: a weight, `[O, I]` ``."""
    for names, text in _explained(prose):
        if shape := SHAPE.search(text):
            yield from ((name, shape[1]) for name in names)


def _explained(prose: str) -> Iterator[tuple[list[str], str]]:
    """Names that a list item explains, and what it says of them."""
    for item in ITEM.finditer(prose):
        text = " ".join(item[1].split())
        heads = [*HEADS.finditer(text)]
        for head, end in zip(heads, [*(h.start() for h in heads[1:]), len(text)], strict=False):
            if head is heads[0] and head.start():
                break
            names = re.findall(r"`([\w.]+)`|\\code\{([\w.]+)\}", head[1])
            yield [code or tie for code, tie in names], text[head.end() : end]


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

"""
# Fonts without what nobody reads

A font file holds an alphabet, a site a hundred characters of it. Each font keeps the characters that stand on some page (a formula's font: in some formula) and
the weights that its `@font-face` offers. What is left of all of them together is so little that it travels inside the style sheet: the first paint has the
right letters, and nothing moves afterwards.
"""

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

TYPED = frozenset(map(chr, range(0x20, 0x7F)))  # what a reader may type into the search
# Code is set without ligatures: `!=` stays two characters.
FEATURES = {
    "source-serif": ["ccmp", "kern", "liga", "locl", "mark", "mkmk", "tnum"],
    "jetbrains-mono": ["ccmp", "locl", "mark", "mkmk"],
}
FACE = re.compile(r"@font-face\s*\{[^}]*\}")
FILE = re.compile(r"url\(\s*['\"]?([^'\")]+\.woff2)")
WEIGHT = re.compile(r"font-weight:\s*(\d+)(?:\s+(\d+))?")
RANGE = re.compile(r"unicode-range:[^;}]*")


Weights = tuple[int, int]


def shrink(
    font: Path, characters: frozenset[str], weights: Weights | None, cache: Path
) -> list[int]:
    """Rewrites a font with those of the characters that it has, and says which these are. The same request is answered from the cache."""
    data = font.read_bytes()
    opened = TTFont(io.BytesIO(data))
    kept = sorted(set(map(ord, characters)) & set(opened.getBestCmap()))
    key = hashlib.sha256(data + repr((kept, weights, FEATURES)).encode()).hexdigest()[:24]
    stored = cache / f"{font.stem}-{key}.woff2"
    if kept and not stored.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        made = io.BytesIO()
        _subset(opened, kept, weights, font.stem).save(made)
        stored.with_suffix(".new").write_bytes(made.getvalue())
        stored.with_suffix(".new").replace(stored)
    if kept:
        font.write_bytes(stored.read_bytes())
    return kept


def _subset(font: TTFont, characters: list[int], weights: Weights | None, name: str) -> TTFont:
    options = Options(hinting=False, notdef_outline=True)
    for family, features in FEATURES.items():
        if name.startswith(family):
            options.layout_features = features
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    if "fvar" in font and weights:
        font = instancer.instantiateVariableFont(font, {"wght": weights})
    font.flavor = "woff2"
    font.recalcTimestamp = False
    return font


def shrink_all(sheet: Path, characters: Callable[[str], frozenset[str]], cache: Path) -> None:
    """Shrinks the fonts of a style sheet to what `characters` says of each file's name; each `@font-face` says which are left, or goes if there are none."""

    def face(rule: re.Match[str]) -> str:
        named = FILE.search(rule[0])
        if named is None:  # a local font
            return rule[0]
        offered = WEIGHT.search(rule[0])
        weights = offered and (int(offered[1]), int(offered[2] or offered[1]))
        file = sheet.parent / named[1]
        kept = shrink(file, characters(file.stem), weights, cache)
        return RANGE.sub(f"unicode-range: {_ranges(kept)}", rule[0]) if kept else ""

    sheet.write_text(FACE.sub(face, sheet.read_text(encoding="utf-8")), encoding="utf-8")


def _ranges(codes: list[int]) -> str:
    """
    >>> _ranges([0x41, 0x42, 0x43, 0x3B1])
    'U+41-43, U+3B1'
    """
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return ", ".join(f"U+{a:X}" if a == b else f"U+{a:X}-{b:X}" for a, b in runs)

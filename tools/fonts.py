"""
Fonts without what nobody reads.

A font file holds an alphabet, a site a hundred characters of it. Each font keeps the characters that stand on some page
(a formula's font: in some formula) and the weights that its `@font-face` offers. What is left of all of them together is
so little that it travels inside the style sheet: the first paint has the right letters, and nothing moves afterwards.
"""

import hashlib
import html
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
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
# The font that a class of KaTeX's asks for. What has none of these classes is set upright.
KATEX = {
    "mathnormal": "KaTeX_Math-Italic",
    "mathcal": "KaTeX_Caligraphic-Regular",
    "mathbb": "KaTeX_AMS-Regular",
    "amsrm": "KaTeX_AMS-Regular",
    "mathbf": "KaTeX_Main-Bold",
    "textbf": "KaTeX_Main-Bold",
    "mathit": "KaTeX_Main-Italic",
    "textit": "KaTeX_Main-Italic",
}
UPRIGHT = "KaTeX_Main-Regular"

Weights = tuple[int, int]
Characters = Callable[[str], frozenset[str]]  # that a font must have, by the name of its file


def shrink_all(
    sheets: list[Path], katex: list[Path], pages: list[str], words: list[Path], cache: Path
) -> None:
    """Shrinks the fonts of a site's style sheets to what stands on its pages, and in the other files that hold words."""
    letters = [Letters(text) for text in pages]
    everywhere = TYPED.union(*(set(path.read_text(encoding="utf-8")) for path in words))
    everywhere = everywhere.union(*(page.characters for page in letters))
    for sheet in sheets:
        shrink_sheet(sheet, lambda _: everywhere, cache)
    for sheet in katex:
        shrink_sheet(sheet, in_formulas(letters), cache)


# ## Which characters


class Letters(HTMLParser):
    """The characters of a page, and those in its formulas by font."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.characters = set(html.unescape(text))
        self.formulas: dict[str, set[str]] = defaultdict(set)
        self._fonts: list[str] = []  # of the open elements of a formula, from outside
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = (dict(attrs).get("class") or "").split()
        if tag == "span" and (self._fonts or "katex-html" in classes):
            outer = self._fonts[-1] if self._fonts else UPRIGHT
            self._fonts.append(next((KATEX[name] for name in classes if name in KATEX), outer))

    def handle_endtag(self, tag: str) -> None:
        if self._fonts and tag == "span":
            self._fonts.pop()

    def handle_data(self, data: str) -> None:
        if self._fonts:
            self.formulas[self._fonts[-1]] |= set(data)


def in_formulas(pages: Iterable[Letters]) -> Characters:
    """A font for sizes of brackets and roots keeps any character that occurs in a formula."""
    used: dict[str, set[str]] = defaultdict(set)
    for page in pages:
        for name, characters in page.formulas.items():
            used[name] |= characters
    everywhere = frozenset().union(*used.values())
    # A sign that a font of letters lacks is taken from the upright one.
    used[UPRIGHT] |= {c for c in everywhere if not c.isalpha()}
    return lambda name: everywhere if "_Size" in name else frozenset(used.get(name, ()))


# ## One sheet, one font


def shrink_sheet(sheet: Path, characters: Characters, cache: Path) -> None:
    """Each `@font-face` of the sheet says which characters are left in its file, or goes if there are none."""

    def face(rule: re.Match[str]) -> str:
        url = FILE.search(rule[0])
        if url is None:  # a local font
            return rule[0]
        offered = WEIGHT.search(rule[0])
        weights = offered and (int(offered[1]), int(offered[2] or offered[1]))
        file = sheet.parent / url[1]
        codes = shrink(file, characters(file.stem), weights, cache)
        return RANGE.sub(f"unicode-range: {ranges(codes)}", rule[0]) if codes else ""

    sheet.write_text(FACE.sub(face, sheet.read_text(encoding="utf-8")), encoding="utf-8")


def shrink(
    font: Path, characters: frozenset[str], weights: Weights | None, cache: Path
) -> list[int]:
    """Rewrites a font with those of the characters that it has, and says which these are. The same request is answered from the cache."""
    data = font.read_bytes()
    full = TTFont(io.BytesIO(data))
    codes = sorted(set(map(ord, characters)) & set(full.getBestCmap()))
    key = hashlib.sha256(data + repr((codes, weights, FEATURES)).encode()).hexdigest()[:24]
    small = cache / f"{font.stem}-{key}.woff2"
    if codes and not small.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        subset(full, codes, weights, font.stem).save(small.with_suffix(".new"))
        small.with_suffix(".new").replace(small)
    if codes:
        font.write_bytes(small.read_bytes())
    return codes


def subset(font: TTFont, codes: list[int], weights: Weights | None, name: str) -> TTFont:
    options = Options(hinting=False, notdef_outline=True)
    for family, features in FEATURES.items():
        if name.startswith(family):
            options.layout_features = features
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=codes)
    subsetter.subset(font)
    if "fvar" in font and weights:
        font = instancer.instantiateVariableFont(font, {"wght": weights})
    font.flavor = "woff2"
    font.recalcTimestamp = False
    return font


def ranges(codes: list[int]) -> str:
    """
    >>> ranges([0x41, 0x42, 0x43, 0x3B1])
    'U+41-43, U+3B1'
    """
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return ", ".join(f"U+{a:X}" if a == b else f"U+{a:X}-{b:X}" for a, b in runs)

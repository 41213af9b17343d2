"""List what the site claims about WS and BCN, and where each claim is measured: `python -m tests.site.claims`.

A claim is a sentence that says what a method *does* to training: smoother, faster, more accurate, dead units, small
batches. It is found by its words, which finds definitions as well: those are listed in the test. Its measurement is a
link to a tutorial in the same paragraph, or what the code beside it prints. (A tutorial measures what it claims.)
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from posixpath import dirname, join, normpath

from tools.renderings import Page, Renderings

WORDS = re.compile(
    r"""\b(smooth\w*|lipschitz|landscape|singularit\w+|eliminat\w+|micro-?batch\w*|batch(?:es)?\sof\s(?:one|two|1|2)\b
    |dead|switched\soff|(?:is|be|are)\soff|starv\w+|accura\w+|converg\w+|generali[sz]\w+|outperform\w*|as\swell\sas
    |train\w*\s(?:faster|better|well|badly)|(?:larger|smaller|longer|shorter)\s(?:steps|learning\srates|gradients?)
    |normali[sz]\w+\s(?:the\s)?gradients?|gradients?\s(?:grows?|shrinks?|is|are|gets?)|faster|slower|noisy|diverg\w+
    |stab(?:le|ility|ilizes?)|explod\w+|effective\s(?:step|learning)|helps?|better|worse)\b""",
    re.IGNORECASE | re.VERBOSE,
)
SUBJECT = re.compile(
    r"\b(WS|BCN|Weight Standardization|Batch-Channel|BatchNorm|batch norm|LayerNorm|GroupNorm|channel norm|standardiz\w+|"
    r"normaliz\w+|it|this half|filters?|network)\b",
    re.IGNORECASE,
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PRINTED = re.compile(r"^ *```text\n|^\*Figure: ", re.MULTILINE)
FENCED = re.compile(r"^ *```.*?^ *```[^\n]*$", re.MULTILINE | re.DOTALL)
SKIPPED = ("bibliography.md", "reference.md")


@dataclass(frozen=True)
class Claim:
    """A sentence of a page, and where it is measured; None where it says nothing of that."""

    page: str
    sentence: str
    measured: str | None


def blocks(markdown: str) -> Iterator[str]:
    """Paragraphs, list items and rows of a table; no headings, no code."""
    text = FENCED.sub("\n\n", markdown)
    for part in re.split(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.) )|\n(?=\|)", text):
        block = " ".join(part.split())
        if block and not block.startswith(("#", "<", "$$", ":::")):
            yield block


def sections(markdown: str) -> Iterator[str]:
    """From one heading to the next; a `#` in code begins none."""
    code = [range(*m.span()) for m in FENCED.finditer(markdown)]
    starts = [
        m.start()
        for m in re.finditer(r"^#+ ", markdown, re.MULTILINE)
        if not any(m.start() in span for span in code)
    ]
    for start, end in pairwise([0, *starts, len(markdown)]):
        yield markdown[start:end]


def measures(page: Page, target: str) -> bool:
    """Whether a link of a page leads to a tutorial."""
    return normpath(join(dirname(page.path), target)).startswith("tutorials/")


def claims_of(page: Page, markdown: str) -> Iterator[Claim]:
    for section in sections(markdown):
        tutorial = page.path.startswith("tutorials/")
        printed = page.path if tutorial or PRINTED.search(section) else None
        for block in blocks(section):
            links = [target for target in LINK.findall(block) if measures(page, target)]
            for sentence in re.split(r"(?<=[.!?])\)?\s+(?=[\"“*A-Z(`$\[])", block):
                said = LINK.sub("]", sentence)
                if WORDS.search(said) and SUBJECT.search(said):
                    yield Claim(page.path, sentence, links[0] if links else printed)


def claims(renderings: Renderings) -> list[Claim]:
    found: list[Claim] = []
    for page in renderings.pages:
        if not page.path.startswith("how") and page.path not in SKIPPED:
            found += claims_of(page, renderings.markdown(page))
    return found


def main() -> int:
    found = claims(Renderings())
    for claim in found:
        print(f"{claim.page}: {claim.sentence}\n    {claim.measured or 'NOT MEASURED'}")
    missing = sum(claim.measured is None for claim in found)
    print(f"{len(found)} sentences, {missing} without a measurement")
    return 0


if __name__ == "__main__":
    sys.exit(main())

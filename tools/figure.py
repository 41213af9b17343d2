"""A tutorial's figure, with where it comes from, for another page to include: `python -m tools.figure NOTEBOOK HEADING TARGET`.

The page says `--8<-- "figures/NAME.html"`; the Makefile says which figure that is, by the heading above it.
"""

import re
import sys
from pathlib import Path

from mkdocstrings_handlers.annotated.read.module import slug
from mkdocstrings_handlers.annotated.read.notebook import read_notebook
from mkdocstrings_handlers.annotated.render.figures import inline_svg

HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
LINK = re.compile(r'(?<=href=")(?=[\w-]+\.html)')


def figure(notebook: Path, heading: str) -> str:
    """
    The figure as HTML for a page beside the tutorials' folder. Raises `ValueError` where no cell has such a heading, or
    it has not exactly one figure and its provenance.
    """
    cells = {
        said: cell
        for cell in read_notebook(notebook).sections
        for said in HEADING.findall(cell.prose)
    }
    if heading not in cells:
        raise ValueError(
            f"{notebook}: expected one of the headings {', '.join(cells)}, got {heading}"
        )
    outputs = cells[heading].outputs
    drawn = [output for output in outputs if output.mime == "image/svg+xml"]
    said = [output.data for output in outputs if 'class="provenance"' in output.data]
    if len(drawn) != 1 or len(said) != 1:
        raise ValueError(
            f"{notebook}: expected a figure and its provenance below {heading!r}, got {len(drawn)} and {len(said)}"
        )
    svg = inline_svg(drawn[0].data, drawn[0].alt, slug(heading))
    provenance = LINK.sub(f"{notebook.parent.name}/", said[0])
    # One line, as Markdown ends a block of HTML at an empty one.
    return re.sub(r"\s*\n\s*", " ", f'<figure class="output">{svg}</figure>{provenance}') + "\n"


if __name__ == "__main__":
    path, name, target = sys.argv[1:]
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(figure(Path(path), name), encoding="utf-8")

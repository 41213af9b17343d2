"""
# From notebook to sections

A tutorial is a script whose cells were executed into a notebook while the site was built. What the page shows is that notebook, and the reader can download
the same file: the two can't disagree.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .module import Output, Section, _unique, slug

# What a cell shows can come in several forms at once. A drawing beats a bitmap, and either beats a description.
MIMES = ("image/svg+xml", "image/png", "text/html", "text/plain")


NOTHING: dict[str, Any] = {"outputs": [], "metadata": {}}
HEADING = re.compile(r"^#{2,4} ", re.MULTILINE)
MAGIC = re.compile(r"^[ ]*[%!]", re.MULTILINE)


class NotebookError(ValueError):
    """A notebook that shouldn't be shown: which cell, what is wrong, what to do."""


def read_notebook(path: Path) -> list[Section]:
    """
    ## One section per code cell

    The Markdown above a cell is its prose; what stands before a heading in it is a section of its own. Two keys in a cell's metadata matter here, and jupytext writes both on the cell's first line:

    * `# %% alt="Two histograms, …"`: what a figure shows, for those who can't see it. A figure without it fails the build.
    * `# %% tags=["wide"]`: the output deserves both columns. `tags=["hide-code"]`: only the output is of interest.

    Cells have no line numbers, as the notebook has no lines that a reader could look up.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sections: list[Section] = []
    prose: list[str] = []
    for number, cell in enumerate(cells, 1):
        source = _text(cell["source"]).strip("\n")
        if cell["cell_type"] == "markdown":
            prose.append(source)
        elif cell["cell_type"] == "code" and source:
            # What follows from one cell's output isn't what the next cell does: from its heading on, the text stands beside the code.
            before, beside = _parted("\n\n".join(prose))
            if before:
                sections.append(_section(before, NOTHING, "", number, path))
            sections.append(_section(beside, cell, source, number, path))
            prose = []
    if prose:
        sections.append(_section("\n\n".join(prose), NOTHING, "", len(cells), path))
    return _unique(sections)


def _parted(prose: str) -> tuple[str, str]:
    """What comes before the last heading, and the rest."""
    at = max((m.start() for m in HEADING.finditer(prose)), default=0)
    return prose[:at].strip("\n"), prose[at:]


def joined(sections: list[Section]) -> tuple[str, dict[str, range]]:
    """
    ## One file again

    The cells' code as one text, as what one cell imports the next one uses, and where in it each cell stands.
    """
    lines: list[str] = []
    cells: dict[str, range] = {}
    for section in sections:
        if section.code:
            code = section.code.split("\n")
            cells[section.anchor] = range(len(lines) + 1, len(lines) + len(code) + 1)
            lines += code
    return "\n".join(lines), cells


def python(source: str) -> str:
    """A line that speaks to Jupyter (`%config …`) isn't Python. As a comment it does no harm, and every other line stays where it is."""
    return MAGIC.sub("#", source)


def _section(prose: str, cell: dict[str, Any], source: str, number: int, path: Path) -> Section:
    if source and cell.get("execution_count") is None:
        raise NotebookError(
            f"{path}: cell {number} was never executed. Run the notebook (`make site` does), then build again."
        )
    tags = cell["metadata"].get("tags", [])
    return Section(
        prose=prose,
        prose_lines=(),
        code="" if "hide-code" in tags else source,
        code_lines=(),
        span=range(number, number + 1),
        anchor=slug(prose or source),
        kind="cell",
        outputs=tuple(_outputs(cell, "wide" in tags, number, path)),
    )


def _outputs(cell: dict[str, Any], wide: bool, number: int, path: Path) -> list[Output]:
    outputs: list[Output] = []
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            raise NotebookError(
                f"{path}: cell {number} raised {output['ename']}: {output['evalue']}. Mend the tutorial's script."
            )
        # A warning holds a path of this machine and tells the reader nothing; what it warns of should be mended.
        if output.get("name") == "stderr":
            said = _text(output["text"]).strip().split("\n")[0]
            raise NotebookError(
                f"{path}: cell {number} wrote to standard error: {said}. Mend its cause."
            )
        bundle = (
            {"text/plain": output["text"]}
            if output["output_type"] == "stream"
            else output["data"]
        )
        mime = next((m for m in MIMES if m in bundle), None)
        if mime is None:
            raise NotebookError(
                f"{path}: cell {number} shows {', '.join(bundle)}; the page can show {', '.join(MIMES)}."
            )
        alt = str(cell["metadata"].get("alt", ""))
        if mime.startswith("image/") and not alt:
            raise NotebookError(
                f'{path}: cell {number} draws a figure that has no description. Begin the cell with `# %% alt="…"`.'
            )
        data = _text(bundle[mime])
        # A table says the same as text, for readers that are programs.
        if mime == "text/html":
            alt = _text(bundle.get("text/plain", ""))
        # A program that prints twice has printed once, as far as a reader is concerned.
        if (
            mime == "text/plain"
            and outputs
            and outputs[-1].mime == mime
            and output["output_type"] == "stream"
        ):
            data = outputs.pop().data + data
        outputs.append(Output(mime, data, alt, wide))
    return outputs


def _text(value: str | list[str]) -> str:
    """The notebook format stores a text as one string or as its lines."""
    return value if isinstance(value, str) else "".join(value)

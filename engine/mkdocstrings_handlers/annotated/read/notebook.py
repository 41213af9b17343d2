"""
# From notebook to sections

A tutorial is a script whose cells were executed into a notebook while the site was built. What the page shows is that notebook, and the reader can download
the same file: the two can't disagree.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..document import Document, Output, Section, Source, SourceError
from .module import slug, unique
from .source import headings

MARKDOWN = "text/markdown"
# What a cell shows can come in several forms at once. A drawing beats a bitmap, and either beats a description.
MIMES = ("image/svg+xml", "image/png", "text/html", MARKDOWN, "text/plain")
# Code that only draws, by what it draws.
DRAWS = {"image/svg+xml": "figure", "image/png": "figure", "text/html": "table"}
NOTHING: dict[str, Any] = {"outputs": [], "metadata": {}}


def read_notebook(path: Path, root: Path | None = None) -> Document:
    r"""
    ## One section per code cell

    A notebook as a document. The Markdown above a cell is its prose; what stands before a heading in it is a section of its own. Two keys in a cell's metadata matter here,
    and jupytext writes both on the cell's first line:

    * `# %% alt="Two histograms, …"`: what a figure shows, for those who can't see it. A figure without it fails the build.
    * `# %% tags=["wide"]`: the output takes all of its column. `tags=["draws"]`: the code only draws, and is closed until somebody asks.

    Markdown that a cell shows is prose with numbers in it that were computed, and goes on where the cell's own prose ends.

    A Markdown cell whose metadata has a text, `tied`, is that text: the same with `\code` in its formulas, which no other reader of notebooks knows.

    The document's source is the code of all cells as one text, as what one cell imports the next one uses. `root` is the project, which an error's path is relative to.
    Raises `SourceError`, which names the cell, for a notebook that shouldn't be shown.
    """
    place = (path.relative_to(root) if root else path).as_posix()
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sections: list[Section] = []
    prose: list[str] = []
    for number, cell in enumerate(cells, 1):
        code = _text(cell["metadata"].get("tied", cell["source"])).strip("\n")
        if cell["cell_type"] == "markdown":
            prose.append(code)
        elif cell["cell_type"] == "code" and code:
            # What follows from one cell's output isn't what the next cell does: from its heading on, the text stands beside the code.
            before, beside = _parted("\n\n".join(prose))
            if before:
                sections.append(_section(before, NOTHING, "", number, place))
            sections.append(_section(beside, cell, code, number, place))
            prose = []
    if prose:
        sections.append(_section("\n\n".join(prose), NOTHING, "", len(cells), place))
    lines: list[str] = []
    for n, section in enumerate(sections):
        first = len(lines) + 1
        lines += section.code.split("\n") if section.code else []
        sections[n] = replace(section, code_lines=tuple(range(first, len(lines) + 1)))
    source = Source("\n".join(lines), path, place)
    return Document(path.stem, source, unique(sections), numbered=False)


def _parted(prose: str) -> tuple[str, str]:
    """What comes before the last heading, and the rest. A title isn't the heading of a part."""
    at = max((m.start() for m in headings(prose) if 2 <= len(m[1]) <= 4), default=0)
    return prose[:at].strip("\n"), prose[at:]


def _section(prose: str, cell: dict[str, Any], source: str, number: int, place: str) -> Section:
    if source and cell.get("execution_count") is None:
        raise SourceError(
            place,
            None,
            f"cell {number} was never executed. "
            "Run the notebook (`make site` does), then build again.",
        )
    tags = cell["metadata"].get("tags", [])
    outputs = _outputs(cell, "wide" in tags, number, place)
    computed = [output.data for output in outputs if output.mime == MARKDOWN]
    shown = tuple(output for output in outputs if output.mime != MARKDOWN)
    other = "this output" if shown else "what follows"
    drawn = next((f"this {DRAWS[one.mime]}" for one in shown if one.mime in DRAWS), other)
    return Section(
        prose="\n\n".join(filter(None, [prose, *computed])),
        prose_lines=(),
        code=source,
        code_lines=(),
        span=range(number, number + 1),
        anchor=slug(prose or source),
        kind="cell",
        folded=source.count("\n") + 1 if source and "draws" in tags else 0,
        folds=f"code for {drawn}",
        outputs=shown,
    )


def _outputs(cell: dict[str, Any], wide: bool, number: int, place: str) -> list[Output]:
    outputs: list[Output] = []
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            raise SourceError(
                place,
                None,
                f"cell {number} raised {output['ename']}: {output['evalue']}. "
                "Mend the tutorial's script.",
            )
        # A warning holds a path of this machine and tells the reader nothing; what it warns of should be mended.
        if output.get("name") == "stderr":
            words = _text(output["text"]).strip().split("\n")[0]
            raise SourceError(
                place, None, f"cell {number} wrote to standard error: {words}. Mend its cause."
            )
        bundle = (
            {"text/plain": output["text"]}
            if output["output_type"] == "stream"
            else output["data"]
        )
        mime = next((m for m in MIMES if m in bundle), None)
        if mime is None:
            raise SourceError(
                place,
                None,
                f"cell {number} shows {', '.join(bundle)}; the page can show {', '.join(MIMES)}.",
            )
        alt = str(cell["metadata"].get("alt", ""))
        if mime.startswith("image/") and not alt:
            raise SourceError(
                place,
                None,
                f"cell {number} draws a figure that has no description. "
                'Begin the cell with `# %% alt="…"`.',
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

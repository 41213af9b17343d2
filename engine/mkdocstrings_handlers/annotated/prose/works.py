"""
# The bibliography

One BibTeX file holds the works that a site cites. Reading that format is [bibtexparser](https://bibtexparser.readthedocs.io)'s work; what stands here is how
an entry is cited, and how it is listed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bibtexparser.entrypoint import parse_file
from bibtexparser.middlewares import SeparateCoAuthors, SplitNameParts
from bibtexparser.middlewares.names import NameParts
from mkdocs.exceptions import PluginError

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
LINKED = r"[\g<0>](https://arxiv.org/abs/\1)"


@dataclass(frozen=True)
class Work:
    """
    ## A work

    `label` is how a text cites it, `reference` how a list does (in Markdown, with its link), and `bibtex` the entry as it stands in the file.
    """

    key: str
    label: str
    title: str
    reference: str
    bibtex: str

    def markdown(self) -> str:
        return (
            f"## {self.title} {{ #{self.key} }}\n\n{self.reference}\n\n"
            f"```bibtex\n{self.bibtex}\n```\n"
        )


@cache
def read_works(path: Path, changed: int = 0) -> dict[str, Work]:
    """`changed`, the file's time, is there for the cache: a file that has been edited meanwhile is read again."""
    library = parse_file(str(path), append_middleware=[SeparateCoAuthors(), SplitNameParts()])
    if library.failed_blocks:
        block = library.failed_blocks[0]
        raise PluginError(
            f"{path}:{(block.start_line or 0) + 1}: this is no BibTeX entry, or its key is taken. Mend it, or give it another key."
        )
    found: dict[str, dict[str, Any]] = {}
    for entry in library.entries:
        fields = {name: field.value for name, field in entry.fields_dict.items()}
        if missing := [name for name in ("author", "title", "year") if name not in fields]:
            raise PluginError(
                f"{path}:{(entry.start_line or 0) + 1}: {entry.key} has no {' and no '.join(missing)}. Add it to the entry."
            )
        found[entry.key] = {**fields, "raw": (entry.raw or "").strip()}

    labels = {
        key: f"{_short(fields['author'])}, {fields['year']}" for key, fields in found.items()
    }
    often, nth = Counter(labels.values()), Counter[str]()
    works = {}
    for key, fields in found.items():
        label = labels[key]
        # Two works of the same people in one year are told apart by a letter, in the order of the file.
        suffix = chr(ord("a") + nth[label]) if often[label] > 1 else ""
        nth[label] += 1
        works[key] = Work(
            key,
            label + suffix,
            fields["title"]
            .replace("{", "")
            .replace("}", ""),  # BibTeX keeps capitals with them
            _reference(fields, suffix),
            fields["raw"],
        )
    return works


def _short(authors: Sequence[NameParts]) -> str:
    last = [" ".join([*name.von, *name.last]) for name in authors]
    return f"{last[0]} et al." if len(last) > 2 else " and ".join(last)


def _reference(fields: dict[str, Any], suffix: str) -> str:
    names = [" ".join([*n.first, *n.von, *n.last, *n.jr]) for n in fields["author"]]
    authors = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    place = fields.get("journal") or fields.get("booktitle") or fields.get("institution")
    place = f"*{ARXIV.sub(LINKED, place)}*" if place else fields.get("note")
    volume = fields.get("volume", "") + (f"({fields['number']})" if "number" in fields else "")
    where = [
        " ".join(filter(None, [place, volume])),
        f"pages {fields['pages'].replace('--', '–')}" if "pages" in fields else None,
        fields["year"] + suffix,
    ]
    url = fields.get("url", "")
    address = url.removeprefix("https://").removesuffix("/").replace("arxiv.org/abs/", "arXiv:")
    return f"{authors}. {', '.join(filter(None, where))}." + f" [{address}]({url})" * bool(url)

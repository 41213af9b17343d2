"""
# Extensions of Markdown

Formulas, links and citations, in one extension: a site's configuration names `mkdocstrings_handlers.annotated.prose`, and the prose of a module is converted with the same.
"""

from __future__ import annotations

from typing import Any

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

from .. import assets
from .cite import ReferencesExtension
from .links import LinksExtension
from .math import MathExtension
from .page import PRIORITIES, site
from .section import Ids, Opening, Parts

EXTENSIONS = (LinksExtension, ReferencesExtension, MathExtension)


class Assets(Preprocessor):
    """Sees to it that the site has what its pages load."""

    def run(self, lines: list[str]) -> list[str]:
        if folder := site(self.md):
            assets.write(folder)
        return lines


class ProseExtension(Extension):
    """The options are those of the three together."""

    def __init__(self, **config: Any) -> None:
        parts = [part() for part in EXTENSIONS]
        self.config = {name: option for part in parts for name, option in part.config.items()}
        super().__init__(**config)

    def extendMarkdown(self, md: Markdown) -> None:
        md.registerExtension(self)
        for part in EXTENSIONS:
            options = {name: self.getConfig(name) for name in part().config}
            part(**options).extendMarkdown(md)
        name = "annotated-assets"
        md.preprocessors.register(Assets(md), name, PRIORITIES[name])
        for name, made in (("opening", Opening(md)), ("ids", Ids(md)), ("parts", Parts(md))):
            md.treeprocessors.register(
                made, f"annotated-{name}", PRIORITIES[f"annotated-{name}"]
            )


def makeExtension(**config: Any) -> ProseExtension:
    return ProseExtension(**config)

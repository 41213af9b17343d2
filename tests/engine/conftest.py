"""A small project in a temporary folder, and the engine pointed at it."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from markdown import Markdown

from mkdocstrings_handlers.annotated import AnnotatedHandler, get_handler

ROOT = Path(__file__).resolve().parents[2]

MODULE = r'''#!/usr/bin/env python
r"""
# A small module

It halves, and says $\code{x}{x} / 2$.

* `x`: what is halved
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 3


class Halver:
    r"""
    ## Halving

    $$\code{self.by}{b} = 2$$
    """

    def __init__(self, by: float = 2.0) -> None:
        self.by = by  # a trailing comment

    def __call__(self, x: float) -> float:
        """Divides; see [small.twice][]."""
        # Not by zero, as `#` in a string: "# no".
        text = """
# not a comment

"""
        return x / self.by + len(text) * 0


def twice(x):  # noqa: ANN001
    # A comment that does a docstring's work.
    return [
        # inside brackets: code
        x * 2,
    ][0]


if __name__ == "__main__":
    # ## Try it
    print(twice(math.pi))
'''

CONFIG = """
site_name: tiny
use_directory_urls: false
theme: {{name: material, font: false, variant: classic}}
plugins:
  - mkdocstrings: {{}}
markdown_extensions:
  - attr_list
  - toc: {{permalink: true, toc_depth: 4}}
  - mkdocstrings_handlers.annotated.prose: {{cache: "{cache}"}}
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("math")


@pytest.fixture
def project(tmp_path: Path, cache: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "small.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "docs" / "index.md").write_text(
        "::: small\n    handler: annotated\n\nAn ordinary [paragraph][small.Halver]: $y^2$.\n",
        encoding="utf-8",
    )
    (tmp_path / "mkdocs.yml").write_text(CONFIG.format(cache=cache), encoding="utf-8")
    return tmp_path


@pytest.fixture
def handler(project: Path, cache: Path) -> AnnotatedHandler:
    extensions = [
        "attr_list",
        "toc",
        "mkdocstrings_handlers.annotated.prose",
    ]
    made = get_handler(
        handler_config={},
        tool_config=SimpleNamespace(config_file_path=str(project / "mkdocs.yml")),
        theme="material",
        custom_templates=None,
        mdx=extensions,
        mdx_config={
            "mkdocstrings_handlers.annotated.prose": {"cache": str(cache)},
            "toc": {"toc_depth": 4},
        },
    )
    made._update_env(Markdown())
    return made


@pytest.fixture
def build():
    return _build


def _build(project: Path, builder: str, site: str = "site") -> subprocess.CompletedProcess[str]:
    """Builds the project the way `make` does: as a program of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    command = {
        "mkdocs": ["mkdocs", "build", "--strict", "--site-dir", site],
        "zensical": ["zensical", "build", "--clean", "--strict"],
    }[builder]
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=project, env=env, capture_output=True, text=True
    )

"""The distribution alone: what somebody else gets who installs the wheel and writes a dozen lines of configuration."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[2] / "engine"

CONFIG = """\
site_name: Elsewhere
theme: {name: material, font: false}
plugins:
  - search
  - mkdocstrings:
      default_handler: annotated
markdown_extensions:
  - toc: {permalink: true}
  - mkdocstrings_handlers.annotated.prose
extra_css: [assets/annotated/katex/katex.css, assets/annotated/annotated.css]
extra_javascript: [assets/annotated/annotated.js]
"""

MODULE = r'''r"""
# The mean that runs

It forgets: $\code{self.mean}{m} \leftarrow m + r (x - m)$.

* `self.mean`: what is remembered
"""

import math


class Running:
    r"""
    ## Remembering

    $$m_t = \sum_{i \le t} r (1 - r)^{t - i} x_i$$

    * `rate`: how much of the new is taken, between 0 and 1
    """

    def __init__(self, rate: float = 0.1) -> None:
        self.rate, self.mean = rate, 0.0

    def update(self, x: float) -> float:
        # Toward `x`, and no further.
        self.mean += self.rate * (x - self.mean)
        return self.mean


def half_life(rate: float) -> float:
    return math.log(0.5) / math.log(1 - rate)
'''


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ENGINE),
    ]
    subprocess.run([*pip, *built], check=True, timeout=60)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site-packages"
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True
    )
    return target


def test_the_wheel_holds_what_a_page_needs_and_katex_once(installed: Path) -> None:
    (wheel,) = installed.parent.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    inside = "mkdocstrings_handlers/annotated/"
    for name in (
        "templates/material/document.html.jinja",
        "assets/annotated.css",
        "assets/ties.js",
        "assets/cards.js",
        "assets/katex/katex.js",
        "assets/katex/katex.css",
        "assets/katex/LICENSE",
        "prose/katex_server.js",
    ):
        assert names.count(inside + name) == 1, name
    assert len([name for name in names if name.endswith(".woff2")]) == 20
    # A namespace that is shared with other handlers has no file of its own.
    assert "mkdocstrings_handlers/__init__.py" not in names
    assert not [name for name in names if "labml" in name or name.startswith("tests")]


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["mkdocs", "zensical"])
def test_a_dozen_lines_make_a_page(tmp_path: Path, installed: Path, builder: str) -> None:
    assert CONFIG.count("\n") <= 12
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(CONFIG)
    (tmp_path / "running.py").write_text(MODULE)
    (tmp_path / "docs" / "index.md").write_text("# Home\n\nOf $x^2$.\n")
    (tmp_path / "docs" / "running.md").write_text("::: running\n")
    # Nothing of this project is in reach: neither its folders nor what is installed from them.
    code = (
        "import sys, runpy\n"
        f"sys.path[:] = [{str(installed)!r}, *(p for p in sys.path if p and not p.startswith({str(ENGINE.parent)!r}) or 'site-packages' in p)]\n"
        "import mkdocstrings_handlers.annotated as engine\n"
        f"assert engine.__file__.startswith({str(installed)!r}), engine.__file__\n"
        "sys.modules['labml_ws'] = None\n"
        f"sys.argv = [{builder!r}, 'build', '--strict']\n"
        f"runpy.run_module({builder!r}, run_name='__main__', alter_sys=True)\n"
    )
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = tmp_path / "site" / "running" / "index.html"
    html = page.read_text(encoding="utf-8")
    assert '<h1 data-role="module" id="running">The mean that runs' in html
    assert '<h2 data-role="class" id="running.Running">' in html
    assert re.search(r'<h2 id="running.half_life" class="small">', html)
    assert re.search(r'data-code="self.mean" data-tie="1"', html)
    assert html.count('class="n tied" data-tie="1"') == 4
    loaded = re.findall(r'<(?:link|script)\b[^>]*?(?:href|src)="([^":]+\.(?:css|js))"', html)
    assert len([path for path in loaded if "assets/annotated/" in path]) == 3
    for path in loaded:
        assert (page.parent / path).is_file(), path
    # Every font that a formula asks for is there.
    assets = tmp_path / "site" / "assets" / "annotated"
    fonts = re.findall(r"url\(([^)]+)\)", (assets / "katex" / "katex.css").read_text())
    assert len(fonts) == 20
    assert all((assets / "katex" / font).is_file() for font in fonts)
    assert "katex" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")

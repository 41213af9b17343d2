"""
Copy what the site serves of other people's work: `python -m tools.vendor docs/assets/vendor`.

Fonts and a small script, which npm installs as its lock file pins them. So no page asks another host for anything, and
nothing of it is kept in this repository.
"""

import shutil
import sys
from pathlib import Path

# Each font file serves one style and one alphabet. Greek is for letters that prose and code use outside of formulas.
FONTS = {
    "source-serif-4": ["latin-wght-normal", "latin-wght-italic", "latin-ext-wght-normal", "latin-ext-wght-italic", "greek-wght-normal"],
    "jetbrains-mono": ["latin-wght-normal", "greek-wght-normal"],
}  # fmt: skip


def copy(target: Path, node_modules: Path = Path("node_modules")) -> None:
    shutil.rmtree(target, ignore_errors=True)
    (target / "fonts").mkdir(parents=True)
    for family, styles in FONTS.items():
        files = node_modules / "@fontsource-variable" / family / "files"
        for style in styles:
            shutil.copy(files / f"{family}-{style}.woff2", target / "fonts")
    worker = node_modules / "iframe-worker" / "shim" / "index.js"
    shutil.copy(worker, target / "iframe-worker.js")


if __name__ == "__main__":
    copy(Path(sys.argv[1]))

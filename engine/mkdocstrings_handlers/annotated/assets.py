"""
# What the site serves itself

Fonts, KaTeX's styles and one small script are other people's work. They're installed by npm, pinned by its lock file, and copied into the site here, so that
no page asks a third party for anything and none of it is kept in this repository.

`python -m mkdocstrings_handlers.annotated.assets docs/assets/vendor`
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

# Each font file serves one style and one alphabet. Greek is for the letters that prose and code use outside of formulas.
FONTS = {
    "source-serif-4": [
        "{f}-latin-wght-normal",
        "{f}-latin-wght-italic",
        "{f}-latin-ext-wght-normal",
        "{f}-latin-ext-wght-italic",
        "{f}-greek-wght-normal",
    ],
    "jetbrains-mono": [
        "{f}-latin-wght-normal",
        "{f}-greek-wght-normal",
    ],
}
URL = re.compile(r"url\(([^)]+)\)\s*format\(['\"]([^'\"]+)['\"]\)\s*,?")


def copy(target: Path, node_modules: Path = Path("node_modules")) -> list[Path]:
    """Copies what's needed, and only that: a KaTeX style sheet that offers three formats per font becomes one that offers `woff2`."""
    if not (node_modules / "katex").is_dir():
        raise SystemExit(
            f"{node_modules / 'katex'}: not found. Run `npm ci` first (`make site` does)."
        )
    shutil.rmtree(target, ignore_errors=True)
    (target / "katex" / "fonts").mkdir(parents=True)
    (target / "fonts").mkdir()

    katex = node_modules / "katex" / "dist"
    css = (katex / "katex.min.css").read_text(encoding="utf-8")
    css = URL.sub(lambda m: m[0].rstrip(",") if m[2] == "woff2" else "", css)
    (target / "katex" / "katex.css").write_text(css, encoding="utf-8")
    for font in sorted((katex / "fonts").glob("*.woff2")):
        shutil.copyfile(font, target / "katex" / "fonts" / font.name)

    for family, files in FONTS.items():
        for file in files:
            name = file.format(f=family) + ".woff2"
            shutil.copyfile(
                node_modules / "@fontsource-variable" / family / "files" / name,
                target / "fonts" / name,
            )

    shutil.copyfile(
        node_modules / "iframe-worker" / "shim" / "index.js", target / "iframe-worker.js"
    )
    return sorted(path for path in target.rglob("*") if path.is_file())


if __name__ == "__main__":
    copied = copy(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/assets/vendor"))
    print(f"{len(copied)} files, {sum(path.stat().st_size for path in copied) / 1024:.0f} kB")

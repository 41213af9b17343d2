"""
# What a page loads

The style sheets and scripts of the annotated block stand in the folder `assets`, each script beside its sheet, and KaTeX's beside them. A page loads them as two sheets and one
script, which are written into the site while it is built, wherever the builder puts it: its configuration names them, and there is nothing to copy.

```yaml
extra_css: [assets/annotated/katex/katex.css, assets/annotated/annotated.css]
extra_javascript: [assets/annotated/annotated.js]
```
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).with_name("assets")
# In the order in which they build on one another; what is said of paper is said over all that is before.
SHEETS = ("annotated", "ties", "scrolls", "notes", "take", "diff", "excerpt", "shapes", "print")
SCRIPTS = ("shapes", "cards", "ties", "scrolls", "stays", "notes", "take")
KATEX = ASSETS / "katex"


@cache
def files() -> dict[str, bytes]:
    """What is written, by its place below `assets/annotated`."""
    sheets = [(ASSETS / f"{name}.css").read_bytes() for name in SHEETS]
    scripts = [(ASSETS / f"{name}.js").read_bytes() for name in SCRIPTS]
    katex = [KATEX / "katex.css", *sorted((KATEX / "fonts").glob("*.woff2"))]
    return {"annotated.css": b"".join(sheets), "annotated.js": b"".join(scripts)} | {
        path.relative_to(ASSETS).as_posix(): path.read_bytes() for path in katex
    }


def write(site: Path) -> None:
    """Writes into the built site what isn't there yet, or has another size."""
    for place, content in files().items():
        path = site / "assets" / "annotated" / place
        if path.is_file() and path.stat().st_size == len(content):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_bytes(content)
        shutil.move(unfinished, path)

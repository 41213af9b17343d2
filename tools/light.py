"""
The last step over the built site: `python -m tools.light site`.

A builder writes pages that work. This step makes them light and strict, the same way for MkDocs and for Zensical. It
does what can only be done when all pages are there:

- fonts keep the characters that the pages have (`tools/fonts.py`);
- style sheets become one, scripts become one, without the rules that no page uses, under names that change with their
  content (`tools/light.mjs`); KaTeX's sheet is loaded only where there is a formula;
- `_headers` says which scripts, styles and addresses a page may use. It is for a host that reads it; with `SITE_URL`
  set, where a host may not, each page says it itself.

What a page can say without knowing the others is in `overrides/`.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tools import fonts

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "fonts"

SHEET = re.compile(
    r'[ \t]*<link\b[^>]*\brel="stylesheet"[^>]*\bhref="([^"]*?)(assets/[^"]+)"[^>]*>\n?'
)
SCRIPT = re.compile(r'[ \t]*<script src="([^"]*?)(assets/[^"]+)"(?: defer)?></script>\n?')
INLINE = re.compile(r"<script(?P<attributes>[^>]*)>(?P<code>.*?)</script>", re.DOTALL)
CANONICAL = re.compile(r'[ \t]*<link rel="canonical"[^>]*>\n?')
PIXELS = re.compile(
    r'<image href="data:image/png;base64,((?:[A-Za-z0-9+/=\s]|&#10;){4000,})"([^>]*?) ?/>'
)
HEADING = re.compile(r"<h([1-6])\b(.*?)</h\1>", re.DOTALL)
CHARSET = '<meta charset="utf-8">'
FORMULA = 'class="katex'
# Where the theme's own script has no setting (tests/site/test_late.py says if one no longer fits):
# what it writes, and what it writes instead.
SETTINGS = {
    # Each copy button stands in a landmark, and none of these landmarks has a name.
    '("nav",{class:"md-code__nav"})': '("div",{class:"md-code__nav"})',
    # It names the color scheme in a `meta` of its own, and at each change of it a browser styles every
    # element anew. A browser takes the first such `meta`, which is in overrides/main.html.
    '("meta",{name:"color-scheme"})': '("meta",{name:"theme-scheme"})',
}
# A browser looks at the whole page again for `:has` whenever anything in it changes; a class says it once.
ANNOTATED, HAS_ANNOTATED = "body:has(.annotated)", "body.has-annotated"
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    # KaTeX sets heights, figures set colors, in attributes.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "manifest-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
}
HEADERS = """/*
  Content-Security-Policy: {policy}; frame-ancestors 'none'
  X-Content-Type-Options: nosniff
/assets/built/*
  Cache-Control: public, max-age=31536000, immutable
"""
Pages = dict[Path, str]


def finish(site: Path, site_url: str = "", cache: Path = CACHE) -> None:
    """Finishes the site in its place. A site that is finished stays as it is."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}
    if (site / "assets" / "built").exists() or not pages:
        return
    sheets, scripts = common(SHEET, pages), common(SCRIPT, pages)
    katex = [sheet for sheet in sheets if Path(sheet).name == "katex.css"]
    others = [sheet for sheet in sheets if sheet not in katex]

    words = [site / file for file in others + scripts if ".min." not in file]
    fonts.shrink_all(
        [site / s for s in others], [site / s for s in katex], [*pages.values()], words, cache
    )
    for files, changes in ((others, {ANNOTATED: HAS_ANNOTATED}), (scripts, SETTINGS)):
        for path in (site / file for file in files):
            text = path.read_text(encoding="utf-8")
            for old, new in changes.items():
                text = text.replace(old, new)
            path.write_text(text, encoding="utf-8")
    built = bundle(site, {"site": others, "katex": katex}, {"site": scripts}, [*pages])

    for path, text in pages.items():
        text = relink(text, built, {*sheets, *scripts})
        # Zensical gives every page an address, even where nobody has said what the site's is.
        text = text if site_url else CANONICAL.sub("", text)
        if 'class="annotated' in text:
            text = text.replace("<body ", '<body class="has-annotated" ', 1)
        pages[path] = PIXELS.sub(pixels_in_file(site, path), raise_headings(text))
    declare_policy(site, pages, in_pages=bool(site_url))
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    sweep(site, [*sheets, *scripts])


# ## Style sheets and scripts


def common(pattern: re.Pattern[str], pages: Pages) -> list[str]:
    """The files that every page links to, in their order. (What links to none is no page of the theme's.)"""
    links = [[m[2] for m in pattern.finditer(text)] for text in pages.values()]
    first, *rest = [files for files in links if files] or [[]]
    return [file for file in first if all(file in files for files in rest)]


def bundle(
    site: Path, css: dict[str, list[str]], js: dict[str, list[str]], pages: list[Path]
) -> dict[str, str]:
    """The addresses of the bundles, by `site.css`, `katex.css` and `site.js`."""
    linked = [file for files in css.values() for file in files]
    order = {
        "site": str(site.resolve()),
        "content": [
            str(p) for p in [*pages, *(site / s for files in js.values() for s in files)]
        ],
        "theirs": [
            f for f in linked if re.search(r"/(stylesheets|vendor|katex)/|/_mkdocstrings", f)
        ],
        "css": css,
        "js": js,
    }
    done = subprocess.run(
        ["node", str(Path(__file__).with_suffix(".mjs"))],
        input=json.dumps(order),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"The style sheets and scripts could not be bundled:\n{done.stderr}")
    return dict(json.loads(done.stdout))


def relink(text: str, built: dict[str, str], bundled: set[str]) -> str:
    """
    The page with one sheet and one script instead of many, at addresses relative as theirs were. A file that only some
    pages link to stays a file. Scripts are named in `#late`, for overrides/partials/javascripts/late.html.
    """
    first = SHEET.search(text)
    if first is None:
        return text
    root = first[1]
    # KaTeX last: the theme sizes every svg, and a root's sign is one.
    names = ["site.css", "katex.css"] if FORMULA in text else ["site.css"]
    links = [f'<link rel="stylesheet" href="{root}{built[name]}">' for name in names]
    if dark := built.get("site-dark.css"):
        media = 'media="(prefers-color-scheme: dark)"'
        links.append(
            f'<noscript><link rel="stylesheet" {media} href="{root}{dark}"></noscript>'
        )
    scripts = [root + built["site.js"]]
    scripts += [m[1] + m[2] for m in SCRIPT.finditer(text) if m[2] not in bundled]
    links.append(
        f'<script id="late" type="text/plain" data-src="{" ".join(scripts)}"></script>'
    )
    head, tail = text[: first.start()], text[first.start() :]
    tail = SCRIPT.sub("", SHEET.sub(lambda m: "" if m[2] in bundled else m[0], tail))
    return SCRIPT.sub("", head) + "".join(f"      {link}\n" for link in links) + tail


def sweep(site: Path, bundled: list[str]) -> None:
    """Removes what no page asks for any more: what went into a bundle, maps of it, stemmers of other languages."""
    assets = site / "assets"
    for file in (
        *(site / name for name in bundled),
        *assets.rglob("*.map"),
        *assets.rglob("*.woff2"),
        *assets.glob("javascripts/lunr/**/*.js"),
    ):
        file.unlink(missing_ok=True)
    for worker in assets.glob("javascripts/workers/*.js"):
        code = worker.read_text(encoding="utf-8")
        worker.write_text(
            re.sub(r"^//# sourceMappingURL=.*$", "", code, flags=re.MULTILINE), encoding="utf-8"
        )
    for folder in sorted((p for p in assets.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


# ## Headings and pictures


def raise_headings(text: str) -> str:
    """
    A docstring's heading comes two levels below the object that the reference describes; someone who goes from heading to
    heading would look for the one between.

    >>> raise_headings('<h1>A</h1><h3 id="b">B</h3><h4>C</h4><h3>D</h3>')
    '<h1>A</h1><h2 id="b">B</h2><h3>C</h3><h2>D</h2>'
    """
    path: list[tuple[int, int]] = []  # levels as they are, and as they become

    def raised(heading: re.Match[str]) -> str:
        level = int(heading[1])
        while path and path[-1][0] >= level:
            path.pop()
        becomes = min(level, path[-1][1] + 1 if path else level)
        path.append((level, becomes))
        return f"<h{becomes}{heading[2]}</h{becomes}>"

    return HEADING.sub(raised, text)


def pixels_in_file(site: Path, page: Path) -> Callable[[re.Match[str]], str]:
    """
    Pixels that stand in a page hold up the text below them. They become a file. An `image` of a drawing can't wait for
    the text, but an `img` in its place can: a script puts it there, and where no script runs, it is there from the start.
    """

    def in_file(data: re.Match[str]) -> str:
        pixels = base64.b64decode(data[1].replace("&#10;", ""))
        file = site / "assets" / "built" / f"{hashlib.sha256(pixels).hexdigest()[:8]}.png"
        file.write_bytes(pixels)
        address = Path(os.path.relpath(file, page.parent)).as_posix()
        image = f'<img src="{address}" loading="lazy" alt="">'
        return f"<foreignObject{data[2]}><noscript>{image}</noscript></foreignObject>"

    return in_file


# ## What may run


def hashes(text: str) -> list[str]:
    """The inline scripts of a page as a policy names them; a script element with data runs nothing."""
    codes = [
        m["code"] for m in INLINE.finditer(text) if not re.search(r"src=|json", m["attributes"])
    ]
    digests = [hashlib.sha256(code.encode()).digest() for code in codes]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def declare_policy(site: Path, pages: Pages, in_pages: bool) -> None:
    """Writes `_headers`, and into the pages the same where a host may not send it."""
    scripts = {one for text in pages.values() for one in hashes(text)}
    policy = POLICY | {"script-src": " ".join(["'self'", *sorted(scripts)])}
    rules = "; ".join(f"{name} {value}" for name, value in policy.items())
    (site / "_headers").write_text(HEADERS.format(policy=rules), encoding="utf-8")
    if in_pages:
        meta = f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
        for path, text in pages.items():
            pages[path] = text.replace(CHARSET, CHARSET + meta, 1)


if __name__ == "__main__":
    finish(Path(sys.argv[1]), os.environ.get("SITE_URL", ""))

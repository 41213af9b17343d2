"""
# The last step over the built site

A builder writes pages that work. This makes them light and strict, the same way for MkDocs and for Zensical, from what they wrote into `site/`:

- fonts keep the characters that the pages have (`tools/fonts.py`);
- style sheets become one, scripts become one, without what no page uses, under names that change with their content (`tools/bundle.mjs`);
- KaTeX's sheet is loaded where there is a formula;
- `_headers` says which scripts, styles and addresses a page may use, for a host that reads it; where there is none that does (`SITE_URL`
  is set), each page says it itself;
- what a theme forgot: a name for the search dialog, the size of a picture, dark before the first script has come.

`python -m tools.finish site`

After Zensical the same holds but for what is its own: its script weighs 59 kB packed, half as much again as Material's, and its search puts what it found in an order of its own.
"""

import base64
import hashlib
import html
import json
import os
import re
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

from tools import fonts

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "fonts"

SHEET = re.compile(
    r'[ \t]*<link\b[^>]*\brel="stylesheet"[^>]*\bhref="([^"]*?)(assets/[^"]+)"[^>]*>\n?'
)
SCRIPT = re.compile(r'[ \t]*<script src="([^"]*?)(assets/[^"]+)"(?: defer)?></script>\n?')
INLINE = re.compile(r"<script(?P<attributes>[^>]*)>(?P<code>.*?)</script>", re.DOTALL)
IMAGE = re.compile(r'<img\b(?![^>]*\b(?:width|height)=)[^>]*\bsrc="([^":]+\.png)"')
CANONICAL = re.compile(r'[ \t]*<link rel="canonical"[^>]*>\n?')
HAS = re.compile(r"\bbody:has\(\.([\w-]+)\)")
PIXELS = re.compile(
    r'<image href="data:image/png;base64,((?:[A-Za-z0-9+/=\s]|&#10;){4000,})"([^>]*?) ?/>'
)
ICON = re.compile(r'(<link rel="icon" href=")[^":]*?(assets/[^"]+\.svg)(?=")')
ICON_SAFE = " !$'()*+,-./:;=?@[]_{}~"
CHARSET = '<meta charset="utf-8">'
HEADING = re.compile(r"<h([1-6])\b(.*?)</h\1>", re.DOTALL)
FORMULA = 'class="katex'
# What the theme's script does and this site would rather not (tests/site/test_late.py says if one no longer fits).
THEIRS = {
    # It puts each copy button into a landmark, and none of them has a name.
    '("nav",{class:"md-code__nav"})': '("div",{class:"md-code__nav"})',
    # It says the color scheme in a new `meta`, again at each change, and each time every element is styled anew, longer than all else that scripts do
    # on a large page. The first one counts, which `finish` writes; under another name the theme's says nothing.
    '("meta",{name:"color-scheme"})': '("meta",{name:"theme-scheme"})',
}
# What must be so before the first paint, else something moves or flashes: the fonts (they travel in the sheet, but are unpacked only when they are
# asked for), the class that says that scripts run, whether shapes are shown, the scheme of a first visit (the theme's own script comes late and would repaint it all).
FIRST = 'document.documentElement.classList.replace("no-js","js");document.documentElement.classList.add("js-focus-visible");document.fonts.forEach(font=>font.load());try{localStorage.getItem("shapes")=="off"&&document.documentElement.classList.add("no-shapes")}catch{}'
SCHEME = (
    'if(!palette){let dark=matchMedia("(prefers-color-scheme: dark)").matches,one=document.querySelector('
    "`input[data-md-color-media='(prefers-color-scheme: ${dark?'dark':'light'})']`);"
    'for(let name of["scheme","primary","accent"])one&&document.body.setAttribute("data-md-color-"+name,one.getAttribute("data-md-color-"+name));'
    'document.body.setAttribute("data-md-color-media","(prefers-color-scheme)")}'
)
# Reading needs no script, so scripts come after the first paint, or with the first key or touch; in their order, as they build on one another.
LATE = (
    'let start=()=>{start=()=>{};const late=document.getElementById("late"),all=late.dataset.src.split(" ");'
    'all.forEach((src,i)=>{const script=document.createElement("script");script.async=false;script.src=src;'
    "if(i==all.length-1)script.onload=()=>late.remove();document.head.append(script)})};"
    'for(const name of["pointerdown","pointermove","keydown"])addEventListener(name,()=>start(),{once:true,capture:true});'
    'try{new PerformanceObserver(()=>setTimeout(()=>start())).observe({type:"paint",buffered:true})}catch{}'
    'addEventListener("load",()=>setTimeout(()=>start(),1000))'
)
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


# The class that sets a part of a formula in a font of its own, by the font's file. What is in none of them is set in KaTeX_Main-Regular.
FACES = {
    "mathnormal": "KaTeX_Math-Italic",
    "mathcal": "KaTeX_Caligraphic-Regular",
    "mathbb": "KaTeX_AMS-Regular",
    "amsrm": "KaTeX_AMS-Regular",
    "mathbf": "KaTeX_Main-Bold",
    "textbf": "KaTeX_Main-Bold",
    "mathit": "KaTeX_Main-Italic",
    "textit": "KaTeX_Main-Italic",
}
UPRIGHT = "KaTeX_Main-Regular"


class Letters(HTMLParser):
    """The characters of a page, and those in its formulas by font."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: set[str] = set(html.unescape(text))
        self.formulas: dict[str, set[str]] = defaultdict(set)
        self._faces: list[str] = []  # of the open elements of a formula, from outside
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = (dict(attrs).get("class") or "").split()
        if tag == "span" and (self._faces or "katex-html" in classes):
            own = [FACES[name] for name in classes if name in FACES]
            self._faces.append(own[0] if own else self._faces[-1] if self._faces else UPRIGHT)

    def handle_endtag(self, tag: str) -> None:
        if self._faces and tag == "span":
            self._faces.pop()

    def handle_data(self, data: str) -> None:
        if self._faces:
            self.formulas[self._faces[-1]] |= set(data)


def typeset(pages: list[Letters]) -> Callable[[str], frozenset[str]]:
    """Which characters a font of KaTeX's must have, by the name of its file. A font for sizes of brackets and roots keeps any that occurs."""
    used: dict[str, set[str]] = defaultdict(set)
    for page in pages:
        for name, letters in page.formulas.items():
            used[name] |= letters
    everything = frozenset().union(*used.values())
    # A sign that a font of letters lacks is taken from the upright one.
    signs = {c for c in everything if not c.isalpha()}

    def characters(name: str) -> frozenset[str]:
        if name == UPRIGHT:
            return frozenset(used[name] | signs)
        return everything if "_Size" in name else frozenset(used.get(name, ()))

    return characters


def finish(site: Path, site_url: str = "", cache: Path = CACHE) -> None:
    """Finishes the site in its place. What is finished already stays as it is."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}
    if (site / "assets" / "built").exists() or not pages:
        return
    sheets = _common(SHEET, pages)
    scripts = _common(SCRIPT, pages)
    katex = [sheet for sheet in sheets if Path(sheet).name == "katex.css"]
    own = [sheet for sheet in sheets if sheet not in katex]

    letters = [Letters(text) for text in pages.values()]
    read = set().union(
        *(page.all for page in letters),
        *(
            set((site / file).read_text(encoding="utf-8"))
            for file in own + scripts
            if ".min." not in file
        ),
    )
    for sheet in own:
        fonts.shrink_all(site / sheet, lambda _: fonts.TYPED | read, cache)
    for sheet in katex:
        fonts.shrink_all(site / sheet, typeset(letters), cache)

    kinds = set()
    for sheet in own:
        css = (site / sheet).read_text(encoding="utf-8")
        kinds |= set(HAS.findall(css))
        (site / sheet).write_text(HAS.sub(r"body.has-\1", css), encoding="utf-8")

    for script in scripts:
        code = (site / script).read_text(encoding="utf-8")
        for theirs, ours in THEIRS.items():
            code = code.replace(theirs, ours)
        (site / script).write_text(code, encoding="utf-8")

    built = _bundle(site, {"site": own, "katex": katex}, {"site": scripts}, list(pages))
    policy = POLICY.copy()
    for path, text in pages.items():
        text = _relink(text, built, {*sheets, *scripts})
        text = text.replace('role="dialog">', 'role="dialog" aria-label="Search">')
        # With a repository's address the theme asks GitHub for its stars.
        text = text.replace(' data-md-component="source"', "")
        # Zensical gives every page an address, even where nobody has said what the site's is.
        text = text if site_url else CANONICAL.sub("", text)
        text = _levels(_kinds(text, kinds))
        text = PIXELS.sub(_outside(site, path), text)
        text = ICON.sub(_inside(site), text)
        text = IMAGE.sub(_sized(path.parent), text)
        text = re.sub(
            r"(<script>var palette=.*?</script>)",
            lambda m: m[0] + f"<script>{SCHEME}</script>",
            text,
            count=1,
        )
        pages[path] = text
    policy["script-src"] = " ".join(
        ["'self'", *sorted({one for text in pages.values() for one in hashes(text)})]
    )
    said = "; ".join(f"{name} {value}" for name, value in policy.items())
    meta = '<meta name="color-scheme" content="light dark">'
    if site_url:
        meta = f'<meta http-equiv="Content-Security-Policy" content="{said}">{meta}'
    for path, text in pages.items():
        path.write_text(text.replace(CHARSET, CHARSET + meta, 1), encoding="utf-8")
    (site / "_headers").write_text(
        "/*\n"
        f"  Content-Security-Policy: {said}; frame-ancestors 'none'\n"
        "  X-Content-Type-Options: nosniff\n"
        "/assets/built/*\n"
        "  Cache-Control: public, max-age=31536000, immutable\n",
        encoding="utf-8",
    )
    _sweep(site, own + katex + scripts)


def _common(pattern: re.Pattern[str], pages: dict[Path, str]) -> list[str]:
    """The files that every page links to, in the order in which it does. (What links to none is no page of ours.)"""
    found = ([m[2] for m in pattern.finditer(text)] for text in pages.values())
    linked = [files for files in found if files]
    return (
        [file for file in linked[0] if all(file in page for page in linked)] if linked else []
    )


def _relink(text: str, built: dict[str, str], bundled: set[str]) -> str:
    """
    One sheet and one script instead of many. Whatever the address was relative to, the new one is too. What only some pages link to stays as it is.
    """
    first = SHEET.search(text)
    if first is None:
        return text
    root = first[1]
    # KaTeX last: the theme sizes every svg, and a root's sign is one.
    names = ["site", "katex"] if FORMULA in text else ["site"]
    links = [f'<link rel="stylesheet" href="{root}{built[f"{name}.css"]}">' for name in names]
    if dark := built.get("site-dark.css"):
        media = 'media="(prefers-color-scheme: dark)"'
        links.append(
            f'<noscript><link rel="stylesheet" {media} href="{root}{dark}"></noscript>'
        )
    text = SHEET.sub(lambda m: "" if m[2] in bundled else m[0], text)
    scripts = [root + built["site.js"]]
    scripts += [m[1] + m[2] for m in SCRIPT.finditer(text) if m[2] not in bundled]
    text = SCRIPT.sub("", text)
    links.append(f"<script>{FIRST}</script>")
    links.append(
        f'<script id="late" type="text/plain" data-src="{" ".join(scripts)}"></script>'
    )
    links.append(f"<script>{LATE}</script>")
    return (
        text[: first.start()]
        + "".join(f"      {link}\n" for link in links)
        + text[first.start() :]
    )


def _kinds(text: str, kinds: set[str]) -> str:
    """
    `body:has(.annotated)` reads well, but makes a browser look at the whole page again whenever anything in it changes. What a page has is known now, so
    its body says it in a class.
    """
    held = [
        f"has-{kind}"
        for kind in sorted(kinds)
        if re.search(rf'class="([^"]* )?{kind}[ "]', text)
    ]
    return text.replace("<body ", f'<body class="{" ".join(held)}" ', 1) if held else text


def _levels(text: str) -> str:
    """
    A docstring's heading may come two levels below the object that it describes; someone who goes from heading to heading would look for the one between.

    >>> _levels('<h1>A</h1><h3 id="b">B</h3><h4>C</h4><h3>D</h3>')
    '<h1>A</h1><h2 id="b">B</h2><h3>C</h3><h2>D</h2>'
    """
    open_: list[tuple[int, int]] = []  # levels as they are, and as they become

    def raised(heading: re.Match[str]) -> str:
        level = int(heading[1])
        while open_ and open_[-1][0] >= level:
            open_.pop()
        becomes = min(level, open_[-1][1] + 1 if open_ else level)
        open_.append((level, becomes))
        return f"<h{becomes}{heading[2]}</h{becomes}>"

    return HEADING.sub(raised, text)


def _outside(site: Path, page: Path) -> Callable[[re.Match[str]], str]:
    """
    Pixels that stand in a page hold up the text below them. They become a file. An `image` of a drawing can't wait for the text, but an `img` in its place
    can: the script puts it there (`docs/assets/annotated.js`), and where no script runs, it is there from the start.
    """

    def moved(data: re.Match[str]) -> str:
        pixels = base64.b64decode(data[1].replace("&#10;", ""))
        file = site / "assets" / "built" / f"{hashlib.sha256(pixels).hexdigest()[:8]}.png"
        file.write_bytes(pixels)
        address = Path(os.path.relpath(file, page.parent)).as_posix()
        return f'<foreignObject{data[2]}><noscript><img src="{address}" loading="lazy" alt=""></noscript></foreignObject>'

    return moved


def _inside(site: Path) -> Callable[[re.Match[str]], str]:
    """The icon travels in the page: it is smaller than the question for it."""

    def inside(link: re.Match[str]) -> str:
        drawing = (site / link[2]).read_text(encoding="utf-8").strip()
        return f"{link[1]}data:image/svg+xml,{quote(drawing, safe=ICON_SAFE)}"

    return inside


def _sized(folder: Path) -> Callable[[re.Match[str]], str]:
    """A picture that says how large it is leaves its room free until it comes."""

    def sized(tag: re.Match[str]) -> str:
        file = folder / tag[1]
        if not file.is_file():
            return tag[0]
        width, height = struct.unpack(">II", file.read_bytes()[16:24])
        return tag[0].replace("<img", f'<img width="{width}" height="{height}"', 1)

    return sized


def hashes(text: str) -> list[str]:
    """The inline scripts of a page as a policy names them; JSON in a script element runs nothing."""
    codes = [
        m["code"]
        for m in INLINE.finditer(text)
        if "src=" not in m["attributes"] and "json" not in m["attributes"]
    ]
    digests = [hashlib.sha256(code.encode()).digest() for code in codes]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def _bundle(
    site: Path, css: dict[str, list[str]], js: dict[str, list[str]], pages: list[Path]
) -> dict[str, str]:
    def inside(files: dict[str, list[str]]) -> dict[str, list[str]]:
        return {
            name: [file.removeprefix("assets/") for file in of] for name, of in files.items()
        }

    theirs = [
        s
        for of in css.values()
        for s in of
        if re.search(r"/(stylesheets|vendor)/|/_mkdocstrings", s)
    ]
    content = [*pages, *(site / script for of in js.values() for script in of)]
    order = {
        "assets": str(site.resolve() / "assets"),
        "content": [str(path) for path in content],
        "theirs": [str(site / sheet) for sheet in theirs],
        "css": inside(css),
        "js": inside(js),
    }
    done = subprocess.run(
        ["node", str(ROOT / "tools" / "bundle.mjs")],
        input=json.dumps(order),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(
            f"The style sheets and scripts could not be bundled:\n{done.stderr.strip()}"
        )
    return dict(json.loads(done.stdout))


def _sweep(site: Path, bundled: list[str]) -> None:
    """What no page asks for any more: what went into a bundle, maps of it, stemmers of languages that nobody writes in here."""
    assets = site / "assets"
    for file in (
        *(site / name for name in bundled),
        *assets.rglob("*.map"),
        *assets.glob("vendor/**/*.woff2"),
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


if __name__ == "__main__":
    finish(Path(sys.argv[1]), os.environ.get("SITE_URL", ""))

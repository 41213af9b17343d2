"""What the last step does to a site, on one of three small pages."""

import base64
import hashlib
import re
import shutil
from pathlib import Path

import pytest

from tests.site.browser import declared
from tools.fonts import Letters, in_formulas
from tools.light import finish, hashes

PAGE = """<!doctype html>
<html lang="en" class="no-js"><head><meta charset="utf-8">
<link rel="stylesheet" href="{root}assets/stylesheets/main.css">
<link rel="stylesheet" href="{root}assets/vendor/katex/katex.css">
<link rel="stylesheet" href="{root}assets/own.css">
<script>var __md_scope = 1</script></head>
<body dir="ltr"><p class="md-source">b</p>
<script>var later=1</script>
<h1>A</h1><h3 id="b">B</h3><p class="{kind}">x</p>
<script src="{root}assets/theme.min.js"></script>
<script src="{root}assets/own.js" defer></script></body></html>"""


@pytest.fixture
def site(tmp_path: Path, root: Path) -> Path:
    site = tmp_path / "site"
    for name, kind in {
        "index.html": "plain",
        "how/a.html": "annotated annotated-module",
        "math.html": "katex",
    }.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PAGE.format(root="../" * name.count("/"), kind=kind))
    assets = {
        "stylesheets/main.css": ".md-source{color:red}.never-seen{color:blue}",
        "vendor/katex/katex.css": ".katex{color:green}",
        "own.css": "body:has(.annotated) p { margin: 0 } .kept-though-unused { margin: 0 }",
        "theme.min.js": '"use strict";window.theme=1;',
        "own.js": "window.own = 1; // said aloud",
    }
    for name, text in assets.items():
        path = site / "assets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return site


def text(site: Path, pattern: str) -> str:
    (found,) = (site / "assets" / "built").glob(pattern)
    return found.read_text()


def test_sheets_and_scripts_become_one_each_and_every_page_finds_them(site: Path) -> None:
    finish(site)
    sheet, script = text(site, "site.*.css"), text(site, "site.*.js")
    assert ".md-source" in sheet
    assert "never-seen" not in sheet
    assert "kept-though-unused" in sheet
    assert script.index("window.theme") < script.index("window.own")
    assert "said aloud" not in script
    for name, root in {"index.html": "", "how/a.html": "../"}.items():
        page = (site / name).read_text()
        assert f'href="{root}assets/built/site.' in page
        assert "assets/own" not in page
        assert "katex" not in page
    assert "assets/built/katex." in (site / "math.html").read_text()
    assert not (site / "assets" / "own.css").exists()


def test_what_one_page_alone_loads_stays_a_file_and_comes_after_the_rest(site: Path) -> None:
    (site / "assets" / "play.js").write_text("window.play = 1")
    page = site / "math.html"
    page.write_text(
        page.read_text().replace(
            "</body>", '<script src="assets/play.js" defer></script></body>'
        )
    )
    finish(site)
    (late,) = re.findall(r'data-src="([^"]*)"', page.read_text())
    assert re.fullmatch(r"assets/built/site\.\w+\.js assets/play\.js", late)
    assert (site / "assets" / "play.js").is_file()
    assert "window.play" not in text(site, "site.*.js")


def test_a_page_says_in_a_class_what_its_sheets_ask_of_it(site: Path) -> None:
    finish(site)
    assert "body.has-annotated p" in text(site, "site.*.css")
    assert '<body class="has-annotated"' in (site / "how" / "a.html").read_text()
    assert "has-annotated" not in (site / "index.html").read_text()


def test_the_policy_names_each_inline_script_and_no_other(site: Path) -> None:
    finish(site)
    policy = declared(site, "/index.html")["Content-Security-Policy"]
    page = (site / "index.html").read_text()
    assert len(hashes(page)) >= 2
    assert [one for one in hashes(page) if one not in policy] == []
    foreign = base64.b64encode(hashlib.sha256(b"alert(1)").digest()).decode()
    assert foreign not in policy


def test_a_page_carries_its_policy_where_no_host_would_say_it(
    site: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(site, tmp_path / "other")
    finish(site)
    finish(other, "https://example.org/")
    assert "Content-Security-Policy" not in (site / "index.html").read_text()
    page = (other / "index.html").read_text()
    assert page.index('http-equiv="Content-Security-Policy"') < page.index("<script")


def test_a_large_picture_in_a_page_becomes_a_file_beside_it(site: Path) -> None:
    pixels = bytes(range(256)) * 16
    page = site / "how" / "a.html"
    data = base64.b64encode(pixels).decode()
    page.write_text(
        page.read_text().replace(
            "<h1>",
            f'<svg><image href="data:image/png;base64,{data}" x="1" width="9" /></svg><h1>',
        )
    )
    finish(site)
    (address,) = re.findall(
        r'<foreignObject x="1" width="9"><noscript><img [^>]*src="(\.\./assets/built/\w+\.png)" loading="lazy"',
        page.read_text(),
    )
    assert (page.parent / address).read_bytes() == pixels


def test_no_heading_level_is_skipped(site: Path) -> None:
    finish(site)
    assert '<h2 id="b">B</h2>' in (site / "index.html").read_text()


def test_finishing_twice_and_elsewhere_gives_the_same_bytes(site: Path, tmp_path: Path) -> None:
    other = shutil.copytree(site, tmp_path / "other")
    finish(site)
    finish(site)
    finish(other)
    for path in sorted(p for p in site.rglob("*") if p.is_file()):
        assert path.read_bytes() == (other / path.relative_to(site)).read_bytes(), path


def test_a_script_with_a_mistake_stops_the_build(site: Path) -> None:
    (site / "assets" / "own.js").write_text("window.own = = 1;")
    with pytest.raises(SystemExit, match="could not be bundled"):
        finish(site)


def test_a_font_keeps_the_letters_that_are_set_in_it() -> None:
    formula = (
        '<p>xyz</p><span class="katex"><span class="katex-html"><span class="mord mathnormal">W</span>'
        '<span class="mord mathcal">N</span><span class="mord text"><span class="mord">if</span></span>'
        '<span class="mrel">=</span><span class="mord"><span class="mord mathnormal">σ</span>2</span></span></span><p>q</p>'
    )
    characters = in_formulas([Letters(formula)])
    assert characters("KaTeX_Math-Italic") == frozenset("Wσ")
    assert characters("KaTeX_Caligraphic-Regular") == frozenset("N")
    assert characters("KaTeX_Main-Regular") == frozenset("if=2")
    assert characters("KaTeX_Main-Bold") == frozenset()
    assert characters("KaTeX_Size3-Regular") == frozenset("WNif=σ2")

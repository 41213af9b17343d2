"""What the search finds on an annotated page, in the index of either builder."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.search import rewrite

PAGE = """<div class="annotated annotated-module">
<section class="sec sec-module"><div class="prose"><h1 id="m">A module</h1><p>Words.</p></div></section>
<section class="sec sec-function"><div class="prose"><h2 id="m.twice">Twice</h2></div>
<div class="code"><pre>def twice</pre></div></section></div>"""


@pytest.mark.parametrize(
    ("name", "kind", "extra"),
    [
        ("search/search_index.json", "docs", {"boost": 0.5}),
        ("search.json", "items", {"level": 1, "path": ["A module"], "tags": []}),
    ],
    ids=["mkdocs", "zensical"],
)
def test_a_section_is_found_with_its_code(
    tmp_path: Path, name: str, kind: str, extra: dict[str, Any]
) -> None:
    (tmp_path / "m.html").write_text(PAGE)
    (tmp_path / "x.html").write_text("<h1>Other</h1>")
    index = tmp_path / name
    index.parent.mkdir(exist_ok=True)
    page = {"location": "m.html", "title": "A module", "text": "<p>Words.</p>"}
    other = {"location": "x.html", "title": "Other", "text": ""}
    index.write_text(json.dumps({"config": {}, kind: [page | extra, other | extra]}))
    index.with_suffix(".js").write_text("")
    rewrite(tmp_path)
    found = json.loads(index.read_text())[kind]
    assert [doc["location"] for doc in found] == [
        "m.html",
        "m.html#m",
        "m.html#m.twice",
        "x.html",
    ]
    assert found[2]["title"] == "Twice (twice)"
    assert "def twice" in found[2]["text"]
    assert all(doc[key] == value for doc in found for key, value in extra.items())
    assert index.with_suffix(".js").read_text().startswith("var __index = {")

"""Names on a page: each leads to its section or to PyTorch's documentation, and to nowhere else."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mkdocstrings_handlers.annotated import AnnotatedHandler
from mkdocstrings_handlers.annotated.understand.index import Index, Page, address
from mkdocstrings_handlers.annotated.understand.torch_docs import (
    ATTRIBUTES,
    DOCS,
    DTYPES,
    ELSEWHERE,
    ENTRIES,
    LISTED,
    PAGES,
    torch_url,
)

from .test_handler import page, render

LINK = re.compile(
    r'<a href="([^"]*)"( tabindex="-1")?>((?:<span class="\w+">[^<]*</span>)+)</a>'
)


def links(html: str) -> list[tuple[str, str, bool]]:
    """Every link in the code: its text, its address and whether the Tab key stops at it."""
    return [(re.sub("<[^>]*>", "", m[3]), m[1], not m[2]) for m in LINK.finditer(html)]


def real(name: str) -> object:
    """What PyTorch has under this name."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:n]))
        except ImportError:
            continue
        for part in parts[n:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("torch", "torch.html"),
        ("torch.rsqrt", "generated/torch.rsqrt.html"),
        ("torch.Tensor", "tensors.html#torch.Tensor"),
        ("torch.Tensor.flatten", "generated/torch.Tensor.flatten.html"),
        ("torch.float32", "tensor_attributes.html#torch.dtype"),
        ("torch.device", "tensor_attributes.html#torch.device"),
        ("torch.nn", "nn.html"),
        ("torch.nn.functional", "nn.functional.html"),
        ("torch.nn.functional.layer_norm", "generated/torch.nn.functional.layer_norm.html"),
        ("torch.nn.Conv2d", "generated/torch.nn.Conv2d.html"),
        ("torch.nn.Module.train", "generated/torch.nn.Module.html#torch.nn.Module.train"),
        ("torch.nn.Parameter", "generated/torch.nn.parameter.Parameter.html"),
        ("torch.nn.init.zeros_", "nn.init.html#torch.nn.init.zeros_"),
        ("torch.optim.lr_scheduler.OneCycleLR", "generated/torch.optim.lr_scheduler.OneCycleLR.html"),
        ("torch.utils.data", "data.html"),
        ("torch.utils.data.DataLoader", "data.html#torch.utils.data.DataLoader"),
        ("torch.utils.benchmark.Timer", "benchmark_utils.html#torch.utils.benchmark.Timer"),
        ("torch.inference_mode", "generated/torch.autograd.grad_mode.inference_mode.html"),
    ],
)  # fmt: skip
def test_a_real_name_of_pytorch_has_a_page(name: str, path: str) -> None:
    assert real(name) is not None
    assert torch_url(name) == f"{DOCS}/{path}"


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.modules",
        "torch.nn.modules.conv._ConvTransposeNd",
        "torch._C",
        "torch.backends.cudnn",
        "torch.backends.cudnn.benchmark",
        "torch.nn.modules.conv.Conv2d",
    ],
)
def test_a_name_that_no_rule_covers_has_none(name: str) -> None:
    assert torch_url(name) is None


def test_the_rules_speak_of_names_that_pytorch_has() -> None:
    assert all(isinstance(real(name), ModuleType) for name in PAGES if name != "torch.Tensor")
    assert all(isinstance(real(name), type) for name in ATTRIBUTES)
    assert all(isinstance(real(f"torch.{name}"), torch.dtype) for name in DTYPES.split())
    assert all(real(name) is not None for name in ELSEWHERE)


@pytest.mark.filterwarnings("ignore")
def test_no_module_is_taken_for_a_function() -> None:
    """Where every name has a page to itself, a module's own modules are spelled just like its functions."""
    for name in sorted((set(PAGES) | LISTED) - ENTRIES):
        outer = real(name)
        for inner in dir(outer) if isinstance(outer, ModuleType) else ():
            found = getattr(outer, inner)
            if isinstance(found, ModuleType) and found.__name__ == f"{name}.{inner}":
                assert f"{name}.{inner}" in PAGES or torch_url(f"{name}.{inner}") is None


def test_every_torch_name_on_our_pages_is_real(site: Path) -> None:
    named = set()
    for path in site.rglob("*.html"):
        for url in re.findall(rf'href="{DOCS}/([^"]*)"', path.read_text(encoding="utf-8")):
            where, _, entry = url.partition("#")
            name = entry or where.removeprefix("generated/").removesuffix(".html")
            if url.startswith("generated/") or entry:
                named.add(name)
                assert not isinstance(real(name), ModuleType), f"{path.name}: {url}"
            else:
                assert where.removesuffix(".html") in PAGES.values(), f"{path.name}: {url}"
    assert len(named) > 40


NET = '''
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import small
from small import twice


class Net(nn.Module):
    """
    ## A net

    Calls `relu`, that is `F.relu`, and `F.relu` again; `twice`, `Net` and `nowhere`. `helper` comes later.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(twice(helper(x)))

    def again(self, x: Tensor) -> Tensor:
        # A method of its own.
        return self.forward(small.twice(x).relu())


def helper(nn):
    # Nothing to do with torch: `nn.Linear`.
    return nn.Linear


made = Net().again(torch.ones(2))
'''


@pytest.fixture
def net(project: Path, handler: AnnotatedHandler) -> str:
    (project / "docs" / "net.md").write_text("::: page\n    handler: annotated\n")
    return page(project, handler, NET)


def test_names_in_the_code_lead_to_their_sections_and_to_pytorch(net: str) -> None:
    found = {(text, url) for text, url, _ in links(net)}
    assert {
        ("nn.Module", torch_url("torch.nn.Module")),
        ("Tensor", torch_url("torch.Tensor")),
        ("F.relu", torch_url("torch.nn.functional.relu")),
        ("twice", "index.html#small.twice"),
        ("small.twice", "index.html#small.twice"),
        ("small", "index.html#small"),
        ("helper", "#page.helper"),
        ("torch.ones", torch_url("torch.ones")),
    } <= found
    # A parameter called `nn` isn't the module, and a value's method isn't a function.
    assert not {"nn.Linear", "relu", "x"} & {text for text, _ in found}


def test_no_name_leads_into_its_own_section(net: str) -> None:
    sections = re.findall(
        r'<section class="sec[^"]*"(?: id="([^"]*)")?(.*?)</section>', net, re.S
    )
    assert sections
    for own, body in sections:
        heading = re.search(r'<h\d[^>]* id="([^"]*)"', body)
        here = own or (heading[1] if heading else "")
        assert f"#{here}" not in {url for _, url, _ in links(body)}


def test_the_tab_key_stops_once_for_each_address(net: str) -> None:
    _, _, unfolded = net.partition("</details>")
    stops = [url for _, url, stop in links(unfolded) if stop]
    assert len(stops) == len(set(stops))
    assert set(stops) == {url for _, url, _ in links(unfolded)}


def test_the_prose_links_a_name_the_first_time_that_a_section_says_it(net: str) -> None:
    prose = net.partition('<div class="prose">')[2].partition('<div class="code')[0]
    for part in net.split('<div class="prose">'):
        if "Calls" in part:
            prose = part.partition('<div class="code')[0]
    assert prose.count(f'<a href="{torch_url("torch.nn.functional.relu")}"><code>F.relu') == 1
    assert prose.count("<code>F.relu") == 2
    assert '<a href="index.html#small.twice"><code>twice</code></a>' in prose
    assert '<a href="#page.helper"><code>helper</code></a>' in prose
    for plain in ("<code>relu</code>", "<code>Net</code>", "<code>nowhere</code>"):
        assert plain in prose
        assert f"{plain}</a>" not in prose
    assert "<code>nn.Linear</code></a>" not in net


def test_headings_and_links_are_left_alone(project: Path, handler: AnnotatedHandler) -> None:
    html = page(
        project,
        handler,
        '"""\n# `math`\n\nA [`small`](https://example.org).\n"""\nimport small\nfrom torch import nn as math\n',
    )
    assert "<code>math</code></a>" not in html
    assert html.count("<code>small</code></a>") == 1


def test_code_that_shows_a_reference_stays_code(
    project: Path, handler: AnnotatedHandler
) -> None:
    html = page(
        project,
        handler,
        '"""\n# M\n\n`[torch.nn.Conv2d][]` is written, [torch.nn.Linear][] read.\n"""\n',
    )
    assert "<code>[torch.nn.Conv2d][]</code>" in html
    assert f'<a href="{torch_url("torch.nn.Linear")}">torch.nn.Linear</a>' in html


def test_short_code_is_never_broken_and_long_code_may_be(
    project: Path, handler: AnnotatedHandler
) -> None:
    words = "`[B, C_in, H, W]` `ws-gn` `mean` `(in_channels, out_channels, kernel_size)`"
    html = page(project, handler, f'"""\n# M\n\n{words}\n\n    a b\n    c d\n"""\n')
    whole = re.findall(r'<code class="nobr">(.*?)</code>', html, re.DOTALL)
    assert whole == ["[B, C_in, H, W]", "ws-gn"]


def test_a_number_keeps_its_percent_sign_a_name_its_number_and_code_stays_as_it_is(
    project: Path, handler: AnnotatedHandler
) -> None:
    html = page(
        project,
        handler,
        '"""\n# M\n\nBy 1.9 %, `7 % 4`, *and 5 %*; 12 of it. WS + GN on CIFAR-10, `-1`.\n"""\n',
    )
    assert "By 1.9\N{NO-BREAK SPACE}%, " in html
    assert "and 5\N{NO-BREAK SPACE}%" in html
    assert ">7 % 4</code>" in html
    assert (
        'WS\N{NO-BREAK SPACE}+\N{NO-BREAK SPACE}GN on <span class="nobr">CIFAR-10</span>, '
        in html
    )


def test_a_module_that_no_page_shows_is_no_link(
    project: Path, handler: AnnotatedHandler
) -> None:
    (project / "hidden.py").write_text('def f():\n    """F."""\n')
    html = page(project, handler, "import hidden\n\n\nhidden.f()\n")
    assert links(html) == []


def test_a_name_that_a_package_passes_on_leads_to_its_definition(project: Path) -> None:
    package = project / "pack"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from .inner import f as g\nfrom . import loop as loop\n"
    )
    (package / "inner.py").write_text('def f():\n    """F."""\n\n\ndef bare(): ...\n')
    (project / "docs" / "sub").mkdir()
    (project / "docs" / "sub" / "pack.md").write_text(
        "::: pack.inner\n    handler: annotated\n"
    )
    (project / "docs" / "a.md").write_text("```\n::: pack.inner\n    handler: annotated\n```\n")
    (project / "docs" / "b.md").write_text("::: pack.inner\n")
    index = Index(project, project / "docs")
    assert index.find("pack.g") == ("sub/pack.md", "pack.inner.f")
    assert index.find("pack.inner.bare") == ("sub/pack.md", "pack.inner.bare")
    assert index.find("pack.inner.nothing") is None
    assert index.find("pack.loop") is None
    assert index.href("pack.g", Page("x/y.md", "x/y.html")) == "../sub/pack.html#pack.inner.f"


@pytest.mark.parametrize(
    ("here", "path", "expected"),
    [
        (Page("a.md", "a.html"), "a.md", ""),
        (Page("a.md", "a.html"), "sub/b.md", "sub/b.html"),
        (Page("sub/b.md", "sub/b.html"), "sub/c.md", "c.html"),
        (Page("sub/b.md", "sub/b.html"), "index.md", "../index.html"),
        (Page("sub/b.md", "sub/b/"), "sub/c.md", "../c/"),
        (Page("sub/b.md", "sub/b/"), "index.md", "../../"),
        (Page("index.md", "./"), "sub/b.md", "sub/b/"),
    ],
)
def test_an_address_is_relative_and_in_the_sites_style(
    here: Page, path: str, expected: str
) -> None:
    assert address(here, path) == expected


def test_a_notebooks_names_are_links_across_its_cells(
    project: Path, handler: AnnotatedHandler
) -> None:
    cell = '{{"cell_type": "code", "execution_count": 1, "metadata": {{}}, "outputs": [], "source": "{}"}}'
    cells = [r"%matplotlib inline\nfrom small import twice", r"def f(x):\n    return twice(x)", "f(twice(1))"]  # fmt: skip
    made = ", ".join(cell.format(source) for source in cells)
    (project / "docs" / "n.ipynb").write_text(f'{{"cells": [{made}]}}')
    html = render(handler, "docs/n.ipynb")
    assert [text for text, _, _ in links(html)] == ["small", "twice", "twice", "twice"]
    assert {url for _, url, _ in links(html)} == {"index.html#small", "index.html#small.twice"}
    assert "matplotlib" in re.sub("<[^>]*>", "", html)


def test_every_line_of_code_stays_as_it_was(project: Path, net: str) -> None:
    source = (project / "page.py").read_text().split("\n")
    shown = re.findall(r'<span class="l(?: gap)?" id="L(\d+)"><a [^>]*></a>(.*?)\n</span>', net)
    assert len(shown) > 10
    for number, line in shown:
        text = re.sub("<[^>]*>", "", line).replace("&gt;", ">").replace("&lt;", "<")
        assert text == source[int(number) - 1]

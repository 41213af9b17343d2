"""What a name stands for: by what binds it, never by how it is spelled."""

import ast
import textwrap
from pathlib import Path

import pytest

from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.understand.scopes import Scopes


def names(source: str, module: str = "pack.page", package: bool = False) -> dict[str, str]:
    """What the code names, as it is spelled, with what it stands for as a whole."""
    source = textwrap.dedent(source)
    lines = source.split("\n")
    path = Path("__init__.py" if package else "page.py")
    return {
        lines[r.line - 1][r.start : r.ends[0][0]]: r.ends[0][1]
        for r in Scopes(Source(source, path), module).references()
    }


@pytest.mark.parametrize(
    ("source", "spelled", "target"),
    [
        ("import torch\ntorch.rsqrt(1)", "torch.rsqrt", "torch.rsqrt"),
        ("import torch as t\nt.rsqrt(1)", "t.rsqrt", "torch.rsqrt"),
        ("import torch.nn\ntorch.nn.functional.relu", "torch.nn.functional.relu", "torch.nn.functional.relu"),
        ("import torch.nn as n\nn.Conv2d", "n.Conv2d", "torch.nn.Conv2d"),
        ("from torch.nn import functional as F\nF.relu", "F.relu", "torch.nn.functional.relu"),
        ("from torch import nn\nx = [nn.ReLU()]", "nn.ReLU", "torch.nn.ReLU"),
        ("from torch import Tensor\ndef f(x: Tensor): ...", "Tensor", "torch.Tensor"),
        ("from .other import thing\nthing()", "thing", "pack.other.thing"),
        ("from . import other\nother.thing()", "other.thing", "pack.other.thing"),
        ("def f():\n    from torch import rsqrt\n    rsqrt(1)", "rsqrt", "torch.rsqrt"),
        ("def f(): ...\ndef g():\n    return f()", "f", "pack.page.f"),
        ("class A: ...\nA.make()", "A.make", "pack.page.A.make"),
        ("class A:\n    def f(self): ...\n    def g(self):\n        self.f()", "self.f", "pack.page.A.f"),
        ("class A:\n    def f(self): ...\nclass B(A):\n    def g(this):\n        this.f()", "this.f", "pack.page.A.f"),
        ("if x:\n    import torch\nelse:\n    import torch\ntorch.abs", "torch.abs", "torch.abs"),
        ("import torch\nä = 'ö', torch.abs", "torch.abs", "torch.abs"),
    ],
)  # fmt: skip
def test_a_name_stands_for_what_it_was_bound_to(source: str, spelled: str, target: str) -> None:
    assert names(source)[spelled] == target


@pytest.mark.parametrize(
    "source",
    [
        "torch.abs",
        "import torch\ndef f(torch):\n    return torch.abs",
        "import torch\ndef f(*torch):\n    return torch.abs",
        "import torch\ndef f():\n    torch = g()\n    return torch.abs",
        "import torch\ndef f():\n    return torch.abs\n    torch = 1",
        "import torch\ntorch = g()\ntorch.abs",
        "import torch\nfor torch in g():\n    torch.abs",
        "import torch\nwith g() as torch:\n    torch.abs",
        "import torch\ntry: ...\nexcept E as torch:\n    torch.abs",
        "import torch\nmatch g():\n    case [*torch]:\n        torch.abs",
        "import torch\nmatch g():\n    case {'a': 1, **torch}:\n        torch.abs",
        "import torch\nmatch g():\n    case torch:\n        torch.abs",
        "import torch\n[torch.abs for torch in g()]",
        "import torch\n(lambda torch: torch.abs)(1)",
        "import torch\nif (torch := g()):\n    torch.abs",
        "import torch\ndef f():\n    [1 for x in g() if (torch := x)]\n    return torch.abs",
        "import torch\ndef f():\n    global torch\n    torch = 1\ntorch.abs",
        "import torch\nfrom g import *\ntorch.abs",
        "try:\n    import torch\nexcept ImportError:\n    torch = None\ntorch.abs",
        "import torch\nx.torch.abs",
        "class A:\n    import torch\n    def f(self):\n        torch.abs",
        "import torch\nclass A:\n    torch = 1\n    x = torch.abs",
    ],
)  # fmt: skip
def test_a_name_that_may_be_a_value_stands_for_nothing(source: str) -> None:
    assert "torch.abs" not in names(source)


def test_a_method_of_a_value_stands_for_nothing() -> None:
    found = names("import torch\nx = torch.randn(2)\nx.abs()\ntorch.randn(2).mean()")
    assert set(found) == {"torch", "torch.randn"}


def test_an_attribute_is_not_taken_for_a_method() -> None:
    source = """
        class A:
            weight: int
            def f(self):
                return self.weight
            @staticmethod
            def g(self):
                return self.f
    """
    assert names(source) == {}


def test_names_in_imports_stand_for_what_they_import() -> None:
    found = names("from .other import thing as it, more\nimport torch.nn as n\n", "a.b", True)
    assert found == {
        "other": "a.b.other",
        "thing": "a.b.other.thing",
        "more": "a.b.other.more",
        "torch.nn": "torch.nn",
    }


def test_a_chain_that_is_broken_over_two_lines_is_left_alone() -> None:
    assert set(names("import torch\nx = (torch\n    .abs)\n")) == {"torch"}


def test_a_definition_in_a_file_without_a_name_stands_for_nothing() -> None:
    assert names("def f(): ...\nf()", module="") == {}


SPOKEN = """
from torch.nn import functional as F

def norm(x): ...

class Net:
    def __init__(self, norm):
        self.norm = norm

    def forward(self, x):
        F = x
"""


@pytest.mark.parametrize(
    ("text", "scope", "kind", "target"),
    [
        ("F.relu", "", "module", "torch.nn.functional.relu"),
        ("norm", "", "module", "page.norm"),
        ("norm()", "norm", "function", "page.norm"),
        ("F", "norm", "function", "torch.nn.functional"),
        ("F.relu", "Net.forward", "function", None),
        ("norm", "Net", "class", None),
        ("Net", "Net.forward", "comment", "page.Net"),
        ("x", "norm", "function", None),
        ("nowhere", "", "module", None),
    ],
)
def test_a_name_in_the_prose_stands_for_what_the_code_beside_it_sees(
    text: str, scope: str, kind: str, target: str | None
) -> None:
    assert Scopes(Source(SPOKEN), "page").spoken(text, scope, kind) == target


@pytest.mark.parametrize(
    "module", ["ast", "dataclasses", "typing", "asyncio.tasks", "json.decoder"]
)
def test_every_reference_is_spelled_where_it_is_said_to_be(module: str) -> None:
    path = Path(ast.__file__).parent / f"{module.replace('.', '/')}.py"
    source = Source.read(path)
    count = 0
    for reference in Scopes(source, module).references():
        for stop, target in reference.ends:
            spelled = source.lines[reference.line - 1][reference.start : stop]
            assert all(part.isidentifier() for part in spelled.split(".")), spelled
            assert "." not in spelled or target.endswith(spelled.partition(".")[2])
            count += 1
    assert count > 20

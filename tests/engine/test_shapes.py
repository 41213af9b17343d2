"""Shapes, recorded by running: what each line bound, told in few words, and only what is the same each time."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mkdocstrings_handlers.annotated import AnnotatedHandler
from mkdocstrings_handlers.annotated.document import Document, Result, Source, SourceError
from mkdocstrings_handlers.annotated.understand import run, values
from mkdocstrings_handlers.annotated.understand.scopes import Scopes

MODULE = '''"""# Traced"""
import itertools
import os
import time

import torch


class Layer:
    def __init__(self, size: int, eps: float = 1e-5) -> None:
        self.eps = eps
        self.scale = torch.ones(size)
        self.calls = 0

    def __call__(
        self,
        x: torch.Tensor,
    ) -> torch.Tensor:
        mean = x.mean(
            dim=0
        )
        total, (low, *_) = x.double().sum(), (x > 0)
        self.calls += 1
        return mean


if __name__ == "__main__":
    torch.manual_seed(0)
    layer = Layer(3)
    y = layer(torch.arange(-60.0, 60).reshape(40, 3))
    for width in (2, 3, 5, 7):
        layer(torch.randn(6, width))
    with torch.no_grad() as nothing, torch.inference_mode():
        if (count := y.numel()) == 3:
            tiny = torch.tensor(1e-9) * 3
    clock, process = time.perf_counter(), itertools.count()
    started = time.time_ns()
    noise = torch.full((2,), time.time() % 1)
    machine = os.name + "!"
    alias = y
    try:
        never = 1 / 0
    except ZeroDivisionError:
        never = sum([4, 5])
    print(count)
'''


@pytest.fixture
def module(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    path = project / "traced.py"
    path.write_text(MODULE)
    return path


def record(path: Path) -> dict[str, Any]:
    return run.run(Source.read(path))


def shown(text: str, record: dict[str, Any]) -> dict[str, str]:
    source = Source(text)
    places = Scopes(source).bindings
    results = [Result(places[n].line, *words) for n, *words in record["bound"]]
    shapes = run.shapes(Document("traced", source, [], results))
    return {source.lines[n - 1].strip(): words for n, (words, _) in shapes.items()}


def test_each_line_tells_what_it_bound(module: Path) -> None:
    assert shown(MODULE, record(module)) == {
        "def __init__(self, size: int, eps: float = 1e-5) -> None:": "size: 3",
        "self.scale = torch.ones(size)": "self.scale: [3] = 1",
        # The parameter says that later calls differ; the lines below needn't.
        "x: torch.Tensor,": "x: [40, 3] ≈ 0 ± 35 (then [6, 2], [6, 3], …)",
        ")": "mean: [3] ≈ -0.50 ± 0.82",
        "total, (low, *_) = x.double().sum(), (x > 0)": "total: float64 = -60 · low: bool [3]",
        "self.calls += 1": "self.calls: 1",
        "y = layer(torch.arange(-60.0, 60).reshape(40, 3))": "y: [3] ≈ -0.50 ± 0.82",
        "for width in (2, 3, 5, 7):": "width: 2 (then 3, 5, …)",
        "if (count := y.numel()) == 3:": "count: 3",
        "tiny = torch.tensor(1e-9) * 3": "tiny ≈ 0",
        "noise = torch.full((2,), time.time() % 1)": "noise: [2]",
        "never = sum([4, 5])": "never: 9",
    }


def test_the_record_is_the_same_each_time(module: Path) -> None:
    assert record(module) == record(module)


def test_a_comment_added_later_leaves_the_record_valid(module: Path) -> None:
    made = record(module)
    longer = MODULE.replace("        mean = x", "        # The mean.\n        mean = x")
    longer = longer.replace('"""# Traced"""', '"""\n# Traced\n\nIt is.\n"""')
    assert shown(longer, made) == shown(MODULE, made)


def test_recording_draws_no_random_number_and_keeps_no_tensor(module: Path) -> None:
    import gc

    import torch

    record(module)
    torch.manual_seed(0)
    for n in (2, 3, 5, 7):
        torch.randn(6, n)
    wanted = torch.randn(1)
    record(module)
    assert torch.equal(torch.randn(1), wanted)
    gc.collect()
    alive = (o for o in gc.get_objects() if type(o) is torch.Tensor)
    assert not any(t.shape == (40, 3) for t in alive)


@pytest.mark.parametrize(
    ("mean", "std", "constant", "text"),
    [
        (0.01062, 0.00363, False, "0.0106 ± 0.0036"),
        (-1e-9, 1.0, False, "0 ± 1.0"),
        (3e-8, 2e-8, False, "0"),
        (5.0, 1e-4, False, "5.0000 ± 0.0001"),
        (2e-5, 1e-5, False, "2.0e-05 ± 1.0e-05"),
        (0.30519, 1e-12, False, "0.305"),
        (1.0, 0.0, True, "1"),
    ],
)
def test_numbers_have_the_digits_that_mean_something(
    mean: float, std: float, constant: bool, text: str
) -> None:
    assert values._spread(mean, std, constant, many=True)[0] == text


def test_a_demo_that_raises_leaves_everything_as_it_was(module: Path) -> None:
    module.write_text(MODULE.replace("    print(count)", "    raise KeyError(count)"))
    before = sys.modules["__main__"], sys.argv, sys.stdout
    line = module.read_text().split("\n").index("    raise KeyError(count)") + 1
    with pytest.raises(SourceError, match=rf"traced\.py:{line}: the demo raised KeyError: 3"):
        record(module)
    assert (sys.modules["__main__"], sys.argv, sys.stdout) == before


def test_arrays_that_are_not_torchs_have_a_shape_and_no_numbers() -> None:
    array = SimpleNamespace(shape=(2, 3), dtype="uint8")
    assert values.describe(array) == values.Value("uint8 [2, 3]", "", False)


STATEMENTS = """
    class Thing:
        __slots__ = ("a", "__b")
        size: int
        kind: str = "x".upper()

        def __init__(self, a, *rest, b=2, **more):
            "Doc."
            self.a, self.__b = a + 1, [b, b]
            super().__init__()

        @property
        def double(self):
            return (twice := self.a * 2)

    def generate(n):
        for i in range(n):
            got = yield i * 10
            assert got is None

    thing = Thing(1, 5)
    doubled = thing.double
    squares = [last := n * n for n in range(4)]
    while (left := len(squares)) > 3:
        squares.pop()
    listed = list(generate(2))
    x = y = thing.a + 1
    total: int = x + y
    total -= 1
"""


def test_whatever_binds_a_name_is_recorded_and_does_what_it_did(module: Path) -> None:
    module.write_text('if __name__ == "__main__":' + STATEMENTS)
    told = shown(module.read_text(), record(module))
    assert told == {
        "def __init__(self, a, *rest, b=2, **more):": "a: 1 · rest: (5,)",
        "self.a, self.__b = a + 1, [b, b]": "self.a: 2 · self.__b: [2, 2]",
        "return (twice := self.a * 2)": "twice: 4",
        "def generate(n):": "n: 2",
        "for i in range(n):": "i: 0 (then 1)",
        "doubled = thing.double": "doubled: 4",
        "squares = [last := n * n for n in range(4)]": "squares: [0, 1, 4, 9] · last: 0 (then 1, 4, …)",
        "while (left := len(squares)) > 3:": "left: 4 (then 3)",
        "listed = list(generate(2))": "listed: [0, 10]",
        "x = y = thing.a + 1": "x: 3 · y: 3",
        "total: int = x + y": "total: 6",
        "total -= 1": "total: 5",
    }


def test_the_page_carries_the_record_and_a_switch(
    module: Path, handler: AnnotatedHandler
) -> None:
    handler.records = module.parent / "records"
    assert run.main(str(module.parent / "records"), str(module)) == 0
    options = handler.get_options({})
    html = handler.render(handler.collect("traced", options), options)
    line = MODULE.split("\n").index("    for width in (2, 3, 5, 7):") + 1
    assert f'id="L{line}" data-s="width: 2 (then 3, 5, …)"' in html
    assert html.count('<button type="button" class="shapes"') == 1
    # What is printed is printed once.
    kept = json.loads((module.parent / "records" / "traced.json").read_text())
    assert [text for _, text in kept["printed"]] == ["3\n"]
    handler.records = None
    untold = handler.render(handler.collect("traced", options), options)
    assert "data-s=" not in untold
    assert "button" not in untold


def test_nothing_is_computed_with_a_stand_in_for_a_tensor() -> None:
    class FakeTensor:
        """Raises where a program that is being traced would get another step."""

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} of a traced value was asked for")

    assert values.measure(FakeTensor()) is None

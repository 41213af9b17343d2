"""Dependencies point one way: no circle, and nobody asks whom they should not know."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = "mkdocstrings_handlers.annotated"
FOLDERS = {"labml_ws": ROOT, ENGINE: ROOT / "engine", "tools": ROOT, "docs": ROOT}
# From what everything may ask to what asks everything: each of the engine's wings knows those before it.
WINGS = [
    f"{ENGINE}.{name}"
    for name in ("document", "assets", "read", "understand", "prose", "render", "handler")
]
# What each part may import of ours, besides itself. A module belongs to the part with the longest name that fits.
MAY = {wing: WINGS[:n] for n, wing in enumerate(WINGS)} | {
    ENGINE: WINGS,
    "labml_ws": [],
    "labml_ws.experiment": ["labml_ws"],
    "tools": [ENGINE, *WINGS],
    # It makes the table that shows what `labml_ws.convert` does to other people's networks.
    "tools.networks": ["labml_ws"],
    # It draws what the layers average, and asks them.
    "tools.hero": ["labml_ws"],
    "docs": ["labml_ws", "labml_ws.experiment"],
}


def modules() -> Iterator[tuple[str, Path]]:
    for package, root in FOLDERS.items():
        for path in sorted((root / package.replace(".", "/")).rglob("*.py")):
            if "download" not in path.parts:
                yield (
                    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(
                        ".__init__"
                    ),
                    path,
                )


TYPES = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
DEMO = "__name__ == '__main__'"


def imports(name: str, path: Path, known: set[str], unreal: set[str]) -> set[str]:
    """The modules of ours that a module imports, wherever in it but below an `if` whose condition is in `unreal`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in unreal
        for step in node.body
        for inner in ast.walk(step)
    }
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    targets: set[str] = set()
    for node in set(ast.walk(tree)) - left_out:
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            outer = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*outer, *filter(None, [node.module])])
            inner = {f"{base}.{alias.name}" for alias in node.names}
            # `from package import module` is about the module; what else it takes is the package's own.
            targets |= (inner & known) or {base}
            targets |= {base} if inner - known else set()
    return (targets & known) - {name}


def graph(unreal: set[str]) -> dict[str, set[str]]:
    paths = dict(modules())
    assert len(paths) > 40
    return {name: imports(name, path, set(paths), unreal) for name, path in paths.items()}


def part(name: str) -> str:
    return max((p for p in MAY if f"{name}.".startswith(f"{p}.")), key=len)


def test_nothing_imports_itself_through_others() -> None:
    # What only a demo needs is not imported with its module.
    imported = graph(TYPES | {DEMO})
    try:
        order = [*TopologicalSorter(imported).static_order()]
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")
    assert set(order) == set(imported)


@pytest.mark.parametrize("name", MAY)
def test_a_part_knows_no_other_than_it_may(name: str) -> None:
    known = graph(TYPES)
    wrong = {
        f"{module} imports {other}"
        for module, others in known.items()
        if part(module) == name
        for other in others
        if part(other) not in {name, *MAY[name]}
    }
    assert wrong == set()
    assert any(part(module) == name for module in known)

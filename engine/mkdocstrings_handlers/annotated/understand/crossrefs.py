"""
# Cross-references

`[the layers][labml_ws.layers]` is resolved after all pages are rendered, when nobody knows any longer which line it came from. So the names of our own
modules are looked up here, in the files, while the line is known; so are the links within a page. Everything else is left to the builder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from markdown.extensions.toc import slugify
from mkdocs.exceptions import PluginError

from ..read.module import Section, read_module
from .names import nearest

# Code is no prose, unless it is what a reference is written on.
CODE = re.compile(r"^(`{3,}|~{3,}).*?^\1|(?<!\[)`[^`]+`|\$[^$]*\$", re.MULTILINE | re.DOTALL)
REFERENCE = re.compile(r"\[`?([\w.]+)`?\]\[\]|\]\[([A-Za-z_][\w.]*)\]|\]\(#([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}[ ]+(.+)$", re.MULTILINE)


def check(
    section: Section, path: str, module: str, sections: list[Section], paths: Sequence[Path]
) -> None:
    text = CODE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), section.prose)
    for m in REFERENCE.finditer(text):
        name = m[1] or m[2] or ""
        wrong = _object(name, paths) if name else _anchor(m[3], module, sections)
        if wrong:
            line = section.prose_lines[text[: m.end()].count("\n")]
            raise PluginError(f"{path}:{line}: {wrong}")


def _object(name: str, paths: Sequence[Path]) -> str:
    package, *rest = name.split(".")
    ours = {p.stem for root in paths for p in root.iterdir() if p.is_dir() or p.suffix == ".py"}
    if not rest or package not in ours:
        return ""
    known = frozenset(name for root in paths for name in _documented(root, package))
    return (
        ""
        if name in known
        else f"the reference to `{name}` leads nowhere. {_instead(name, known)}"
    )


@cache
def _names(path: Path, changed: int) -> tuple[str, ...]:
    """What has a section of its own in a file."""
    return tuple(
        s.name
        for s in read_module(path.read_text(encoding="utf-8"))
        if s.kind in {"class", "function"}
    )


def _documented(root: Path, package: str) -> Iterator[str]:
    for path in [root / f"{package}.py", *sorted((root / package).rglob("*.py"))]:
        if path.is_file():
            parts = path.relative_to(root).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield module
            yield from (f"{module}.{name}" for name in _names(path, path.stat().st_mtime_ns))


def _anchor(name: str, module: str, sections: list[Section]) -> str:
    known = {s.anchor for s in sections} | {f"{module}.{s.anchor}" for s in sections} | {module}
    known |= {slugify(h, "-") for s in sections for h in HEADING.findall(s.prose)}
    return (
        "" if name in known else f"there is no `#{name}` on this page. {_instead(name, known)}"
    )


def _instead(name: str, known: frozenset[str] | set[str]) -> str:
    hint = nearest(name, known)
    return (
        hint
        if "`" in hint
        else "Name a module, a class or a function that has a docstring, or a heading."
    )

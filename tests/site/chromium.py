"""Print the path of a Chromium to test with: the one named by `CHROMIUM`, an installed one, or one installed now."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
MAC = ("Google Chrome.app/Contents/MacOS/Google Chrome", "Chromium.app/Contents/MacOS/Chromium")
HELP = "No Chromium was found and none could be installed: install Chromium or Chrome, or set CHROMIUM to its program."

# What a browser must not do in a test: start as a guest, draw with a graphics card, or talk to its maker.
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def find() -> Path | None:
    """Look where a browser usually is. A `CHROMIUM` that names no program is an error, not a hint."""
    if named := os.environ.get("CHROMIUM"):
        if program := shutil.which(named):
            return Path(program)
        raise SystemExit(
            f"CHROMIUM is {named!r}, which is not a program: set it to a Chromium or Chrome, or unset it."
        )
    on_path = (shutil.which(name) for name in NAMES)
    on_mac = (root / "Applications" / app for root in (Path("/"), Path.home()) for app in MAC)
    return next((Path(p) for p in (*on_path, *on_mac) if p and Path(p).is_file()), downloaded())


def downloaded() -> Path | None:
    """Where Playwright keeps, or would keep, a browser of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return path if path.is_file() else None


def install() -> None:
    """Install from Debian's packages when that is possible, else let Playwright download its own."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        packages = ["chromium", "fonts-dejavu-core"]
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(
                ["apt-get", "--quiet", *command], env=env, stdout=sys.stderr, check=False
            )
        if any(map(shutil.which, NAMES)):
            return
    subprocess.run(
        [sys.executable, "-m", "playwright", "install", "chromium"],
        stdout=sys.stderr,
        check=False,
    )


def find_or_install() -> Path:
    """The browser, or one sentence that says what to do."""
    if found := find():
        return found
    print("No Chromium found: installing one.", file=sys.stderr)
    install()
    if found := find():
        return found
    raise SystemExit(HELP)


if __name__ == "__main__":
    print(find_or_install())

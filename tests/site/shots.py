"""Photograph every page at three widths, light and dark: `build/shots/<page>-<width>-<scheme>.png`."""

import shutil
from pathlib import Path

from playwright.sync_api import FloatRect

from tests.site.browser import HEIGHT, WIDTHS, launch, pages, serve

ROOT = Path(__file__).resolve().parents[2]
SITE, SHOTS = ROOT / "site", ROOT / "build" / "shots"
# A figure's pixels come when they are scrolled to, which a camera never does.
PIXELS = """() => Promise.all([...document.images].map(image => {
  image.loading = "eager";
  return image.decode().catch(() => true);
})).then(() => true)"""
TALLEST = 16_000  # pixels: beyond this Chromium repeats or drops parts of a picture


def main() -> None:
    shutil.rmtree(SHOTS, ignore_errors=True)
    SHOTS.mkdir(parents=True)
    count = 0
    with serve(SITE) as address, launch() as browser:
        for width in WIDTHS:
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": HEIGHT},
                    color_scheme="dark" if scheme == "dark" else "light",
                    reduced_motion="reduce",
                )
                tab = context.new_page()
                for page in pages(SITE):
                    tab.goto(f"{address}/{page}", wait_until="load")
                    tab.evaluate(PIXELS)
                    tab.evaluate("document.fonts.ready.then(() => true)")
                    tall = tab.evaluate("document.documentElement.scrollHeight")
                    name = page.removesuffix(".html").replace("/", "-")
                    target = SHOTS / f"{name}-{width}-{scheme}.png"
                    clip = FloatRect(x=0, y=0, width=width, height=min(tall, TALLEST))
                    tab.screenshot(path=target, full_page=True, clip=clip)
                    count += 1
                context.close()
    print(f"{count} screenshots in {SHOTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

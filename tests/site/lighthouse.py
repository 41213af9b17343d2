"""Lighthouse over the built site, as a table: `make lighthouse`, or `python -m tests.site.lighthouse [--times N] [PAGE ...]`."""

import argparse
import json
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.site import chromium
from tests.site.browser import pages, serve

ROOT = Path(__file__).resolve().parents[2]
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")


@dataclass(frozen=True)
class Report:
    """A page's scores (0 to 1) and timings (milliseconds), each the median of its runs, and what took points from it."""

    page: str
    scores: dict[str, float]
    measured: dict[str, float]
    short: list[str]


def run(
    site: Path,
    names: list[str],
    times: int = 1,
    categories: tuple[str, ...] = CATEGORIES,
    cpu: float = 4,
) -> list[Report]:
    """Serve the site, open each page as a phone on a slow network would, and read what Lighthouse says."""
    program = chromium.find()
    if program is None:
        raise RuntimeError(chromium.HELP)
    options = {
        "chrome": str(program),
        "flags": ["--headless=new", "--no-sandbox", *chromium.FLAGS],
        "categories": categories,
        "times": times,
        "cpu": cpu,
    }
    with serve(site) as address:
        done = subprocess.run(
            [
                "node",
                str(Path(__file__).with_name("lighthouse.mjs")),
                json.dumps(options),
                *(f"{address}/{name}" for name in names),
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"Lighthouse failed: {done.stderr.strip()[-2000:]}")
        runs = defaultdict(list)
        for line in done.stdout.splitlines():
            found = json.loads(line)
            runs[found["address"].removeprefix(f"{address}/")].append(found)
    return [_report(name, runs[name]) for name in names]


def _report(name: str, runs: list[dict[str, Any]]) -> Report:
    if errors := [found["error"] for found in runs if found["error"]]:
        raise RuntimeError(f"{name}: Lighthouse could not look at it: {errors[0]}")

    def middle(key: str) -> dict[str, float]:
        return {one: median(found[key][one] or 0 for found in runs) for one in runs[0][key]}

    short = list(dict.fromkeys(line for found in runs for line in found["short"]))
    return Report(name, middle("scores"), middle("measured"), short)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, default=ROOT / "site")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument(
        "--cpu", type=float, default=4, help="how much slower than this machine a phone is"
    )
    parser.add_argument("pages", nargs="*")
    given = parser.parse_args()
    names = given.pages or pages(given.site)
    wide = max(map(len, names))
    print(f"{'':{wide}}  perf  a11y  best   seo   fcp ms  lcp ms  tbt ms    cls")
    for name in names:
        for report in run(given.site, [name], given.times, cpu=given.cpu):
            scores = "".join(f"{100 * report.scores[one]:6.0f}" for one in CATEGORIES)
            m = report.measured
            print(
                f"{name:{wide}}{scores}{m['fcp']:9.0f}{m['lcp']:8.0f}{m['tbt']:8.0f}{m['cls']:7.3f}",
                flush=True,
            )
            for line in report.short:
                print(f"    {line}")


if __name__ == "__main__":
    main()

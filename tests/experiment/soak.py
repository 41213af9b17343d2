"""End a run at many of its lines, and record what came of it: `make soak`, `python -m tests.experiment.soak`."""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labml_ws.experiment.writing import source
from tests.experiment import interrupted
from tests.experiment.interrupted import Point, Whole

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "docs" / "runs" / "soak" / "kills.json"
# How many of the runs that go on are killed anew, twice.
AGAIN = 0.25


def versions() -> dict[str, str]:
    names = ("torch", "accelerate", "safetensors")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def soak(number: int, seed: int, jobs: int) -> dict[str, Any]:
    """The record: each point and what came of it."""
    interrupted.warm()
    start, code = time.perf_counter(), source()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(jobs) as pool:
        folder = Path(temporary)
        wholes = {
            kind: interrupted.undisturbed(kind, folder / kind) for kind in interrupted.KINDS
        }

        def end(numbered: tuple[int, Point]) -> dict[str, Any]:
            count, point = numbered
            place = folder / f"{count}"
            report = interrupted.end(point, place, wholes[point.kind])
            print(
                f"{count + 1}/{number} {point}: {report['line']}, {report['outcome']}",
                flush=True,
            )
            if report["outcome"] != "equal":
                print((place / "said.txt").read_text(), report, file=sys.stderr, flush=True)
            return report

        points = interrupted.points(number, seed, AGAIN)
        reports = [*pool.map(end, enumerate(points))]
    return about(reports, wholes) | {
        "seed": seed,
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "source": code,
        "versions": versions(),
        "points": reports,
    }


def about(reports: list[dict[str, Any]], wholes: dict[str, Whole]) -> dict[str, Any]:
    outcomes = Counter(report["outcome"] for report in reports)
    return {
        "ended": len(reports),
        # But those that had finished before.
        "times": sum(code not in (0, 2) for report in reports for code in report["exit"][:-1]),
        "equal": outcomes["equal"],
        "lost": outcomes["lost"],
        "differing": outcomes["differing"],
        "places": dict(Counter(report["place"] for report in reports)),
        "signals": dict(Counter(report["signal"] for report in reports)),
        "lines": len({report["line"] for report in reports}),
        "of_lines": {kind: sum(whole.counts.values()) for kind, whole in wholes.items()},
        # From the signal to the end of the process, of those that save first.
        "answer": {
            clock: max((r[clock] for r in reports if r["exit"][0] > 128), default=0.0)
            for clock in ("seconds", "processor")
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="End runs and let them go on.")
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args()
    record = soak(options.points, options.seed, options.jobs)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    points = ",\n  ".join(json.dumps(point) for point in record.pop("points"))
    text = json.dumps(record, indent=1).removesuffix("\n}")
    options.out.write_text(f'{text},\n "points": [\n  {points}\n ]\n}}\n')
    print(
        f"{record['equal']} of {record['ended']} equal, lost {record['lost']}, differing {record['differing']}"
    )
    return int(record["equal"] < record["ended"])


if __name__ == "__main__":
    sys.exit(main())

"""Time the layers against what they replace, other forms and the floor: `make bench`, or `make bench QUICK=1`.

Every figure is a ratio within one run. The record, a file per device, is what the performance page shows.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import tables
from tests.benchmarks.measure import Clock, Row

ROOT = Path(__file__).resolve().parents[2]
# glibc gives memory of this size back to the system after each step, and gets it back page by page.
PINNED = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def about(device: torch.device, quick: bool) -> dict[str, Any]:
    """What a ratio depends on."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "quick": quick,
        "device": device.type,
        "processor": cpu() if device.type == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "allocator": {name: os.environ.get(name) for name in PINNED},
        "load": round(os.getloadavg()[0], 2),
    }


def cpu() -> str:
    """The processor's name and the number of its cores."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def unpinned(seconds: float) -> list[Row]:
    """The table that is about the allocator, from a process in which nobody has told it anything."""
    env = {key: value for key, value in os.environ.items() if key not in PINNED}
    command = [sys.executable, "-m", "tests.benchmarks", "--unpinned", str(seconds)]
    output = subprocess.run(
        command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True
    )
    return [Row(**row) for row in json.loads(output.stdout)]


def run(device: torch.device, quick: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    seconds = 0.6 if quick else 10.0
    clock = Clock(device, seconds)
    record, rows = about(device, quick), []
    for table in tables.TABLES:
        for row in table(clock):
            print(row, flush=True)
            rows.append(row)
    if device.type == "cpu":
        rows += unpinned(seconds)
    return record | {
        "traffic": tables.traffic(device),
        "norm_traffic": tables.norm_traffic(device),
        "rows": [row.as_dict() for row in rows],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that it works")
    parser.add_argument("--out", type=Path, help="the folder of the record")
    parser.add_argument("--unpinned", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.unpinned:
        torch.manual_seed(0)
        rows = tables.allocator(Clock(torch.device("cpu"), options.unpinned))
        print(json.dumps([row.as_dict() for row in rows]))
        return 0
    if missing := [name for name in PINNED if name not in os.environ]:
        print(f"error: {', '.join(missing)} not set: call 'make bench'", file=sys.stderr)
        return 1
    # A quick record is no record: it is put where no page reads it.
    folder = options.out or ROOT / ("build/bench" if options.quick else "docs/runs/bench")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        record = run(torch.device(name), options.quick)
        (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        print(folder / f"{name}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a training run survives, from the records of `make soak`: `build/survives.md`."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

RECORDS = Path("docs/runs/soak")


def kills(record: dict[str, Any]) -> str:
    """The numbers of the runs that were ended, and how often where by what."""
    signals = list(record["signals"])
    counts = Counter((point["place"], point["signal"]) for point in record["points"])
    rows = [
        f"| {place} | {' | '.join(str(counts[place, signal]) for signal in signals)} |"
        for place in record["places"]
    ]
    lines = max(record["of_lines"].values())
    answer = record["answer"]
    return "\n".join(
        [
            f"**{record['ended']} runs got a signal, at {record['lines']} different lines of the trainer; with those that were "
            f"killed anew, processes ended {record['times']} times. Lost: {record['lost']}. Differing from an undisturbed "
            f"run in a bit of a weight or a digit of a metric: {record['differing']}.**",
            "",
            f"| where it was ended | {' | '.join(signals)} |",
            f"|---|{'---|' * len(signals)}",
            *rows,
            "",
            f"The lines were drawn with seed {record['seed']} from the {lines:,} that a run executes. From a signal "
            f"that is answered with a checkpoint to the end of the process it took at most "
            f"{answer['seconds']:.1f} s, {answer['processor']:.2f} s of them on a processor: the machine did much else. "
            f"{about(record)}",
        ]
    )


def faults(record: dict[str, Any]) -> str:
    """A row for each fault: what becomes of the run, and the test that proves it."""
    rows = [
        f"| {fault['fault']} | {fault['then']} | {proof(fault)} |" for fault in record["faults"]
    ]
    head = "| what goes wrong | what becomes of the run | proved by |\n|---|---|---|"
    return "\n".join([head, *rows, "", about(record)])


def proof(fault: dict[str, Any]) -> str:
    path, _, name = fault["test"].partition("::")
    cases = f", {fault['passed']} of {fault['cases']} cases" if fault["cases"] > 1 else ""
    words = name.removeprefix("test_").replace("_", " ")
    return f"{words} (`{Path(path).name}`{cases})"


def about(record: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in record["versions"].items()) + "."


def main(target: str) -> None:
    read = {
        name: json.loads((RECORDS / f"{name}.json").read_text()) for name in ("kills", "faults")
    }
    parts = [kills(read["kills"]), "## Fault by fault", faults(read["faults"])]
    Path(target).write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

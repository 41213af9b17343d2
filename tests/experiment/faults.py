"""Run the tests that are marked with what a run survives, and record what came of them: part of `make soak`."""

import json
import sys
from typing import Any

import pytest

from tests.experiment.soak import ROOT, versions

RECORD = ROOT / "docs" / "runs" / "soak" / "faults.json"


class Faults:
    """A plugin of pytest: for each mark the fault, what becomes of the run, its test, and how many cases passed."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if mark := item.get_closest_marker("survives"):
                fault, then = mark.args
                name = item.nodeid.partition("[")[0]
                row = {"fault": fault, "then": then, "test": name, "cases": 0, "passed": 0}
                self.rows.setdefault(name, row)["cases"] += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0]
        if report.when == "call" and name in self.rows:
            self.rows[name]["passed"] += report.passed


def main() -> int:
    faults = Faults()
    code = pytest.main(["-q", "-m", "survives", "tests/experiment", *sys.argv[1:]], [faults])
    rows = ",\n  ".join(json.dumps(row) for row in faults.rows.values())
    about = json.dumps(versions())
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(f'{{\n "versions": {about},\n "faults": [\n  {rows}\n ]\n}}\n')
    return int(code)


if __name__ == "__main__":
    sys.exit(main())

"""The page of what a run survives says what the records say, and the records are of the tests that there are."""

import ast
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tools import survives


@pytest.fixture
def record(root: Path) -> dict[str, dict[str, Any]]:
    folder = root / "docs" / "runs" / "soak"
    return {
        name: json.loads((folder / f"{name}.json").read_text()) for name in ("kills", "faults")
    }


def marked(root: Path) -> set[str]:
    """The tests with a mark `survives`, by path and name."""
    return {
        f"{path.relative_to(root).as_posix()}::{node.name}"
        for path in (root / "tests" / "experiment").glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any("mark.survives(" in ast.unparse(d) for d in node.decorator_list)
    }


def test_of_two_hundred_runs_none_was_lost_and_none_differs(record: dict[str, Any]) -> None:
    kills = record["kills"]
    outcomes = Counter(point["outcome"] for point in kills["points"])
    assert outcomes == {"equal": kills["ended"]}
    assert kills["ended"] == kills["equal"] >= 200
    assert kills["lost"] == kills["differing"] == 0
    places = Counter((point["place"], point["signal"]) for point in kills["points"])
    assert len(places) == len(kills["places"]) * 4
    assert len(set(places.values())) == 1


# A mark that is newer than the record has no row yet: `make soak` gives it one.
def test_each_fault_is_a_test_that_there_is_and_all_its_cases_passed(
    root: Path, record: dict[str, Any]
) -> None:
    faults = record["faults"]["faults"]
    assert len(faults) >= 14
    assert {fault["test"] for fault in faults} <= marked(root)
    assert [f["test"] for f in faults if not f["passed"] == f["cases"] > 0] == []


def test_the_page_has_a_row_for_each_fault_and_the_numbers_of_the_soak(
    record: dict[str, Any],
) -> None:
    kills = survives.kills(record["kills"])
    assert f"**{record['kills']['ended']} runs got a signal" in kills
    assert "Lost: 0." in kills
    rows = [line for line in survives.faults(record["faults"]).splitlines() if line[:2] == "| "]
    assert len(rows) == len(record["faults"]["faults"]) + 1

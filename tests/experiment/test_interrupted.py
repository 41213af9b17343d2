"""Twenty points at which a run is ended by a signal to its process. (Two hundred: `make soak`.)"""

import signal
from pathlib import Path

import pytest

from tests.experiment import interrupted
from tests.experiment.interrupted import Point, Whole


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Whole]:
    folder = tmp_path_factory.mktemp("whole")
    return {kind: interrupted.undisturbed(kind, folder / kind) for kind in interrupted.KINDS}


POINTS = [*interrupted.points(20, seed=0)]


def test_the_points_are_in_every_place_by_every_signal_in_both_kinds_of_training() -> None:
    assert {(p.place, p.signum) for p in POINTS} == {
        (place, signum) for place in interrupted.PLACES for signum in interrupted.SIGNALS
    }
    assert {(p.place, p.kind) for p in POINTS} == {
        (place, kind) for place in interrupted.PLACES for kind in interrupted.KINDS
    }


@pytest.mark.survives(
    "SIGKILL, SIGTERM, SIGINT (Ctrl-C) or SIGHUP at any line of an epoch, of a save, of the test",
    "`--resume` ends with the weights and the metrics of an undisturbed run, bit for bit",
)
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_run_that_is_ended_anywhere_goes_on_bit_for_bit(
    point: Point, wholes: dict[str, Whole], tmp_path: Path
) -> None:
    report = interrupted.end(point, tmp_path / "run", wholes[point.kind])
    assert report["outcome"] == "equal", (report, (tmp_path / "run" / "said.txt").read_text())
    first = report["exit"][0]
    if point.signum == signal.SIGKILL:
        assert first == -signal.SIGKILL
    else:
        # Before it listens, a process ends as processes do; behind its last row, as if nothing had been.
        assert first in (128 + point.signum, -point.signum, 0)
        # Of a processor, which the load of the machine does not change; five are allowed.
        assert report["processor"] < 5

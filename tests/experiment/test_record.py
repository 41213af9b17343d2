"""The records that pages read: what they hold, what is refused, and that running one again gives the same numbers."""

import itertools
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from labml_ws.experiment import plots, record, suite
from labml_ws.experiment.intervals import (
    Claim,
    Interval,
    differences,
    interval,
    verdict,
    verdicts,
)
from labml_ws.experiment.plots import Provenance
from labml_ws.experiment.record import RecordError, mean_spread, read

TIMES = {"seconds", "train_seconds", "images_per_second"}


@pytest.fixture
def copied(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The smallest record, where it can be spoiled."""
    shutil.copytree(root / "docs" / "runs" / "digits", tmp_path / "digits")
    monkeypatch.setattr(record, "records", lambda: tmp_path)
    return tmp_path / "digits" / "smallest"


def test_a_record_is_read(copied: Path) -> None:
    (run,) = read("digits")
    assert (run.name, run.net) == ("digits/smallest", "smallest")
    assert run.finished
    assert not run.diverged
    assert [row["step"] for row in run.kind("measure")] == [0, 15, 22]
    assert run.accuracy == run.rows[-1]["test_accuracy"]


@pytest.mark.parametrize(
    ("name", "net"),
    [("ws-gn-seed0", "ws-gn"), ("bcn-batch16-seed2", "bcn"), ("ws-bcn-batch1-seed0", "ws-bcn")],
)
def test_seeds_and_batch_sizes_share_a_name(name: str, net: str) -> None:
    assert record.Run(Path("methods") / name).net == net


def test_an_unfinished_record_is_refused(copied: Path) -> None:
    lines = (copied / "metrics.jsonl").read_text().splitlines()
    (copied / "metrics.jsonl").write_text("\n".join(lines[:-1]))
    with pytest.raises(RecordError, match=r"smallest: the run was not finished"):
        read("digits")


def test_an_experiment_without_records_is_refused(copied: Path) -> None:
    with pytest.raises(RecordError, match=r"nothing: no runs are recorded here"):
        read("nothing")


@pytest.mark.slow
def test_every_record_is_whole_and_this_code_still_computes_its_probe(root: Path) -> None:
    runs = [record.Run(file.parent) for file in (root / "docs" / "runs").rglob("config.json")]
    assert runs
    for run in runs:
        run.check()
        assert len(run.about["probe"]["losses"]) == 3
        assert ("measured" in run.about["probe"]) == bool(run.config.measure)
    record.check(runs)


def test_every_record_belongs_to_an_experiment_and_says_its_command(root: Path) -> None:
    known = dict(suite.runs())
    for file in sorted((root / "docs" / "runs").rglob("config.json")):
        run = record.Run(file.parent)
        assert run.name in known, run.name
        command = shlex.split(run.command)
        assert {*shlex.split(known[run.name])} <= {*command}, run.name


@pytest.mark.slow
def test_the_recorded_command_gives_the_recorded_metrics(root: Path, tmp_path: Path) -> None:
    """To the last digit on the machine that recorded it; another one may add in another order."""
    run = record.Run(root / "docs" / "runs" / "digits" / "smallest")
    command = shlex.split(run.command)
    assert command[0] == "python"
    command[0] = sys.executable
    assert command[command.index("--out") + 1] == "docs/runs/digits/smallest"
    command[command.index("--out") + 1] = str(tmp_path / "again")
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    again = record.Run(tmp_path / "again")

    def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: row[key] for key in row if key not in TIMES} for row in rows]

    here, there = (about["hardware"] | about["versions"] for about in (again.about, run.about))
    if all(here[key] == there[key] for key in ("processor", "model", "torch")):
        assert untimed(again.rows) == untimed(run.rows)
    else:
        assert again.rows[0]["batch_loss"] == pytest.approx(run.rows[0]["batch_loss"], rel=1e-3)
        assert again.rows[-1]["train_loss"] == pytest.approx(
            run.rows[-1]["train_loss"], rel=0.1
        )


def test_the_line_below_a_figure_names_runs_seeds_data_versions_and_day(copied: Path) -> None:
    line = Provenance(read("digits"))
    about = read("digits")[0].about
    for part in ("docs/runs/digits", "1 run, seed 0", about["versions"]["torch"], "1 epoch"):
        assert part in repr(line)
    assert about["data"]["fingerprint"] in repr(line)
    assert about["started"][:10] in repr(line)
    assert '<a href="recorded_run.html#digits">digits</a>' in line._repr_html_()


def test_the_spread_is_that_of_a_sample() -> None:
    assert mean_spread([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert mean_spread([1.0]) == (1.0, 0.0)


def test_names_are_moved_apart_and_keep_their_order() -> None:
    heights = [0.0, 1.0, 2.0, 50.0, 55.0, 100.0]
    places = plots.spread(heights, gap=10)
    gaps = [b - a for a, b in itertools.pairwise(places)]
    assert min(gaps) >= 10
    assert places[-1] == 100
    assert sum(places) == pytest.approx(sum(heights))


def test_standardized_methods_are_solid_lines_in_the_color_of_their_normalization() -> None:
    assert plots.look("ws-gn")["color"] == plots.look("gn")["color"]
    looks = [plots.look(net) for net in ("gn", "scale-gn", "center-gn", "ws-gn")]
    assert (
        len({str(look["linestyle"]) for look in looks})
        == len({look["label"] for look in looks})
        == 4
    )
    assert looks[-1]["linestyle"] == "-"
    with pytest.raises(ValueError, match="expected one of bn, gn"):
        plots.look("group")


def test_a_curve_goes_through_the_mean_of_those_that_got_there(
    copied: Path, tmp_path: Path
) -> None:
    from matplotlib.figure import Figure

    for seed, rows in enumerate(([(0, 1.0), (9, 5.0)], [(0, 2.0)])):
        folder = tmp_path / "methods" / f"ws-gn-seed{seed}"
        folder.mkdir(parents=True)
        lines = [
            json.dumps({"kind": "measure", "step": step, "beta": beta}) for step, beta in rows
        ]
        (folder / "metrics.jsonl").write_text("\n".join(lines))
    runs = [record.Run(tmp_path / "methods" / f"ws-gn-seed{seed}") for seed in (0, 1)]
    axis = Figure().add_subplot()
    plots.curves(axis, runs, lambda row: float(row["beta"]))
    single, other, means = ([*map(float, line.get_ydata())] for line in axis.get_lines())
    assert (single, other, means) == ([1.0, 5.0], [2.0], [1.5, 5.0])
    assert [line.get_label() for line in axis.get_lines()][2] == "WS + GN"


def test_a_table_is_html_on_a_page_and_text_in_a_terminal() -> None:
    table = plots.Table(
        "Accuracy, %", ["mean", "spread"], [["bn", "54.0", "0.5"], ["a<b", "1", ""]]
    )
    assert '<th scope="row">a&lt;b</th><td>1</td><td></td>' in table._repr_html_()
    assert repr(table).splitlines() == [
        "Accuracy, %",
        "     mean  spread",
        " bn  54.0     0.5",
        "a<b     1        ",
    ]
    with pytest.raises(ValueError, match="a cell for each of 2 heads in row 'bn', got 1"):
        plots.Table("Accuracy, %", ["mean", "spread"], [["bn", "54.0"]])


@pytest.mark.parametrize("values", [[1.0, 2.0, 6.0], [-0.3, 0.1, 0.4, 0.2, -0.9]])
def test_an_interval_is_that_of_a_t_test(values: list[float]) -> None:
    found = interval(values)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.n) == (pytest.approx(sum(values) / len(values)), len(values))


def test_three_seeds_reach_two_and_a_half_spreads_to_either_side() -> None:
    # 4.3027 is the 97.5 % quantile of t with two degrees of freedom, as tables have it.
    found = interval([9.0, 10.0, 11.0])
    assert found.high - 10 == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert str(found) == "+10.0 [+7.5, +12.5]"


def test_one_value_has_no_interval() -> None:
    with pytest.raises(ValueError, match=r"at least 2 values, got 1.*not measured"):
        interval([3.0])


@pytest.mark.parametrize(
    ("ends", "claim", "expected"),
    [
        ((0.1, 4.0), "more", "confirmed"),
        ((-0.1, 4.0), "more", "undecided"),
        ((-4.0, -0.1), "more", "contradicted"),
        ((-4.0, -0.1), "less", "confirmed"),
        ((-0.9, 0.9), "same", "confirmed"),
        ((-0.9, 1.1), "same", "undecided"),
        ((1.1, 3.0), "same", "contradicted"),
        ((-0.9, 5.0), "as good", "confirmed"),
        ((-1.1, 5.0), "as good", "undecided"),
        ((-3.0, -1.1), "as good", "contradicted"),
    ],
)
def test_a_verdict_is_what_holds_all_over_the_interval(
    ends: tuple[float, float], claim: Claim, expected: str
) -> None:
    assert verdict(Interval(sum(ends) / 2, *ends, 3), claim) == expected


def test_a_table_of_verdicts_says_what_was_not_measured() -> None:
    table = verdicts("", [("up", [1.0, 2.0, 3.0], "same"), ("down", None, "less")], margin=9)
    assert table.rows == [
        ["up", "confirmed", "+2.0 [-0.5, +4.5]", "3"],
        ["down", "not measured", "", ""],
    ]
    (row,) = verdicts("", [("twice", [0.6931] * 2, "more")], ratios=True).rows
    assert row[2] == "2.00 [2.00, 2.00]"


def test_differences_are_those_of_equal_seeds() -> None:
    runs = read("methods")
    plain, standardized = ([r for r in runs if r.net == net] for net in ("bn", "ws-bn"))
    assert differences(standardized[::-1], plain) == pytest.approx([3.32, 2.66, 2.03])
    assert differences(standardized[1:], plain) == pytest.approx([2.66, 2.03])
    assert differences(plain, plain, lambda run: run.config.seed) == [0, 0, 0]


def test_a_provenance_says_what_was_done_to_the_images() -> None:
    assert "re-encoded as JPEG (quality 75)" in repr(Provenance(read("methods")))
    assert "JPEG" not in repr(Provenance(read("digits")))

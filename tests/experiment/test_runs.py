"""Runs listed, compared, drawn, shown, measured again and used, from the command line."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from PIL import Image
from safetensors.torch import load_file

from labml_ws.experiment import cifar10, runs, trained, writing
from labml_ws.experiment import train as training
from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import Config
from labml_ws.experiment.record import RecordError, Run
from labml_ws.experiment.runs import main
from labml_ws.experiment.train import train


@pytest.fixture(scope="module")
def images() -> Images:
    digits = cifar10.load("digits")
    cut = {
        f"{part}_{what}": getattr(digits, f"{part}_{what}")[:number]
        for part, number in (("train", 100), ("test", 30))
        for what in "xy"
    }
    return replace(digits, **cut)


@pytest.fixture(scope="module")
def folder(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that differ in seed and rate, of which the first is best in its second epoch of three."""
    folder = tmp_path_factory.mktemp("runs")
    config = Config(width=1 / 16, epochs=3, batch_size=30, data="digits", cpu=True, threads=1)
    evaluate, accuracies = training.evaluate, [0.2, 0.4, 0.4, 0.3] * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "probe", lambda config: {})
        patch.setattr(
            training, "evaluate", lambda *words: (evaluate(*words)[0], accuracies.pop(0))
        )
        for seed, rate in ((0, 1e-3), (1, 3e-3)):
            AcceleratorState._reset_state(True)
            GradientState._reset_state()
            out = folder / f"gn-seed{seed}"
            train(replace(config, seed=seed, learning_rate=rate, norm="gn", out=out), images)
    return folder


@pytest.fixture(autouse=True)
def small(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "load", lambda data: images)


def output(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    assert main([*map(str, words)]) == 0
    return capsys.readouterr().out


def test_a_list_has_a_line_for_each_run_and_a_column_for_what_differs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    title, heads, *lines = output(capsys, "list", folder).splitlines()
    assert title == "2 runs"
    expected = ["learning_rate", "seed", "epochs", "validation", "%", "test", "%", "min"]
    assert heads.split() == expected
    first, second = (line.split() for line in lines)
    assert first[:6] == [str(folder / "gn-seed0"), "0.001", "0", "3/3", "40.0", "30.0"]
    assert second[1:3] == ["0.003", "1"]


def test_recorded_runs_are_listed_with_test_accuracies_alone(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = root / "docs" / "runs" / "rates"
    lines = output(capsys, "list", rates).splitlines()
    line = next(line for line in lines if "ws-gn-rate0.025" in line).split()
    accuracy = 100 * Run(rates / "ws-gn-rate0.025").accuracy
    assert line[-2] == f"{accuracy:.1f}"
    assert line[-3] == "4/4"


def test_an_unfinished_and_a_diverged_run_are_said_to_be_that(
    folder: Path, tmp_path: Path
) -> None:
    for name, row in (("cut", None), ("high", {"kind": "diverged", "seconds": 1.0})):
        shutil.copytree(folder / "gn-seed0", tmp_path / name)
        path = tmp_path / name / "metrics.jsonl"
        lines = path.read_text().splitlines()[:2]
        path.write_text("\n".join([*lines, *([json.dumps(row)] if row else [])]) + "\n")
    (tmp_path / "cut" / "failed-1").mkdir()
    shutil.copy(tmp_path / "cut" / "config.json", tmp_path / "cut" / "failed-1")
    cells = [row[-4:-1] for row in runs.listed(runs.found([tmp_path])).rows]
    assert cells == [["1/3", "20.0", "unfinished"], ["1/3", "20.0", "diverged"]]


def test_a_comparison_shows_settings_and_results_that_differ_and_no_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = output(capsys, "compare", folder / "gn-seed0", folder / "gn-seed1")
    names = {line.split()[0] for line in out.splitlines()[2:]}
    assert {"learning_rate", "seed"} <= names
    assert not {"width", "norm", "epochs", "data", "versions"} & names
    assert "train loss" in out


def test_a_run_compared_with_itself_differs_in_nothing(folder: Path) -> None:
    run = Run(folder / "gn-seed0")
    assert runs.compared(run, run).rows == []


def test_a_picture_has_a_line_per_run_and_says_on_which_images_it_was_measured(
    folder: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from matplotlib.figure import Figure

    assert output(capsys, "draw", folder, "--to", tmp_path / "a.svg").strip().endswith("a.svg")
    assert (tmp_path / "a.svg").read_text().count("gn-seed") >= 2
    for place, label in ((folder, "validation"), (root / "docs/runs/full-width", "test")):
        left, right = Figure().subplots(1, 2)
        found = runs.found([place])
        runs.progress(left, right, found)
        assert right.get_ylabel() == f"{label} accuracy (%)"
        assert len(left.get_lines()) == len(right.get_lines()) == len(found)
        heights = [float(y) / 100 for y in right.get_lines()[0].get_ydata()]
        assert heights == pytest.approx(found[0].curve)


def test_what_is_shown_has_the_command_and_each_epoch(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = output(capsys, "show", folder / "gn-seed0").splitlines()
    assert lines[0].startswith("python -m labml_ws.experiment --norm gn")
    assert [line.partition(":")[0] for line in lines[-4:]] == ["epoch"] * 3 + ["test"]
    assert any("processes 1" in line for line in lines)


def test_the_best_weights_are_those_of_the_best_epoch(folder: Path) -> None:
    run = Run(folder / "gn-seed0")
    assert run.best == 2
    last, best = (
        load_file(run.folder / f"{name}.safetensors")["features.0.weight"]
        for name in ("model", "best")
    )
    assert not torch.equal(last, best)
    # One epoch less than three: with a constant rate, that is the end of a run of two.
    images = cifar10.load("digits")
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "probe", lambda config: {})
        out = folder.parent / "shorter"
        train(replace(run.config, epochs=2, out=out), images)
    assert torch.equal(load_file(out / "model.safetensors")["features.0.weight"], best)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_weights_are_measured_again_on_the_images_of_the_run(
    part: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(folder / "gn-seed0")
    loss, accuracy = trained.measured(run, part)
    (row,) = [run.kind("test")[-1]] if part == "test" else [run.kind("epoch")[-1]]
    assert loss == pytest.approx(row[f"{part}_loss"], rel=1e-5)
    out = output(capsys, "evaluate", run.folder, "--on", part)
    assert out.strip() == f"{part} loss {loss:.4f}, {part} accuracy {accuracy:.2%}"
    assert trained.measured(run, part, "best")[0] != loss


def test_a_prediction_is_what_the_network_says_of_the_image(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], images: Images
) -> None:
    file = tmp_path / "seven.png"
    Image.fromarray(images.test_x[3].permute(1, 2, 0).numpy()).save(file)
    network = trained.load(Run(folder / "gn-seed0"))
    share, label = network(images.test_x[3:4]).max(dim=1)
    out = output(capsys, "predict", folder / "gn-seed0", file)
    assert out.strip() == f"{file}: class {label.item()} ({share.item():.1%})"


WRONG = {
    "list nowhere": "expected records in nowhere, found none",
    "show nowhere": "expected a folder with the record of a run, got nowhere",
    "evaluate RATES --on test --data x": "expected model.safetensors in",
    "predict RUN config.json": "expected an image such as PNG or JPEG, got config.json",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_not_there_is_a_sentence(
    words: str,
    folder: Path,
    root: Path,
    images: Images,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder / "gn-seed0")
    monkeypatch.setattr(trained, "images", lambda run, data: images)
    places = {"RUN": str(folder / "gn-seed0"), "RATES": f"{root}/docs/runs/rates/bn-rate0.05"}
    assert main([places.get(word, word) for word in words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert WRONG[words] in error


def test_other_images_than_those_of_the_run_are_refused(
    folder: Path, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(images, train_y=images.train_y.flip(0))
    monkeypatch.setattr(cifar10, "load", lambda data: other)
    with pytest.raises(ValueError, match="expected the images of the run"):
        trained.measured(Run(folder / "gn-seed0"), "test")


def test_a_run_without_validation_images_is_measured_on_none(root: Path) -> None:
    run = Run(root / "docs" / "runs" / "digits" / "smallest")
    with pytest.raises((ValueError, RecordError)):
        trained.measured(run, "validation")


@pytest.mark.parametrize("command", ["list", "compare", "draw", "show", "evaluate", "predict"])
def test_help_has_a_line_for_each_option(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 100 for line in text.splitlines())
    for line in text.splitlines():
        if line.startswith("  -"):
            assert len(line.split()) > 2, line

"""Trackers show what the metrics hold, whichever is asked for, and change nothing; the metrics are there without."""

import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from accelerate.tracking import GeneralTracker

from labml_ws.experiment import tracking, writing
from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import Config
from labml_ws.experiment.record import Run
from labml_ws.experiment.train import Training, train

TIMES = {"seconds", "train_seconds", "images_per_second"}


@pytest.fixture(scope="module")
def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (60, 3, 32, 32), generator=generator).byte()
    y = torch.arange(60) % 10
    return Images(x[:40], y[:40], x[40:], y[40:], "noise")


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "probe", lambda config: {})
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    monkeypatch.chdir(tmp_path)


def tiny(out: str, **settings: Any) -> Config:
    defaults = {"width": 1 / 16, "epochs": 2, "batch_size": 12, "data": "digits", "cpu": True}
    defaults |= {"threads": 1, "checkpoint_steps": 1}
    return Config(**{**defaults, **settings}, out=Path(out))


def numbers(folder: str) -> list[dict[str, Any]]:
    lines = Path(folder, "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


class Listing(GeneralTracker):
    """A stand-in for one that is not installed."""

    name = "listing"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.began = self.finished = 0

    @property
    def tracker(self) -> "Listing":
        return self

    def start(self) -> None:
        self.began += 1

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        assert step is not None
        self.rows.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_a_tracker_is_told_every_row_of_the_metrics(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Listing()
    monkeypatch.setattr(tracking, "chosen", lambda tracker: [listing])
    train(tiny("run", tracker="wandb"), images)
    rows = numbers("run")
    assert [row["kind"] for row in rows] == ["step", "epoch", "step", "epoch", "test"]
    assert [step for step, _ in listing.rows] == [3, 3, 6, 6, 6]
    for row, (_, values) in zip(rows, listing.rows, strict=True):
        for name in row.keys() - {"kind"}:
            assert values[f"{row['kind']}/{name}"] == pytest.approx(row[name], rel=1e-5)
    assert (listing.began, listing.finished) == (1, 1)


def test_a_run_that_fails_ends_its_tracker(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Listing()
    monkeypatch.setattr(tracking, "chosen", lambda tracker: [listing])
    monkeypatch.setattr(Training, "update", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError):
        train(tiny("run"), images)
    assert listing.finished == 1
    assert next(iter(listing.rows[-1][1])).startswith("diverged/")


def test_a_tracker_that_is_not_installed_is_refused_in_a_sentence(images: Images) -> None:
    with pytest.raises(
        ValueError, match=r"--tracker that is installed, got wandb: 'pip install"
    ):
        train(tiny("run", tracker="wandb"), images)
    assert not Path("run").exists()


def test_by_default_tensorboard_shows_where_it_is_installed_and_nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Config().tracker == "auto"
    assert tracking.chosen("auto") is None
    monkeypatch.setattr(tracking, "find_spec", importlib.util.find_spec)
    assert tracking.chosen("auto") == "tensorboard"
    assert tracking.chosen("none") is None


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of TensorBoard's own imports
def test_tensorboard_shows_the_metrics_also_of_a_run_that_went_on(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny("none", tracker="none"), images)
    monkeypatch.setattr(tracking, "find_spec", importlib.util.find_spec)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Killed(BaseException):
        pass

    update, calls = Training.update, []

    def killed(self: Training, *arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == 6:
            raise Killed
        return update(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "update", killed)
        with pytest.raises(Killed):
            train(tiny("run", tracker="tensorboard"), images)
    train(tiny("run", resume=True), images)
    assert numbers("run") == numbers("none")
    events = EventAccumulator("run/tensorboard").Reload()
    epochs = [row for row in numbers("run") if row["kind"] == "epoch"]
    shown = events.Scalars("epoch/validation_accuracy")
    assert [event.step for event in shown] == [3, 6]
    for event, row in zip(shown, epochs, strict=True):
        assert event.value == pytest.approx(row["validation_accuracy"], rel=1e-5)
    (test,) = events.Scalars("test/test_loss")
    assert test.value == pytest.approx(numbers("run")[-1]["test_loss"], rel=1e-5)


@pytest.mark.slow
def test_wandb_keeps_the_metrics_without_a_network(tmp_path: Path) -> None:
    command = "--data digits --width 0.0625 --train-images 128 --epochs 2 --threads 1 --cpu"
    options = [*command.split(), "--tracker", "wandb", "--out", "run"]
    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run(
        [sys.executable, "-m", "labml_ws.experiment", *options],
        env=environment,
        check=True,
        capture_output=True,
    )
    (kept,) = tmp_path.glob("wandb/offline-run-*/*.wandb")

    def shown(name: bytes) -> list[float]:
        """A name, a few bytes of the file's format, the number in JSON; most stand there twice."""
        found = re.findall(name + rb".{1,6}?([0-9.]+)", kept.read_bytes(), re.DOTALL)
        return [*dict.fromkeys(map(float, found))]

    rows = numbers("run")
    epochs = [row["validation_accuracy"] for row in rows if row["kind"] == "epoch"]
    assert shown(b"epoch/validation_accuracy") == pytest.approx(epochs, rel=1e-5)
    assert shown(b"test/test_loss") == pytest.approx([rows[-1]["test_loss"]], rel=1e-5)


def test_metrics_with_half_a_last_line_are_read_up_to_it(images: Images) -> None:
    train(tiny("run", tracker="none"), images)
    path = Path("run/metrics.jsonl")
    content = path.read_bytes()
    rows = Run(Path("run")).rows
    for cut in (1, 2, 20):
        path.write_bytes(content[:-cut])
        assert Run(Path("run")).rows == (rows if cut == 1 else rows[:-1])
    path.write_bytes(content[:30] + content[40:])
    with pytest.raises(json.JSONDecodeError):
        _ = Run(Path("run")).rows


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="the system has no terminals to pretend")
def test_a_terminal_shows_a_loss_after_the_first_update_and_soon(root: Path) -> None:
    """Within 15 seconds of a core to itself. Counted is the processor's time, which other work on the machine makes longer,
    too: so twice as much is let pass."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    control, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    command = [
        sys.executable,
        "-m",
        "labml_ws.experiment",
        "--data",
        "digits",
        "--threads",
        "1",
    ]
    process = subprocess.Popen(
        [*command, "--cpu", "--out", str(Path("run").resolve())],
        cwd=root,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    try:
        shown = ""
        while not re.search(r"loss \d", shown):
            shown += os.read(control, 1000).decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(control)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime < 30
    assert "1,293 images" in shown
    assert re.search(r"\b1/20 \[[^]]*loss \d", shown)

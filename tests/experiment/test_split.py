"""Validation images: who they are, who sees them, and that the test images are looked at once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from labml_ws.experiment import cifar10, probe, record, suite, writing
from labml_ws.experiment import train as training
from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import Config
from labml_ws.experiment.record import RecordError, Run
from labml_ws.experiment.split import split
from labml_ws.experiment.train import train


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "probe", lambda config: {})
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def images() -> Images:
    """Every image is filled with its own number, so that it can be told who was seen."""
    number = torch.arange(150).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).to(torch.uint8)
    labels = torch.arange(150) % 10
    return Images(number[:100], labels[:100], number[100:], labels[100:], "numbers", flip=False)


def tiny(out: str = "run", **settings: Any) -> Config:
    defaults = {"width": 1 / 16, "epochs": 2, "batch_size": 10, "learning_rate": 1e-3}
    return Config(**{**defaults, "data": "digits", "cpu": True, **settings}, out=Path(out))


def rows(folder: str = "run") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("total", "share"), [(50_000, 0.1), (1437, 0.1), (97, 0.25), (30, 0.5)]
)
def test_the_share_is_taken_of_each_class_and_nothing_is_lost(total: int, share: float) -> None:
    y = torch.randint(10, (total,), generator=torch.Generator().manual_seed(5)).sort().values
    if total == 50_000:
        y = torch.arange(total) % 10
    x = torch.arange(total).view(-1, 1)
    parts = split(Images(x, y, x[:1], y[:1], "numbers"), share)
    assert len(parts.validation_y) == round(share * total)
    both = torch.cat([parts.train_x, parts.validation_x]).flatten()
    assert torch.equal(both.sort().values, torch.arange(total))
    assert torch.equal(parts.validation_y, y[parts.validation_x.flatten()])
    expected = share * y.bincount(minlength=10)
    assert (parts.validation_y.bincount(minlength=10) - expected).abs().max() <= 1
    if total == 50_000:
        assert parts.validation_y.bincount().tolist() == [500] * 10


def test_the_images_are_the_same_for_every_seed_of_a_run(images: Images) -> None:
    torch.manual_seed(1)
    first = split(images, 0.1)
    torch.manual_seed(2)
    assert torch.equal(first.validation_x, split(images, 0.1).validation_x)
    assert first.fingerprint != images.fingerprint


def test_without_a_share_the_images_stay_as_they_are(images: Images) -> None:
    assert split(images, 0) is images


def test_training_sees_no_validation_image_and_the_test_images_are_looked_at_once(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, looks = set[int](), list[set[int]]()
    augment, evaluate = cifar10.augment, training.evaluate
    monkeypatch.setattr(cifar10, "normalize", lambda x, mean, std: x.float())

    def seen(x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        trained.update(x[:, 0, 0, 0].int().tolist())
        return augment(x, *arguments, **options) / 255

    def looked(model: Any, batches: Any, *arguments: Any) -> Any:
        batches = list(batches)
        looks.append({n for x, _ in batches for n in x[:, 0, 0, 0].int().tolist()})
        return evaluate(model, batches, *arguments)

    monkeypatch.setattr(cifar10, "augment", seen)
    monkeypatch.setattr(training, "evaluate", looked)
    row = train(tiny(), images)
    held_out = set(split(images, 0.1).validation_x[:, 0, 0, 0].int().tolist())
    assert looks == [held_out, held_out, set(range(100, 150))]
    assert trained == set(range(100)) - held_out
    assert {"validation_accuracy", "test_accuracy"} <= row.keys()


def test_the_record_says_which_numbers_are_of_which_images(images: Images) -> None:
    row = train(tiny(), images)
    epochs, last = [r for r in rows() if r["kind"] == "epoch"], rows()[-1]
    assert all("validation_loss" in epoch and "test_loss" not in epoch for epoch in epochs)
    assert last.keys() == {"kind", "test_loss", "test_accuracy", "seconds"}
    about = json.loads(Path("run/config.json").read_text())["data"]
    assert (about["train"], about["validation"], about["test"]) == (90, 10, 50)
    assert about["split"] == "by class, seed 0"
    run = Run(Path("run"))
    assert run.finished
    assert run.held_out == "validation"
    assert run.curve == pytest.approx([epoch["validation_accuracy"] for epoch in epochs])
    assert (run.validation, run.accuracy) == pytest.approx(
        (row["validation_accuracy"], row["test_accuracy"]), abs=1e-6
    )


def test_a_run_whose_test_is_not_there_is_not_finished(images: Images) -> None:
    train(tiny(), images)
    lines = Path("run/metrics.jsonl").read_text().splitlines(keepends=True)
    Path("run/metrics.jsonl").write_text("".join(lines[:-1]))
    assert not Run(Path("run")).finished


def test_without_validation_images_nothing_may_be_chosen(images: Images) -> None:
    train(tiny(validation=0.0), images)
    run = Run(Path("run"))
    assert run.finished
    assert [row["kind"] for row in rows()] == ["step", "epoch", "step", "epoch"]
    assert run.curve[-1] == run.accuracy
    assert "validation" not in run.about["data"]
    with pytest.raises(RecordError, match="held out no validation images"):
        _ = run.validation


def test_what_is_measured_are_images_that_were_held_out(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(cifar10, "normalize", lambda x, mean, std: x.float())
    monkeypatch.setattr(
        training, "snapshot", lambda model, held_out, x, y: seen.append(held_out) or {}
    )
    train(tiny(measure=100), images)
    assert all(torch.equal(x, split(images, 0.1).validation_x.float()) for x in seen)
    assert len(seen) == 2


def test_a_record_from_before_there_was_a_choice_held_out_none(root: Path) -> None:
    run = Run(root / "docs" / "runs" / "digits" / "smallest")
    assert "validation" not in run.about["config"]
    assert run.config.validation == 0
    assert run.held_out == "test"
    assert run.command == f"{run.about['command']} --validation 0 --no-fused"


def test_a_probe_is_the_same_with_validation_images_and_without() -> None:
    config = Config(width=1 / 16)
    assert probe.essence(config) == probe.essence(replace(config, validation=0.0))


# The study of rates


def test_every_method_has_a_run_at_every_rate_and_validation_images_to_choose_by() -> None:
    runs = dict(suite.tuning())
    assert len(runs) == len(suite.TUNED) * len(suite.RATES) * 2 == 120
    for name, settings in runs.items():
        assert "--validation" not in settings, name
        assert "--no-resume" not in settings, name
    nets = {Run(Path(name)).net for name in runs}
    assert nets == {*suite.TUNED}
    assert {"bcn", "bcn-estimates", "ws-bcn", "ws-bcn-batch"} <= nets


def test_rates_are_in_proportion_to_the_batch() -> None:
    runs = dict(suite.tuning())
    large, small = (runs[f"tuning/gn-batch{batch}-rate0.1"].split() for batch in (64, 1))
    rate = large.index("--learning-rate") + 1
    assert float(large[rate]) == 0.1
    assert float(small[rate]) == pytest.approx(0.1 / 64, rel=1e-5)


def test_an_unfinished_run_of_the_study_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "docs" / "runs" / "tuning" / "x"
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.setattr(suite, "RUNS", tmp_path / "docs" / "runs")
    monkeypatch.setattr(record, "records", lambda: tmp_path / "docs" / "runs")
    commands = []

    def started(command: list[str], **_: Any) -> Any:
        commands.append(command)
        raise KeyboardInterrupt

    monkeypatch.setattr(suite.subprocess, "run", started)
    for checkpoints in (False, True):
        (folder / "checkpoints" / "step-00000002").mkdir(parents=True)
        if not checkpoints:
            (folder / "checkpoints" / "step-00000002").rmdir()
        with pytest.raises(KeyboardInterrupt):
            suite.run("tuning/x", "--seed 0")
        assert ("--resume" in commands[-1]) == checkpoints
        assert folder.exists() == checkpoints

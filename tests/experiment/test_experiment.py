"""The trainer, on a network and a data set small enough for a second: what it records, what it repeats, how it fails."""

import ast
import inspect
import json
import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from labml_ws import BatchChannelNorm, Conv2d, EstimatedBatchNorm
from labml_ws.experiment import __main__, cifar10
from labml_ws.experiment.__main__ import main
from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import Config, build, optimization
from labml_ws.experiment.train import evaluate, train

pytestmark = pytest.mark.usefixtures("small")

TIMES = {"seconds", "train_seconds", "images_per_second"}


def tiny(out: Path | str, **settings: Any) -> Config:
    defaults = {
        "data": "digits",
        "width": 1 / 16,
        "epochs": 1,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "validation": 0.0,
        "cpu": True,
    }
    return Config(**{**defaults, **settings}, out=Path(out))


def rows(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if kind in (None, line["kind"])]


def timeless(folder: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key not in TIMES} for row in rows(folder)
    ]


def learning_rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Fills as the optimizer steps."""
    seen, step = [], torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        seen.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    return seen


# The record


def test_a_run_writes_its_settings_its_metrics_and_its_weights(
    images: Images, tmp_path: Path
) -> None:
    row = train(tiny(tmp_path / "run", epochs=2), images)
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
    ]
    epochs = rows(tmp_path / "run", "epoch")
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    for epoch in epochs:
        assert all(math.isfinite(value) for value in epoch.values() if isinstance(value, float))
        assert 0 <= epoch["train_accuracy"] <= 1
        assert 0 <= epoch["test_accuracy"] <= 1
    assert epochs[-1]["test_accuracy"] == pytest.approx(row["test_accuracy"], abs=1e-6)


def test_the_record_says_which_settings_command_data_versions_and_hardware(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [__main__.__file__, "--seed", "7", "--note", "two words"])
    config = tiny(tmp_path / "run", seed=7, note="two words")
    train(config, images)
    about = json.loads((tmp_path / "run" / "config.json").read_text())
    assert about["config"].keys() == {field.name for field in fields(Config)}
    assert (about["config"]["seed"], about["config"]["note"], about["config"]["width"]) == (
        7,
        "two words",
        1 / 16,
    )
    assert about["command"] == "python -m labml_ws.experiment --seed 7 --note 'two words'"
    assert about["data"]["fingerprint"] == images.fingerprint
    assert (about["data"]["train"], about["data"]["test"]) == (96, 50)
    assert about["versions"]["torch"] == torch.__version__
    assert about["hardware"]["device"] == "cpu"
    assert about["hardware"]["processor"]


@pytest.mark.parametrize("form", [["--data", "{}"], ["--data={}"]])
def test_the_record_does_not_say_where_on_this_machine_the_data_was(
    form: list[str], images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "secret" / "tiny"
    monkeypatch.setattr(
        "sys.argv", [__main__.__file__, *(word.format(folder) for word in form)]
    )
    train(tiny("run", data=str(folder)), images)
    text = Path("run/config.json").read_text()
    assert "secret" not in text
    assert json.loads(text)["config"]["data"] == "tiny"


def test_a_folders_name_changes_no_other_word_of_the_recorded_command(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    monkeypatch.chdir(folder)
    out = tmp_path / "secret" / "run"
    words = ["--data", ".", "--learning-rate", "0.01", "--note", "", "--out", f"{out}/"]
    monkeypatch.setattr("sys.argv", [__main__.__file__, *words])
    train(tiny(out, data="."), images)
    about = json.loads((out / "config.json").read_text())
    start = "python -m labml_ws.experiment --data tiny --learning-rate 0.01"
    assert about["command"] == f"{start} --note '' --out run"
    assert (about["config"]["data"], about["config"]["out"]) == ("tiny", "run")


def test_the_recorded_weights_give_the_recorded_test_accuracy_and_loss(
    images: Images, tmp_path: Path
) -> None:
    config = tiny(tmp_path / "run", epochs=2)
    train(config, images)
    model = build(config)
    model.load_state_dict(load_file(tmp_path / "run" / "model.safetensors"), strict=True)
    pixels = images.train_x.double() / 255
    mean, std = (
        pixels.mean((0, 2, 3), keepdim=True),
        pixels.std((0, 2, 3), keepdim=True, correction=0),
    )
    with torch.no_grad():
        logits = model.eval().double()((images.test_x.double() / 255 - mean) / std)
    last = rows(tmp_path / "run", "epoch")[-1]
    assert last["test_loss"] == pytest.approx(
        -logits.log_softmax(1)[range(50), images.test_y].mean().item(), rel=1e-4
    )
    assert last["test_accuracy"] == pytest.approx(
        (logits.argmax(1) == images.test_y).double().mean().item()
    )


def test_evaluation_counts_every_test_image_once_and_leaves_the_statistics(
    images: Images,
) -> None:
    # Batches of 20, 20 and 10: a mean of the batches' means would weigh the last one too much.
    model = build(tiny("run"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    mean, std = cifar10.channel_stats(images.train_x)
    batches = cifar10.loader(images.test_x, images.test_y, 20)
    loss, accuracy = evaluate(model, batches, mean, std)
    logits = model(cifar10.normalize(images.test_x, mean, std))
    assert loss == pytest.approx(
        nn.functional.cross_entropy(logits, images.test_y).item(), rel=1e-5
    )
    assert accuracy == pytest.approx((logits.argmax(1) == images.test_y).double().mean().item())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_record_is_not_written_over(images: Images, tmp_path: Path) -> None:
    train(tiny(tmp_path / "run"), images)
    before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with pytest.raises(FileExistsError, match=r"already holds the record.*--out"):
        train(tiny(tmp_path / "run", seed=1), images)
    assert {file: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_half_weights_are_fp16_and_their_statistics_float32_and_load_into_the_network(
    images: Images, tmp_path: Path
) -> None:
    config = tiny(tmp_path / "run", half_weights=True)
    train(config, images)
    weights, model = load_file(tmp_path / "run" / "model.safetensors"), build(config)
    parameters = dict(model.named_parameters())
    for name, tensor in weights.items():
        expected = (
            torch.float16
            if name in parameters
            else torch.int64
            if "num_batches" in name
            else torch.float32
        )
        assert tensor.dtype == expected, name
    model.load_state_dict(weights, strict=True)
    mean, std = cifar10.channel_stats(images.train_x)
    loss, _ = evaluate(model, cifar10.loader(images.test_x, images.test_y, 50), mean, std)
    assert loss == pytest.approx(rows(tmp_path / "run", "epoch")[-1]["test_loss"], rel=0.02)


def test_a_loss_that_is_not_a_number_stops_the_run_and_leaves_the_epochs_before_it(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    augment, calls = cifar10.augment, []

    def breaks(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        calls.append(None)
        # Six batches an epoch: the first epoch is whole.
        return augment(x, *args, **kwargs) * (math.nan if len(calls) > 8 else 1)

    monkeypatch.setattr(cifar10, "augment", breaks)
    with pytest.raises(
        FloatingPointError, match=r"the loss is nan in epoch 2.*--learning-rate"
    ):
        train(tiny(tmp_path / "run", epochs=3), images)
    assert [row["epoch"] for row in rows(tmp_path / "run", "epoch")] == [1]
    assert all(
        tensor.isfinite().all()
        for tensor in load_file(tmp_path / "run" / "model.safetensors").values()
    )


# The same again


def test_the_same_seed_gives_the_same_metrics_and_weights(
    images: Images, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        # Whatever used random numbers before does not matter.
        torch.rand(len(name) + ord(name))
        train(tiny(tmp_path / name, seed=3), images)
    assert timeless(tmp_path / "a") == timeless(tmp_path / "b")
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "b"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_another_seed_gives_other_weights_another_order_and_another_augmentation(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    augment, seen = cifar10.augment, []

    def watched(x: Tensor, generator: torch.Generator, **options: Any) -> Tensor:
        seen.append((x, generator.initial_seed()))
        return augment(x, generator, **options)

    monkeypatch.setattr(cifar10, "augment", watched)
    for seed in (3, 4):
        # Steps this small leave the weights where they started.
        train(tiny(tmp_path / str(seed), seed=seed, learning_rate=1e-30), images)
    weights = [
        load_file(tmp_path / name / "model.safetensors")["features.0.weight"]
        for name in ("3", "4")
    ]
    assert not torch.equal(*weights)
    assert not torch.equal(seen[0][0], seen[6][0])
    assert (seen[0][1], seen[6][1]) == (3, 4)
    assert timeless(tmp_path / "3") != timeless(tmp_path / "4")


def test_it_learns(images: Images, tmp_path: Path) -> None:
    # Well above the tenth that guessing gives, on images that it has seen.
    row = train(tiny(tmp_path / "run", epochs=10, learning_rate=1e-2), images)
    assert row["train_accuracy"] > 0.5


# The network of a setting

NORMS: dict[str, Callable[[nn.Module], bool]] = {
    "bcn": lambda m: (
        isinstance(m, BatchChannelNorm)
        and isinstance(m.batch_norm, EstimatedBatchNorm)
        and m.channel_norm.groups == 2
    ),
    "bn": lambda m: isinstance(m, nn.BatchNorm2d),
    "gn": lambda m: isinstance(m, nn.GroupNorm) and m.num_groups == 2,
    "ln": lambda m: isinstance(m, nn.GroupNorm) and m.num_groups == 1,
}


@pytest.mark.parametrize("ws", [True, False], ids=["ws", "plain"])
@pytest.mark.parametrize("norm", [*NORMS, "none"])
def test_every_variant_trains_and_is_made_of_what_its_settings_say(
    norm: Any, ws: bool, images: Images, tmp_path: Path
) -> None:
    config = tiny(tmp_path / "run", norm=norm, ws=ws, batch_size=48)
    model = build(config)
    convolutions = [module for module in model.features if isinstance(module, nn.Conv2d)]
    assert {type(module) for module in convolutions} == {Conv2d if ws else nn.Conv2d}
    others = [
        module
        for module in model.features
        if not isinstance(module, nn.Conv2d | nn.ReLU | nn.MaxPool2d)
    ]
    assert len(others) == (0 if norm == "none" else 13)
    assert all(NORMS[norm](module) for module in others)
    if ws and norm == "none":  # as recorded in conventions/ws-none
        with pytest.raises(FloatingPointError, match=r"the loss is .* in epoch 1"):
            train(replace(config, learning_rate=1e-4), images)
    else:
        row = train(replace(config, learning_rate=1e-4), images)
        assert math.isfinite(row["test_loss"])


def test_without_estimates_bcn_takes_the_statistics_of_the_batch() -> None:
    kinds = [
        type(m.batch_norm)
        for m in build(tiny("run", estimate=False)).features
        if isinstance(m, BatchChannelNorm)
    ]
    assert len(kinds) == 13
    assert all(issubclass(kind, nn.BatchNorm2d) for kind in kinds)


def test_the_momentum_of_the_estimates_reaches_every_layer() -> None:
    norms = [
        m for m in build(tiny("run", momentum=0.03)).features if isinstance(m, BatchChannelNorm)
    ]
    assert [norm.batch_norm.momentum for norm in norms] == [0.03] * 13
    with pytest.raises(ValueError, match=r"expected --momentum from 0 to 1, got 1\.5"):
        Config(momentum=1.5)


def test_the_defaults_are_those_of_the_original_experiment() -> None:
    config = Config()
    assert (config.ws, config.norm, config.groups, config.width) == (True, "bcn", 32, 1.0)
    assert (config.data, config.epochs, config.batch_size, config.learning_rate) == (
        "hub",
        5,
        64,
        2.5e-4,
    )
    assert (config.weight_decay, config.schedule, config.accumulate) == (0.0, "constant", 1)


def test_settings_that_change_the_run_change_its_default_folder() -> None:
    assert Config().folder == Path("runs/ws-bcn-width1-batch64-seed0")
    names = {
        Config().name,
        Config(ws=False).name,
        Config(norm="gn").name,
        Config(estimate=False).name,
        Config(seed=1).name,
    }
    assert len(names | {Config(width=0.5).name, Config(batch_size=2).name}) == 7


# Optimization


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_cycle_climbs_to_the_peak_and_returns_to_nearly_zero(
    accumulate: int, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = learning_rates(monkeypatch)
    # 12 batches an epoch.
    train(
        tiny(
            tmp_path / "run",
            batch_size=8,
            epochs=2,
            schedule="one-cycle",
            accumulate=accumulate,
        ),
        images,
    )
    assert len(seen) == 24 / accumulate
    peak = seen.index(max(seen))
    assert 0.2 < peak / len(seen) < 0.4
    assert max(seen) > 0.9e-3
    assert seen[: peak + 1] == sorted(seen[: peak + 1])
    assert seen[peak:] == sorted(seen[peak:], reverse=True)
    assert seen[-1] < 1e-3 * max(seen)


def test_a_constant_schedule_is_constant(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = learning_rates(monkeypatch)
    train(tiny(tmp_path / "run"), images)
    assert seen == [1e-3] * 6
    assert {row["learning_rate"] for row in rows(tmp_path / "run", "step")} == {1e-3}


@pytest.mark.parametrize(("cycle", "momenta"), [(True, {0.95, 0.85}), (False, {0.9})])
def test_one_cycle_moves_the_momentum_unless_told_not_to(
    cycle: bool, momenta: set[float]
) -> None:
    config = tiny("run", optimizer="sgd", schedule="one-cycle", cycle_momentum=cycle)
    optimizer, schedule = optimization(config, nn.Linear(1, 1), steps=10)
    seen = []
    for _ in range(9):
        seen.append(round(optimizer.param_groups[0]["momentum"], 6))
        optimizer.step()
        schedule.step()
    assert {min(seen), max(seen)} == momenta


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_fused_optimizer_is_asked_for_and_comes_to_nearly_the_same(
    optimizer: Any, images: Images, tmp_path: Path, float64: None
) -> None:
    weights = []
    for fused in (False, True):
        config = tiny(tmp_path / f"{fused}", optimizer=optimizer, fused=fused)
        assert bool(optimization(config, build(config), 1)[0].defaults["fused"]) is fused
        train(config, images)
        weights.append(load_file(tmp_path / f"{fused}" / "model.safetensors"))
    assert distance(*weights) < 0.1 * config.learning_rate


def accumulated(norm: Any, images: Images, folder: Path) -> list[dict[str, Tensor]]:
    """Trained weights, with batches of 16 and with two accumulated batches of 8 for each."""
    weights = []
    for accumulate in (1, 2):
        out = folder / f"{norm}-{accumulate}"
        train(tiny(out, norm=norm, batch_size=16 // accumulate, accumulate=accumulate), images)
        weights.append(load_file(out / "model.safetensors"))
    return weights


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max(
        (a[key] - b[key]).abs().max().item()
        for key in a
        if "running" not in key and "num_batches" not in key
    )


def test_two_accumulated_batches_are_one_large_batch_for_group_norm_and_are_not_for_batch_norm(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Augmentation draws per batch, so it would differ.
    monkeypatch.setattr(cifar10, "augment", lambda x, *_, **__: x)
    # Adam divides by the size of the gradient, so where that is nearly zero rounding alone moves a weight by a part of a step.
    learning_rate = 1e-3
    assert distance(*accumulated("gn", images, tmp_path)) < 0.1 * learning_rate
    assert distance(*accumulated("bn", images, tmp_path)) > learning_rate


def test_bfloat16_arithmetic_keeps_float32_weights(images: Images, tmp_path: Path) -> None:
    row = train(tiny(tmp_path / "run", mixed_precision="bf16"), images)
    assert math.isfinite(row["test_loss"])
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32, torch.int64}


# The command line


def test_the_command_line_trains_and_ends_with_one_line_of_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "--data digits --width 0.0625 --epochs 1 --batch-size 32 --cpu --no-ws --norm gn"
    )
    assert main([*arguments.split(), "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out.splitlines()
    accuracy = rows(tmp_path / "run", "test")[-1]["test_accuracy"]
    assert out[-1].startswith(
        f"gn-width0.0625-batch32-seed0-digits-epochs1: test accuracy {accuracy:.2%} after 1 epochs in "
    )
    assert out[-1].endswith(str(tmp_path / "run"))
    assert re.match(
        r"86 images \(scikit-learn digits, resized\), 10 for validation after each epoch, "
        r"[\d,]+ parameters, cpu, fp32; "
        rf"the record goes to {tmp_path / 'run'}",
        out[0],
    )
    assert [
        line
        for line in out
        if re.match(
            r"epoch 1/1: loss [\d.]+, accuracy .*%, validation accuracy .*%, \d+ images/s", line
        )
    ]


def test_each_epoch_but_the_last_says_how_long_the_run_will_take(
    images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(tmp_path / "run", epochs=3), images)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert [bool(re.search(r", about [\d.]+ min left$", line)) for line in lines] == [
        True,
        True,
        False,
    ]


# What a setting alone shows to be wrong is a usage error, which tyro reports like an unknown option: exit code 2.
USAGE = {
    "--epochs 0": "expected --epochs of at least 1, got 0",
    "--batch-size -4": "expected --batch-size of at least 1, got -4",
    "--accumulate 0": "expected --accumulate of at least 1, got 0",
    "--groups 0": "expected --groups of at least 1, got 0",
    "--learning-rate 0": "expected --learning-rate above 0, and finite, got 0",
    "--learning-rate nan": "expected --learning-rate above 0, and finite, got nan",
    "--learning-rate inf": "expected --learning-rate above 0, and finite, got inf",
    "--weight-decay -1": "expected --weight-decay of at least 0, and finite, got -1",
    "--weight-decay inf": "expected --weight-decay of at least 0, and finite, got inf",
    "--width 0": "expected --width above 0 and at most 16 (3.8 billion weights), got 0",
    "--width inf": "at most 16 (3.8 billion weights), got inf",
    "--width nan": "at most 16 (3.8 billion weights), got nan",
    "--width 1e9": "at most 16 (3.8 billion weights), got 1000000000.0",
    "--drive nan --norm gn": "expected --drive of at least 0, and finite, got nan",
    "--validation 1": "expected --validation from 0 to less than 1, got 1",
    "--validation nan": "expected --validation from 0 to less than 1, got nan",
    "--momentum nan": "expected --momentum from 0 to 1, got nan",
    "--threads 100000": "expected --threads of at most 1024, got 100000",
    "--seed -1": "expected --seed from 0 to 4294967295, got -1",
    "--norm batch": "invalid choice 'batch'",
    "--epoch 1": "--epochs",
}
# What shows later ends in one sentence.
LATER = {
    "--width 0.25 --groups 12": "got --groups 12: at --width 0.25 these are 3 groups for 16 channels",
    "--width 0.25 --groups 12 --norm gn": "expected --groups that divide the channels of every",
    "--batch-size 97": "expected --batch-size of at most 86, the training images, got 97",
    "--validation 0.001": "of the 96 training images that is neither none nor all of them, got 0.001",
    "--validation 0.999": "neither none nor all of them, got 0.999: pass --validation 0",
    "--train-images 90": "expected --train-images of at most 86, got 90",
    "--data nowhere": "expected train*.parquet and test*.parquet in nowhere, found neither",
    "--mixed-precision fp16": "expected --mixed-precision no or bf16 on a CPU, got fp16",
}


def command(arguments: str, out: Path) -> list[str]:
    return [
        "--data",
        "digits",
        "--width",
        "0.0625",
        "--epochs",
        "1",
        "--cpu",
        "--out",
        str(out),
        *arguments.split(),
    ]


@pytest.mark.parametrize("arguments", USAGE)
def test_a_setting_that_cannot_be_is_a_usage_error_on_stderr(
    arguments: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stop:
        main(command(arguments, tmp_path / "run"))
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert USAGE[arguments] in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", LATER)
def test_a_setting_that_does_not_fit_ends_in_one_sentence_on_stderr_and_exit_code_2(
    arguments: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(arguments, tmp_path / "run")) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert LATER[arguments] in captured.err
    assert not (tmp_path / "run").exists()


def test_an_existing_record_ends_in_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("", tmp_path / "run")) == 0
    capsys.readouterr()
    assert main(command("", tmp_path / "run")) == 2
    assert capsys.readouterr().err.startswith(
        f"error: {tmp_path / 'run'} already holds the record"
    )


def comments() -> dict[str, str]:
    """What stands above each setting in the source."""
    source = inspect.getsource(Config).splitlines()
    (definition,) = ast.parse("\n".join(source)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = last = node.lineno - 1
            while source[first - 1].strip().startswith("#"):
                first -= 1
            found[node.target.id] = " ".join(
                line.strip().lstrip("# ") for line in source[first:last]
            )
    return found


def test_help_has_a_line_for_every_setting_with_its_reason_and_default_in_groups(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--norm", "gn", "--help"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    reasons = comments()
    assert reasons.keys() == {field.name for field in fields(Config)}
    for field in fields(Config):
        option = field.name.replace("_", "-")
        (line,) = [li for li in lines if re.match(rf"  --(\[no-\])?{option}\b(?!-)", li)]
        assert len(line) <= 100, line
        words = line.split("  ", 2)[-1].partition(" [")[0].partition(":")[0].strip()
        assert words, line
        assert reasons[field.name].replace("`", "").startswith(words), line
        default = field.default
        if isinstance(default, bool):
            default = "yes" if default else "no"
        if default not in (None, ""):
            assert line.endswith(f"[{default}]"), line
    groups = [line for line in lines if re.fullmatch(r"[A-Z]\w+:", line)]
    assert groups == ["Network:", "Images:", "Training:", "Machine:", "Record:"]


def test_help_offers_every_choice_that_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["-h"])
    text = capsys.readouterr().out
    assert "bcn, bn, gn, ln, none [bcn]" in text
    assert "paper, center, scale, unbiased, eps-outside [paper]" in text

"""A run that ends anywhere goes on to what an undisturbed one comes to, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from labml_ws.experiment import checkpoint, cifar10, writing
from labml_ws.experiment.__main__ import main
from labml_ws.experiment.checkpoint import Checkpoints, Stopped
from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import Config
from labml_ws.experiment.train import Training, train
from labml_ws.experiment.writing import Record

TIMES = {"seconds", "train_seconds", "images_per_second"}


@pytest.fixture(scope="module")
def images() -> Images:
    digits = cifar10.load("digits")
    return replace(
        digits,
        train_x=digits.train_x[:48],
        train_y=digits.train_y[:48],
        test_x=digits.test_x[:20],
        test_y=digits.test_y[:20],
    )


@pytest.fixture(autouse=True)
def clean(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(writing, "probe", lambda config: {})
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    monkeypatch.setattr(cifar10, "load", lambda data: images)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    # Whoever runs the tests in the background has these ignored.
    handlers = {
        number: signal.signal(number, handler)
        for number, handler in (
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGTERM, signal.SIG_DFL),
            (signal.SIGHUP, signal.SIG_DFL),
        )
    }
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.set_num_threads(threads)


# Twelve batches of 8, six an epoch.
TINY = {
    "data": "digits",
    "width": 1 / 16,
    "epochs": 2,
    "batch_size": 8,
    "validation": 0.0,
    "cpu": True,
    "threads": 1,
}
KINDS: dict[str, dict[str, Any]] = {
    "adam": {"checkpoint_steps": 2, "learning_rate": 1e-3},
    "sgd": {
        "optimizer": "sgd",
        "schedule": "one-cycle",
        "accumulate": 4,
        "learning_rate": 0.01,
        "checkpoint_steps": 1,
        "norm": "bn",
    },
    # Five batches an epoch.
    "validated": {"validation": 0.1, "checkpoint_steps": 2, "learning_rate": 1e-3},
}


def tiny(kind: str, out: str, **settings: Any) -> Config:
    return Config(**{**TINY, **KINDS[kind], **settings}, out=Path(out))


def result(folder: str) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """The metrics without times, and the bytes of the weights."""
    lines = Path(folder, "metrics.jsonl").read_text().splitlines()
    rows = [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]
    weights = load_file(Path(folder, "model.safetensors"))
    return rows, {name: tensor.numpy().tobytes() for name, tensor in weights.items()}


class Killed(BaseException):
    """Nothing catches it, as nothing catches a power cut."""


def kill(owner: Any, name: str, number: int, patch: pytest.MonkeyPatch, after: bool) -> None:
    """At the call of that number, before or after it does its work."""
    original, calls = getattr(owner, name), []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == number and not after:
            raise Killed
        answer = original(*arguments, **options)
        if len(calls) == number:
            raise Killed
        return answer

    patch.setattr(owner, name, counted)


POINTS: list[tuple[str, Any, str, int, bool]] = [
    *(("adam", Training, "update", number, False) for number in (1, 3, 4, 6, 7, 8, 12)),
    *(("sgd", Training, "update", number, True) for number in (1, 2, 3, 4)),
    *(("adam", checkpoint, "write", number, False) for number in (1, 2, 3, 4, 7, 10, 13)),
    *(("adam", checkpoint, "flush_folder", number, True) for number in (2, 4, 5, 8)),
    *(("sgd", Record, "add", number, after) for number in (1, 2, 3) for after in (False, True)),
    ("sgd", Record, "add", 4, False),
    *(("adam", Record, "save_weights", number, True) for number in (1, 2)),
    *(
        ("validated", Training, "measured_on", number, after)
        for number in (1, 2, 3)
        for after in (False, True)
    ),
    *(("validated", Record, "add", number, True) for number in (2, 4)),
    ("validated", Record, "add", 5, False),
]


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(("kind", "owner", "name", "number", "after"), POINTS)
def test_a_killed_run_goes_on_bit_for_bit(
    kind: str,
    owner: Any,
    name: str,
    number: int,
    after: bool,
    images: Images,
    undisturbed: dict[str, Any],
) -> None:
    if kind not in undisturbed:
        train(tiny(kind, "whole"), images)
        undisturbed[kind] = result("whole")
    with pytest.MonkeyPatch.context() as patch:
        kill(owner, name, number, patch, after)
        with pytest.raises(Killed):
            train(tiny(kind, "cut"), images)
    # Whatever used random numbers in between does not matter.
    torch.rand(7)
    train(tiny(kind, "cut", resume=True), images)
    assert result("cut") == undisturbed[kind]
    assert not Path("cut/checkpoints").exists()


def test_a_run_can_be_killed_again_and_again(images: Images) -> None:
    train(tiny("adam", "whole"), images)
    for number in (5, 3, 4):
        with pytest.MonkeyPatch.context() as patch:
            kill(Training, "update", number, patch, after=False)
            with pytest.raises(Killed):
                train(tiny("adam", "cut", resume=True), images)
    train(tiny("adam", "cut", resume=True), images)
    assert result("cut") == result("whole")


# In a process of its own: SIGKILL at the n-th call.
DRIVER = """
import os, signal, sys
from dataclasses import replace
from labml_ws.experiment import checkpoint, cifar10, writing
from labml_ws.experiment.__main__ import main
from labml_ws.experiment.train import Training

digits = cifar10.load("digits")
cut = {f"{s}_{p}": getattr(digits, f"{s}_{p}")[:n] for s, n in (("train", 48), ("test", 20)) for p in "xy"}
cifar10.load = lambda data: replace(digits, **cut)
writing.probe = lambda config: {}
owner = {"checkpoint": checkpoint, "Training": Training}[sys.argv.pop(1)]
name, number, signum = sys.argv.pop(1), int(sys.argv.pop(1)), int(sys.argv.pop(1))
original, calls = getattr(owner, name), []

def counted(*arguments):
    calls.append(None)
    if len(calls) == number:
        os.kill(os.getpid(), signum)
    return original(*arguments)

setattr(owner, name, counted)
sys.exit(main())
"""


def driver(owner: str, name: str, number: int, signum: int) -> subprocess.CompletedProcess[str]:
    words = writing.options(tiny("adam", "cut"))
    command = [sys.executable, "-c", DRIVER, owner, name, str(number), str(int(signum)), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [("Training", "update", 4), ("checkpoint", "flush", 6), ("checkpoint", "flush_folder", 7)],
)
def test_a_process_that_is_killed_goes_on_bit_for_bit(
    owner: str, name: str, number: int, images: Images
) -> None:
    done = driver(owner, name, number, signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL, done.stderr
    train(tiny("adam", "whole"), images)
    train(tiny("adam", "cut", resume=True), images)
    assert result("cut") == result("whole")
    assert {path.name for path in Path("cut").iterdir()} >= {
        path.name for path in Path("whole").iterdir()
    }
    assert not [*Path("cut").glob("*.partial")]


@pytest.mark.slow
def test_a_terminated_process_saves_its_step_and_says_how_to_go_on(images: Images) -> None:
    done = driver("Training", "update", 4, signal.SIGTERM)
    assert done.returncode == 128 + signal.SIGTERM
    (line,) = done.stderr.splitlines()
    assert line.startswith("stopped by SIGTERM after batch 4 of 12, which is saved; to go on: ")
    assert line.endswith("--resume")
    assert Checkpoints(Path("cut/checkpoints"), 2).steps == [2, 4]
    train(tiny("adam", "cut", resume=True), images)
    train(tiny("adam", "whole"), images)
    assert result("cut") == result("whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("place", ["update", "evaluate", "last update"])
def test_a_signal_is_answered_within_seconds_by_a_checkpoint(
    place: str, number: int, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = Training
    name, call = {"update": ("update", 3), "last update": ("update", 6)}.get(
        place, ("until_stopped", 1)
    )
    original, calls, sent = getattr(owner, name), [], []

    def counted(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), number)
            sent.append(time.perf_counter())
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, counted)
        before = signal.getsignal(number)
        with pytest.raises(Stopped, match=rf"stopped by {signal.Signals(number).name}"):
            train(tiny("adam", "cut"), images)
    assert time.perf_counter() - sent[0] < 5
    assert signal.getsignal(number) is before
    train(tiny("adam", "cut", resume=True), images)
    train(tiny("adam", "whole"), images)
    assert result("cut") == result("whole")


def test_a_second_signal_ends_at_once() -> None:
    with checkpoint.Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_that_is_ignored_as_by_nohup_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with checkpoint.Signals() as signals:
        signal.raise_signal(signal.SIGHUP)
        assert signals.number == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def interrupted(images: Images, number: int = 6) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill(Training, "update", number, patch, after=False)
        with pytest.raises(Killed):
            train(tiny("adam", "cut"), images)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "weights": lambda place: flip(place / "model.safetensors"),
    "state": lambda place: flip(place / "state.pt"),
    "cut off": lambda place: os.truncate(place / "state.pt", 100),
    "missing": lambda place: (place / "model.safetensors").unlink(),
    "checksums": lambda place: (place / "checksums.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    damage: str, images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(images)
    DAMAGE[damage](Path("cut/checkpoints/step-00000004"))
    train(tiny("adam", "cut", resume=True), images)
    captured = capsys.readouterr()
    assert "the checkpoint cut/checkpoints/step-00000004 is damaged" in captured.err
    assert "going on after batch 2 of 12" in captured.out
    train(tiny("adam", "whole"), images)
    assert result("cut") == result("whole")


def test_nothing_in_a_checkpoint_is_executed(images: Images) -> None:
    interrupted(images)
    place = Path("cut/checkpoints/step-00000004")

    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (Path("harm"),)

    torch.save({"progress": Harm()}, place / "state.pt")
    checksums = {
        name: checkpoint.sha256((place / name).read_bytes())
        for name in ("model.safetensors", "state.pt")
    }
    (place / "checksums.json").write_text(json.dumps(checksums))
    train(tiny("adam", "cut", resume=True), images)
    assert not Path("harm").exists()


def test_without_a_whole_checkpoint_the_run_begins_again(images: Images) -> None:
    interrupted(images)
    for place in Path("cut/checkpoints").iterdir():
        flip(place / "state.pt")
    train(tiny("adam", "cut", resume=True), images)
    train(tiny("adam", "whole"), images)
    assert result("cut") == result("whole")
    assert Path("cut/failed-1/metrics.jsonl").exists()


def test_killed_behind_its_last_row_a_run_is_finished(images: Images) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill(Record, "add", 4, patch, after=True)
        with pytest.raises(Killed):
            train(tiny("adam", "cut"), images)
    with pytest.raises(FileExistsError, match="already holds the record of a run"):
        train(tiny("adam", "cut", resume=True), images)
    train(tiny("adam", "whole"), images)
    assert result("cut") == result("whole")
    assert not Path("cut/checkpoints").exists()


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_checkpoints_stay(keep: int, images: Images) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill(Training, "update", 11, patch, after=False)
        with pytest.raises(Killed):
            train(tiny("adam", "cut", checkpoints=keep), images)
    assert Checkpoints(Path("cut/checkpoints"), keep).steps == [6, 8, 10][-keep:]


def test_the_same_command_again_says_how_to_go_on(
    images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(images)
    words = writing.options(tiny("adam", "cut"))
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "checkpoint of step 4: add --resume to go on with it" in error
    assert main([*words, "--resume"]) == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"learning_rate": 0.5}, r"--learning-rate 0\.001, got 0\.5"),
        ({"seed": 1}, "--seed 0, got 1"),
        ({"epochs": 3}, "--epochs 2, got 3"),
    ],
)
def test_a_run_does_not_go_on_as_another(
    settings: dict[str, Any], expected: str, images: Images
) -> None:
    interrupted(images)
    with pytest.raises(ValueError, match=expected):
        train(tiny("adam", "cut", resume=True, **settings), images)
    other = replace(images, train_y=images.train_y.flip(0))
    with pytest.raises(ValueError, match="expected the data of the run that goes on"):
        train(tiny("adam", "cut", resume=True), other)


def test_a_full_disk_leaves_the_earlier_checkpoints_whole(images: Images) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, os.strerror(28))

    with pytest.MonkeyPatch.context() as patch:
        original, calls = checkpoint.flush, []
        patch.setattr(
            checkpoint,
            "flush",
            lambda file: (calls.append(0), original(file) if len(calls) < 6 else full()),
        )
        with pytest.raises(OSError, match=r"could not write .*step|partial.*No space left"):
            train(tiny("adam", "cut"), images)
    assert {path.name for path in Path("cut/checkpoints").iterdir()} == {"step-00000002"}
    train(tiny("adam", "cut", resume=True), images)
    train(tiny("adam", "whole"), images)
    assert result("cut") == result("whole")

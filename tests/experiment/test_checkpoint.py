"""A run that ends anywhere goes on to what an undisturbed one comes to, bit for bit."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from labml_ws.experiment import checkpoint, cifar10, writing
from labml_ws.experiment.__main__ import main
from labml_ws.experiment.checkpoint import Checkpoints, Stopped
from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import Config
from labml_ws.experiment.train import Training, train
from labml_ws.experiment.writing import Record
from tests.experiment import interrupted


@pytest.fixture(scope="module")
def images() -> Images:
    return interrupted.images()


@pytest.fixture(autouse=True)
def clean(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(writing, "probe", lambda config: {})
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    monkeypatch.setattr(cifar10, "load", lambda *_, **__: images)
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


def tiny(kind: str = "adam", **settings: Any) -> Config:
    return interrupted.tiny(kind, **settings)


Result = tuple[list[dict[str, Any]], dict[str, bytes]]


def result(folder: str = "cut") -> Result:
    return interrupted.result(Path(folder))


@pytest.fixture(scope="module")
def whole(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What an undisturbed run comes to."""
    folder = tmp_path_factory.mktemp("whole")
    AcceleratorState._reset_state(True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "probe", lambda config: {})
        train(tiny(out=folder / "run"), images)
    return result(str(folder / "run"))


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


@pytest.mark.survives(
    "It is killed again and again", "it goes on from where it was, bit for bit"
)
def test_a_run_can_be_killed_again_and_again(images: Images, whole: Result) -> None:
    for number in (5, 3, 4):
        with pytest.MonkeyPatch.context() as patch:
            kill(Training, "update", number, patch, after=False)
            with pytest.raises(Killed):
                train(tiny(resume=True), images)
    train(tiny(resume=True), images)
    assert result() == whole


@pytest.mark.survives(
    "Ctrl-C, SIGTERM or SIGHUP in a step",
    "the step is finished and saved, and the command to go on is said",
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_answered_by_a_checkpoint_and_the_command_to_go_on(
    number: int, images: Images, whole: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = Training.update, []

    def counted(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == 4:
            os.kill(os.getpid(), number)
        return original(*arguments)

    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(Training, "update", counted)
        with pytest.raises(Stopped) as stop:
            train(tiny(), images)
    name = signal.Signals(number).name
    begin = (
        f"stopped by {name} after batch 4 of 12, which is saved; to go on: python -m labml_ws"
    )
    assert str(stop.value).startswith(begin)
    assert str(stop.value).endswith("--resume")
    assert signal.getsignal(number) is before
    assert Checkpoints(Path("cut/checkpoints"), 2).steps == [2, 4]
    train(tiny(resume=True), images)
    assert result() == whole


@pytest.mark.survives("A second Ctrl-C", "it ends at once; what was saved is whole")
def test_a_second_signal_ends_at_once() -> None:
    with checkpoint.Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.survives("The terminal closes on `nohup`", "it trains on")
def test_a_signal_that_is_ignored_as_by_nohup_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with checkpoint.Signals() as signals:
        signal.raise_signal(signal.SIGHUP)
        assert signals.number == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def cut_off(images: Images, number: int = 6) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill(Training, "update", number, patch, after=False)
        with pytest.raises(Killed):
            train(tiny(), images)


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


@pytest.mark.survives(
    "A checkpoint is damaged, cut off or incomplete", "it is named, and the one before is used"
)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    damage: str, images: Images, whole: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(images)
    DAMAGE[damage](Path("cut/checkpoints/step-00000004"))
    train(tiny(resume=True), images)
    captured = capsys.readouterr()
    assert "the checkpoint cut/checkpoints/step-00000004 is damaged" in captured.err
    assert "going on after batch 2 of 12" in captured.out
    assert result() == whole


@pytest.mark.survives(
    "Somebody hides a program in a checkpoint", "nothing of it runs; the one before is used"
)
def test_nothing_in_a_checkpoint_is_executed(images: Images) -> None:
    cut_off(images)
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
    train(tiny(resume=True), images)
    assert not Path("harm").exists()


@pytest.mark.survives(
    "All checkpoints are damaged",
    "the run begins again, and what was there is moved into `failed-1`",
)
def test_without_a_whole_checkpoint_the_run_begins_again(images: Images, whole: Result) -> None:
    cut_off(images)
    for place in Path("cut/checkpoints").iterdir():
        flip(place / "state.pt")
    train(tiny(resume=True), images)
    assert result() == whole
    assert Path("cut/failed-1/metrics.jsonl").exists()


@pytest.mark.survives(
    "It is killed behind its last row", "the run is finished, and `--resume` says so"
)
def test_killed_behind_its_last_row_a_run_is_finished(images: Images, whole: Result) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill(Record, "add", 4, patch, after=True)
        with pytest.raises(Killed):
            train(tiny(), images)
    with pytest.raises(FileExistsError, match="already holds the record of a run"):
        train(tiny(resume=True), images)
    assert result() == whole
    assert not Path("cut/checkpoints").exists()


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_checkpoints_stay(keep: int, images: Images) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill(Training, "update", 11, patch, after=False)
        with pytest.raises(Killed):
            train(tiny(checkpoints=keep), images)
    assert Checkpoints(Path("cut/checkpoints"), keep).steps == [6, 8, 10][-keep:]


@pytest.mark.survives("The same command is given again", "it says how to go on")
def test_the_same_command_again_says_how_to_go_on(
    images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(images)
    words = writing.options(tiny())
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "checkpoint of step 4: add --resume to go on with it" in error
    assert main([*words, "--resume"]) == 0


@pytest.mark.survives(
    "Other settings or other data with `--resume`", "refused, with what differs"
)
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
    cut_off(images)
    with pytest.raises(ValueError, match=expected):
        train(tiny(resume=True, **settings), images)
    other = replace(images, train_y=images.train_y.flip(0))
    with pytest.raises(ValueError, match="expected the data of the run that goes on"):
        train(tiny(resume=True), other)


@pytest.mark.survives(
    "The disk is full in the middle of a checkpoint",
    "one sentence; the earlier ones are whole, and it goes on bit for bit",
)
def test_a_full_disk_leaves_the_earlier_checkpoints_whole(
    images: Images, whole: Result
) -> None:
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
            train(tiny(), images)
    assert {path.name for path in Path("cut/checkpoints").iterdir()} == {"step-00000002"}
    train(tiny(resume=True), images)
    assert result() == whole


@pytest.mark.parametrize(("minutes", "saved"), [(1e-9, [4, 5]), (60.0, [])])
def test_a_checkpoint_is_written_when_its_minutes_have_passed(
    minutes: float, saved: list[int], images: Images, whole: Result
) -> None:
    clock = {"checkpoint_steps": 0, "checkpoint_minutes": minutes}
    with pytest.MonkeyPatch.context() as patch:
        kill(Training, "update", 6, patch, after=False)
        with pytest.raises(Killed):
            train(tiny(**clock), images)
    assert Checkpoints(Path("cut/checkpoints"), 2).steps == saved
    # Also by other minutes, and without any.
    train(tiny(resume=True), images)
    assert result() == whole

"""What may go wrong with a run: each fault ends in a sentence, and what was there before stays whole."""

import errno
import io
import json
import math
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import tyro
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from labml_ws.experiment import checkpoint, cifar10
from labml_ws.experiment import train as training
from labml_ws.experiment.__main__ import main
from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import Config, build
from labml_ws.experiment.decoding import DataError
from labml_ws.experiment.train import train
from labml_ws.experiment.writing import Record


@pytest.fixture(autouse=True)
def clean(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def tiny(out: Path | str = "run", **settings: Any) -> Config:
    defaults = {"data": "digits", "width": 1 / 16, "epochs": 1, "batch_size": 16, "cpu": True}
    defaults |= {"validation": 0.0}
    return Config(**{**defaults, "learning_rate": 1e-3, **settings}, out=Path(out))


TINY = ["--data", "digits", "--width", "0.0625", "--epochs", "1", "--batch-size", "16", "--cpu"]
TINY += ["--validation", "0"]


def strict(text: str) -> Any:
    """As parsers other than Python's read it."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [strict(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# The last group of an epoch


@pytest.mark.parametrize("accumulate", [4, 5, 6, 7])
def test_an_incomplete_group_of_batches_is_divided_by_what_it_holds(
    accumulate: int, images: Images, monkeypatch: pytest.MonkeyPatch, float64: None
) -> None:
    # Six batches of 16. Group norm can't tell a group of batches from one large batch, and SGD moves by the gradient.
    monkeypatch.setattr(cifar10, "augment", lambda x, *_, **__: x)
    config = tiny(norm="gn", optimizer="sgd", accumulate=accumulate, learning_rate=0.01)
    train(config, images)
    torch.manual_seed(0)
    model = build(config)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True)
    mean, std = cifar10.channel_stats(images.train_x)
    batches = list(cifar10.loader(images.train_x, images.train_y, 16, seed=0))
    for first in range(0, 6, accumulate):
        group = batches[first : first + accumulate]
        x, y = (torch.cat([batch[part] for batch in group]) for part in (0, 1))
        F.cross_entropy(model(cifar10.normalize(x, mean, std)), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = load_file("run/model.safetensors")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(weights[name], parameter.detach(), rtol=1e-8, atol=1e-10)


# What is on the disk


def test_the_weights_are_saved_before_the_test_which_may_fail(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("a bad label")

    monkeypatch.setattr(training, "evaluate", fails)
    with pytest.raises(RuntimeError, match="a bad label"):
        train(tiny(), images)
    assert "model.safetensors" in files(Path("run"))


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_all_files_have_the_mode_that_the_user_asked_for(mask: int, images: Images) -> None:
    old = os.umask(mask)
    try:
        train(tiny(), images)
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in Path("run").iterdir()}
    assert modes == {0o666 & ~mask}


def full(*_: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.survives(
    "A file cannot be written", "the old one or the new one is there, and no part"
)
@pytest.mark.parametrize("failing", ["flush", "flush_folder"])
def test_a_save_that_fails_keeps_the_old_file_or_the_new_one_and_no_part(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.write(tmp_path / "file", b"old")
    monkeypatch.setattr(checkpoint, failing, full)
    with pytest.raises(OSError, match=r"could not write .*file \(No space left.*make room"):
        checkpoint.write(tmp_path / "file", b"new")
    assert files(tmp_path) == {"file"}
    assert (tmp_path / "file").read_bytes() in (b"old", b"new")


@pytest.mark.survives("The disk is full", "one sentence; what was written before is whole")
def test_a_full_disk_ends_the_run_in_a_sentence_and_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add = Record.add

    def later(self: Record, **row: Any) -> dict[str, Any]:
        if row["kind"] == "epoch":
            monkeypatch.setattr(checkpoint, "flush", full)
        return add(self, **row)

    monkeypatch.setattr(Record, "add", later)
    assert main([*TINY, "--epochs", "2", "--out", "run"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "could not write run/model.safetensors (No space left on device)" in error
    kept = {"config.json", "metrics.jsonl", "model.safetensors", "checkpoints"}
    assert files(Path("run")) == kept
    assert files(Path("run/checkpoints")) == {"step-00000006"}
    assert [row["kind"] for row in rows(Path("run"))] == ["step", "epoch", "step"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_a_row_that_does_not_fit_is_a_sentence(images: Images) -> None:
    record = Record(tiny(), images, torch.device("cpu"))
    Path("run/metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"could not write run/metrics.jsonl \(No space left"):
        record.add(kind="step")
    record.close()


@pytest.mark.survives("Half a row of the metrics fits on the disk", "it is taken back")
def test_half_a_row_is_taken_back(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(tiny(), images, torch.device("cpu"))
    record.add(kind="step", step=1)

    class Short(io.FileIO):
        def write(self, content: Any) -> int:
            return super().write(content[:5])

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, *_, **__: Short(path, "a"))
        with pytest.raises(OSError, match="No space left"):
            record.add(kind="step", step=2)
    record.close()
    assert [row["step"] for row in rows(Path("run"))] == [1]


# Numbers that are none


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_test_loss_that_is_not_finite_ends_the_run(
    loss: float, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "evaluate", lambda *_: (loss, 0.1))
    with pytest.raises(FloatingPointError, match=f"the test loss is {loss} in epoch 1"):
        train(tiny(), images)
    assert rows(Path("run"))[-1]["kind"] == "diverged"


@pytest.mark.parametrize("value", [math.nan, math.inf, [1.0, -math.inf], {"a": [math.nan]}])
def test_metrics_are_json_for_every_parser(value: Any, images: Images) -> None:
    record = Record(tiny(), images, torch.device("cpu"))
    record.add(kind="measure", beta=value)
    record.close()
    assert "null" in Path("run/metrics.jsonl").read_text()
    assert len(rows(Path("run"))) == 1


@pytest.mark.parametrize("loss", [2.6e12, 1e5])
def test_a_loss_that_explodes_is_stopped_though_it_is_finite(
    loss: float, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        F, "cross_entropy", lambda logits, _: logits.sum() * 0 + torch.tensor(loss)
    )
    with pytest.raises(
        FloatingPointError, match=r"the loss is .* in epoch 1.*guessing has 2\.3"
    ):
        train(tiny(), images)


# Whose folder it is


@pytest.mark.survives(
    "A run has failed in the folder", "its files are moved into `failed-1`, and the next begins"
)
def test_a_failed_run_does_not_block_its_folder_and_nothing_of_it_is_lost(
    images: Images, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        with monkeypatch.context() as patched:
            patched.setattr(training, "evaluate", lambda *_: (math.nan, 0.1))
            with pytest.raises(FloatingPointError):
                train(tiny(seed=number), images)
    train(tiny(seed=3), images)
    assert "its files are now in failed-2" in capsys.readouterr().out
    assert rows(Path("run"))[-1]["kind"] == "epoch"
    for number in (1, 2):
        failed = Path(f"run/failed-{number}")
        kept = {"config.json", "metrics.jsonl", "model.safetensors", "checkpoints"}
        assert files(failed) == kept
        assert strict((failed / "config.json").read_text())["config"]["seed"] == number


def test_of_two_runs_in_one_folder_the_second_is_refused_until_the_first_has_ended(
    images: Images,
) -> None:
    first = Record(tiny(), images, torch.device("cpu"))
    with pytest.raises(FileExistsError, match="another run is writing its record into run"):
        Record(tiny(), images, torch.device("cpu"))
    first.close()
    Record(tiny(), images, torch.device("cpu")).close()


@pytest.mark.survives("Two runs start at once in one folder", "one runs, the other is refused")
@pytest.mark.slow
def test_of_two_starts_at_once_one_runs(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-m", "labml_ws.experiment", *TINY, "--out", str(tmp_path / "a")]
    runs = [
        subprocess.Popen(command, cwd=root, stdout=-3, stderr=subprocess.PIPE) for _ in range(2)
    ]
    errors = [run.communicate()[1].decode() for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2], errors
    assert sum(row["kind"] == "epoch" for row in rows(tmp_path / "a")) == 1


def test_metrics_of_an_unknown_run_are_not_added_to(images: Images) -> None:
    Path("run").mkdir()
    Path("run/metrics.jsonl").write_text('{"kind": "step"}\n')
    with pytest.raises(FileExistsError, match=r"metrics.jsonl, and no config.json"):
        train(tiny(), images)
    assert Path("run/metrics.jsonl").read_text() == '{"kind": "step"}\n'


OUT = {
    "": "expected --out with the name of a folder",
    ".": "expected --out with the name of a folder",
    "file/x": "got file/x (Not a directory)",
    "file": "got file (File exists)",
    "x" * 300: "(File name too long)",
    "a\0b": "(embedded null byte)",
    "/proc/x": "got /proc/x (No such file or directory)",
}


@pytest.mark.survives("A folder that cannot be", "one sentence")
@pytest.mark.parametrize("out", OUT)
def test_a_folder_that_cannot_be_is_a_sentence(
    out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    Path("file").touch()
    try:
        code: Any = main([*TINY, "--out", out])
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2
    assert OUT[out] in error
    assert "Traceback" not in error
    assert files(Path()) <= {"file", "cache"}


# Names and commands


def test_every_setting_that_changes_the_numbers_changes_the_default_folder() -> None:
    changes: dict[str, Any] = {
        "ws": False, "norm": "gn", "estimate": False, "momentum": 0.01, "groups": 16,
        "variant": "center", "ws_classifier": True, "width": 0.5, "data": "digits",
        "train_images": 100, "epochs": 6, "batch_size": 32, "accumulate": 4, "optimizer": "sgd",
        "learning_rate": 0.1, "weight_decay": 0.01, "schedule": "one-cycle", "seed": 1,
        "mixed_precision": "bf16", "cycle_momentum": False, "fused": False, "validation": 0.0,
    }  # fmt: skip
    names = {Config(**{key: value}).name for key, value in changes.items()}
    assert len(names | {Config().name, Config(norm="gn", drive=2.0).name}) == len(changes) + 2
    assert Config(epochs=6, learning_rate=0.1, optimizer="sgd").name == (
        "ws-bcn-width1-batch64-seed0-epochs6-sgd-rate0.1"
    )
    assert Config(cycle_momentum=False).name.endswith("-seed0-no-cycle-momentum")
    assert "/" not in Config(data="/home/a b/images").name


def test_the_command_recorded_from_a_notebook_gives_the_same_settings(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    config = tiny(ws=False, norm="gn", note="two words", half_weights=True)
    train(config, images)
    command = strict(Path("run/config.json").read_text())["command"]
    start = "python -m labml_ws.experiment "
    assert command.startswith(start)
    assert tyro.cli(Config, args=shlex.split(command.removeprefix(start))) == config


# Data


def png(size: int = 32) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def write(path: Path, encoded: list[Any], labels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"img": encoded, "label": labels}), path)


def image(content: bytes | None, path: str | None = None) -> dict[str, Any]:
    return {"bytes": content, "path": path}


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
BAD: dict[str, tuple[Callable[[], tuple[Any, Any]], str]] = {
    "undecodable": (
        lambda: ([image(png()), image(b"no image")], [0, 1]),
        "expected an image such as PNG or JPEG in row 1 of the train images in folder bad",
    ),
    "cut off": (
        lambda: ([image(png()[:500]), image(png())], [0, 1]),
        "expected an image such as PNG or JPEG in row 0",
    ),
    "null": (
        lambda: (pa.array([image(png()), None], STRUCT), [0, 1]),
        "expected the bytes of an image in row 1 of the train images in folder bad, got nothing",
    ),
    "path": (
        lambda: (pa.array([image(None, "SECRET"), image(png())], STRUCT), [0, 1]),
        "expected the bytes of an image in row 0 of the train images in folder bad, got a path",
    ),
    "paths": (lambda: (["SECRET", "SECRET"], [0, 1]), "row 0 of the train images"),
    "sizes": (
        lambda: ([image(png()), image(png(16))], [0, 1]),
        "expected images of 32x32 pixels, got 16x16 in row 1 of the train images in folder bad",
    ),
    "ten": (lambda: ([image(png())] * 2, [0, 10]), "got 10 in row 1 of the train images"),
    "-1": (lambda: ([image(png())] * 2, [-1, 0]), "got -1 in row 0 of the train images"),
    "-100": (lambda: ([image(png())] * 2, [0, -100]), "got -100 in row 1"),
    "float": (lambda: ([image(png())] * 2, [0.0, 1.5]), "got 0.0 in row 0"),
    "no label": (lambda: ([image(png())] * 2, [0, None]), "got None in row 1"),
    "text": (lambda: ([image(png())] * 2, ["cat", "dog"]), "got 'cat' in row 0"),
    "true": (lambda: ([image(png())] * 2, [True, False]), "got True in row 0"),
    "empty": (
        lambda: (pa.array([], STRUCT), pa.array([], pa.int64())),
        "expected at least one row",
    ),
}


@pytest.mark.survives(
    "A row that is damaged, missing, a path, of another size, of no class",
    "it is named in one sentence, and no path is opened",
)
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_named_in_one_sentence_and_no_path_is_opened(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make, expected = BAD[kind]
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    text = str(secret)
    encoded, labels = make()
    if kind == "paths":
        encoded = [text, text]
    elif kind == "path":
        encoded = pa.array([image(None, text), image(png())], STRUCT)
    write(tmp_path / "bad" / "train.parquet", encoded, labels)
    test = encoded if kind == "paths" else [image(png())]
    write(tmp_path / "bad" / "test.parquet", test, labels if kind == "paths" else [0])
    opened = []
    sys.addaudithook(lambda event, words: opened.append(words[0]) if event == "open" else None)
    assert main([*TINY, "--data", "bad", "--out", "run"]) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert expected in error
    assert text not in map(str, opened)
    assert not Path("run").exists()


@pytest.mark.survives("A file of the data is damaged", "it is named")
def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "bad" / "train-1.parquet", [image(png())] * 50, [0] * 50)
    write(tmp_path / "bad" / "train-2.parquet", [image(png())] * 50, [0] * 50)
    write(tmp_path / "bad" / "test.parquet", [image(png())], [0])
    content = bytearray((tmp_path / "bad" / "train-2.parquet").read_bytes())
    content[40:2000] = b"\xff" * 1960
    (tmp_path / "bad" / "train-2.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"could not read bad/train-2.parquet: it is damaged"):
        cifar10.load("bad")


def test_gray_images_are_said_to_be_gray(tmp_path: Path) -> None:
    Image.new("L", (32, 32), 7).save(buffer := io.BytesIO(), "PNG")
    for split in ("train", "test"):
        write(tmp_path / "gray" / f"{split}.parquet", [image(buffer.getvalue())], [0])
    assert cifar10.load("gray").source == "folder gray, all of them gray"


@pytest.mark.survives(
    "Rows with a damaged image or an impossible label, and `--on-bad-data skip`",
    "they are left out, counted, and named in the record",
)
@pytest.mark.parametrize("kind", ["undecodable", "null", "path", "sizes", "ten", "no label"])
def test_bad_rows_are_skipped_on_request_counted_and_named(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encoded, numbers = BAD[kind][0]()
    good = [image(png())] * 2
    encoded = [*(encoded.to_pylist() if isinstance(encoded, pa.Array) else encoded), *good]
    write(tmp_path / "bad" / "train.parquet", pa.array(encoded, STRUCT), [*numbers, 2, 3])
    write(tmp_path / "bad" / "test.parquet", good, [0, 1])
    options = ["--data", "bad", "--batch-size", "1", "--out", "run", "--on-bad-data"]
    assert main([*TINY, *options, "stop"]) == 2
    stopped = capfd.readouterr().err.splitlines()[-1]
    assert "--on-bad-data skip" in stopped
    # The second time from the cache.
    for _ in range(2):
        images = cifar10.load("bad", skip=True)
        assert len(images.skipped) == 1
        assert images.train_y.tolist()[-2:] == [2, 3]
        assert len(images.train_y) == len(images.train_x) == 3
    assert stopped.removeprefix("error: ").startswith(images.skipped[0])
    assert main([*TINY, *options, "skip"]) == 0
    assert f"skipped 1 rows, the first: {images.skipped[0]}" in capfd.readouterr().err
    data = strict(Path("run/config.json").read_text())["data"]
    assert (data["skipped"], data["rows"]) == (1, [*images.skipped])


def test_where_all_rows_are_skipped_none_is_left(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / "bad" / f"{split}.parquet", [image(png())] * 2, [10, 11])
    with pytest.raises(DataError, match=r"at least one row .*got none, 2 of which cannot be"):
        cifar10.load("bad", skip=True)


@pytest.mark.survives("The memory is full", "one sentence that says what to pass instead")
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()]
)
def test_a_full_memory_is_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full_memory(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(training.Training, "update", full_memory)
    assert main([*TINY, "--out", "run"]) == 1
    said = capsys.readouterr().err
    assert (
        "out of memory with 16 images at a time: pass a smaller --micro-batch, or auto" in said
    )
    assert "Traceback" not in said


SECTION = {
    ("--width", "inf"): "expected --width above 0 and at most 16",
    ("--width", "1e9"): "expected --width above 0 and at most 16",
    ("--width", "nan"): "expected --width above 0 and at most 16",
    ("--threads", "100000"): "expected --threads of at most 1024",
    ("--weight-decay", "inf"): "expected --weight-decay of at least 0, and finite",
    ("--learning-rate", "nan"): "expected --learning-rate above 0, and finite",
    ("--mixed-precision", "fp16"): "expected --mixed-precision no or bf16 on a CPU, got fp16",
    ("--groups", "48"): "expected --groups that divide the channels of every layer, got",
    ("--batch-size", "97"): "expected --batch-size of at most 96, the training images, got 97",
    ("--train-images", "97"): "expected --train-images of at most 96, got 97",
    (
        "--micro-batch",
        "5",
    ): "expected --micro-batch auto, or a divisor of --batch-size 16, got 5",
    ("--micro-batch", "auto"): "expected --micro-batch with a number on a CPU, got auto",
    ("--checkpoint-minutes", "nan"): "expected --checkpoint-minutes of at least 0, got nan",
}


@pytest.mark.survives(
    "A setting that no run can have", "refused with exit code 2, in one sentence that names it"
)
@pytest.mark.parametrize(("option", "value"), SECTION, ids=" ".join)
def test_a_setting_that_cannot_be_is_a_sentence(
    option: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    try:
        code: Any = main([*TINY, option, value, "--out", "run"])
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2
    assert SECTION[option, value] in error
    assert "Traceback" not in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("shut").mkdir(mode=0o500)
    assert main([*TINY, "--out", "shut/run"]) == 2
    assert "(Permission denied)" in capsys.readouterr().err

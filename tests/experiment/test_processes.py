"""Two processes train the network that one trains: the same weights, statistics, metrics, and one record."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

# Five batches of 8, and 19 test images, which two can't share equally; in float64, whose sums hardly depend on their order.
DRIVER = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from accelerate.state import AcceleratorState, GradientState
from labml_ws.experiment import cifar10, writing
from labml_ws.experiment.config import Config
from labml_ws.experiment.train import Training, train

torch.set_default_dtype(torch.float64)
digits = cifar10.load("digits")
cut = {f"{s}_{p}": getattr(digits, f"{s}_{p}")[:n] for s, n in (("train", 40), ("test", 19)) for p in "xy"}
images = replace(digits, **cut, flip=True)
cifar10.normalize = lambda x, mean, std: (x.double() / 255 - mean) / std
writing.probe = lambda config: {}
KINDS = {
    "bcn": {}, "bn": {"norm": "bn"}, "batch": {"estimate": False}, "gn": {"norm": "gn"},
    "accumulated": {"accumulate": 2}, "adam": {"optimizer": "adam", "learning_rate": 1e-3},
    "validated": {"validation": 0.2},
}

def config(kind, **settings):
    defaults = {"data": "digits", "width": 1 / 16, "epochs": 1, "batch_size": 8, "cpu": True,
                "optimizer": "sgd", "learning_rate": 0.01, "threads": 1, "validation": 0.0,
                "tracker": "none"}
    return Config(**{**defaults, **KINDS[kind], **settings}, out=Path(kind))

if sys.argv[1] == "all":
    for kind in KINDS:
        AcceleratorState._reset_state()
        GradientState._reset_state()
        train(config(kind), images)
elif sys.argv[1] == "stop":
    update, calls = Training.update, []

    def counted(self, *arguments):
        calls.append(None)
        # One process alone is told.
        if len(calls) == 3 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, *arguments)

    Training.update = counted
    try:
        train(config("bcn"), images)
    except KeyboardInterrupt as stop:
        print(stop)
    Training.update = update
    train(config("bcn", resume=True), images)
else:
    train(config("bcn", batch_size=7), images)
"""


def start(folder: Path, what: str, processes: int) -> list[subprocess.CompletedProcess[str]]:
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runs = []
    for rank in range(processes):
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        if processes > 1:
            env |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{processes}"}
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
        runs.append(
            subprocess.Popen(
                [sys.executable, "-c", DRIVER, what],
                cwd=folder,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [run.communicate(timeout=120) for run in runs]
    return [
        subprocess.CompletedProcess(run.args, run.returncode, *output)
        for run, output in zip(runs, outputs, strict=True)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    for processes in (1, 2):
        for done in start(folder / f"{processes}", "all", processes):
            assert done.returncode == 0, done.stderr
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["bcn", "bn", "batch", "gn", "accumulated", "adam", "validated"]
)
def test_two_processes_give_the_weights_statistics_and_metrics_of_one(
    kind: str, folder: Path
) -> None:
    one, two = (load_file(folder / number / kind / "model.safetensors") for number in "12")
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert tensor.dtype in (torch.float64, torch.int64)
        torch.testing.assert_close(two[name], tensor, rtol=1e-10, atol=1e-10)
    alone, shared = rows(folder / "1" / kind), rows(folder / "2" / kind)
    last = ["test"] if kind == "validated" else []
    assert [row["kind"] for row in shared] == ["step", "epoch", *last]
    for a, b in zip(alone, shared, strict=True):
        for name in a.keys() - {"kind", "seconds", "train_seconds", "images_per_second"}:
            assert b[name] == pytest.approx(a[name], rel=2e-6), name


@pytest.mark.slow
def test_the_record_says_how_many_processes_there_were(folder: Path) -> None:
    for number in (1, 2):
        about = json.loads((folder / f"{number}" / "bcn" / "config.json").read_text())
        assert about["hardware"]["processes"] == number
        assert about["hardware"].get("backend") == {1: None, 2: "gloo"}[number]


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_both_go_on(
    tmp_path: Path, folder: Path
) -> None:
    first, second = start(tmp_path / "stop", "stop", 2)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "stopped by SIGTERM after batch 3 of 5" in first.stdout
    one, two = (
        load_file(path / "bcn" / "model.safetensors")
        for path in (folder / "1", tmp_path / "stop")
    )
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-10, atol=1e-10)
    assert [row["kind"] for row in rows(tmp_path / "stop" / "bcn")] == ["step", "epoch"]
    assert rows(tmp_path / "stop" / "bcn")[-1]["train_accuracy"] == pytest.approx(
        rows(folder / "1" / "bcn")[-1]["train_accuracy"]
    )


@pytest.mark.slow
def test_a_batch_that_two_cannot_share_is_refused(tmp_path: Path) -> None:
    for done in start(tmp_path / "seven", "seven", 2):
        assert "expected --batch-size that 2 processes can share equally, got 7" in done.stderr
        assert done.returncode
        assert done.returncode != -signal.SIGKILL

"""Two and four processes train the network that one trains: the same weights, statistics, metrics, and one record."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.experiment import several

TIMES = {"kind", "seconds", "train_seconds", "images_per_second"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    for processes in (1, 2, 4):
        several.start(folder / f"{processes}", processes)
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_equal_weights(one: Path, other: Path) -> None:
    alone, shared = (load_file(path / "model.safetensors") for path in (one, other))
    assert alone.keys() == shared.keys()
    for name, tensor in alone.items():
        assert tensor.dtype in (torch.float64, torch.int64)
        torch.testing.assert_close(shared[name], tensor, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["2", "4"])
@pytest.mark.parametrize("kind", several.KINDS)
def test_several_processes_give_the_weights_statistics_and_metrics_of_one(
    kind: str, processes: str, folder: Path
) -> None:
    assert_equal_weights(folder / "1" / kind, folder / processes / kind)
    alone, shared = rows(folder / "1" / kind), rows(folder / processes / kind)
    last = ["test"] if kind == "validated" else []
    assert [row["kind"] for row in shared] == ["step", "epoch", *last]
    for a, b in zip(alone, shared, strict=True):
        for name in a.keys() - TIMES:
            assert b[name] == pytest.approx(a[name], rel=2e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2", "4"])
def test_each_test_image_counts_once(processes: str, folder: Path) -> None:
    for kind in several.KINDS:
        share = rows(folder / processes / kind)[-1]["test_accuracy"]
        assert share == rows(folder / "1" / kind)[-1]["test_accuracy"]
        # Of 19 images, a whole number.
        assert 19 * share == pytest.approx(round(19 * share), abs=1e-4)


@pytest.mark.slow
def test_the_record_says_how_many_processes_there_were(folder: Path) -> None:
    for number in (1, 2, 4):
        about = json.loads((folder / f"{number}" / "bcn" / "config.json").read_text())
        assert about["hardware"]["processes"] == number
        assert about["hardware"].get("backend") == (None if number == 1 else "gloo")


@pytest.mark.slow
@pytest.mark.survives(
    "A signal reaches one of several processes", "all stop after the same batch, and go on"
)
def test_a_signal_to_one_process_stops_both_and_both_go_on(folder: Path) -> None:
    for rank in (0, 1):
        said = (folder / "2" / f"stopped-{rank}.txt").read_text()
        assert said.startswith("stopped by SIGTERM after batch 3 of 5")
    assert_equal_weights(folder / "1" / "bcn", folder / "2" / "stop")
    went_on = rows(folder / "2" / "stop")
    assert [row["kind"] for row in went_on] == ["step", "epoch"]
    accuracy = rows(folder / "1" / "bcn")[-1]["train_accuracy"]
    assert went_on[-1]["train_accuracy"] == pytest.approx(accuracy)


@pytest.mark.slow
def test_a_batch_that_two_cannot_share_is_refused(folder: Path) -> None:
    for rank in (0, 1):
        said = (folder / "2" / f"seven-{rank}.txt").read_text()
        assert said == "expected --batch-size that 2 processes can share equally, got 7"
    assert not (folder / "2" / "seven").exists()


@pytest.mark.slow
def test_fsdp2_gives_the_weights_and_statistics_of_one_process(folder: Path) -> None:
    one, two = (torch.load(folder / number / "sharded-0.pt") for number in "12")
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_fsdp2_is_refused_where_weights_are_standardized_once(folder: Path) -> None:
    for rank in (0, 1):
        said = (folder / "2" / f"refused-{rank}.txt").read_text()
        assert said.startswith(
            "expected features.0.weight to stay as it is inside standardize_o"
        )


@pytest.mark.slow
@pytest.mark.survives(
    "`accelerate launch --cpu --num_processes 2`, which starts one process",
    "refused, with what to type",
)
def test_accelerate_launch_on_a_cpu_says_what_to_type(root: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"),
        *("-m", "labml_ws.experiment", "--data", "digits", "--out", str(tmp_path / "run")),
    ]
    done = subprocess.run(
        command, cwd=root, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.endswith("torchrun --nproc_per_node 2 -m labml_ws.experiment")
    assert not (tmp_path / "run").exists()

"""Micro-batches: the same run in other words, the largest that fits, and what a forward pass keeps."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from labml_ws.experiment import memory, writing
from labml_ws.experiment.config import Config, build
from labml_ws.experiment.memory import fitting, saved_bytes
from labml_ws.experiment.processes import check_launch
from labml_ws.experiment.train import Training, train
from tests.experiment import interrupted


class Accelerator:
    """As much of one as is asked for here."""

    def __init__(self, device: str, num_processes: int = 1) -> None:
        self.device, self.num_processes = torch.device(device), num_processes
        self.autocast = torch.enable_grad


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.state import AcceleratorState, GradientState

    monkeypatch.setattr(writing, "probe", lambda config: {})
    monkeypatch.chdir(tmp_path)
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


@pytest.mark.parametrize("channels", [4, 16])
def test_what_is_kept_is_the_input_of_a_convolution_and_not_its_weight(channels: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU(), nn.Conv2d(channels, 2, 3))
    for size in (1, 5):
        x = torch.randn(size, 3, 8, 8)
        # The input, and what comes out of the ReLU, which both ReLU and convolution keep: in one memory.
        assert saved_bytes(model, x) == 4 * size * (3 * 64 + channels * 36)


def test_more_images_keep_more() -> None:
    model = build(Config(width=1 / 16))
    kept = [saved_bytes(model, torch.randn(size, 3, 32, 32)) for size in (1, 2, 4, 8)]
    assert kept == sorted(set(kept))


def test_a_micro_batch_is_another_spelling_of_accumulation() -> None:
    images = interrupted.images()
    train(interrupted.tiny("sgd", batch_size=2, accumulate=8, out=Path("a")), images)
    train(
        interrupted.tiny("sgd", batch_size=16, micro_batch=2, accumulate=1, out=Path("b")),
        images,
    )
    assert interrupted.result(Path("a")) == interrupted.result(Path("b"))


# As a device whose memory holds seven images.
def small(_: Config, __: Any, size: int) -> None:
    if size > 7:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    ("batch", "processes", "found"), [(64, 1, 4), (42, 1, 7), (5, 1, 5), (64, 2, 8), (22, 2, 2)]
)
def test_the_largest_divisor_that_fits_is_found(
    batch: int, processes: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "attempt", small)
    monkeypatch.setattr(memory, "largest", lambda _, number: number)
    config = Config(batch_size=batch, micro_batch="auto")
    assert fitting(config, Accelerator("cuda", processes)) == found


def test_a_network_that_never_fits_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(memory, "attempt", never)
    with pytest.raises(ValueError, match=r"expected a network that fits into memory with 1 im"):
        fitting(Config(micro_batch="auto"), Accelerator("cuda"))


def test_another_error_is_not_taken_for_a_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("sizes differ")

    monkeypatch.setattr(memory, "attempt", broken)
    with pytest.raises(RuntimeError, match="sizes differ"):
        fitting(Config(micro_batch="auto"), Accelerator("cuda"))


def test_on_a_cpu_there_is_nothing_to_find() -> None:
    with pytest.raises(ValueError, match=r"number on a CPU, got auto: its memory has no edge"):
        Training(interrupted.tiny("adam", micro_batch="auto"), interrupted.images())
    assert not Path("cut").exists()


def test_a_run_goes_on_with_the_micro_batch_that_it_began_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "fitting", lambda *_: 4)
    images, update = interrupted.images(), Training.update
    config = interrupted.tiny("adam", micro_batch="auto")

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        calls: list[int] = []
        patch.setattr(
            Training, "update",
            lambda *a: stop() if len(calls) == 4 else (calls.append(0), update(*a))[1],
        )  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            train(config, images)
    monkeypatch.setattr(memory, "fitting", lambda *_: 8)
    train(interrupted.tiny("adam", micro_batch="auto", resume=True), images)
    assert json.loads(Path("cut/config.json").read_text())["config"]["micro_batch"] == 4
    train(interrupted.tiny("adam", micro_batch=4, out=Path("whole")), images)
    assert interrupted.result(Path("cut")) == interrupted.result(Path("whole"))


LAUNCHED = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}


def test_accelerate_launch_that_starts_one_of_several_says_what_to_type() -> None:
    with pytest.raises(ValueError, match=r"torchrun --nproc_per_node 2 -m labml_ws.experiment"):
        check_launch(LAUNCHED)
    check_launch(LAUNCHED | {"WORLD_SIZE": "2"})
    check_launch({"MASTER_ADDR": "127.0.0.1"})

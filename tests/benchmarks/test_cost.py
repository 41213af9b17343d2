"""What a standardized weight costs, counted and not timed, so that it holds on any machine however busy it is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from labml_ws import Conv2d, ConvTranspose2d, Linear
from tests.benchmarks.forms import FORMS, Formed
from tests.benchmarks.measure import Clock, Traffic, saved_bytes
from tests.benchmarks.tables import passes

PAIRS: dict[str, tuple[nn.Module, nn.Module, Tensor]] = {
    "convolution": (
        nn.Conv2d(64, 32, 3, bias=False),
        Conv2d(64, 32, 3, bias=False),
        torch.randn(2, 64, 4, 4),
    ),
    "linear": (nn.Linear(256, 64), Linear(256, 64), torch.randn(2, 256)),
}


def traffic(layer: nn.Module, inputs: list[Tensor], once: bool = False) -> Traffic:
    step = passes(layer, inputs, once)
    with Traffic() as counted:
        step()
    return counted


def beyond(layer: nn.Module, plain: nn.Module, inputs: list[Tensor], once: bool = False):
    """Kernels, and reads and writes in sizes of the weight, that a step of `layer` has and one of `plain` hasn't."""
    ours, theirs = traffic(layer, inputs, once), traffic(plain, inputs)
    size = layer.weight.untyped_storage().nbytes()
    return (
        ours.kernels - theirs.kernels,
        round((ours.read - theirs.read) / size, 1),
        round((ours.written - theirs.written) / size, 1),
    )


@pytest.mark.parametrize(("plain", "ours", "x"), PAIRS.values(), ids=PAIRS)
def test_a_step_costs_one_kernel_each_way_and_no_more_memory_traffic_than_the_floor(
    plain: nn.Module, ours: nn.Module, x: Tensor
) -> None:
    assert beyond(ours, plain, [x]) == (2, 3.0, 2.0)


def test_a_transposed_layer_costs_the_way_there_and_back_as_well() -> None:
    layers = (make(32, 16, 3, bias=False) for make in (ConvTranspose2d, nn.ConvTranspose2d))
    kernels, reads, writes = beyond(*layers, [torch.randn(2, 32, 4, 4)])
    assert kernels <= 6
    assert reads + writes <= 13


@pytest.mark.parametrize("form", ["step by step", "authors", "labml"])
def test_the_count_tells_slow_forms_from_fast_ones(form: str) -> None:
    plain, slow = (
        nn.Conv2d(64, 32, 3, bias=False),
        Formed(64, 32, 3, bias=False, form=FORMS[form]),
    )
    kernels, reads, writes = beyond(slow, plain, [torch.randn(2, 64, 4, 4)])
    assert kernels > 2 * 2
    assert reads + writes > 2 * 5


@pytest.mark.parametrize("micro_batches", [1, 2, 8])
def test_once_the_cost_does_not_depend_on_how_many_micro_batches_there_are(
    micro_batches: int,
) -> None:
    plain, ours, x = PAIRS["convolution"]
    inputs = [x.clone() for _ in range(micro_batches)]
    assert beyond(ours, plain, inputs, once=True) == (2, 3.0, 2.0)


@pytest.mark.parametrize(("plain", "ours", "x"), PAIRS.values(), ids=PAIRS)
def test_backward_keeps_one_more_copy_of_the_weight_and_two_numbers_per_filter(
    plain: nn.Module, ours: nn.Module, x: Tensor
) -> None:
    kept = [
        saved_bytes(lambda layer=layer: layer(x.requires_grad_()), [x, *layer.parameters()])
        for layer in (plain, ours)
    ]
    assert kept[1] - kept[0] == 4 * (ours.weight.numel() + 2 * len(ours.weight))


# The clock itself


def test_forms_are_timed_in_turn_and_compared_within_a_round() -> None:
    clock = Clock(torch.device("cpu"), seconds=0.0)
    clock.other = torch.zeros(1)
    taken: list[str] = []

    def sleep(name: str, seconds: float) -> None:
        taken.append(name)
        time.sleep(seconds)

    first, second = clock.rows(
        "t", "r", {"short": lambda: sleep("short", 0.01), "long": lambda: sleep("long", 0.04)}
    )
    assert (first.ratio, first.low, first.high, first.rounds) == (1, 1, 1, 2)
    assert 1.5 < second.ratio < 8
    assert [set(taken[i : i + 2]) for i in range(0, 6, 2)] == [{"short", "long"}] * 3


def test_page_faults_are_counted() -> None:
    clock = Clock(torch.device("cpu"), seconds=0.0)
    row, *_ = clock.rows("t", "r", {"a map": lambda: torch.ones(2**25).sum()})
    # 128 MB are beyond what glibc can be told to keep on its heap: pages of 4 kB, or of 2 MB where the system gives those.
    assert row.faults >= 2**27 / 2**21


def test_without_a_pinned_allocator_nothing_is_recorded(root: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC")}
    command = [sys.executable, "-m", "tests.benchmarks", "--quick"]
    result = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert result.returncode == 1
    assert "MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_ not set: call 'make bench'" in (
        result.stderr
    )

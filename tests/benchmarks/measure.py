"""How it is measured: steps taken in turn, each from cold caches, with the page faults that it caused."""

import random
import resource
import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Step = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """
    One form at one place of a table. `ratio` is its time over that of the table's first form in the same round, the median
    over all rounds; `low` and `high` are the quartiles. `faults`: page faults of a step, the median; `saved`: bytes that
    the forward pass keeps for backward, beyond parameters and input.
    """

    table: str
    row: str
    form: str
    ratio: float
    low: float
    high: float
    milliseconds: float
    faults: int
    rounds: int
    saved: int | None = None
    goal: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            key: float(f"{value:.4g}") if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }

    def __str__(self) -> str:
        aim = "" if self.goal is None else f"  goal {self.goal:.2f}"
        return (
            f"{self.table:12} {self.row:24} {self.form:14} {self.ratio:5.2f} "
            f"[{self.low:.2f}, {self.high:.2f}]  {self.milliseconds:8.2f} ms  {self.faults:5} faults{aim}"
        )


class Clock:
    """
    * `device`: where the steps run
    * `seconds`: the time for the rounds of one row, of which at least two are taken, after one to warm up

    A step is timed from caches that hold something else, as in a network, where all other layers come between two uses of
    a weight.
    """

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device, self.seconds = device, seconds
        self.other = torch.zeros(2**25, device=device)  # 128 MB
        self.order = random.Random(0)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def once(self, step: Step) -> tuple[float, int]:
        self.other.add_(1)
        self.synchronize()
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        step()
        self.synchronize()
        seconds = time.perf_counter() - start
        return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults

    def rows(self, table: str, row: str, steps: dict[str, Step]) -> list[Row]:
        """The forms of one row, in turn and in a new order each round; the first is what the others are compared with."""
        for step in steps.values():
            self.once(step)
        times: dict[str, list[float]] = {form: [] for form in steps}
        faults: dict[str, list[int]] = {form: [] for form in steps}
        first, *_ = steps
        end = time.perf_counter() + self.seconds
        while len(times[first]) < 2 or time.perf_counter() < end:
            for form in self.order.sample([*steps], len(steps)):
                seconds, count = self.once(steps[form])
                times[form].append(seconds)
                faults[form].append(count)
        made = []
        for form, values in times.items():
            ratios = [a / b for a, b in zip(values, times[first], strict=True)]
            low, ratio, high = statistics.quantiles(ratios, n=4, method="inclusive")
            median, count = statistics.median(values), int(statistics.median(faults[form]))
            made.append(
                Row(table, row, form, ratio, low, high, 1000 * median, count, len(values))
            )
        return made


class Traffic(TorchDispatchMode):
    """
    The kernels that run inside, and the bytes that they read and write: each argument once, each result once. What a kernel
    does within itself, and what caches spare it, is not in this.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.read, self.written = 0, 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func is not torch.ops.aten.detach.default:
            self.kernels += 1
            self.read += sum(map(tensor_bytes, tree_leaves((args, kwargs))))
            self.written += sum(map(tensor_bytes, tree_leaves(result)))
        return result


def tensor_bytes(value: Any) -> int:
    """The size of a tensor; what was expanded has the size of what it was expanded from."""
    return value.untyped_storage().nbytes() if isinstance(value, Tensor) else 0


def saved_bytes(forward: Step, known: Collection[Tensor]) -> int:
    """What a forward pass keeps for backward, in bytes, without the memory of the tensors that are there anyway."""
    there = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # noqa: F841 (its graph holds what is kept)
    return sum(kept.values())


def with_goal(rows: list[Row], form: str, goal: float | None) -> list[Row]:
    return [replace(row, goal=goal) if row.form == form else row for row in rows]

"""What the trainer costs over a bare loop: `python -m tests.benchmarks.overhead`.

Both train the same network on the same images, in turn, some steps each. What the trainer adds to a step (the loader, the
progress bar, the sums for the epoch's row, a line of the metrics) looks at no weight, and is small beside the noise of a wide
network's steps: so it is measured in milliseconds with a narrow one, and then compared to a step of the wider one, which
takes for granted that both get the same on top. What comes after an epoch, weights, checkpoint, validation, is not in it. The bare loop has none of these.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from scipy.stats import binom
from torch.nn import functional as F

from labml_ws.experiment import cifar10
from labml_ws.experiment.config import Config, build, optimization
from labml_ws.experiment.train import Training

# Of batch sizes: how many steps a turn has, and which share of a bare step the trainer may take on top.
TURNS = {64: (25, 0.01), 1: (150, 0.03)}
NARROW = 1 / 16


def trainer(config: Config, images: cifar10.Images) -> Callable[[], float]:
    """Seconds of a step, one epoch further with each call."""
    training = Training(config, images)

    def turn() -> float:
        row = training.epoch()
        training.number += 1
        training.begin_epoch()
        return row["train_seconds"] / len(training.batches)

    return turn


def bare(config: Config, images: cifar10.Images) -> Callable[[], float]:
    """The same with what a step cannot do without."""
    steps = config.train_images // config.batch_size
    model = build(config).train()
    optimizer, scheduler = optimization(config, model, config.epochs * steps)
    generator = torch.Generator().manual_seed(0)
    x, y = (part[: config.train_images] for part in (images.train_x, images.train_y))
    mean, std = cifar10.channel_stats(x)

    def turn() -> float:
        start = time.perf_counter()
        for rows in torch.randperm(len(y)).split(config.batch_size):
            batch = cifar10.normalize(x[rows], mean, std)
            batch = cifar10.augment(batch, generator, flip=images.flip)
            F.cross_entropy(model(batch), y[rows]).backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        return (time.perf_counter() - start) / steps

    return turn


def measured(
    batch: int, steps: int, rounds: int, width: float
) -> tuple[list[float], list[float]]:
    """What the trainer adds to a step in each round, and the bare steps, in milliseconds."""
    images = cifar10.load("digits")
    # Images are seen again when there are too few for a turn.
    number = batch * steps
    again = torch.arange(2 * number) % len(images.train_y)
    images = cifar10.Images(
        images.train_x[again], images.train_y[again], images.test_x[:20], images.test_y[:20], ""
    )
    with (
        TemporaryDirectory() as folder,
        redirect_stdout(StringIO()),
        redirect_stderr(StringIO()),
    ):
        config = Config(
            data="digits", width=width, epochs=rounds + 1, batch_size=batch, threads=1, cpu=True,
            train_images=number, tracker="none", out=Path(folder) / "run",
        )  # fmt: skip
        turns = trainer(config, images), bare(config, images)
        more, plain = [], []
        for number in range(rounds + 1):
            # Who begins changes from round to round.
            order = (0, 1) if number % 2 else (1, 0)
            seconds = {which: turns[which]() for which in order}
            more.append(1000 * (seconds[0] - seconds[1]))
            plain.append(1000 * seconds[1])
    # The first round warms up.
    return more[1:], plain[1:]


def middle(values: list[float]) -> tuple[float, float, float]:
    """The median, and an interval that holds it 95 times of 100: between the k-th value from below and from above."""
    ordered, n = sorted(values), len(values)
    k = int(binom.ppf(0.025, n, 0.5))
    return statistics.median(ordered), ordered[max(k - 1, 0)], ordered[min(n - k, n - 1)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=41, help="turns of each (default: 41)")
    parser.add_argument("--width", type=float, default=0.25, help="of the VGG (default: 0.25)")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, 1 thread, load {os.getloadavg()[0]:.1f}")
    worst = 0
    for batch, (steps, goal) in TURNS.items():
        added, narrow = measured(batch, steps, options.rounds, NARROW)
        _, wide = measured(batch, max(steps // 5, 5), 5, options.width)
        step = statistics.median(wide)
        more, low, high = middle(added)
        print(
            f"batch {batch:2}: {more:+.2f} ms [{low:+.2f}, {high:+.2f}] ({options.rounds} rounds of {steps} steps of "
            f"{statistics.median(narrow):.1f} ms), which is {more / step:+.1%} "
            f"[{low / step:+.1%}, {high / step:+.1%}] of a bare step of {step:.0f} ms at width {options.width:g}; "
            f"goal {goal:+.0%}",
            flush=True,
        )
        worst |= more / step > goal
    return worst


if __name__ == "__main__":
    sys.exit(main())

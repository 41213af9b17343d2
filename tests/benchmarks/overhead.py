"""What the trainer costs over a bare loop: `python -m tests.benchmarks.overhead`.

Both train the same network on the same images, in turn, some steps each; a figure is the median of the ratios of their
times, with quartiles. The trainer's has the loader, the progress bar, the sums for the epoch's row and a line of the metrics
in it, and not what comes after an epoch: weights, checkpoint, validation. The bare loop has none of these.
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
from torch.nn import functional as F

from labml_ws.experiment import cifar10
from labml_ws.experiment.config import Config, build, optimization
from labml_ws.experiment.train import Training

# Of batch sizes: how many steps a turn has, and which share of a bare step the trainer may take on top.
TURNS = {64: (25, 0.01), 1: (150, 0.03)}


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


def measured(batch: int, steps: int, rounds: int, width: float) -> tuple[list[float], float]:
    """The trainer's time over the bare loop's in each round, and the milliseconds of a bare step."""
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
        ratios, plain = [], []
        for number in range(rounds + 1):
            # Who begins changes from round to round.
            order = (0, 1) if number % 2 else (1, 0)
            seconds = {which: turns[which]() for which in order}
            ratios.append(seconds[0] / seconds[1])
            plain.append(1000 * seconds[1])
    # The first round warms up.
    return ratios[1:], statistics.median(plain[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=21, help="turns of each (default: 21)")
    parser.add_argument("--width", type=float, default=0.25, help="of the VGG (default: 0.25)")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, 1 thread, load {os.getloadavg()[0]:.1f}")
    worst = 0
    for batch, (steps, goal) in TURNS.items():
        ratios, milliseconds = measured(batch, steps, options.rounds, options.width)
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"batch {batch:2}: {middle - 1:+.1%} [{low - 1:+.1%}, {high - 1:+.1%}] over a bare step "
            f"of {milliseconds:.1f} ms, {len(ratios)} rounds of {steps} steps; goal {goal:+.0%}",
            flush=True,
        )
        worst |= middle - 1 > goal
    return worst


if __name__ == "__main__":
    sys.exit(main())

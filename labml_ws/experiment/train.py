r"""
# Training

First the run as a whole, then its three parts: what is made ready, one epoch, the test.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws.experiment import cifar10, tracking
from labml_ws.experiment.checkpoint import Signals
from labml_ws.experiment.config import Config, build, optimization
from labml_ws.experiment.diagnosis import causes, furthest, sizes
from labml_ws.experiment.measure import snapshot
from labml_ws.experiment.memory import sized
from labml_ws.experiment.processes import share_statistics
from labml_ws.experiment.resume import Resumable
from labml_ws.experiment.split import split
from labml_ws.experiment.writing import Record, Silent
from labml_ws.once import standardize_once

# A cross-entropy (nats) that no training comes back from: the logits are ten thousand apart. Recorded runs stay below 20.
EXPLODED = 1e4


def train(config: Config, images: cifar10.Images) -> dict[str, Any]:
    """
    ## Train

    * `config`: the settings; `images`: [the data][labml_ws.experiment.cifar10.load]
    * returns the last epoch's row of the metrics, and that of the test: losses (mean cross-entropy, in nats, that is with the natural
      logarithm), accuracies (0 to 1), times (seconds)

    Writes [the record][labml_ws.experiment.writing.Record] as it goes. Raises `FileExistsError` when its folder already holds one,
    `OSError` where it can't be written, `ValueError` for settings that don't fit the data or the machine, and
    `FloatingPointError` when the loss explodes.
    """
    return Training(config, images).run()


class Training(Resumable):
    """
    ## What is made ready

    Network, optimizer, schedule and data, each on its device, and the record that is written. After that, the random
    numbers of the run come from generators with its seed.
    """

    def __init__(self, config: Config, images: cifar10.Images) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DataLoaderConfiguration, set_seed

        # Each process takes its part of a batch.
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            cpu=config.cpu,
            log_with=tracking.chosen(config.tracker),
            project_dir=str(config.folder),
            dataloader_config=DataLoaderConfiguration(split_batches=True),
        )
        self.processes = self.accelerator.num_processes
        self.config = config = sized(config, self.accelerator)
        # How many images at a time, and how many times for an update.
        self.images_at_a_time, self.group = config.split
        self.part = (self.accelerator.process_index, self.processes)
        device = self.accelerator.device
        if config.mixed_precision == "fp16" and device.type == "cpu":
            raise ValueError("expected --mixed-precision no or bf16 on a CPU, got fp16")
        if config.threads:
            torch.set_num_threads(config.threads)
        set_seed(config.seed)
        model = build(config)
        images = split(images, config.validation)
        self.images = images = cifar10.subset(images, config.train_images)
        batches = cifar10.loader(
            images.train_x, images.train_y, self.images_at_a_time, seed=config.seed
        )
        # What each epoch is measured on. What fits in training fits in a test.
        self.held_out = "validation" if len(images.validation_y) else "test"
        size = self.images_at_a_time if config.micro_batch else 500
        validation, test = (
            cifar10.loader(
                getattr(images, f"{part}_x"),
                getattr(images, f"{part}_y"),
                batch_size=-(-size // self.processes) * self.processes,
            )
            for part in (self.held_out, "test")
        )
        if len(batches) == 0:
            raise ValueError(
                f"expected --batch-size of at most {len(images.train_y)}, the training images, "
                f"got {config.batch_size}"
            )
        if self.images_at_a_time % self.processes:
            option = "--micro-batch" if config.micro_batch else "--batch-size"
            raise ValueError(
                f"expected {option} that {self.processes} processes can share equally, "
                f"got {self.images_at_a_time}"
            )
        if self.processes > 1:
            share_statistics(model)
        # Where it is: the epoch, the batches seen in it, and in the whole run; with `--accumulate`, fewer updates.
        self.number, self.step, self.done, self.total = 1, 0, 0, config.epochs * len(batches)
        # What the order of the next epoch is drawn from.
        self.order = batches.generator
        updates = config.epochs * -(-len(batches) // self.group)
        optimizer, scheduler = optimization(config, model, updates)
        self.model, self.optimizer, self.batches, self.validation, self.test = (
            self.accelerator.prepare(model, optimizer, batches, validation, test)
        )
        self.scheduler = scheduler
        self.open_record(device)
        # The statistics of the training set, also for the test images: nothing may be learned from those.
        mean, std = images.colors
        self.mean, self.std = mean.to(device), std.to(device)
        self.generator = torch.Generator(device).manual_seed(config.seed)
        self.begin_epoch()
        self.signals, self.saved = Signals(), time.perf_counter()
        if self.record.resumed:
            self.restore(*self.record.resumed)
        tracking.begin(self.accelerator, config.name, asdict(config), self.done)

    def open_record(self, device: torch.device) -> None:
        from accelerate.utils import broadcast_object_list

        self.record = (Record if self.accelerator.is_main_process else Silent)(
            self.config, self.images, device, self.processes
        )
        # The first process says whether and from where it goes on.
        resumed = [self.record.resumed]
        if self.processes > 1:
            broadcast_object_list(resumed)
        self.record.resumed = resumed[0]

    def run(self) -> dict[str, Any]:
        """
        ### The run

        Returns the last epoch's row of the metrics with that of the test, and prints a line per epoch.
        """
        config, row, held_out = self.config, dict[str, Any](), self.held_out
        parameters = sum(p.numel() for p in self.model.parameters())
        self.accelerator.print(
            f"{len(self.images.train_y):,} images ({self.images.source}), "
            f"{len(getattr(self.images, f'{held_out}_y')):,} for {held_out} after each epoch, "
            f"{parameters:,} parameters, {self.accelerator.device}, "
            f"{config.mixed_precision.replace('no', 'fp32')}; the record goes to {config.folder}",
            flush=True,
        )
        try:
            with self.signals:
                if self.record.resumed:
                    self.accelerator.print(
                        f"going on after batch {self.done} of {self.total}", flush=True
                    )
                else:
                    self.measure()
                while self.number <= config.epochs:
                    row = self.epoch()
                    self.accelerator.print(
                        f"epoch {self.number}/{config.epochs}: loss {row['train_loss']:.3f}, "
                        f"accuracy {row['train_accuracy']:.1%}, "
                        f"{held_out} accuracy {row[f'{held_out}_accuracy']:.1%}, "
                        f"{row['images_per_second']:.0f} images/s"
                        f"{self.remaining(row['seconds'])}",
                        flush=True,
                    )
                    self.number += 1
                    self.begin_epoch()
                if held_out != "test":
                    row |= self.note(kind="test", **self.measured_on("test"))
            self.record.finish()
        finally:
            tracking.end(self.accelerator)
            self.record.close()
        return row

    def remaining(self, seconds: float) -> str:
        left = seconds * (self.total / self.done - 1)
        return f", about {left / 60:.1f} min left" if left else ""

    def begin_epoch(self) -> None:
        self.step, self.seen, self.epoch_seconds = 0, 0, 0.0
        # The sums of loss and of right answers.
        self.totals = torch.zeros(2, device=self.accelerator.device)
        self.order_state = self.order.get_state()

    # A row of the record, which a tracker may show.
    def note(self, **row: Any) -> dict[str, Any]:
        row = self.record.add(**row)
        tracking.log(self.accelerator, row, self.done)
        return row

    # What `--measure` looks at, the same images at every step: the first of those that are held out and of the training set.
    def measure(self) -> None:
        if self.config.measure:
            model, device = self.accelerator.unwrap_model(self.model), self.accelerator.device
            held_out, x = (
                cifar10.normalize(part.to(device), self.mean, self.std)
                for part in (
                    getattr(self.images, f"{self.held_out}_x")[:1000],
                    self.images.train_x[:128],
                )
            )
            found = snapshot(model.train(), held_out, x, self.images.train_y[:128].to(device))
            self.note(kind="measure", step=self.done, **found)

    def epoch(self) -> dict[str, Any]:
        """
        ### One epoch

        Or the rest of it. Returns its row of the metrics.
        """
        from tqdm.auto import tqdm

        config, steps, number = self.config, len(self.batches), self.number
        self.model.train()
        start = time.perf_counter() - self.epoch_seconds
        self.order.set_state(self.order_state)
        batches = iter(self.batches)
        # After a checkpoint: those that were seen.
        deque(islice(batches, self.step), maxlen=0)
        quiet = None if self.accelerator.is_main_process else True
        title = f"epoch {number}/{config.epochs}"
        with tqdm(
            None, title, steps, initial=self.step, unit="step", disable=quiet, leave=False
        ) as progress:
            while self.step < steps:
                # The last group of an epoch may be smaller.
                size = min(self.group, steps - self.step)
                loss = self.update(batches, size)
                self.step += size
                self.done += size
                progress.update(size)
                if (
                    config.measure
                    and self.done < self.total
                    and self.done % config.measure < size
                ):
                    self.measure()
                recorded = self.step % 50 < size or self.step == steps
                # Whoever waits sees a number after the first update.
                if recorded or self.step == size:
                    mean_loss, accuracy = self.means()
                    if recorded:
                        loss = self.accelerator.reduce(loss.detach(), "mean")
                        self.report(number, self.step, loss.item(), mean_loss)
                    speed = self.seen / (time.perf_counter() - start)
                    progress.set_postfix_str(
                        f"loss {mean_loss:.3f}, accuracy {accuracy:.1%}, {speed:.0f} images/s"
                    )
                self.epoch_seconds = time.perf_counter() - start
                every = config.checkpoint_steps
                due = self.asked() or (every and self.done % every < size) or self.late()
                if due and self.step < steps:
                    self.save()
        next(batches, None)
        return self.end_epoch()

    def end_epoch(self) -> dict[str, Any]:
        config, number = self.config, self.number
        mean_loss, accuracy = self.means()
        # First what cost an epoch, then what may fail.
        self.record.save_weights(self.accelerator.unwrap_model(self.model))
        self.save()
        measured = self.measured_on(self.held_out)
        if self.held_out == "validation":
            model = self.accelerator.unwrap_model(self.model)
            self.record.save_best(model, measured["validation_accuracy"])
        if number == config.epochs:
            self.measure()
        return self.note(
            kind="epoch",
            epoch=number,
            train_loss=mean_loss,
            train_accuracy=accuracy,
            **measured,
            train_seconds=self.epoch_seconds,
            images_per_second=self.seen / self.epoch_seconds,
        )

    # Loss and accuracy on the images of that name, under names with it.
    def measured_on(self, name: str) -> dict[str, float]:
        batches = self.until_stopped(self.test if name == "test" else self.validation)
        loss, accuracy = evaluate(self.model, batches, self.mean, self.std, self.gather)
        # After a few steps the running statistics may be far off, so a large loss is no more than that.
        epoch = min(self.number, self.config.epochs)
        self.stop_above(math.inf, epoch, self.step, loss, f"{name} loss")
        return {f"{name}_loss": loss, f"{name}_accuracy": accuracy}

    def means(self) -> list[float]:
        return (self.accelerator.reduce(self.totals) / self.seen).tolist()

    def update(self, batches: Iterator[tuple[Tensor, Tensor]], size: int) -> Tensor:
        """
        ### One update of the weights

        * `batches`: where the next batches come from; `size`: how many of them the gradient is the mean of
        * returns the loss of the last one

        **What is a micro-batch?** A batch of one or two images. The papers' runs with GN and WS simulate it: they gather the
        gradients of many such batches before the weights change (Caffe's `iter_size`). `--accumulate` does the same.
        GroupNorm cannot tell this from a large batch. BatchNorm can, as its statistics are still those of the small one.
        Until the weights change, they are [standardized once][labml_ws.once.standardize_once].
        """
        loss = torch.zeros(())
        with standardize_once(self.model) if size > 1 else nullcontext():
            for number, (x, y) in enumerate(islice(batches, size), 1):
                x = cifar10.normalize(x, self.mean, self.std)
                x = cifar10.augment(
                    x, self.generator, flip=self.images.flip, part=self.part
                )  # [B, 3, 32, 32]
                # Processes exchange the gradient once, with the last batch.
                last = number == size
                with nullcontext() if last else self.accelerator.no_sync(self.model):
                    logits = self.model(x)  # [B, 10]
                    loss = F.cross_entropy(logits, y)
                    self.accelerator.backward(loss / size)
                # The sums stay on the device: reading a number off a GPU at every step would make the two wait for each other.
                correct = (logits.argmax(dim=1) == y).sum()
                self.totals += torch.stack([loss.detach() * len(y), correct])
                self.seen += len(y) * self.processes
        self.optimizer.step()
        # In half precision, a step whose gradient overflowed is left out.
        if not self.accelerator.optimizer_step_was_skipped:
            self.scheduler.step()
        self.optimizer.zero_grad()
        return loss

    def report(self, epoch: int, step: int, loss: float, mean_loss: float) -> None:
        for value in (loss, mean_loss):
            self.stop_above(EXPLODED, epoch, step, value, "loss")
        rate = self.scheduler.get_last_lr()[0]
        self.note(kind="step", epoch=epoch, step=step, loss=loss, learning_rate=rate)

    # Such a loss does not recover, so stop here, with the epochs before it safely recorded.
    def stop_above(self, limit: float, epoch: int, step: int, loss: float, title: str) -> None:
        if not loss < limit:
            x = self.images.train_x[:32].to(self.accelerator.device)
            model = self.accelerator.unwrap_model(self.model)
            layers = sizes(model, self.config, cifar10.normalize(x, self.mean, self.std))
            layer = furthest(layers)
            self.note(kind="diverged", epoch=epoch, step=step, **asdict(layer))
            raise FloatingPointError(
                f"the {title} is {loss:.6g} in epoch {epoch}, step {step}, and guessing has 2.3: "
                f"{', or '.join(causes(layers, self.config))} (furthest out is {layer})"
            )


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Any,
    mean: Tensor,
    std: Tensor,
    gather: Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]] = lambda pair: pair,
) -> tuple[float, float]:
    """
    ## Evaluate

    No augmentation here, and the running statistics stay as they are.

    * `batches`: pairs of `uint8` images and labels; `mean`, `std`: of the colors, from the training set
    * `gather`: puts logits and labels of all processes together
    * returns the mean cross-entropy (nats) and the accuracy (0 to 1) over all of `batches`
    """
    model.eval()
    loss, correct, seen = 0.0, 0, 0
    for x, y in batches:
        logits, y = gather((model(cifar10.normalize(x, mean, std)), y))
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += int((logits.argmax(dim=1) == y).sum())
        seen += len(y)
    return loss / seen, correct / seen

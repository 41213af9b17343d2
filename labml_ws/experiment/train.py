r"""
# Training

First the run as a whole, then its three parts: what is made ready, one epoch, the test.
"""

import math
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws.experiment import cifar10
from labml_ws.experiment.config import Config, build, optimization
from labml_ws.experiment.measure import snapshot
from labml_ws.experiment.record import Record


def train(config: Config, images: cifar10.Images) -> dict[str, Any]:
    """
    ## Train

    * `config`: the settings; `images`: [the data][labml_ws.experiment.cifar10.load]
    * returns the last epoch's row of the metrics: losses (mean cross-entropy, in nats, that is with the natural
      logarithm), accuracies (0 to 1), times (seconds)

    Writes [the record][labml_ws.experiment.record.Record] as it goes. Raises `FileExistsError` when its folder already holds one,
    `ValueError` for a batch larger than the training set, and `FloatingPointError` when the loss is no longer finite.
    """
    training = Training(config, images)
    training.measure()
    row: dict[str, Any] = {}
    for epoch in range(1, config.epochs + 1):
        row = training.epoch(epoch)
        print(
            f"epoch {epoch}/{config.epochs}: loss {row['train_loss']:.3f}, "
            f"accuracy {row['train_accuracy']:.1%}, test accuracy {row['test_accuracy']:.1%}, "
            f"{row['images_per_second']:.0f} images/s",
            flush=True,
        )
    return row


class Training:
    """
    ## What is made ready

    Network, optimizer, schedule and data, each on its device, and the record that is written. After that, the random
    numbers of the run come from generators with its seed.
    """

    def __init__(self, config: Config, images: cifar10.Images) -> None:
        from accelerate import Accelerator
        from accelerate.utils import set_seed

        self.config = config
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.accumulate,
            cpu=config.cpu,
        )
        if config.threads:
            torch.set_num_threads(config.threads)
        set_seed(config.seed)
        model = build(config)
        self.images = images = cifar10.subset(images, config.train_images)
        batches = cifar10.loader(
            images.train_x, images.train_y, config.batch_size, seed=config.seed
        )
        test = cifar10.loader(images.test_x, images.test_y, batch_size=500)
        if len(batches) == 0:
            raise ValueError(
                f"expected --batch-size of at most {len(images.train_y)}, the training images, "
                f"got {config.batch_size}"
            )
        # The batches seen so far, and those of the whole run; with `--accumulate`, fewer updates.
        self.done, self.total = 0, config.epochs * len(batches)
        updates = config.epochs * -(-len(batches) // config.accumulate)
        optimizer, scheduler = optimization(config, model, updates)
        self.model, self.optimizer, self.batches, self.test, self.scheduler = (
            self.accelerator.prepare(model, optimizer, batches, test, scheduler)
        )
        device = self.accelerator.device
        self.record = Record(config, images, device)
        # The statistics of the training set, also for the test images: nothing may be learned from those.
        mean, std = cifar10.channel_stats(images.train_x)
        self.mean, self.std = mean.to(device), std.to(device)
        self.generator = torch.Generator(device).manual_seed(config.seed)

    # What `--measure` looks at, the same images at every step: the first of the subset and of the test set.
    def measure(self) -> None:
        if self.config.measure:
            model, device = self.accelerator.unwrap_model(self.model), self.accelerator.device
            held_out, x = (
                cifar10.normalize(part.to(device), self.mean, self.std)
                for part in (self.images.test_x[:1000], self.images.train_x[:128])
            )
            found = snapshot(model.train(), held_out, x, self.images.train_y[:128].to(device))
            self.record.add(kind="measure", step=self.done, **found)

    def epoch(self, number: int) -> dict[str, Any]:
        """
        ### One epoch

        * `number`: which, from 1
        * returns its row of the metrics
        """
        from tqdm.auto import tqdm

        config, accelerator, device = self.config, self.accelerator, self.accelerator.device
        self.model.train()
        start = time.perf_counter()
        # The sums stay on the device: reading a number off a GPU at every step would make the two wait for each other.
        total_loss = torch.zeros((), device=device)
        correct = torch.zeros((), device=device)
        seen = 0
        title = f"epoch {number}/{config.epochs}"
        progress = tqdm(self.batches, title, unit="step", disable=None, leave=False)
        for step, (x, y) in enumerate(progress, 1):
            x = cifar10.normalize(x, self.mean, self.std)
            x = cifar10.augment(x, self.generator, flip=self.images.flip)  # [B, 3, 32, 32]
            # **What is a micro-batch?** A step of one or two images. The papers' runs with GN and WS simulate it: they
            # gather the gradients of many such steps before the weights change (Caffe's `iter_size`). `--accumulate`
            # does the same; Accelerate holds the optimizer back until it is time. GroupNorm cannot tell this from a
            # large batch. BatchNorm can, as its statistics are still those of the small one.
            with accelerator.accumulate(self.model):
                logits = self.model(x)  # [B, 10]
                loss = F.cross_entropy(logits, y)
                accelerator.backward(loss)
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
            total_loss += loss.detach() * len(y)
            correct += (logits.argmax(dim=1) == y).sum()
            seen += len(y)
            self.done += 1
            if config.measure and self.done % config.measure == 0 and self.done < self.total:
                self.measure()
            if step % 50 == 0 or step == len(self.batches):
                mean_loss, accuracy = (total_loss / seen).item(), (correct / seen).item()
                self.report(number, step, loss.item(), mean_loss)
                speed = seen / (time.perf_counter() - start)
                progress.set_postfix_str(
                    f"loss {mean_loss:.3f}, accuracy {accuracy:.1%}, {speed:.0f} images/s"
                )
        train_seconds = time.perf_counter() - start
        test_loss, test_accuracy = evaluate(self.model, self.test, self.mean, self.std)
        if number == config.epochs:
            self.measure()
        row = self.record.add(
            kind="epoch",
            epoch=number,
            train_loss=(total_loss / seen).item(),
            train_accuracy=(correct / seen).item(),
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            train_seconds=train_seconds,
            images_per_second=seen / train_seconds,
        )
        self.record.save_weights(accelerator.unwrap_model(self.model))
        return row

    # A loss of `nan` does not recover, so stop here, with the epochs before it safely recorded.
    def report(self, epoch: int, step: int, loss: float, mean_loss: float) -> None:
        if not math.isfinite(mean_loss):
            self.record.add(kind="diverged", epoch=epoch, step=step)
            raise FloatingPointError(
                f"the loss is {loss} in epoch {epoch}, step {step}: try a lower --learning-rate "
                f"than {self.config.learning_rate}, or a normalization "
                f"(--norm is {self.config.norm})"
            )
        rate = self.scheduler.get_last_lr()[0]
        self.record.add(kind="step", epoch=epoch, step=step, loss=loss, learning_rate=rate)


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Any, mean: Tensor, std: Tensor) -> tuple[float, float]:
    """
    ## Evaluate

    No augmentation here, and the running statistics stay as they are.

    * `batches`: pairs of `uint8` images and labels; `mean`, `std`: of the colors, from the training set
    * returns the mean cross-entropy (nats) and the accuracy (0 to 1) over all of `batches`
    """
    model.eval()
    loss, correct, seen = 0.0, 0, 0
    for x, y in batches:
        logits = model(cifar10.normalize(x, mean, std))
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += int((logits.argmax(dim=1) == y).sum())
        seen += len(y)
    return loss / seen, correct / seen

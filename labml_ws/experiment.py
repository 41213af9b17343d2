r"""
# The experiment

Train the [VGG](vgg.md) on [CIFAR-10](cifar10.md). One frozen dataclass holds every setting with its reason, and doubles
as the command line; one function holds the whole training run, to be read from top to bottom.

```sh
# WS + BCN at full width; then plain convolutions with GroupNorm
python -m labml_ws.experiment
python -m labml_ws.experiment --no-ws --norm gn
# small images of digits, nothing to download
python -m labml_ws.experiment --width 0.25 --data digits
python -m labml_ws.experiment --help
```

[Accelerate](https://huggingface.co/docs/accelerate) takes care of the device, mixed precision and gradient
accumulation, so the loop hardly mentions them. What comes out is a [**record**](record.md): the settings, the command,
versions, hardware, a fingerprint of the data, the metrics and the weights. The
[recorded runs](../tutorials/recorded_run.md) of this site are such records.
"""

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws import cifar10
from labml_ws.ablations import Driven, VariantConv2d
from labml_ws.batch_channel_norm import BatchChannelNorm, BatchNorm
from labml_ws.layers import Conv2d, Linear
from labml_ws.record import Record
from labml_ws.snapshot import snapshot
from labml_ws.vgg import VGG, scaled

DESCRIPTION = "Train a VGG on CIFAR-10 with Weight Standardization and Batch-Channel Normalization, and record the run."


@dataclass(frozen=True)
class Config:
    """
    ## Settings

    Network, optimizer, learning rate and batch size are by default those of
    [labml's experiment](https://nn.labml.ai/normalization/weight_standardization/experiment.html). The comments
    on the settings are also what `--help` prints.
    """

    # Standardize the convolutions' weights.
    ws: bool = True
    # Normalization after each convolution: `bcn` is batch-channel norm, `bn` batch norm, `gn` group norm, `ln` group
    # norm with one group, `none` nothing at all.
    norm: Literal["bcn", "bn", "gn", "ln", "none"] = "bcn"
    # In `bcn`, use running estimates of the batch statistics (for micro-batches) rather than the batch's own.
    estimate: bool = True
    # In `bcn`, the share of each new batch in the running estimates. At batches of one, 0.1 remembers about ten images.
    momentum: float = 0.1
    # Groups at full width, for `bcn` and `gn`. A narrower network has proportionally fewer, so the number of channels in a
    # group stays the same.
    groups: int = 32

    # What standardized weights are, with `--ws`: as in the paper, or one of the variants in `labml_ws.ablations`.
    variant: Literal["paper", "center", "scale", "unbiased", "eps-outside"] = "paper"
    # Standardize the classifier as well, where nothing normalizes after it.
    ws_classifier: bool = False
    # Drive each channel away from mean 0 after its normalization (`bn`, `gn` or `ln`), by this many standard deviations.
    drive: float = 0.0

    # Width of the network: 1 is the full VGG (14.7 million weights), 0.25 has a quarter of the channels and a sixteenth
    # of the weights.
    width: float = 1.0
    # Where the images come from: `hub`, `digits`, or a folder with CIFAR-10's parquet files.
    data: str = "hub"

    # Train on so many images, the same random ones for every seed, or on all (0).
    train_images: int = 0

    # Passes over the training set.
    epochs: int = 5
    # Images per step.
    batch_size: int = 64
    # Steps whose gradients are averaged before the weights change: 16 with `--batch-size 4` updates like a batch of 64
    # but normalizes like 4.
    accumulate: int = 1
    # `adam`, or `sgd` with momentum 0.9 (unless the schedule moves it).
    optimizer: Literal["adam", "sgd"] = "adam"
    # The optimizer's step size; with a one-cycle schedule, its peak.
    learning_rate: float = 2.5e-4
    # Weight decay. For `adam` it is decoupled (AdamW). On standardized weights it only changes the effective step
    # size.
    weight_decay: float = 0.0
    # `constant`, or `one-cycle`: up to the peak in the first 30 % of the steps, then down to nearly zero. Torch's one-cycle
    # moves the momentum of SGD, and $\beta_1$ of Adam, the other way: from 0.95 to 0.85 and back.
    schedule: Literal["constant", "one-cycle"] = "constant"
    # For the initial weights, the order of the images and their augmentation.
    seed: int = 0

    # Arithmetic: `no` is float32. CPUs before AVX512-BF16 emulate `bf16`, and slowly.
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    # Stay on the CPU even where there is a GPU.
    cpu: bool = False
    # CPU threads (0: as many as torch likes). With 1, the same command on the same machine gives the same metrics to the
    # last digit, and two runs share two cores without waiting for each other.
    threads: int = 0
    # Where the record goes; by default `runs/` and a name made from the settings. A folder that holds a record is not
    # written over.
    out: Path | None = None
    # Measure network and landscape at the start, after every so many steps and at the end (0: never). Takes seconds each.
    measure: int = 0
    # Save the weights in half precision: half the size, for a record that is kept. Running statistics stay in float32.
    half_weights: bool = False
    # A remark to keep with the record, on the data for instance.
    note: str = ""

    @property
    def name(self) -> str:
        """The run's name, made from the settings that runs are most often told apart by."""
        norm = self.norm if self.norm != "bcn" or self.estimate else "bcn-batch"
        ws = "ws-" if self.ws and self.variant == "paper" else f"{self.variant}-"
        return f"{ws if self.ws else ''}{norm}-width{self.width:g}-batch{self.batch_size}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Where its record goes."""
        return self.out or Path("runs") / self.name

    def __post_init__(self) -> None:
        """Settings that no run can have are refused at once: `ValueError`, with the option's name and what it takes."""
        least = {"epochs": 1, "batch_size": 1, "accumulate": 1, "groups": 1}
        for field, minimum in (least | {"train_images": 0, "measure": 0, "threads": 0}).items():
            if getattr(self, field) < minimum:
                raise ValueError(
                    f"expected --{field.replace('_', '-')} of at least {minimum}, got {getattr(self, field)}"
                )
        if self.drive and self.norm not in ("bn", "gn", "ln"):
            raise ValueError(f"expected --norm bn, gn or ln with --drive, got {self.norm}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"expected --momentum from 0 to 1, got {self.momentum}")
        if not self.learning_rate > 0:
            raise ValueError(f"expected --learning-rate above 0, got {self.learning_rate}")


def build(config: Config) -> VGG:
    """
    ## The network of a setting

    Every variant is the same VGG; only the convolution and the normalization differ. Raises `ValueError` where the
    groups don't divide a layer's channels.
    """
    groups = max(1, round(config.groups * config.width))
    norms: dict[str, Callable[[int], nn.Module] | None] = {
        "bcn": lambda channels: BatchChannelNorm(
            channels, groups, momentum=config.momentum, estimate=config.estimate
        ),
        "bn": BatchNorm,
        "gn": partial(nn.GroupNorm, groups),
        "ln": partial(nn.GroupNorm, 1),
        "none": None,
    }
    conv: Callable[..., nn.Module] = Conv2d if config.ws else nn.Conv2d
    if config.ws and config.variant != "paper":
        conv = partial(VariantConv2d, variant=config.variant)
    norm = norms[config.norm]
    if config.drive and norm is not None:
        # Every layer has offsets of its own.
        seeds = itertools.count()
        plain = norm
        norm = lambda channels: Driven(plain(channels), config.drive, seed=next(seeds))  # noqa: E731
    model = VGG(scaled(config.width), conv=conv, norm=norm)
    if config.ws_classifier:
        model.classifier = Linear(model.classifier.in_features, model.classifier.out_features)
    return model


# The same images for every seed: what differs between two seeds is then initialization, order and augmentation.
def subset(images: cifar10.Images, number: int) -> cifar10.Images:
    if not number:
        return images
    if number > len(images.train_y):
        raise ValueError(
            f"expected --train-images of at most {len(images.train_y)}, got {number}"
        )
    keep = torch.randperm(len(images.train_y), generator=torch.Generator().manual_seed(0))
    keep = keep[:number]
    return replace(images, train_x=images.train_x[keep], train_y=images.train_y[keep])


def train(config: Config, images: cifar10.Images) -> dict[str, Any]:
    """
    ## Train

    * `config`: the settings; `images`: [the data][labml_ws.cifar10.load]
    * returns the last epoch's row of the metrics: losses (mean cross-entropy, in nats, that is with the natural
      logarithm), accuracies (0 to 1), times (seconds)

    Writes [the record][labml_ws.record.Record] as it goes. Raises `FileExistsError` when its folder already holds one,
    `ValueError` for a batch larger than the training set, and `FloatingPointError` when the loss is no longer finite.
    """
    from accelerate import Accelerator
    from accelerate.utils import set_seed
    from tqdm.auto import tqdm

    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.accumulate,
        cpu=config.cpu,
    )
    if config.threads:
        torch.set_num_threads(config.threads)
    set_seed(config.seed)
    model = build(config)
    images = subset(images, config.train_images)
    rate, decay = config.learning_rate, config.weight_decay
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)
        if config.optimizer == "adam"
        else torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=decay)
    )
    batches = cifar10.loader(
        images.train_x, images.train_y, config.batch_size, seed=config.seed
    )
    test = cifar10.loader(images.test_x, images.test_y, batch_size=500)
    if len(batches) == 0:
        raise ValueError(
            f"expected --batch-size of at most {len(images.train_y)}, the training images, got {config.batch_size}"
        )
    steps_in_all = config.epochs * len(batches)
    steps = config.epochs * -(-len(batches) // config.accumulate)
    scheduler = (
        torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
        if config.schedule == "one-cycle"
        else torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    )
    model, optimizer, batches, test, scheduler = accelerator.prepare(
        model, optimizer, batches, test, scheduler
    )
    device = accelerator.device
    record = Record(config, images, device)
    # The statistics of the training set, also for the test images: nothing may be learned from those.
    mean, std = (stat.to(device) for stat in cifar10.channel_stats(images.train_x))
    generator = torch.Generator(device).manual_seed(config.seed)

    # What `--measure` looks at, the same images at every step: the first of the subset and of the test set.
    def look(step: int) -> None:
        if config.measure:
            bare = accelerator.unwrap_model(model)
            held_out, x = (
                cifar10.normalize(part.to(device), mean, std)
                for part in (images.test_x[:1000], images.train_x[:128])
            )
            found = snapshot(bare.train(), held_out, x, images.train_y[:128].to(device))
            record.add(kind="measure", step=step, **found)

    row: dict[str, Any] = {}
    done = 0
    look(0)
    for epoch in range(1, config.epochs + 1):
        model.train()
        start = time.perf_counter()
        # The sums stay on the device: reading a number off a GPU at every step would make the two wait for each other.
        total_loss, correct, seen = (
            torch.zeros((), device=device),
            torch.zeros((), device=device),
            0,
        )
        progress = tqdm(
            batches, f"epoch {epoch}/{config.epochs}", unit="step", disable=None, leave=False
        )
        for step, (x, y) in enumerate(progress, 1):
            x = cifar10.augment(
                cifar10.normalize(x, mean, std), generator, flip=images.flip
            )  # [B, 3, 32, 32]
            # **What is a micro-batch?** A step of one or two images. The papers' runs with GN and WS simulate it: they
            # gather the gradients of many such steps before the weights change (Caffe's `iter_size`). `--accumulate`
            # does the same; Accelerate holds the optimizer back until it is time. GroupNorm cannot tell this from a
            # large batch. BatchNorm can, as its statistics are still those of the small one.
            with accelerator.accumulate(model):
                logits = model(x)  # [B, 10]
                loss = F.cross_entropy(logits, y)
                accelerator.backward(loss)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            total_loss += loss.detach() * len(y)
            correct += (logits.argmax(dim=1) == y).sum()
            seen += len(y)
            done += 1
            if config.measure and done % config.measure == 0 and done < steps_in_all:
                look(done)
            if step % 50 == 0 or step == len(batches):
                # A loss of `nan` does not recover, so stop here, with the epochs before it safely recorded.
                if not torch.isfinite(total_loss):
                    record.add(kind="diverged", epoch=epoch, step=step)
                    raise FloatingPointError(
                        f"the loss is {loss.item()} in epoch {epoch}, step {step}: try a lower --learning-rate than "
                        f"{config.learning_rate}, or a normalization (--norm is {config.norm})"
                    )
                speed = seen / (time.perf_counter() - start)
                accuracy = (correct / seen).item()
                progress.set_postfix_str(
                    f"loss {(total_loss / seen).item():.3f}, accuracy {accuracy:.1%}, {speed:.0f} images/s"
                )
                record.add(
                    kind="step",
                    epoch=epoch,
                    step=step,
                    loss=loss.item(),
                    learning_rate=scheduler.get_last_lr()[0],
                )
        train_seconds = time.perf_counter() - start
        test_loss, test_accuracy = evaluate(model, test, mean, std)
        if epoch == config.epochs:
            look(done)
        row = record.add(
            kind="epoch",
            epoch=epoch,
            train_loss=(total_loss / seen).item(),
            train_accuracy=(correct / seen).item(),
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            train_seconds=train_seconds,
            images_per_second=seen / train_seconds,
        )
        record.save_weights(accelerator.unwrap_model(model))
        print(
            f"epoch {epoch}/{config.epochs}: loss {row['train_loss']:.3f}, accuracy {row['train_accuracy']:.1%}, "
            f"test accuracy {test_accuracy:.1%}, {row['images_per_second']:.0f} images/s",
            flush=True,
        )
    return row


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


def main(arguments: list[str] | None = None) -> int:
    """
    ## The command line

    [tyro](https://brentyi.github.io/tyro/) turns the settings into options. What a user can fix ends in one sentence
    and exit code 1, not in a traceback.
    """
    import tyro

    try:
        config = tyro.cli(
            Config,
            args=arguments,
            prog="python -m labml_ws.experiment",
            description=DESCRIPTION,
        )
        images = cifar10.load(config.data)
        row = train(config, images)
    except (cifar10.DataError, ValueError, FileExistsError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"{config.name}: test accuracy {row['test_accuracy']:.2%} after {config.epochs} epochs "
        f"in {row['seconds'] / 60:.1f} min, record in {config.folder}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

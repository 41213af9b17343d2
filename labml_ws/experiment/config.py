r"""
# What can be set

The settings, each with its reason, and what they mean: the network, and what trains it.
"""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import lr_scheduler

from labml_ws.batch_channel_norm import BatchChannelNorm, BatchNorm
from labml_ws.experiment.ablations import Driven, VariantConv2d
from labml_ws.experiment.tracking import Tracker
from labml_ws.experiment.vgg import VGG, scaled
from labml_ws.layers import Conv2d, Linear

# Of the settings, those that a run's numbers hardly depend on, and with them those that its name begins with.
APART = {
    *("cpu", "threads", "out", "measure", "half_weights", "note"),
    *("resume", "checkpoint_steps", "checkpoint_minutes", "checkpoints", "tracker"),
}
UNNAMED = APART | {"ws", "norm", "estimate", "variant", "width", "batch_size", "seed"}
# What a record that doesn't mention a setting was run with, where that isn't its default: there was no choice yet.
BEFORE: dict[str, Any] = {"validation": 0.0, "fused": False}
# How a name abbreviates the others. A word says by itself what it sets: `sgd`, `one-cycle`.
SHORT = {
    "learning_rate": "rate",
    "train_images": "images",
    "weight_decay": "decay",
} | dict.fromkeys(("data", "optimizer", "schedule", "mixed_precision"), "")


@dataclass(frozen=True)
class Config:
    """
    ## Settings

    Network, optimizer, learning rate and batch size are by default those of
    [labml's experiment](https://nn.labml.ai/normalization/weight_standardization/experiment.html). The comments
    on the settings are also what `--help` prints.
    """

    # **Network**

    # Standardize the convolutions' weights.
    ws: bool = True
    # Normalization after each convolution: `bcn` is batch-channel norm, `bn` batch norm, `gn` group norm, `ln` group
    # norm with one group, `none` nothing at all.
    norm: Literal["bcn", "bn", "gn", "ln", "none"] = "bcn"
    # In `bcn`, use running estimates of the batch statistics: for micro-batches, instead of the batch's own.
    estimate: bool = True
    # In `bcn`, the share of each new batch in the running estimates. At batches of one, 0.1 remembers about ten images.
    momentum: float = 0.1
    # Groups at full width, for `bcn` and `gn`. A narrower network has proportionally fewer, so the number of channels in a
    # group stays the same.
    groups: int = 32

    # Weights with `--ws`: as in the paper, or one of the variants in `labml_ws.experiment.ablations`.
    variant: Literal["paper", "center", "scale", "unbiased", "eps-outside"] = "paper"
    # Standardize the classifier as well, where nothing normalizes after it.
    ws_classifier: bool = False
    # Drive each channel from mean 0 by so many standard deviations: after its normalization, which is `bn`, `gn` or `ln`.
    drive: float = 0.0

    # Width of the network: 1 is the full VGG (14.7 million weights), 0.25 has a quarter of the channels and a sixteenth
    # of the weights.
    width: float = 1.0
    # **Images**

    # Images from `hub`, `digits`, or a folder with CIFAR-10's parquet files.
    data: str = "hub"

    # What to do at an image or a label that cannot be used: `stop` with its row, or `skip` it, which the record says.
    on_bad_data: Literal["stop", "skip"] = "stop"
    # The share of the training images that is held out, to choose by: each epoch is measured on these, and the test images are
    # looked at once, at the end. With 0, each epoch is measured on the test images.
    validation: float = 0.1
    # Train on so many of those that are left, or on all with 0: the same random ones for every seed.
    train_images: int = 0

    # **Training**

    # Passes over the training set.
    epochs: int = 5
    # Images per step.
    batch_size: int = 64
    # Batches whose gradients are averaged before the weights change: 16 with `--batch-size 4` updates like a batch of 64
    # but normalizes like 4.
    accumulate: int = 1
    # Images that pass at a time, which decides the memory; gradients accumulate over them. With 0 all of a step, with `auto`
    # as many as fit into the GPU.
    micro_batch: int | Literal["auto"] = 0
    # What updates the weights: `adam`, or `sgd` with momentum 0.9 (unless the schedule moves it).
    optimizer: Literal["adam", "sgd"] = "adam"
    # The optimizer's step size; with a one-cycle schedule, its peak.
    learning_rate: float = 2.5e-4
    # Weight decay. For `adam` it is decoupled (AdamW). On standardized weights it only changes the effective step
    # size.
    weight_decay: float = 0.0
    # The learning rate over time: `constant`, or `one-cycle`, up to the peak in the first 30 % of the steps, then down to nearly zero. Torch's one-cycle
    # moves the momentum of SGD, and $\beta_1$ of Adam, the other way: from 0.95 to 0.85 and back.
    schedule: Literal["constant", "one-cycle"] = "constant"
    # Whether a one-cycle schedule moves the momentum at all. Without, SGD keeps its 0.9.
    cycle_momentum: bool = True
    # Update all weights in one kernel, where torch has one: an optimizer's step in half the time or less, with other last digits. Not with fp16,
    # where a step may be left out. The first recorded runs are without.
    fused: bool = True
    # For the initial weights, the order of the images and their augmentation.
    seed: int = 0

    # **Machine**

    # Arithmetic: `no` is float32. CPUs before AVX512-BF16 emulate `bf16`, and slowly.
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    # Stay on the CPU even where there is a GPU.
    cpu: bool = False
    # CPU threads, or as many as torch likes with 0. With 1, the same command on the same machine gives the same metrics to the
    # last digit, and two runs share two cores without waiting for each other.
    threads: int = 0
    # **Record**

    # Where the record goes, by default `runs/` and a name made from the settings. A folder that holds a record is not
    # written over.
    out: Path | None = None
    # Measure network and landscape after every so many steps: also at the start and the end, and with 0 never. Takes seconds each.
    measure: int = 0
    # Save the weights in half precision: half the size, for a record that is kept. Running statistics stay in float32.
    half_weights: bool = False
    # Go on from the last checkpoint of an interrupted run: that in the folder, if there is one.
    resume: bool = False
    # A checkpoint after every so many batches: besides that at the end of each epoch, and with 0 none.
    checkpoint_steps: int = 0
    # A checkpoint whenever so many minutes have passed: since the last one, and with 0 none.
    checkpoint_minutes: float = 0.0
    # How many of the last checkpoints stay until the run has ended. In training with Adam, each is three times the size of
    # the weights.
    checkpoints: int = 2
    # Shows the metrics: while it trains, `auto` in TensorBoard where that is installed.
    tracker: Tracker = "auto"
    # A remark to keep with the record, on the data for instance.
    note: str = ""

    @property
    def name(self) -> str:
        """The run's name: network, width, batch size and seed, and every other setting of the result that is not its default."""
        norm = self.norm if self.norm != "bcn" or self.estimate else "bcn-batch"
        ws = "" if not self.ws else "ws-" if self.variant == "paper" else f"{self.variant}-"
        parts = [f"{ws}{norm}-width{self.width:g}-batch{self.batch_size}-seed{self.seed}"]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in UNNAMED and value != field.default:
                word = Path(value).resolve().name if isinstance(value, str) else str(value)
                title = SHORT.get(field.name, field.name.replace("_", "-"))
                flags = {"True": title, "False": f"no-{title}"}
                parts.append(flags.get(word, f"{title}{word}"))
        return re.sub(r"[^\w.+-]", "_", "-".join(parts))

    @property
    def split(self) -> tuple[int, int]:
        """How many images pass through the network at a time, and how many times for an update of the weights."""
        size = int(self.micro_batch) if self.micro_batch != "auto" else 0
        size = size or self.batch_size
        return size, self.accumulate * self.batch_size // size

    @property
    def folder(self) -> Path:
        """Where its record goes."""
        return self.out or Path("runs") / self.name

    def __post_init__(self) -> None:
        """Settings that no run can have are refused at once: `ValueError`, with the option's name and what it takes."""
        least = dict.fromkeys(
            ("epochs", "batch_size", "accumulate", "groups", "checkpoints"), 1
        )
        for field, minimum in (
            least | dict.fromkeys(("train_images", "measure", "threads", "checkpoint_steps"), 0)
        ).items():
            if (value := getattr(self, field)) < minimum:
                option = f"--{field.replace('_', '-')}"
                raise ValueError(f"expected {option} of at least {minimum}, got {value}")
        if self.drive and self.norm not in ("bn", "gn", "ln"):
            raise ValueError(f"expected --norm bn, gn or ln with --drive, got {self.norm}")
        # `not (a <= x)` also refuses `nan`.
        ranges = {
            "momentum": (0 <= self.momentum <= 1, "from 0 to 1"),
            "validation": (0 <= self.validation < 1, "from 0 to less than 1"),
            "width": (0 < self.width <= 16, "above 0 and at most 16 (3.8 billion weights)"),
            "learning_rate": (0 < self.learning_rate < math.inf, "above 0, and finite"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "of at least 0, and finite"),
            "drive": (0 <= self.drive < math.inf, "of at least 0, and finite"),
            "seed": (0 <= self.seed < 2**32, "from 0 to 4294967295"),
            "threads": (self.threads <= 1024, "of at most 1024"),
            "checkpoint_minutes": (self.checkpoint_minutes >= 0, "of at least 0"),
            "micro_batch": (
                self.micro_batch in (0, "auto")
                or (self.split[0] > 0 and self.batch_size % self.split[0] == 0),
                f"auto, or a divisor of --batch-size {self.batch_size}",
            ),
        }
        for field, (possible, expected) in ranges.items():
            if not possible:
                option = f"--{field.replace('_', '-')}"
                raise ValueError(f"expected {option} {expected}, got {getattr(self, field)}")
        if self.micro_batch and self.accumulate > 1:
            raise ValueError(
                f"expected --accumulate 1 with --micro-batch, which accumulates by itself, got "
                f"{self.accumulate}: make --batch-size larger instead"
            )
        if self.out is not None and not self.out.name:
            raise ValueError(
                f"expected --out with the name of a folder for this run alone, got '{self.out}'"
            )


def build(config: Config) -> VGG:
    """
    ## The network of a setting

    Every variant is the same VGG; only the convolution and the normalization differ. Raises `ValueError` where the
    groups don't divide a layer's channels.
    """
    groups = max(1, round(config.groups * config.width))
    blocks = scaled(config.width)
    uneven = [c for block in blocks for c in block if c % groups]
    if uneven and config.norm in ("bcn", "gn"):
        raise ValueError(
            f"expected --groups that divide the channels of every layer, got --groups "
            f"{config.groups}: at --width {config.width:g} these are {groups} groups "
            f"for {uneven[0]} channels"
        )
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
        seeds, plain, drive = itertools.count(), norm, config.drive
        norm = lambda channels: Driven(plain(channels), drive, seed=next(seeds))  # noqa: E731
    model = VGG(blocks, conv=conv, norm=norm)
    if config.ws_classifier:
        model.classifier = Linear(model.classifier.in_features, model.classifier.out_features)
    return model


def optimization(
    config: Config, model: nn.Module, steps: int
) -> tuple[torch.optim.Optimizer, lr_scheduler.LRScheduler]:
    """
    ## How it is trained

    * `model`: whose parameters; `steps`: how often they will be updated, all in all
    * returns the optimizer, and the schedule of its learning rate
    """
    rate, decay = config.learning_rate, config.weight_decay
    # `False` would choose among the other kernels, too. A fused step leaves itself out, so that the schedule wouldn't know.
    fused = True if config.fused and config.mixed_precision != "fp16" else None
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, fused=fused)
        if config.optimizer == "adam"
        else torch.optim.SGD(
            model.parameters(), rate, momentum=0.9, weight_decay=decay, fused=fused
        )
    )
    schedule = (
        lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=steps, cycle_momentum=config.cycle_momentum
        )
        if config.schedule == "one-cycle"
        else lr_scheduler.ConstantLR(optimizer, factor=1.0)
    )
    return optimizer, schedule

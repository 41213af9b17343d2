r"""
# Probes of the records

A recorded number is worth showing as long as the code that made it behaves as it did. The text of the code tells little:
to rename a variable changes every file and no number, to change one constant changes one digit and all numbers. So each
[record](record.md) carries a **probe**: what its settings compute in three steps, in float64, on a dozen images of noise.
It takes a fraction of a second, and is computed again before a page is built from the records.

| number | what it tells |
|---|---|
| `initial` | the weights as they are drawn |
| `losses`, `test` | the loss of each step, and on other images after the last, in evaluation mode |
| `moved`, `buffers` | how far the weights have gone, and the running statistics |
| `measured` | with `--measure`, each number of [a snapshot][labml_ws.experiment.measure.snapshot], and a loss surface |

What is long is told by one number, its product with a random vector: any change shows in it.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from labml_ws.experiment import cifar10
from labml_ws.experiment.config import Config, build, optimization
from labml_ws.experiment.landscape import loss_surface
from labml_ws.experiment.measure import snapshot

STEPS = 3
# Other instructions (AVX2, AVX-512, without oneDNN) move a number by some 1e-12 of itself.
TOLERANCE = 1e-8


def essence(config: Config) -> Config:
    """
    ## What a probe depends on

    The settings that decide *what* is computed stay: network, normalization, optimizer, schedule. Those that decide how
    much, how fast, from where and from which seed become the same for all, so many records share a probe. A network is
    at most a quarter as wide as the full one, and of the batch size it matters whether it is one, two or more.

    * `config`: a run's settings
    * returns those of its probe
    """
    return replace(
        config,
        data="digits",
        validation=0.0,
        train_images=min(config.train_images, 12),
        epochs=1,
        width=min(config.width, 0.25),
        batch_size=min(config.split[0], 4),
        accumulate=min(config.split[1], 2),
        learning_rate={"adam": 1e-3, "sgd": 1e-2}[config.optimizer],
        seed=0,
        fused=False,
        mixed_precision="no",
        cpu=True,
        threads=0,
        out=None,
        measure=min(config.measure, 1),
        half_weights=False,
        micro_batch=0,
        on_bad_data="stop",
        checkpoint_minutes=0.0,
        resume=False,
        checkpoint_steps=0,
        checkpoints=1,
        tracker="none",
        note="",
    )


def probe(config: Config) -> dict[str, Any]:
    """
    ## The probe

    * `config`: a run's settings
    * returns the numbers of the table above, ready for JSON. The default type and the state of the random numbers stay as
      they are
    """
    config = essence(config)
    trained = steps(replace(config, measure=0))
    return trained | ({"measured": measured(config)} if config.measure else {})


# What a run does, in small: images by the same functions, network and optimizer of the same settings. Without `measure` in
# its settings, so that it is the same for those who measure and those who don't.
@cache
def steps(config: Config) -> dict[str, Any]:
    with float64():
        images = cifar10.subset(noise(), config.train_images)
        mean, std = (stat.double() for stat in cifar10.channel_stats(images.train_x))
        test = cifar10.normalize(images.test_x, mean, std)
        generator = torch.Generator().manual_seed(config.seed)
        batches = cifar10.loader(images.train_x, images.train_y, config.batch_size, config.seed)
        model = build(config)
        parameters = list(model.parameters())
        initial = [p.detach().clone() for p in parameters]
        # The schedule is that of ten updates: what comes first is its ascent.
        optimizer, scheduler = optimization(config, model, steps=10)
        losses = []
        for step, (x, y) in enumerate(islice(batches, STEPS * config.accumulate), 1):
            x = cifar10.augment(cifar10.normalize(x, mean, std), generator, flip=images.flip)
            loss = F.cross_entropy(model(x), y)
            losses.append(loss.item())
            (loss / config.accumulate).backward()
            if step % config.accumulate == 0:
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        with torch.no_grad():
            loss = F.cross_entropy(model.eval()(test), images.test_y)
        moved = [p.detach() - old for p, old in zip(parameters, initial, strict=True)]
        return {
            "initial": projection(initial),
            "losses": losses,
            "test": loss.item(),
            "moved": projection(moved),
            "buffers": projection(model.buffers()),
        }


def differences(recorded: dict[str, Any], config: Config) -> dict[str, tuple[Any, Any]]:
    """
    ## Then and now

    * `recorded`: the probe of a record; `config`: its settings
    * returns the numbers that this code computes otherwise, by more than `TOLERANCE` of their size: then, and now
    """
    then, now = flat(recorded), flat(probe(config))
    return {
        name: (then.get(name), now.get(name))
        for name in {**then, **now}
        if not math.isclose(
            then.get(name, math.nan), now.get(name, math.nan), rel_tol=TOLERANCE, abs_tol=1e-10
        )
    }


def flat(numbers: Any, name: str = "") -> dict[str, float]:
    if isinstance(numbers, int | float):
        return {name: numbers}
    items = numbers.items() if isinstance(numbers, dict) else enumerate(numbers, 1)
    return {
        k: v for key, value in items for k, v in flat(value, f"{name} {key}".strip()).items()
    }


# A snapshot takes a hundred passes, so it is that of a narrow network. Its parameters are shaken, so that no scale is one and
# no shift zero.
@cache
def measured(config: Config) -> dict[str, float]:
    with float64():
        model = build(replace(config, width=1 / 16)).train()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        images = noise()
        x, y = (images.test_x / 255 - 0.5) * 4, images.test_y
        found = snapshot(model, x, x[:4], y[:4])
        found["surface"] = loss_surface(model, x[:4], y[:4], points=3).flatten().tolist()
        return {key: projection([torch.tensor(value)]) for key, value in found.items()}


def noise() -> cifar10.Images:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (40, 3, 32, 32), generator=generator).to(torch.uint8)
    y = torch.randint(10, (40,), generator=generator)
    return cifar10.Images(x[:32], y[:32], x[32:], y[32:], source="noise")


@contextmanager
def float64() -> Iterator[None]:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            yield
    finally:
        torch.set_default_dtype(default)


def projection(tensors: Iterable[Tensor]) -> float:
    values = torch.cat([torch.zeros(0), *(t.flatten().double() for t in tensors)])
    return float(values @ torch.randn(len(values), generator=torch.Generator().manual_seed(1)))


if __name__ == "__main__":
    # ## See it work
    #
    # The same settings with another seed have the same probe, with a variance of another kind they have not.
    narrow = Config(width=1 / 16, norm="gn", optimizer="sgd")
    recorded = probe(narrow)
    print("losses: " + ", ".join(f"{loss:.4f}" for loss in recorded["losses"]))
    print("with another seed:", differences(recorded, replace(narrow, seed=1)) or "the same")
    for name, (then, now) in differences(recorded, replace(narrow, variant="unbiased")).items():
        print(f"with I - 1: {name} was {then:.9g}, is {now:.9g}")

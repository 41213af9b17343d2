"""What is measured: each function yields the rows of one table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws import BatchChannelNorm, ChannelNorm, Conv2d, EstimatedBatchNorm, standardize_once
from labml_ws.batch_channel_norm import BatchNorm
from labml_ws.experiment.vgg import VGG
from labml_ws.standardization import standardize
from tests.benchmarks.forms import FORMS, Formed, LabmlBCN, Touch
from tests.benchmarks.measure import Clock, Row, Step, Traffic, saved_bytes, with_goal

# Channels, height and width, images per step.
SHAPES = [(256, 8, 2), (512, 4, 2), (512, 4, 1), (512, 2, 2), (512, 2, 1)]
STAGES = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2)]


def passes(layer: nn.Module, inputs: list[Tensor], once: bool = False) -> Step:
    """Forward and backward through one layer, for each of the inputs, from gradients that are not there yet."""
    upstream = [torch.randn_like(layer(x)) for x in inputs]

    def all_passes() -> None:
        for x, g in zip(inputs, upstream, strict=True):
            layer(x).backward(g)

    def step() -> None:
        for tensor in (*layer.parameters(), *inputs):
            tensor.grad = None
        if once:
            with standardize_once(layer):
                all_passes()
        else:
            all_passes()

    return step


def images(clock: Clock, *shape: int) -> Tensor:
    return torch.randn(shape, device=clock.device, requires_grad=True)


def measured(
    clock: Clock, table: str, row: str, layers: dict[str, nn.Module], x: Tensor
) -> list[Row]:
    """Time and memory of a forward and a backward pass through each of the layers."""
    layers = {form: layer.to(clock.device) for form, layer in layers.items()}
    rows = clock.rows(table, row, {form: passes(layer, [x]) for form, layer in layers.items()})
    saved = {
        form: saved_bytes(lambda layer=layer: layer(x), [x, *layer.parameters()])
        for form, layer in layers.items()
    }
    return [replace(made, saved=saved[made.form]) for made in rows]


def convolutions(channels: int, out: int, forms: list[str]) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {
        "plain": nn.Conv2d(channels, out, 3, padding=1, bias=False),
        "ours": Conv2d(channels, out, 3, padding=1, bias=False),
    }
    for form in forms:
        layers[form] = Formed(channels, out, 3, padding=1, bias=False, form=FORMS[form])
    return layers


def traffic(device: torch.device) -> dict[str, dict[str, float]]:
    """For each form, forward and backward: how many kernels, and how often the weight's memory is read and written."""
    weight = torch.randn(256, 256, 3, 3, device=device)
    return counted({"ours": standardize, **FORMS}, weight)


def norm_traffic(device: torch.device) -> dict[str, dict[str, float]]:
    """The same for each normalization of the largest stage, in sizes of its input."""
    channels, side = STAGES[0]
    layers = {form: layer.to(device) for form, layer in normalizations(channels).items()}
    return counted(layers, torch.randn(64, channels, side, side, device=device))


def counted(
    forms: Mapping[str, Callable[[Tensor], Tensor]], x: Tensor
) -> dict[str, dict[str, float]]:
    found = {}
    for name, form in forms.items():
        leaf, upstream = x.clone().requires_grad_(), torch.randn_like(x)
        with Traffic() as traffic:
            form(leaf).backward(upstream)
        size = x.untyped_storage().nbytes()
        found[name] = {
            "kernels": traffic.kernels,
            "reads": round(traffic.read / size, 2),
            "writes": round(traffic.written / size, 2),
        }
    return found


def against_floor(rows: list[Row]) -> list[Row]:
    floor = next(row.ratio for row in rows if row.form == "floor")
    return with_goal(rows, "ours", 1.1 * floor)


def weights(clock: Clock) -> Iterator[Row]:
    """One convolution with a standardized weight, over the plain one."""
    for channels, side, batch in SHAPES:
        name = f"{channels}→{channels}, {side}², b{batch}"
        x = images(clock, batch, channels, side, side)
        layers = convolutions(channels, channels, [*FORMS])
        yield from against_floor(measured(clock, "weights", name, layers, x))


def micro_batches(clock: Clock) -> Iterator[Row]:
    """Eight micro-batches of one image, standardized each time or once, over the plain convolution."""
    for channels, side in ((256, 8), (512, 4), (512, 2)):
        inputs = [images(clock, 1, channels, side, side) for _ in range(8)]
        layers = convolutions(channels, channels, [])
        layers = {form: layer.to(clock.device) for form, layer in layers.items()}
        steps = {form: passes(layer, inputs) for form, layer in layers.items()}
        steps["once"] = passes(layers["ours"], inputs, once=True)
        rows = clock.rows("once", f"{channels}→{channels}, {side}², 8 × b1", steps)
        yield from with_goal(rows, "once", 1.08)


def normalizations(channels: int) -> dict[str, nn.Module]:
    return {
        "BatchNorm": nn.BatchNorm2d(channels),
        "ours": BatchChannelNorm(channels, 32),
        "in steps": nn.Sequential(EstimatedBatchNorm(channels), ChannelNorm(channels, 32)),
        "ours, batch": BatchChannelNorm(channels, 32, estimate=False),
        "in steps, batch": nn.Sequential(BatchNorm(channels), ChannelNorm(channels, 32)),
        "GroupNorm": nn.GroupNorm(32, channels),
        "labml": LabmlBCN(channels, 32),
    }


def norms(clock: Clock) -> Iterator[Row]:
    """Batch-Channel Norm over BatchNorm, on what the stages of a VGG give it, 64 images."""
    for channels, side in STAGES:
        x = images(clock, 64, channels, side, side)
        place = f"64 × {channels} × {side}²"
        rows = measured(clock, "norms", place, normalizations(channels), x)
        goals = {(64, 32): 1.0, (512, 2): 1.6}
        yield from with_goal(rows, "ours", goals.get((channels, side)))


def training(model: nn.Module, x: Tensor, y: Tensor, parts: int, once: bool = False) -> Step:
    """A step of SGD on a batch that is cut into parts."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, weight_decay=5e-4)

    def gather() -> None:
        for part, target in zip(x.chunk(parts), y.chunk(parts), strict=True):
            (F.cross_entropy(model(part), target) / parts).backward()

    def step() -> None:
        optimizer.zero_grad()
        if once:
            with standardize_once(model):
                gather()
        else:
            gather()
        optimizer.step()

    return step


def networks(clock: Clock) -> Iterator[Row]:
    """
    A training step of a VGG with WS and BCN, over that of the same with BatchNorm. Between them, to see which part costs
    what: the floor of WS, and WS alone.
    """
    floor = partial(Formed, form=Touch.apply)
    models = {
        "BatchNorm": VGG(conv=nn.Conv2d, norm=nn.BatchNorm2d).to(clock.device),
        "ours": VGG().to(clock.device),
        "floor, BatchNorm": VGG(conv=floor, norm=nn.BatchNorm2d).to(clock.device),
        "WS, BatchNorm": VGG(norm=nn.BatchNorm2d).to(clock.device),
    }
    for batch, parts in ((1, 1), (2, 1), (16, 1), (8, 8)):
        x = torch.randn(batch, 3, 32, 32, device=clock.device)
        y = torch.randint(10, (batch,), device=clock.device)
        steps = {name: training(model, x, y, parts) for name, model in models.items()}
        if parts > 1:
            steps["once"] = training(models["ours"], x, y, parts, once=True)
        name = f"VGG, b{batch}" if parts == 1 else f"VGG, {parts} × b{batch // parts}"
        rows = clock.rows("networks", name, steps)
        yield from with_goal(rows, "once" if parts > 1 else "ours", 1.0 if parts > 1 else 1.11)


def scaling(clock: Clock) -> Iterator[Row]:
    """How the share of WS goes with the batch, the fan-in and the depth."""
    for batch in (1, 2, 4, 8, 16, 32):
        layers = convolutions(256, 256, ["floor"])
        yield from measured(clock, "batch", str(batch), layers, images(clock, batch, 256, 8, 8))
    for channels in (16, 64, 256, 1024):
        layers = convolutions(channels, 128, ["floor"])
        x = images(clock, 2, channels, 8, 8)
        yield from measured(clock, "fan-in", str(9 * channels), layers, x)
    for depth in (1, 2, 4, 8):
        layers = {}
        for form in ("plain", "ours", "floor"):
            blocks: list[nn.Module] = []
            for _ in range(depth):
                made = convolutions(128, 128, ["floor"])[form]
                blocks += [made, nn.GroupNorm(32, 128), nn.ReLU()]
            layers[form] = nn.Sequential(*blocks)
        yield from measured(clock, "depth", str(depth), layers, images(clock, 2, 128, 8, 8))


def allocator(clock: Clock) -> Iterator[Row]:
    """One shape alone, for a process of its own in which the allocator is left as it is."""
    x = images(clock, 2, 512, 4, 4)
    yield from measured(
        clock, "allocator", "512→512, 4², b2", convolutions(512, 512, ["floor"]), x
    )


TABLES = (weights, micro_batches, norms, networks, scaling)

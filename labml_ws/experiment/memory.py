r"""
# How many images fit

A training step keeps what its backward pass needs: for each layer the input, or the output, of every image. That grows
with the micro-batch, and nothing else does. Weights, gradients and the optimizer's two moments are four numbers a
weight, however many images there are. So memory bounds the images that pass at a time, not those of an update:
`--micro-batch 4` takes a `--batch-size` of 64 in sixteen parts and accumulates the gradient over them. That is another
spelling of `--batch-size 4 --accumulate 16`, and as with that, weights are [standardized once](once.md) for an update.

`--micro-batch auto` finds the largest on a GPU, by trying: one update with all images at once, and with the next
smaller divisor of the batch whenever the memory is not enough. A CPU has no such edge: it hands out more memory than
there is, slows down, and the system ends a process. So there is nothing to find, and `auto` says so.
"""

import json
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws.experiment.config import Config, build, optimization
from labml_ws.experiment.processes import largest
from labml_ws.once import standardize_once


def saved_bytes(model: nn.Module, x: Tensor) -> int:
    """
    ## What a forward pass keeps

    * `model`; `x`: a batch of images, `[B, 3, H, W]`
    * returns the bytes that autograd keeps for the backward pass, each memory once, without the parameters
    """
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        # Kept alive until they are counted: an address that is free would be given out again.
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(x).sum()
    size = sum(
        t.untyped_storage().nbytes() for address, t in kept.items() if address not in own
    )
    del loss
    return size


def sized(config: Config, accelerator: Any) -> Config:
    """
    ## `--micro-batch auto`

    Returns the settings with a number in its place, and the same folder: that of the record which the run goes on with or,
    without one, [what fits][labml_ws.experiment.memory.fitting].
    """
    if config.micro_batch != "auto":
        return config
    about = config.folder / "config.json"
    if config.resume and about.is_file():
        size = int(json.loads(about.read_text())["config"]["micro_batch"])
    else:
        size = fitting(config, accelerator)
    return replace(config, micro_batch=size, out=config.folder)


def fitting(config: Config, accelerator: Any) -> int:
    """
    ## The largest micro-batch

    * `config`: with `--micro-batch auto`; `accelerator`: where the training is to run
    * returns the largest divisor of the batch size whose images, all processes together, fit into memory at a time

    Raises `ValueError` on a CPU, and where not even the smallest fits.
    """
    from accelerate.utils.memory import clear_device_cache

    processes = accelerator.num_processes
    if accelerator.device.type == "cpu":
        raise ValueError(
            "expected --micro-batch with a number on a CPU, got auto: its memory has no edge to "
            "find"
        )
    batch = config.batch_size
    sizes = [size for size in range(batch, 0, -1) if batch % size == size % processes == 0]
    for size in sizes:
        try:
            attempt(config, accelerator, size // processes)
        except (RuntimeError, MemoryError) as error:
            if not is_full(error):
                raise
        else:
            break
        finally:
            # What the attempt has left would be missing to the next.
            clear_device_cache(garbage_collection=True)
    else:
        size = 0
    # The processes need the same one: the smallest of theirs.
    if not (size := -largest(accelerator, -size)):
        raise ValueError(
            f"expected a network that fits into memory with {processes} images at a time, one for "
            f"each process, got --width {config.width:g}: try a smaller one"
        )
    return size


# A network of its own, so that the run finds everything as if this had not been: two passes, the second with the
# gradients of the first there, and an update, which makes the optimizer's moments.
def attempt(config: Config, accelerator: Any, size: int) -> None:
    device = accelerator.device
    model = build(config).to(device).train()
    optimizer, _ = optimization(config, model, steps=10)
    x = torch.randn(size, 3, 32, 32, device=device)
    y = torch.zeros(size, dtype=torch.long, device=device)
    with standardize_once(model):
        for _ in range(2):
            with accelerator.autocast():
                loss = F.cross_entropy(model(x), y)
            loss.backward()
    optimizer.step()


def is_full(error: BaseException) -> bool:
    """Whether an error says that the memory is full."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


if __name__ == "__main__":
    # ## See it work
    #
    # Memory by micro-batch, for the full VGG with WS and BCN: what autograd keeps, beside the weights, their gradients
    # and AdamW's two moments, which are always there. Of what is kept, 59 MB are $\hat W$, for however many images.
    torch.manual_seed(0)
    model = build(Config()).train()
    fixed = 4 * sum(p.numel() * p.element_size() for p in model.parameters())
    print("micro-batch   kept MB   with weights, gradients, moments MB")
    for size in (1, 2, 4, 8, 16, 32, 64):
        kept = saved_bytes(model, torch.randn(size, 3, 32, 32))
        print(f"{size:11} {kept / 1e6:9.1f} {(kept + fixed) / 1e6:37.0f}")

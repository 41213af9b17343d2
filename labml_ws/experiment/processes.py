r"""
# Several processes

`torchrun --nproc_per_node 2 -m labml_ws.experiment` (or `accelerate launch`) starts the same program twice, and both train *one* network. The rule is
that **the number of processes changes nothing but the time**: `--batch-size` is that of all processes together, each takes its
part of every batch, and what is computed over a batch is computed over all parts.

| what | over all processes |
|---|---|
| order of the images, their augmentation | drawn by each for the whole batch, with one seed; each keeps its part |
| gradients | averaged, by `DistributedDataParallel` |
| statistics of BatchNorm, running estimates | of the whole batch: moments are exchanged |
| losses and accuracies | summed; each test image counts once |
| record and checkpoints | written by the first process |
| a signal | one process has it, all stop after the same batch |

Two and four processes are tested to give the weights, statistics and metrics of one: in float64, to ten digits after five
steps, whatever the normalization.

**FSDP2 was tried**: `fully_shard` on this network and these batch norms, by two processes, gives the same weights and
statistics. The trainer stays with copies all the same. All that sharding could share out is four numbers a weight, [some
240 MB](memory.md); and it puts a new weight together for each pass, so
[`standardize_once`][labml_ws.once.standardize_once] refuses it, in one sentence, with `--accumulate`.
"""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from labml_ws.batch_channel_norm import BatchNorm, EstimatedBatchNorm
from labml_ws.running_statistics import check_channels


class SharedBatchNorm(BatchNorm):
    r"""
    ## A batch norm over all processes

    With $K$ processes that have equal parts of the batch, and a bar for the mean over the part of process $k$,

    $$\code{mean}{\mu_c} = \frac{1}{K} \sum_k \overline{x_{kc}} \qquad
    \code{var}{\sigma_c^2} = \frac{1}{K} \sum_k \overline{(x_{kc} - \code{mean}{\mu_c})^2}.$$

    * $\code{mean}{\mu_c}$: the mean of a channel over all processes; $\code{var}{\sigma_c^2}$: the variance of a channel over all processes

    The gradient flows through both sums, so also to the parts of other processes. Torch's `SyncBatchNorm` does the same, on
    GPUs alone. In evaluation, and in its `state_dict`, it is the [batch norm][labml_ws.batch_channel_norm.BatchNorm] that it stands for.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        check_channels(x, self.num_features)
        processes = torch.distributed.get_world_size()
        wide = x.to(self.running_var.dtype)
        dims = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        mean = all_reduce(wide.mean(dims)) / processes  # [C]
        centered = wide - mean.view(shape)
        var = all_reduce(centered.square().mean(dims)) / processes  # [C]
        count = x.numel() // self.num_features * processes
        self.keep(mean.detach(), var.detach() * (count / (count - 1)))
        y = centered * (var + self.eps).rsqrt().view(shape)
        return (y * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)


def share_statistics(model: nn.Module) -> None:
    """
    ## Every statistic over all processes

    * `model`: whose batch norms of this project are told so, in place; a network without any stays as it is
    """
    for module in model.modules():
        if isinstance(module, EstimatedBatchNorm):
            module.sync = True
        elif type(module) is BatchNorm:
            module.__class__ = SharedBatchNorm


def check_launch(environment: Mapping[str, str] = os.environ) -> None:
    """
    ## What `accelerate launch` does on a CPU

    `accelerate launch --cpu --num_processes 2` starts *one* process: it leaves the others to `mpirun`. Raises `ValueError`
    where the `environment` says that several were wanted and that this is the only one.
    """
    ranks = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    launched = {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= environment.keys()
    if launched and not any(rank in environment for rank in ranks):
        raise ValueError(
            "expected --num_processes 1 from accelerate launch, which starts one process on a CPU "
            "whatever number it is given: for several, "
            "torchrun --nproc_per_node 2 -m labml_ws.experiment"
        )


def largest(accelerator: Any, number: int) -> int:
    """The largest of all processes' numbers, which all of them learn."""
    if accelerator.num_processes == 1:
        return number
    return int(accelerator.gather(torch.tensor([number], device=accelerator.device)).max())

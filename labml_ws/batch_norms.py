r"""
# Batch norms, replaced and folded away

What happens to the batch norms of a model when [WS goes in and comes out][labml_ws.convert]: they can make room for
another normalization, for which the old one's scale, shift and statistics are a start, and in the end they can vanish
into the convolutions before them.
"""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_weights

from labml_ws.batch_channel_norm import BatchChannelNorm, BatchNorm, EstimatedBatchNorm
from labml_ws.follows import Graph
from labml_ws.report import LEFT, Names, Row, computed, holders

# Just these classes, and no class derived from them. timm's `BatchNormAct2d`, for one, contains the activation too.
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
ABSORBING = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
FOLDABLE = (*BATCH_NORMS, BatchNorm, EstimatedBatchNorm)


@torch.no_grad()
def replacement(old: Any, norm: Literal["bcn", "gn"], groups: int = 32) -> nn.Module:
    r"""
    ## Another normalization in its place

    * `old`: a batch norm of $C$ channels
    * `norm`: `"bcn"` for a [batch-channel norm][labml_ws.batch_channel_norm.BatchChannelNorm] with estimated statistics,
      `"gn"` for a group norm
    * `groups`: at most so many, see below
    * returns the new layer. It has the same parameters for scale and shift, the objects themselves, which an optimizer
      goes on training; a batch-channel norm takes over the statistics and the momentum as well

    Input and output stay `[B, C, *]`. **How many groups?** As many as `groups` allows, so that they divide the channels
    and each has at least two of them: one with a single channel would be an instance norm.
    """
    channels = old.num_features
    groups = max(
        n for n in range(1, groups + 1) if channels % n == 0 and (n == 1 or channels >= 2 * n)
    )
    new: Any = (
        nn.GroupNorm(groups, channels, old.eps)
        if norm == "gn"
        else BatchChannelNorm(channels, groups, old.eps, old.momentum)
    )
    like = next(old.parameters(), old.running_mean)
    if like is not None:
        new.to(like.device, like.dtype)
    half = inner(new)
    if old.weight is not None:
        half.weight, half.bias = old.weight, old.bias
    if norm == "bcn" and old.running_mean is not None:
        for name, buffer in old.named_buffers():
            half.get_buffer(name).copy_(buffer)
    return new.train(old.training)


def put(model: nn.Module, each: Iterable[str], new: nn.Module) -> None:
    """Let a module stand in a model under each of these names."""
    for name in each:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, new)


def outdated(modules: Names) -> list[str]:
    r"""
    ## Statistics of before

    A batch norm keeps the mean and variance of what the convolution gave *before* it was standardized. With WS that is
    about [$\sqrt I$ times its input][labml_ws.layers] at a fan-in of $I$, and in evaluation, where no batch corrects it,
    such factors multiply from layer to layer, up to `inf`. Training sets the statistics right: after $n$ steps the old
    ones have a share of $(1 - r)^n$ at a momentum of $r$. Without training, this does:

    ```python
    torch.optim.swa_utils.update_bn(batches, model)
    ```

    * `modules`: the modules of a model
    * returns the names of the batch norms that would evaluate with statistics of before: those that have seen data, and
      all that are in evaluation mode
    """
    return [
        name
        for module, (name, *_) in modules.items()
        if isinstance(module, (_BatchNorm, EstimatedBatchNorm))
        and isinstance(module.running_mean, Tensor)
        and not module.running_mean.is_meta
        and (not module.training or bool(module.running_mean.any()))
    ]


def inner(norm: nn.Module) -> Any:
    """The batch norm itself, of a batch-channel norm its first half."""
    return norm.batch_norm if type(norm) is BatchChannelNorm else norm


def why_not_folded(norm: Any, layer: Any) -> str:
    r"""
    ## Which can be folded away

    In evaluation a batch norm scales and shifts each channel by fixed numbers, and so does a convolution that is scaled
    and shifted itself.

    * `norm`: a batch norm or batch-channel norm
    * `layer`: the convolution [that it has to itself][labml_ws.follows.Graph.only_user], if there is one
    * returns what is in the way, or an empty string
    """
    batch_norm = inner(norm)
    if type(batch_norm) not in FOLDABLE:
        return "a subclass may compute something else"
    if layer is None:
        return "no convolution gives its output to this norm alone, and directly"
    if batch_norm.running_mean is None:
        return "it has no running statistics"
    if norm.training or batch_norm.training:
        return "it is in training mode: model.eval() first"
    if any((norm._forward_hooks, norm._forward_pre_hooks, layer._forward_hooks)):
        return "a hook looks at what it gets or gives"
    if isinstance(layer, _ConvTransposeNd) and layer.groups > 1:
        return "a transposed convolution with groups is before it"
    if layer.bias is not None and "bias" not in layer._parameters:
        return "the bias of the convolution is computed"
    return computed(layer)


@torch.no_grad()
def absorb(layer: Any, norm: nn.Module) -> nn.Module:
    r"""
    ## Fold it into the convolution

    $$\code{weight}{W'_c} = s_c W_c, \quad
    \code{bias}{b'_c} = s_c (b_c - \hat\mu_c) + \beta_c, \quad
    s_c = \frac{\gamma_c}{\sqrt{\hat\sigma_c^2 + \epsilon}}$$

    * `layer`: a plain convolution
    * `norm`: the batch norm or batch-channel norm behind it, in evaluation mode
    * $\code{weight}{W'_c}$: the new filter of a channel $c$; $\code{bias}{b'_c}$: the new bias of a channel, where the old one, $b_c$,
      is 0 if the convolution had none
    * returns what stands in the place of the norm: nothing (an identity), or the channel norm, whose statistics are
      those of each image
    """
    batch_norm = inner(norm)
    weight, bias = fuse_conv_bn_weights(
        layer.weight,
        layer.bias,
        batch_norm.running_mean,
        batch_norm.running_var,
        batch_norm.eps,
        batch_norm.weight,
        batch_norm.bias,
        transpose=isinstance(layer, _ConvTransposeNd),
    )
    layer.weight.copy_(weight)
    if layer.bias is None:
        layer.bias = bias
    else:
        layer.bias.copy_(bias)
    return norm.channel_norm if type(norm) is BatchChannelNorm else nn.Identity()


def fold_norms(
    model: nn.Module, modules: Names, graph: Graph, rows: dict[nn.Module, Row]
) -> dict[nn.Module, Row]:
    r"""
    ## All of them

    * `model`, `modules`: the model and its modules
    * `graph`: its [graph][labml_ws.follows.Graph]
    * `rows`: what was done with its layers before
    * returns the rows, with one for each batch norm, and for each convolution that took one in
    """
    rows = dict(rows)
    shared = {m for users in holders(modules).values() if len(users) > 1 for m in users}
    convolutions = [m for m in modules if type(m) in ABSORBING and m not in shared]
    before = {graph.only_user(layer): layer for layer in convolutions}
    halves = {inner(m) for m in modules if inner(m) is not m}
    for norm in modules:
        if norm in halves or not isinstance(inner(norm), (_BatchNorm, EstimatedBatchNorm)):
            continue
        each, layer = modules[norm], before.get(norm)
        reason = why_not_folded(norm, layer)
        if reason or layer is None:
            rows[norm] = Row.of(each[0], norm, LEFT, reason)
            continue
        name = modules[layer][0]
        put(model, each, absorb(layer, norm))
        rows[norm] = Row.of(each[0], norm, "folded", f"into {name}")
        had = f"{rows[layer].why}; " if layer in rows else ""
        rows[layer] = Row.of(name, layer, "folded", f"{had}{each[0]} is in it")
    return rows


if __name__ == "__main__":
    # ## See it work
    #
    # A convolution and a batch norm that has seen some data become one convolution.
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
    x = torch.randn(4, 3, 8, 8)
    for _ in range(10):
        norm(layer(x))
    norm.eval()
    expected = norm(layer(x))
    identity = absorb(layer, norm)
    print(f"{identity}, largest difference: {(layer(x) - expected).abs().max():.0e}")
    # What would take the place of batch norms of several widths.
    for channels in (64, 48, 16, 7):
        new: Any = replacement(nn.BatchNorm2d(channels), "gn")
        print(f"{channels:2} channels: {new.num_groups} groups of {channels // new.num_groups}")

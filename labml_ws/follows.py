r"""
# What follows a convolution

WS belongs to [convolutions that a normalization follows][labml_ws.layers]. Which ones are they? The names and the order
of a model's modules don't say. In a DenseNet the normalization stands behind a concatenation, in a ConvNeXt behind one
convolution of three, and in a squeeze-and-excitation there is none. What says it is the **graph** of a forward pass:
each operation, and which operations use its result. `torch.export` writes it down from one example, on tensors that
have a shape and no numbers, so the model's statistics stay as they are.

From each convolution we walk along the graph. Every way has to reach a normalization over steps that only move,
drop or average numbers, and so keep the scale that WS gives to the filters.

[`standardize`][labml_ws.convert.standardize] asks this before it converts, and [`fold`][labml_ws.convert.fold] which
batch norm has a convolution to itself.
"""

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn import functional as F

from labml_ws.batch_channel_norm import BatchChannelNorm, ChannelNorm, EstimatedBatchNorm

# ## Which operation is what
#
# By the names of torch's operations, without the `_` of those that work in place.
CONVOLUTIONS = {f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)}
NORMALIZATIONS = {
    *("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm"),
    *("native_batch_norm", "native_group_norm", "native_layer_norm", "cudnn_batch_norm"),
}
# Steps that keep a channel's scale. A ReLU is none of them: `conv, relu, norm` is rare, and can be named in `only`.
PASSING = {
    *("view", "_unsafe_view", "reshape", "reshape_as", "view_as", "flatten", "unflatten"),
    *("permute", "transpose", "movedim", "squeeze", "unsqueeze", "expand", "repeat"),
    *("t", "flip", "roll"),
    *("clone", "contiguous", "alias", "detach", "to", "_to_copy", "type_as", "lift_fresh_copy"),
    *("cat", "stack", "concat", "split", "split_with_sizes", "chunk", "unbind", "getitem"),
    *("slice", "narrow", "select", "index_select", "pad", "constant_pad_nd"),
    *(
        f"{kind}{n}d"
        for kind in ("max_pool", "avg_pool", "adaptive_avg_pool")
        for n in (1, 2, 3)
    ),
    *(f"adaptive_max_pool{n}d" for n in (1, 2, 3)),
    *(f"max_pool{n}d_with_indices" for n in (1, 2, 3)),
    *(f"{mode}_pad{n}d" for mode in ("reflection", "replication") for n in (1, 2, 3)),
    *(f"upsample_{mode}" for mode in ("nearest1d", "nearest2d", "nearest3d", "linear1d")),
    *("upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "dropout", "feature_dropout"),
    "mean",
}
SUMS = {"add", "sub"}
# A normalization whose arithmetic is spelled out in other operations is known by its class.
NORMS = (
    nn.modules.batchnorm._NormBase,
    *(nn.GroupNorm, nn.LayerNorm, nn.RMSNorm),
    *(EstimatedBatchNorm, ChannelNorm, BatchChannelNorm),
)

Example = Tensor | tuple[Any, ...] | Mapping[str, Any]


class Graph:
    r"""
    ## The graph of a model

    * `model`: the model, which is traced as it evaluates, and left as it was
    * `example`: what it is called with: a tensor, a tuple of positional arguments, or a dict of arguments by name. Only
      shapes and dtypes matter
    * `through_add`: let a sum pass too. In a **pre-activation** network the convolutions add to a stream, and the
      normalization comes at the beginning of the next block. WS makes the stream grow in such a network; the normalization divides
      by that again

    Raises `ValueError` where `torch.export` can't trace the model.
    """

    def __init__(self, model: nn.Module, example: Example, through_add: bool = False) -> None:
        self.model, self.passing = model, PASSING | (SUMS if through_add else set())
        args, kwargs = (), {}
        if isinstance(example, Mapping):
            kwargs = dict(example)
        else:
            args = example if isinstance(example, tuple) else (example,)
        # Dropout and the like would hide what follows, and one image is too small a batch for some batch norms.
        modes = {module: module.training for module in model.modules()}
        try:
            for module in modes:
                module.training = False
            # What torch warns of would matter to a program that is kept.
            with warnings.catch_warnings(action="ignore"):
                exported = torch.export.export(model, args, kwargs, strict=False)
        except Exception as error:
            raise ValueError(
                "torch.export cannot trace the model with this example, so what follows each "
                f"convolution is not known: {_first_line(error)}; see that model(example) runs "
                "by itself, or leave out the example, and name the convolutions that a "
                "normalization follows in only"
            ) from error
        finally:
            for module, mode in modes.items():
                module.training = mode
        # The modules that each operation is part of, from the outside to the inside. A module can be called many times, and
        # each call has a word of its own.
        self.calls: dict[Node, list[tuple[str, nn.Module]]] = {
            node: [
                (call, model.get_submodule(path.partition("@")[0]))
                for call, (path, _) in node.meta.get("nn_module_stack", {}).items()
            ]
            for node in exported.graph.nodes
        }
        self.weights = {
            node: model.get_parameter(name)
            for node in self.calls
            if (name := exported.graph_signature.inputs_to_parameters.get(node.name))
        }
        self.end = cache(self._end)

    def uses(self, module: nn.Module) -> list[Node]:
        """The convolutions that a module computes itself."""
        return [
            node
            for node, calls in self.calls.items()
            if _operation(node) in CONVOLUTIONS and calls and calls[-1][1] is module
        ]

    def why_not(self, module: nn.Module) -> str:
        r"""
        ### Is it followed by a normalization?

        * `module`: a convolution of the model
        * returns an empty string if each of its uses is, else what follows instead
        """
        uses = self.uses(module)
        if not uses:
            return "the example does not reach it (the model was traced in evaluation mode)"
        if self.leaves(module):
            return "its weight is used outside of it, too"
        return next(filter(None, map(self.end, uses)), "")

    def leaves(self, module: nn.Module) -> bool:
        """Whether a weight is used by modules that don't have it, as where a decoder convolves with the encoder's."""
        return any(
            not any(weight is own for own in self.calls[user][-1][1].parameters(recurse=False))
            for node, weight in self.weights.items()
            if weight is module.weight
            for user in node.users
            if self.calls[user]
        )

    def _end(self, node: Node) -> str:
        # Sizes and checks look at a tensor and pass nothing of it on.
        users = [
            user for user in node.users if not _operation(user).startswith(("sym_", "_assert"))
        ]
        if not users:
            return "nothing uses its output"
        for user in users:
            if self.normalizes(user, node):
                continue
            if user.op == "output":
                return "it ends in an output of the model"
            operation = _operation(user)
            if operation not in self.passing:
                hint = " (in a pre-activation network: through_add=True)"
                return f"{operation} follows{hint if operation in SUMS else ''}"
            if reason := self.end(user):
                return reason
        return ""

    def normalizes(self, user: Node, node: Node) -> bool:
        """Whether an operation normalizes the result of another. (A result can also be the scale of a normalization.)"""
        if any(isinstance(module, NORMS) for _, module in self.calls[user]):
            return True
        return _operation(user) in NORMALIZATIONS and user.args[0] is node

    def only_user(self, module: Any) -> nn.Module | None:
        r"""
        ### Does a normalization have it to itself?

        * `module`: a convolution of the model
        * returns the outermost normalization, if it is the only user of what the convolution computes, if both are called just once,
          and if nothing lies between them; else None
        """
        uses = self.uses(module)
        if len(uses) != 1:
            return None
        (node,) = uses
        norms = {
            next(((call, m) for call, m in self.calls[user] if isinstance(m, NORMS)), None)
            for user in node.users
        }
        if len(norms) != 1 or (only := norms.pop()) is None:
            return None
        norm = only[1]
        calls = {call for stack in self.calls.values() for call, m in stack if m is norm}
        # A one-dimensional input without a batch is `[C, L]`, and a batch norm takes that for `[B, C]`.
        batched = node.meta["val"].dim() == module.weight.dim()
        return norm if len(calls) == 1 and batched else None


def _operation(node: Node) -> str:
    target = getattr(node.target, "overloadpacket", node.target)
    return getattr(target, "__name__", "").rstrip("_")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


if __name__ == "__main__":
    # ## See it work
    #
    # A block of a pre-activation network. What the first convolution gives is padded and pooled, and goes on in two ways:
    # one is normalized, the other ends in a sum, behind which there is another normalization.
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
            self.norm, self.last = nn.GroupNorm(2, 8), nn.GroupNorm(2, 8)
            self.head = nn.Conv2d(8, 10, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(F.pad(self.first(x), (1, 1, 1, 1)), 2)
            x = x + self.second(self.norm(x).relu())
            return self.head(self.last(x).relu())

    model = Block()
    for through_add in (False, True):
        graph = Graph(model, torch.randn(1, 3, 16, 16), through_add)
        print(f"through_add={through_add}, of {len(graph.calls)} operations:")
        for name in ("first", "second", "head"):
            reason = graph.why_not(model.get_submodule(name))
            print(f"  {name}: {reason or 'a normalization follows'}")

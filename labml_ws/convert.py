r"""
# Into a model and out again

A model that exists gets Weight Standardization in one line, and loses it in another when it is done with training:

```python
from labml_ws import convert

print(convert.standardize(model, example))  # in place: the convolutions that a normalization follows
...                                         # train
print(convert.fold(model, example))         # plain layers that compute the same
```

`example` is what the model is called with, one batch or one image of the right shape. With it, the
[graph of the model][labml_ws.follows] says which convolutions a normalization follows. Without it every plain
convolution is converted, but for those that you name in `skip`. Both functions return a [report][labml_ws.report.Report]:
a list of the names that changed, which prints as a table of what was done with each layer, and why.

Nothing makes a new layer. A [standardized layer][labml_ws.layers] has no parameter that the plain one lacks, so a
module can change its class where it is: its weights, its hooks, its place in the `state_dict` and the optimizer's
references to its parameters all stay.

**Before you do it**, read [where not to][labml_ws.layers]. If the model was trained without WS, it has to be trained
further: its output changes.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from labml_ws.batch_channel_norm import BatchChannelNorm
from labml_ws.batch_norms import (
    BATCH_NORMS,
    fold_norms,
    outdated,
    put,
    replacement,
)
from labml_ws.follows import Example, Graph
from labml_ws.layers import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Linear,
    StandardizedTranspose,
)
from labml_ws.report import LEFT, Asked, Names, Report, Row, computed, holders, names
from labml_ws.standardization import check_weight

# Each plain layer, and what it becomes. `Linear` is missing on purpose: in most models it is the classifier. (On the way back it is known.)
STANDARDIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
    nn.ConvTranspose1d: ConvTranspose1d,
    nn.ConvTranspose2d: ConvTranspose2d,
    nn.ConvTranspose3d: ConvTranspose3d,
}
PLAIN = {ours: plain for plain, ours in STANDARDIZED.items()} | {Linear: nn.Linear}
OURS = tuple(PLAIN)


def standardize(
    model: nn.Module,
    example: Example | None = None,
    *,
    skip: str | Iterable[str] = (),
    only: str | Iterable[str] | None = None,
    through_add: bool = False,
    norm: Literal["bcn", "gn"] | None = None,
    groups: int = 32,
    eps: float = 1e-5,
) -> Report:
    r"""
    ## Put it in

    * `model`: any model; its plain convolutions become standardized ones, in place, transposed ones included
    * `example`: what the model is called with: a tensor, a tuple of arguments, or a dict of arguments by name. Then only
      convolutions [that a normalization follows][labml_ws.follows] change. Without it nothing is known of that, and all
      change
    * `skip`: names of modules to leave as they are, as in `model.named_modules()`. That of a container stands for all
      that is in it, and a string is one name
    * `only`: names likewise. What they name is converted, whatever follows it and even if it is frozen; nothing else is
    * `through_add`: for pre-activation networks, where the normalization comes [behind a sum][labml_ws.follows.Graph]
    * `norm`: put [another normalization][labml_ws.batch_norms.replacement] in the place of batch norms as well: `"bcn"`
      or `"gn"`
    * `groups`: how many groups that one has, at most
    * `eps`: added to each filter's variance
    * returns a [report][labml_ws.report.Report] on each convolution, and on each batch norm if they are to be replaced

    Raises `ValueError` for a name that the model doesn't have, for a layer in `only` that cannot be converted, for lazy
    layers before their first input, for a negative `eps`, and where the example can't be traced; then nothing has
    changed. Warns where batch norms hold [statistics of before][labml_ws.batch_norms.outdated], and where some that
    were to be replaced stay.
    """
    modules = names(model)
    if norm not in (None, "bcn", "gn") or groups < 1 or not eps >= 0:
        raise ValueError(
            f"expected norm 'bcn', 'gn' or None, groups >= 1 and eps >= 0, "
            f"got {norm=}, {groups=}, {eps=}"
        )
    asked = Asked(modules, skip, only)
    refuse_lazy(modules)
    graph = None if example is None else Graph(model, example, through_add)
    # All are looked at before the first one changes.
    reasons = why_not_standardized(modules, asked, graph, eps)
    rows: dict[nn.Module, Row] = {}
    for module, reason in reasons.items():
        follows = (graph.why_not(module) or "a normalization follows") if graph else ""
        decision = LEFT if reason else "standardized"
        rows[module] = Row.of(modules[module][0], module, decision, reason or follows)
        if not reason:
            module.__class__ = STANDARDIZED[type(module)]
            module.eps = eps  # type: ignore[assignment]
    batch_norms = [m for m in modules if norm and isinstance(m, _BatchNorm)]
    rows |= {m: replaced(model, modules, m, asked, norm, groups) for m in batch_norms}
    notes = (
        [] if graph else ["What follows each layer was not looked at: that takes an example."]
    )
    before = statistics_of_before(model) if not all(reasons.values()) else ""
    for warning in filter(None, (norms_left(rows, batch_norms, asked), before)):
        notes.append(warning)
        warnings.warn(warning, stacklevel=2)
    return Report((rows[module] for module in modules if module in rows), notes)


def refuse_lazy(modules: Names) -> None:
    for module, (name, *_) in modules.items():
        if any(is_lazy(parameter) for parameter in module.parameters(recurse=False)):
            raise ValueError(
                f"{name or 'the model'}: a {type(module).__name__} has no weight before its first "
                "input: pass a batch through the model first"
            )


def norms_left(rows: dict[nn.Module, Row], norms: list[Any], asked: Asked) -> str:
    """Which batch norms were to be replaced and stay, without anybody having asked for that."""
    left = [rows[m] for m in norms if rows[m].decision == LEFT and not asked.why_not(m)]
    if not left:
        return ""
    reasons = "; ".join(dict.fromkeys(row.why for row in left))
    return (
        f"{len(left)} of {len(norms)} batch norms stay ({left[0].name}: {left[0].layer}, ...): "
        f"{reasons}; put the other norm there by hand, or name these in skip"
    )


def statistics_of_before(model: nn.Module) -> str:
    if not (stale := outdated(names(model))):
        return ""
    return (
        f"{len(stale)} batch norms ({stale[0]}, ...) hold statistics of what the plain layers gave: "
        "train before evaluating, or take them anew, with "
        "torch.optim.swa_utils.update_bn(batches, model)"
    )


def why_not_standardized(
    modules: Names, asked: Asked, graph: Graph | None, eps: float
) -> dict[nn.Module, str]:
    r"""
    ## What is left alone

    Each convolution, and why it should not be standardized; an empty string if it should. Besides what the graph says,
    these stay as they are:

    * a **frozen** weight (`requires_grad=False`): nobody is going to train it further. Some of them are constants: a
      detector's decoder convolves with 0, 1, 2, …, and must go on doing so
    * a weight that is [computed][labml_ws.report.computed] from others
    * a **subclass** of a torch layer, like timm's `Conv2dSame`, as it may compute something else. Derive such a class
      from [ours][labml_ws.layers] instead of torch's, or let its forward use `weight_standardization(self.weight)`
    * a filter that [cannot be standardized][labml_ws.standardization.check_weight]
    * a weight that is **shared** with something that stays plain
    """
    reasons: dict[nn.Module, str] = {}
    for module, (name, *_) in modules.items():
        if not isinstance(module, _ConvNd):
            continue
        reason = asked.why_not(module) or unable(module, eps)
        if reason and asked.exact.intersection(modules[module]):
            raise ValueError(f"{name or 'the model'}: {reason}; leave it out of only")
        if not reason and asked.only is None:
            if not module.weight.requires_grad:
                reason = "its weight is frozen (requires_grad=False)"
            elif graph:
                reason = graph.why_not(module)
        reasons[module] = reason
    for users in holders(modules).values():
        plain = [m for m in users if reasons.get(m, "plain") and not isinstance(m, OURS)]
        for module in users if plain else ():
            if reasons.get(module) == "":
                reasons[module] = (
                    f"it shares its weight with {modules[plain[0]][0]}, which stays plain"
                )
    return reasons


def unable(module: Any, eps: float) -> str:
    """What about the layer itself rules it out."""
    if isinstance(module, OURS):
        return "it is standardized already"
    if reason := computed(module):
        return reason
    if type(module) not in STANDARDIZED:
        return "a subclass may compute something else: derive it from labml_ws's layer instead"
    transposed = isinstance(module, _ConvTransposeNd)
    try:
        check_weight(
            StandardizedTranspose.filters(module) if transposed else module.weight, eps
        )
    except ValueError as error:
        return str(error)
    return ""


def replaced(
    model: nn.Module, modules: Names, old: Any, asked: Asked, norm: Any, groups: int
) -> Row:
    """Put another normalization in the place of a batch norm, if it is just that, and say so."""
    each = modules[old]
    reason = asked.why_not(old)
    if type(old) not in BATCH_NORMS:
        reason = reason or "a subclass may compute something else"
    elif old._forward_hooks or old._forward_pre_hooks:
        reason = reason or "a hook looks at what it gets or gives"
    elif not each[0]:
        reason = reason or "it is the model itself"
    if reason:
        return Row.of(each[0], old, LEFT, reason)
    new = replacement(old, norm, groups)
    put(model, each, new)
    half = new.channel_norm if isinstance(new, BatchChannelNorm) else new
    why = f"{type(new).__name__}, {half.num_groups if norm == 'gn' else half.groups} groups"
    return Row.of(each[0], old, "replaced", why)


@torch.no_grad()
def fold(model: nn.Module, example: Example | None = None) -> Report:
    r"""
    ## Take it out

    * `model`: any model; where it has standardized layers, $\hat W$ is written where $W$ was, and the layer becomes the
      plain one, in place
    * `example`: what the model is called with, as above. Then each convolution that is the only one to feed a batch norm,
      standardized or not, [takes that norm in][labml_ws.batch_norms.absorb], estimated ones too; the model has to be in
      evaluation mode. Without it the norms stay
    * returns a [report][labml_ws.report.Report] on each of these layers

    The model computes the same as before and is an ordinary torch model: for inference at no extra cost, for export.
    Without `example` its `state_dict` goes into the plain architecture. $W$ is gone after that; to go on training later,
    fold a copy (`copy.deepcopy(model)`).

    A weight that several layers share is written once, if it means the same $\hat W$ to all of them. Otherwise each
    standardized layer gets a parameter of its own, and the others keep theirs.

    Torch's `fuse_conv_bn_eval` comes after this, if at all, never before: it scales $W$, and WS takes every scale out
    again.

    Raises `ValueError` where the weight of a standardized layer is [computed][labml_ws.report.computed] from others, as
    what is written into it would be gone at the next pass, and where the example can't be traced; then nothing has
    changed. Warns of a subclass of a standardized layer, which stays: what it computes, it alone knows.
    """
    modules = names(model)
    layers: list[Any] = [m for m in modules if isinstance(m, OURS)]
    graph = None if example is None else Graph(model, example)
    for layer in layers:
        reason = computed(layer)
        if not reason and graph and graph.leaves(layer):
            reason = (
                "its weight is used outside of it, too, where it would change: copy it there"
            )
        if reason:
            raise ValueError(f"{modules[layer][0] or 'the model'}: {reason}; then fold")

    rows: dict[nn.Module, Row] = {}
    for layer in layers:
        if type(layer) in PLAIN:
            decision, why = "folded", "the standardized weight is written into it"
        else:
            decision, why = LEFT, "a subclass may compute something else"
            warnings.warn(
                f"{modules[layer][0]}: {type(layer).__name__} stays: {why}", stacklevel=3
            )
        rows[layer] = Row.of(modules[layer][0], layer, decision, why)
    fold_weights(modules)
    if graph:
        rows = fold_norms(model, modules, graph, rows)
    notes = [] if graph else ["Batch norms were not looked at: that takes an example."]
    return Report((rows[module] for module in modules if module in rows), notes)


def fold_weights(modules: Names) -> None:
    """Write each standardized weight where the raw one was, once for all who mean the same by it."""
    for parameter, users in holders(modules).items():
        layers: list[Any] = [m for m in users if type(m) in PLAIN and m.weight is parameter]
        hats = [layer.w_hat for layer in layers]
        if len(layers) == len(users) and all(torch.equal(hats[0], hat) for hat in hats):
            parameter.copy_(hats[0])
        else:
            for layer, hat in zip(layers, hats, strict=True):
                layer.weight = nn.Parameter(hat.clone(), parameter.requires_grad)
        for layer in layers:
            layer.__class__ = PLAIN[type(layer)]
            del layer.eps


def check_state_dict(model: nn.Module, state_dict: Mapping[str, Any]) -> list[str]:
    r"""
    ## Does a checkpoint fit?

    The keys of a standardized layer are those of the plain one: that lets a checkpoint travel, and lets it travel into
    the wrong model, where "all keys match" and the outputs are others. The layers here leave a mark in the metadata of
    a `state_dict`, which `torch.save` keeps (a plain `dict` and safetensors don't).

    * `model`: the model that it is to be loaded into
    * `state_dict`: the checkpoint
    * returns the names of the layers that would compute with $\hat W$ in one and with $W$ in the other, or with another
      `eps`; warns if there are any. Without metadata nothing is known, and the list is empty
    """
    metadata = getattr(state_dict, "_metadata", None)
    if metadata is None:
        return []
    differ = []
    for name, module in model.named_modules():
        if isinstance(module, (_ConvNd, nn.Linear)) and name in metadata:
            mark = metadata[name].get("labml_ws")
            if (mark or {}).get("eps") != getattr(module, "eps", None):
                differ.append(name)
    if differ:
        warnings.warn(
            f"{', '.join(differ)}: standardized in one of checkpoint and model and plain in the "
            "other, or with another eps: load into a model that was converted alike, or fold that "
            "one and save it",
            stacklevel=2,
        )
    return differ


if __name__ == "__main__":
    # ## See it work
    #
    # A small network. A normalization follows the first two convolutions and none the third, which is the classifier.
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 10, 1)),
    )
    parameters = dict(model.named_parameters())
    example = torch.randn(4, 3, 16, 16)
    print(standardize(model, example))
    same = parameters == dict(model.named_parameters())
    print("the same parameters:", same)
    # And out again. The second batch norm goes into the convolution before it. The first stays, as a pooling is between.
    # What the model computes has not changed, but nothing of WS is left in it.
    torch.optim.swa_utils.update_bn([example], model)
    model.eval()
    before = model(example)
    print(fold(model, example))
    print(f"largest difference: {(model(example) - before).abs().max():.0e}")
    print(model)

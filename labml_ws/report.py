r"""
# The report on a conversion

A network has dozens of convolutions, and a tool that changes some of them has to say which, and why not the others.
[`standardize` and `fold`][labml_ws.convert] return a report. It is a list of the names that changed, so that a program
can go on with it, and prints as a table for a person.

Below it is what can be said about a layer before anything is done with it: which names it has, whether it is among those that were
asked for, and whether its weight is its own.
"""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import is_parametrized

LEFT = "left"


class Row(NamedTuple):
    """One layer: its `name` in the model, its class, what was done with it, and why."""

    name: str
    layer: str
    decision: str
    why: str

    @classmethod
    def of(cls, name: str, module: nn.Module, decision: str, why: str) -> "Row":
        return cls(name or "(the model)", type(module).__name__, decision, why)


class Report(list[str]):
    r"""
    ## The report

    * `rows`: a row for each layer that was looked at, with its `name`, the class that it had, `layer`, the `decision`
      and `why`
    * `notes`: what else one should know, such as what was not looked at

    The list itself holds the names of the layers that changed. `report.left` is a dict of the other ones and why.
    """

    def __init__(self, rows: Iterable[Row] = (), notes: Iterable[str] = ()) -> None:
        self.rows, self.notes = list(rows), list(notes)
        super().__init__(row.name for row in self.rows if row.decision != LEFT)

    @property
    def left(self) -> dict[str, str]:
        return {row.name: row.why for row in self.rows if row.decision == LEFT}

    def __str__(self) -> str:
        counts = Counter(row.decision for row in self.rows)
        total = ", ".join(f"{count} {decision}" for decision, count in counts.items())
        table = [*self.rows, Row(total or "no layer to look at", "", "", "")]
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)] or [0] * 4
        lines = [
            "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True))
            for row in table
        ]
        return "\n".join([*(line.rstrip() for line in lines), *self.notes])


Names = dict[nn.Module, list[str]]


# A module that is used in two places has two names, and a person may know it by either.
def names(model: nn.Module) -> Names:
    """The modules of a model, in order, each with all of its names."""
    result: Names = {}
    for name, module in model.named_modules(remove_duplicate=False):
        result.setdefault(module, []).append(name)
    return result


class Asked:
    r"""
    ## What was asked for

    * `modules`: the modules of a model
    * `skip`, `only`: names of modules. That of a container stands for all that is in it, and a string is one name

    Raises `ValueError` for a name that the model doesn't have.
    """

    def __init__(
        self, modules: Names, skip: str | Iterable[str], only: str | Iterable[str] | None
    ) -> None:
        self.skip, _ = self.named(modules, skip, "skip")
        self.only, self.exact = None, set[str]()
        if only is not None:
            self.only, self.exact = self.named(modules, only, "only")

    @staticmethod
    def named(
        modules: Names, wanted: str | Iterable[str], argument: str
    ) -> tuple[set[nn.Module], set[str]]:
        """The modules that these names stand for, and the names."""
        wanted = {wanted} if isinstance(wanted, str) else set(wanted)
        known = [name for each in modules.values() for name in each]
        if unknown := sorted(wanted.difference(known)):
            close = get_close_matches(unknown[0], known, n=5, cutoff=0.4)
            raise ValueError(
                f"expected names of the model's modules in {argument}, got {', '.join(unknown)}: "
                f"{'it has ' + ', '.join(close) if close else 'model.named_modules() lists them'}"
            )
        inside = tuple(f"{name}." for name in wanted)
        return {
            module
            for module, each in modules.items()
            if "" in wanted or any(f"{name}.".startswith(inside) for name in each)
        }, wanted

    def why_not(self, module: nn.Module) -> str:
        """Why a module is not among those that were asked for, or an empty string."""
        if module in self.skip:
            return "named in skip"
        return "not named in only" if self.only is not None and module not in self.only else ""


# A weight can belong to several layers, which then learn it together.
def holders(modules: Names) -> dict[Tensor, list[nn.Module]]:
    """The parameters of a model, each with the modules that have it."""
    result: dict[Tensor, list[nn.Module]] = {}
    for module in modules:
        for parameter in module._parameters.values():
            if parameter is not None:
                result.setdefault(parameter, []).append(module)
    return result


def computed(module: nn.Module) -> str:
    r"""
    ## Weights that are computed

    Pruning, weight norm and spectral norm keep other tensors as parameters and compute `weight` from them before each
    forward pass. What is written into such a weight is gone at the next pass, and a class that is changed loses what
    computes it.

    * `module`: a convolution or linear layer
    * returns why its weight can't be changed, and the cure, or an empty string
    """
    if is_parametrized(module):
        tensors = " and ".join(module.parametrizations)  # type: ignore[arg-type]
        return (
            f"its {tensors} is computed by a parametrization: "
            "torch.nn.utils.parametrize.remove_parametrizations(layer, name) makes it its own"
        )
    if "forward" in vars(module):
        return "its forward was replaced in this one object: put its class's own back first"
    if isinstance(module._parameters.get("weight"), nn.Parameter):
        return ""
    origins = {
        "weight_g": "weight norm: torch.nn.utils.remove_weight_norm(layer)",
        "weight_orig": "spectral norm: torch.nn.utils.remove_spectral_norm(layer)",
    }
    if prune.is_pruned(module):
        origins["weight_orig"] = "pruning: torch.nn.utils.prune.remove(layer, 'weight')"
    for parameter, cure in origins.items():
        if parameter in module._parameters:
            return f"its weight is computed by {cure} makes it the layer's own"
    return "its weight is no parameter of its own: torch.nn.Parameter(weight) makes it one"


if __name__ == "__main__":
    # ## See it work
    #
    # A container is named, and a layer that has its weight from somewhere else.
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()))
    prune.l1_unstructured(model[0], "weight", 0.5)
    modules = names(model)
    asked = Asked(modules, skip="1", only=None)
    rows = [
        Row.of(name, module, LEFT, asked.why_not(module) or computed(module))
        for module, (name,) in modules.items()
        if type(module) is nn.Conv2d
    ]
    print(Report(rows, ["(nothing has changed)"]))

r"""
# Where it went wrong

When a loss is beyond recovery, the run stops; this looks at the network that it has left, and says which layer is furthest out, by
how much, and what is most likely to be the cause. Sizes are root mean squares (rms).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labml_ws.experiment.config import Config, build

# So many times its first size is more than training makes of a weight, and so much more than an input of rms 1 of an output.
LARGE = 100.0


@dataclass(frozen=True)
class Size:
    """
    ## How large a layer is

    * `layer`: its name; `weight`, `before`: rms of its weights, now and at the start; `output`: rms of what it gives
    """

    layer: str
    weight: float
    before: float
    output: float

    @property
    def grown(self) -> bool:
        """Whether the weights are far from where they began, or no numbers."""
        return not self.weight <= LARGE * self.before

    @property
    def large(self) -> bool:
        return not self.output <= LARGE

    def __str__(self) -> str:
        return (
            f"{self.layer}: weights {self.weight:.3g} ({self.before:.3g} at the start), "
            f"output {self.output:.3g}"
        )


def rms(x: Tensor) -> float:
    return float(x.detach().double().square().mean().sqrt())


@torch.no_grad()
def sizes(model: nn.Module, config: Config, x: Tensor) -> list[Size]:
    """
    ## All layers, in the order in which they run

    * `model`: without wrappers; `config`: what it was built from; `x`: normalized images, `[B, 3, 32, 32]`
    """
    outputs: dict[str, float] = {}
    handles = [
        module.register_forward_hook(
            lambda _, __, y, name=name: outputs.__setitem__(name, rms(y))
        )
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        model.train()(x)
    finally:
        for handle in handles:
            handle.remove()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        fresh = build(config)
    return [
        Size(
            name,
            rms(model.get_parameter(f"{name}.weight")),
            rms(fresh.get_parameter(f"{name}.weight")),
            output,
        )
        for name, output in outputs.items()
    ]


def furthest(layers: list[Size]) -> Size:
    """The first whose weights have grown out of bounds or, where none has, the first with such an output; else the last."""
    return next(
        (layer for test in ("grown", "large") for layer in layers if getattr(layer, test)),
        layers[-1],
    )


def causes(layers: list[Size], config: Config) -> list[str]:
    """
    ## What may be the cause

    The likeliest first. Weights that have grown were moved too far, by the learning rate or by the decay. Where they have not,
    and outputs are large, nothing holds the outputs.
    """
    rate, decay = config.learning_rate, config.weight_decay
    step = f"try a lower --learning-rate than {rate}"
    hold = f"try a normalization (--norm is {config.norm})"
    # An update takes this share of a weight away; at two, what is left is as large as before, with the other sign.
    if rate * decay >= 1:
        return [f"try a lower --weight-decay than {decay}", step]
    grown = any(layer.grown for layer in layers)
    if config.norm == "none" and not grown:
        return [hold, step]
    return [step, hold] if config.norm == "none" else [step]


if __name__ == "__main__":
    # ## See it work
    #
    # A network without normalization whose fourth convolution has become a thousand times too large.
    config = Config(norm="none", ws=False, width=0.25)
    torch.manual_seed(config.seed)
    model = build(config)
    with torch.no_grad():
        model.get_parameter("features.7.weight").mul_(1000)
    layers = sizes(model, config, torch.randn(8, 3, 32, 32))
    print("furthest out:", furthest(layers))
    print(*causes(layers, config), sep="; or ")
